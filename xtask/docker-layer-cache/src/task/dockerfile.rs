//! The Dockerfile of an image: read, parsed, evaluated, with refusals that name the file.

use super::images::Image;
use crate::dockerfile::{Dockerfile, DockerfileError, EvaluateOptions, Evaluation};
use crate::error::Error;
use crate::oci::Platform;

/// A Dockerfile and what it is evaluated for.
pub(super) struct Source<'a> {
    pub(super) image: &'a Image,
    pub(super) dockerfile: Dockerfile,
    /// The platform of the machine that builds, which is built for where no other is asked for.
    pub(super) build_platform: Platform,
}

impl<'a> Source<'a> {
    /// Reads and parses the Dockerfile of `image`.
    pub(super) fn read(image: &'a Image, build_platform: Platform) -> Result<Source<'a>, Error> {
        let path = &image.dockerfile;
        let text = std::fs::read(path).map_err(|error| {
            let found = Error::usage(format_args!(
                "image `{}`: cannot read the Dockerfile `{path}`: {error}",
                image.name
            ));
            if error.kind() == std::io::ErrorKind::NotFound {
                found.with_hint(
                    "name it with `dockerfile = …` in docker/images.toml, or with --dockerfile",
                )
            } else {
                found
            }
        })?;
        let dockerfile = Dockerfile::parse(&text).map_err(|error| refusal(image, &error))?;
        Ok(Source {
            image,
            dockerfile,
            build_platform,
        })
    }

    /// Returns what the Dockerfile is evaluated for, without anything that bases add.
    pub(super) fn options(&self) -> EvaluateOptions {
        let image = self.image;
        EvaluateOptions {
            target: image.target.clone(),
            platform: image
                .platform
                .clone()
                .unwrap_or_else(|| self.build_platform.clone()),
            build_platform: self.build_platform.clone(),
            build_args: image.build_args.clone(),
            build_contexts: image.build_contexts.clone(),
            ..EvaluateOptions::new()
        }
    }

    /// Evaluates the Dockerfile, without any network.
    pub(super) fn evaluate(&self, options: &EvaluateOptions) -> Result<Evaluation, Error> {
        self.dockerfile
            .evaluate(options)
            .map_err(|error| refusal(self.image, &error))
    }

    /// Returns the base references as JSON, and the refusal, where the Dockerfile is refused after
    /// all references were known.
    pub(super) fn refs_json(&self) -> Result<(serde_json::Value, Option<Error>), Error> {
        match self.dockerfile.evaluate(&self.options()) {
            Ok(evaluation) => Ok((evaluation.refs_json(), None)),
            Err(error) if error.refs_complete() => Ok((
                crate::dockerfile::refs_json(error.references()),
                Some(refusal(self.image, &error)),
            )),
            Err(error) => Err(refusal(self.image, &error)),
        }
    }
}

fn refusal(image: &Image, error: &DockerfileError) -> Error {
    let path = &image.dockerfile;
    let place = match (error.line(), error.column()) {
        (0, _) => path.to_string(),
        (line, 0) => format!("{path}:{line}"),
        (line, column) => format!("{path}:{line}:{column}"),
    };
    let refusal = Error::usage(format_args!("{place}: {error}"));
    match error.hint() {
        Some(hint) => refusal.with_hint(hint),
        None => refusal,
    }
}
