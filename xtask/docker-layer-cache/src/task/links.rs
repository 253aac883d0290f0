//! Images that build on other images of the same file.
//!
//! `contexts = { base = "target:other" }` is a link: `other` is built before, under a tag of its
//! own, and that image is the named context. The tag is new at every build and noted beside the
//! key, so that no other job on the engine can put another image under it, and it is of a host that
//! cannot be (RFC 2606): an engine that asks registries first finds nothing there.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use super::images::{Image, slug};
use super::job::Job;
use super::key::Keyed;
use super::notes::write_file;
use super::stage_images::{unique, untag};
use crate::cache_key::Ingredient;
use crate::engine::{Builder, Strategy};
use crate::error::{Error, exit_code};
use crate::oci::Digest;

/// What all tags of linked images begin with.
const HOST: &str = "docker-layer-cache.invalid";

/// Refuses what this builder would leave out.
pub(super) fn check(job: &Job<'_>, image: &Image, strategy: Strategy) -> Result<(), Error> {
    let name = &image.name;
    let is_part_of_a_link = image.is_linked || image.links().next().is_some();
    if is_part_of_a_link && !image.all_platforms.is_empty() {
        return Err(Error::usage(format_args!(
            "image `{name}`: a link between images is for one platform"
        ))
        .with_hint("name one with --platform"));
    }
    let hint = "install the buildx plugin, or Docker 23 or later, to build with BuildKit";
    if strategy == Strategy::StageImages && !(image.secrets.is_empty() && image.ssh.is_empty()) {
        return Err(Error::usage(format_args!(
            "image `{name}`: the classic builder knows neither secrets nor ssh"
        ))
        .with_hint(hint));
    }
    let Builder::Buildx { driver, .. } = &job.engine()?.builder else {
        let left_out = [
            ("build contexts", image.build_contexts.is_empty()),
            ("labels", image.labels.is_empty()),
        ];
        return match left_out.iter().find(|(_, is_empty)| !is_empty) {
            None => Ok(()),
            Some((what, _)) => Err(Error::usage(format_args!(
                "image `{name}` has {what}, which only buildx can give it"
            ))
            .with_hint(hint)),
        };
    };
    match image.links().next() {
        Some((_, other)) if driver != "docker" => Err(Error::usage(format_args!(
            "image `{name}` builds on `{other}`, which the builder's driver `{driver}` cannot see in the engine"
        ))
        .with_hint("use a builder with the driver `docker` (`docker buildx use default`)")),
        _ => Ok(()),
    }
}

/// Refuses to go on with what builds on an image that failed: the last one is still there.
pub(super) fn without(image: &Image, failed: &BTreeSet<String>) -> Result<(), Error> {
    match image.links().find(|(_, other)| failed.contains(*other)) {
        None => Ok(()),
        Some((_, other)) => Err(Error::new(
            exit_code::BUILD,
            format_args!("image `{}`: not built, as `{other}` failed", image.name),
        )),
    }
}

/// Returns what the key is made of for the images that `image` builds on: their own keys, which
/// every command computes before.
pub(super) fn ingredients(job: &Job<'_>, image: &Image) -> Result<Vec<Ingredient>, Error> {
    let mut links: Vec<&str> = image.links().map(|(_, other)| other).collect();
    links.sort_unstable();
    links.dedup();
    let ingredient = |other: &str| {
        let path = job.workspace.key_dir.join(format!("{}.full", slug(other)));
        let key_file = std::fs::read(&path).map_err(|error| {
            Error::usage(format_args!(
                "image `{}` builds on `{other}`, whose key `{path}` cannot be read: {error}",
                image.name
            ))
            .with_hint("`target:` contexts are for images of a bake or Compose file")
        })?;
        Ok(Ingredient::LinkedImage {
            image: other.to_owned(),
            digest: Digest::of(&key_file),
        })
    };
    links.into_iter().map(ingredient).collect()
}

/// Returns the build contexts of an image, with links to the images as they were built last.
pub(super) fn build_contexts(job: &Job<'_>, keyed: &Keyed) -> Result<Vec<(String, String)>, Error> {
    let mut contexts = keyed.build_contexts();
    for (context, other) in keyed.image.links() {
        let tag = std::fs::read_to_string(tag_file(job, other)).map_err(|_| {
            Error::usage(format_args!(
                "image `{}` builds on `{other}`, which was not built before it",
                keyed.image.name
            ))
            .with_hint("run `docker-build` or `docker-ci` first, with the same --key-dir")
        })?;
        for (_, value) in contexts.iter_mut().filter(|(name, _)| name == context) {
            *value = format!("docker-image://{tag}");
        }
    }
    Ok(contexts)
}

/// Returns a tag under which others find the image that is built now, where others build on it.
pub(super) fn new_tag(image: &Image) -> Option<String> {
    image
        .is_linked
        .then(|| format!("{HOST}/{}:{}", image.slug(), unique()))
}

/// Notes the tag of the image that was built, where it got one, and takes the last one away.
pub(super) fn note_tag(job: &Job<'_>, image: &Image, tag: Option<&str>) -> Result<(), Error> {
    let Some(tag) = tag else { return Ok(()) };
    let file = tag_file(job, &image.name);
    let last = std::fs::read_to_string(&file).ok();
    write_file(&file, tag.as_bytes())?;
    if let Some(last) = last.filter(|last| last.starts_with(HOST)) {
        untag(job, &[last]);
    }
    Ok(())
}

fn tag_file(job: &Job<'_>, name: &str) -> Utf8PathBuf {
    job.workspace
        .key_dir
        .join(".work")
        .join(slug(name))
        .join("link-tag")
}
