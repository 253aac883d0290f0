//! What of a key lies in files: the inputs and the ignore rules.

use camino::{Utf8Path, Utf8PathBuf};

use super::super::Workspace;
use super::super::images::Image;
use super::super::job::Job;
use super::super::notes::write_file;
use crate::build_context::{self, ContextError, DigestIndex, IgnoreRules, Inputs};
use crate::cache_key::{Ingredient, InputKind, KeyKind, Keys, combined_key_file};
use crate::error::Error;

/// Finds and hashes the inputs of `image`. Digests that are known from the last time come from the
/// index at `index`, which is a help and no more: where it cannot be written, the next run is slower.
pub(super) fn hash_inputs(
    root: &Utf8Path,
    image: &Image,
    index: &Utf8Path,
) -> Result<Inputs, ContextError> {
    if image.inputs.is_empty() {
        return build_context::inputs(root, &[], None);
    }
    let globs: Vec<String> = image
        .inputs
        .iter()
        .map(|input| input.glob.clone())
        .collect();
    let mut known = DigestIndex::open(index);
    let inputs = build_context::inputs(root, &globs, Some(&mut known))?;
    let _ = known.write();
    Ok(inputs)
}

/// Returns the path of the key file of `image` for its platform: CI's own, where there is one
/// platform, and a note of ours where there are several.
pub(super) fn key_file(workspace: &Workspace, image: &Image, extension: &str) -> Utf8PathBuf {
    if image.all_platforms.is_empty() {
        workspace.key_file(image, extension)
    } else {
        workspace.work_file(image, &format!("key.{extension}"))
    }
}

/// Writes the key files of all platforms of `image`, and returns their keys, where this is the last
/// of several: the others were keyed before it, by the same command.
pub(super) fn combine(workspace: &Workspace, image: &Image) -> Result<Option<Keys>, Error> {
    if !image.is_last_platform() {
        return Ok(None);
    }
    let combined = |kind: KeyKind| {
        let extension = kind.to_string();
        let read = |image: Image| {
            let path = key_file(workspace, &image, &extension);
            std::fs::read_to_string(&path)
                .map_err(|error| Error::usage(format_args!("cannot read `{path}`: {error}")))
        };
        let files: Result<Vec<String>, Error> = image.siblings().into_iter().map(read).collect();
        let text = combined_key_file(&files?, kind);
        write_file(&workspace.key_file(image, &extension), text.as_bytes())?;
        Ok::<_, Error>(text)
    };
    let (base, full) = (combined(KeyKind::Base)?, combined(KeyKind::Full)?);
    Ok(Some(Keys::of_key_files(&base, &full)))
}

/// Returns the inputs as ingredients, and says which patterns match nothing.
pub(super) fn inputs(
    job: &Job<'_>,
    image: &Image,
    found: Result<Inputs, ContextError>,
) -> Result<Vec<Ingredient>, Error> {
    let found = found.map_err(|error| {
        Error::usage(&error).during(format_args!("image `{}`: inputs", image.name))
    })?;
    let is_required = |pattern: &&String| {
        image
            .inputs
            .iter()
            .any(|input| input.required && input.glob == **pattern)
    };
    if let Some(pattern) = found.unmatched.iter().find(is_required) {
        return Err(Error::usage(format_args!(
            "image `{}`: the required input `{pattern}` matches no file below `{}`",
            image.name, job.workspace.root
        ))
        .with_hint("correct the glob in docker/images.toml, or take `required` from it"));
    }
    for pattern in &found.unmatched {
        job.talk.warn(format_args!(
            "image `{}`: the input `{pattern}` matches no file",
            image.name
        ));
    }
    Ok(found
        .files
        .into_iter()
        .map(|input| Ingredient::Input {
            kind: match input.kind {
                build_context::InputKind::Symlink => InputKind::Symlink,
                build_context::InputKind::File if input.executable => InputKind::Executable,
                build_context::InputKind::File => InputKind::File,
            },
            path: input.path,
            digest: input.digest,
        })
        .collect())
}

/// Returns the ignore file that rules the build context of `image`, and its text.
pub(super) fn ignore_rules(image: &Image) -> Result<Option<(Utf8PathBuf, Vec<u8>)>, Error> {
    let Some(path) = build_context::find_ignore_file(&image.dockerfile, &image.context) else {
        return Ok(None);
    };
    let text = std::fs::read(&path)
        .map_err(|error| Error::usage(format_args!("cannot read `{path}`: {error}")))?;
    IgnoreRules::parse(&text).map_err(|error| Error::usage(format_args!("`{path}`: {error}")))?;
    Ok(Some((path, text)))
}

/// A store within the build context is sent with it, and changes it with every save.
pub(super) fn warn_of_store_in_context(
    job: &Job<'_>,
    image: &Image,
    ignore: Option<&(Utf8PathBuf, Vec<u8>)>,
) {
    let rules = ignore.map(|(_, text)| text.as_slice()).unwrap_or_default();
    let Ok(rules) = IgnoreRules::parse(rules) else {
        return;
    };
    for folder in [&job.workspace.store, &job.workspace.key_dir] {
        let Ok(inside) = folder.strip_prefix(&image.context) else {
            continue;
        };
        if rules
            .keeps(inside.join("index.json").as_str())
            .unwrap_or(false)
        {
            let first = inside
                .components()
                .next()
                .map(|component| component.to_string())
                .unwrap_or_default();
            job.talk.warn(format_args!(
                "image `{}`: `{folder}` is within the build context, so that each save changes the context; put `{first}` into `{}`",
                image.name,
                image.context.join(".dockerignore")
            ));
            return;
        }
    }
}
