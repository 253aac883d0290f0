//! The list of an image's platforms: from the manifests that were pushed to one tag for all.

use super::super::bases;
use super::super::images::Image;
use super::super::job::Job;
use super::{PushResult, Pushed, targets};
use crate::error::{Error, exit_code};
use crate::oci::{Descriptor, ImageIndex, Platform, Reference, media_type};
use crate::registry::Client;

/// Puts the list of the platforms under the tags without a platform. `pushed` is what the platforms
/// got.
///
/// # Errors
/// Where the registry refuses it.
pub(super) fn put_list(
    job: &Job<'_>,
    image: &Image,
    pushed: &[Pushed],
) -> Result<Vec<Pushed>, Error> {
    let client = bases::client_without_mirrors(job.engine().ok())?;
    let mut lists: Vec<Pushed> = Vec::new();
    for target in targets(job, image)? {
        let repository = target.repository();
        let tag = target.reference.to_string();
        let mut same = lists.iter_mut();
        let known = same.find(|list| list.repository == repository);
        let of_platforms: Vec<&Pushed> = pushed
            .iter()
            .filter(|one| one.image == image.name && one.repository == repository)
            .collect();
        let index = index(
            &client,
            &target.reference,
            &of_platforms,
            &image.all_platforms,
        )?;
        let (media_type, bytes) = index.to_media_type_and_bytes();
        let digest = client
            .put_manifest(&target.reference, &media_type, &bytes)
            .map_err(|error| bases::of_registry(&error))?;
        match known {
            Some(list) => list.tags.push(tag),
            None => lists.push(Pushed {
                image: image.name.clone(),
                platform: joined(&image.all_platforms),
                tags: vec![tag],
                digest,
                repository,
                result: if of_platforms
                    .iter()
                    .all(|one| one.result == PushResult::Reused)
                {
                    PushResult::Reused
                } else {
                    PushResult::Pushed
                },
            }),
        }
    }
    Ok(lists)
}

/// Returns `linux/amd64,linux/arm64`, as `--platform` takes it.
pub(super) fn joined(platforms: &[Platform]) -> String {
    let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    platforms.join(",")
}

fn index(
    client: &Client,
    reference: &Reference,
    pushed: &[&Pushed],
    platforms: &[Platform],
) -> Result<ImageIndex, Error> {
    let mut manifests = Vec::new();
    for platform in platforms {
        let name = platform.to_string();
        let one = pushed.iter().find(|one| one.platform == name);
        let one = one.ok_or_else(|| {
            Error::new(
                exit_code::REGISTRY,
                format_args!("`{reference}`: the image for {name} was not pushed"),
            )
        })?;
        manifests.push(descriptor(client, reference, one, platform)?);
    }
    ImageIndex::of_platforms(manifests)
        .map_err(|error| Error::new(exit_code::REGISTRY, format_args!("`{reference}`: {error}")))
}

/// Returns the descriptor of what was pushed for a platform. An engine with the containerd store can
/// push an index even of one platform: then it is the one manifest for it.
fn descriptor(
    client: &Client,
    reference: &Reference,
    pushed: &Pushed,
    platform: &Platform,
) -> Result<Descriptor, Error> {
    let fetched = client
        .manifest(&reference.at_digest(&pushed.digest))
        .map_err(|error| bases::of_registry(&error))?;
    let is_index = [media_type::OCI_INDEX, media_type::DOCKER_MANIFEST_LIST]
        .contains(&fetched.media_type.as_str());
    let mut found = if is_index {
        let index: ImageIndex = serde_json::from_slice(&fetched.bytes).map_err(|error| {
            Error::new(
                exit_code::REGISTRY,
                format_args!("the index `{}`: {error}", fetched.digest),
            )
        })?;
        let is_for = |manifest: &Descriptor| {
            let of = manifest.platform.as_ref().map(Platform::normalized);
            of == Some(platform.normalized())
        };
        index.manifests.into_iter().find(is_for).ok_or_else(|| {
            Error::new(
                exit_code::REGISTRY,
                format_args!("the index `{}` has no image for {platform}", fetched.digest),
            )
        })?
    } else {
        let size = fetched.bytes.len() as u64;
        Descriptor::new(&fetched.media_type, fetched.digest, size)
    };
    found.platform = Some(platform.clone());
    Ok(found)
}
