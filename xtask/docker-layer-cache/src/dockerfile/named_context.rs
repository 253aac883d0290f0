//! `--build-context name=value`: what it replaces, and by what.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerui/namedcontext.go>

use std::collections::BTreeMap;

use super::DockerfileError;
use super::suggestion::quote;
use crate::oci::{Platform, Reference};

/// The named contexts of a build, by the name that `BuildKit` looks up.
#[derive(Debug, Clone, Default)]
pub(super) struct NamedContexts(BTreeMap<String, String>);

/// A named context that replaces a stage or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedContext {
    /// The name under which it was found.
    pub(super) name: String,
    pub(super) value: String,
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContextSource {
    Image(Reference),
    Scratch,
    /// A git repository or a URL: its content can change under the same name.
    Remote(String),
    /// A directory or an OCI layout.
    Local,
}

impl NamedContexts {
    /// Takes names as the command line does: `docker.io/library/alpine:latest` is `alpine`.
    pub(super) fn new(contexts: &BTreeMap<String, String>) -> Self {
        let key = |name: &String| match name.parse::<Reference>() {
            Ok(reference) => reference.context_name(),
            Err(_) => name.clone(),
        };
        Self(
            contexts
                .iter()
                .map(|(name, value)| (key(name), value.clone()))
                .collect(),
        )
    }

    /// Looks up a stage name or an image. `scratch` and `context` are never replaced.
    pub(super) fn find(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<NamedContext>, DockerfileError> {
        if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return Ok(None);
        }
        let reference: Reference = name.parse().map_err(|error| {
            DockerfileError::new(format!("invalid context name {name}: {error}"))
        })?;
        let name = reference.context_name();
        let with_platform = format!("{name}::{}", platform.normalized());
        Ok([with_platform, name].into_iter().find_map(|name| {
            let value = self.0.get(&name)?.clone();
            Some(NamedContext { name, value })
        }))
    }
}

impl NamedContext {
    /// Reads the value: `docker-image://…`, `oci-layout://…`, a git or HTTP address, a directory.
    pub(super) fn source(&self) -> Result<ContextSource, DockerfileError> {
        let value = &self.value;
        let Some((scheme, rest)) = value.split_once(':') else {
            return Ok(ContextSource::Local);
        };
        match scheme {
            "docker-image" => {
                let text = rest.strip_prefix("//").unwrap_or(rest);
                if text == "scratch" {
                    return Ok(ContextSource::Scratch);
                }
                let reference = text.parse().map_err(|error| {
                    DockerfileError::new(format!("{error}")).with_hint(format!(
                        "correct the image of `--build-context {}={}`",
                        self.name,
                        quote(value)
                    ))
                })?;
                Ok(ContextSource::Image(reference))
            }
            "git" | "http" | "https" | "ssh" => Ok(ContextSource::Remote(value.clone())),
            scheme if scheme.starts_with("git@") => Ok(ContextSource::Remote(value.clone())),
            _ => Ok(ContextSource::Local),
        }
    }
}
