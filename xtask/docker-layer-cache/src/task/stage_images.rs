//! Stage images: what the classic builder, and `BuildKit` without a build cache, can use.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::images::slug;
use super::job::Job;
use super::key::Keyed;
use super::notes::Restored;
use super::restore::{of_store, verify};
use crate::docker_archive::{self, ArchiveImage, ArchiveLayer, ArchiveLayout};
use crate::engine::Strategy;
use crate::error::{Error, exit_code};
use crate::image_layout::{ImageLayout, StoredEntry, UNCOMPRESSED_SIZE};
use crate::oci::{Descriptor, DiffId, ImageConfig, ImageManifest};
use crate::plan::Fit;

/// How many generations of a stage the classic builder is given. It follows the first one whose
/// first step fits and looks at no other; the second is for a stage whose best one is damaged in a
/// way that only the engine sees.
const GENERATIONS: usize = 2;

/// The registry that our tags name. No such host can ever be: a builder that lacks an image of ours
/// must not find one that somebody else put at a registry.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc2606#section-2>
pub(super) const TAG_HOST: &str = "docker-layer-cache.invalid";

/// Loads the chosen stage images into the engine, without the layers that it has.
pub(super) fn load(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
) -> Result<Restored, Error> {
    // The base first: its layers then need not come out of the store.
    pin_bases(job, keyed)?;
    let generations = if strategy == Strategy::StageImages {
        GENERATIONS
    } else {
        1
    };
    let mut restored = Restored::default();
    let mut images: Vec<StageImage> = Vec::new();
    let mut n_loaded: BTreeMap<String, usize> = BTreeMap::new();
    for (stored, fit) in chosen {
        let Some(stage) = stored.entry.stage.clone() else {
            continue;
        };
        let generation = n_loaded.entry(stage.clone()).or_default();
        if *generation == generations || !wanted_stages(keyed, strategy).contains(&stage) {
            continue;
        }
        let image = StageImage::read(layout, stored).and_then(|mut image| {
            if !verify(job, layout, image.manifest.layers.iter()).is_empty() {
                restored
                    .damaged
                    .extend(verify_quietly(layout, &image.manifest.layers));
                return Err(Error::new(
                    exit_code::STORE,
                    "a layer is missing or damaged",
                ));
            }
            image.tag = stage_tag(&keyed.image.name, &stage, *generation);
            Ok(image)
        });
        match image {
            Ok(image) => {
                *generation += 1;
                restored.entries.push(stored.descriptor.digest.clone());
                restored.loaded.push((stage, image.tag.clone()));
                restored.exact |= *fit == Fit::Full;
                if !job.args.read_only {
                    layout.touch(stored);
                }
                images.push(image);
            }
            Err(error) => job.talk.warn(format_args!(
                "the entry `{}` cannot be used: {error}",
                stored.name
            )),
        }
    }
    if !images.is_empty() {
        restored.bytes = stream(job, layout, &images)?;
    }
    Ok(restored)
}

/// Returns the tag of a stage's image: the newest is generation 0.
pub(super) fn stage_tag(image: &str, stage: &str, generation: usize) -> String {
    let suffix = if generation == 0 {
        String::new()
    } else {
        format!("__{generation}")
    };
    format!("{TAG_HOST}/{}:{}{suffix}", slug(image), slug(stage))
}

/// Returns the tag of a stage's image that is read by the next save, and then goes.
pub(super) fn saving_tag(image: &str, stage: &str, unique: &str) -> String {
    format!("{}__save-{unique}", stage_tag(image, stage, 0))
}

/// Takes tags away, with a warning where that fails.
pub(super) fn untag(job: &Job<'_>, tags: &[String]) {
    if let Err(error) = job.docker.untag(tags) {
        job.talk.warn(error);
    }
}

/// Returns what tells one save from every other on the same engine or store. Jobs in containers have
/// the same process IDs, so the time is in it too.
pub(super) fn unique() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), now.as_nanos())
}

/// Returns the stages that the builder builds: the classic one all of them up to the target.
pub(super) fn wanted_stages(keyed: &Keyed, strategy: Strategy) -> Vec<String> {
    let evaluation = &keyed.evaluation;
    let names = keyed.stage_names();
    let wanted = |index: usize| match strategy {
        Strategy::StageImages => index <= evaluation.target,
        _ => evaluation.stages[index].needed,
    };
    names
        .into_iter()
        .enumerate()
        .filter(|(index, _)| wanted(*index))
        .map(|(_, name)| name)
        .collect()
}

/// Brings the bases at the digests of the key into the engine, for builders that know no named
/// contexts. `FROM` names them by digest there; what `COPY --from` names gets its tag.
pub(super) fn pin_bases(job: &Job<'_>, keyed: &Keyed) -> Result<(), Error> {
    for base in keyed.recipe.bases() {
        let pinned = base.reference.at_digest(&base.digest);
        let platform = keyed.image.platform.as_ref();
        job.docker.pull(&pinned, platform)?;
        let is_copied = base.used_by.iter().any(|used| used.instruction != "FROM");
        if is_copied && base.reference.digest().is_none() {
            job.docker
                .tag(&pinned.to_string(), &base.reference.to_string())?;
        }
    }
    Ok(())
}

/// A stage image of the store.
struct StageImage {
    tag: String,
    config: Vec<u8>,
    diff_ids: Vec<DiffId>,
    manifest: ImageManifest,
}

impl StageImage {
    fn read(layout: &ImageLayout, stored: &StoredEntry) -> Result<StageImage, Error> {
        let manifest = layout
            .manifest(&stored.descriptor)
            .map_err(|error| of_store(&error))?;
        let config = layout
            .read_blob(&manifest.config, 16 << 20)
            .map_err(|error| of_store(&error))?;
        let parsed: ImageConfig =
            serde_json::from_slice(&config).map_err(|error| Error::new(exit_code::STORE, error))?;
        if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::new(
                exit_code::STORE,
                "its manifest and its config differ in the number of layers",
            ));
        }
        Ok(StageImage {
            tag: String::new(),
            config,
            diff_ids: parsed.rootfs.diff_ids,
            manifest,
        })
    }

    /// Returns the image for the archive; layers that some image of the engine has in the same
    /// order from the lowest on are left out.
    fn for_archive(&self, chains: &[Vec<DiffId>], as_stored: bool) -> Result<ArchiveImage, Error> {
        let common = |chain: &Vec<DiffId>| {
            chain
                .iter()
                .zip(&self.diff_ids)
                .take_while(|(a, b)| a == b)
                .count()
        };
        let n_left_out = chains.iter().map(common).max().unwrap_or(0);
        let mut layers = Vec::new();
        for (at, (diff_id, blob)) in self.diff_ids.iter().zip(&self.manifest.layers).enumerate() {
            let layer = if as_stored {
                ArchiveLayer::as_stored(diff_id.clone(), blob.clone())
            } else {
                ArchiveLayer::uncompressed(diff_id.clone(), uncompressed_size(blob)?)
            };
            layers.push(ArchiveLayer {
                left_out: at < n_left_out,
                ..layer
            });
        }
        Ok(ArchiveImage {
            repo_tags: vec![self.tag.clone()],
            config: self.config.clone(),
            layers,
        })
    }
}

/// Streams the images into `docker load`, and returns the bytes of the archive.
fn stream(job: &Job<'_>, layout: &ImageLayout, images: &[StageImage]) -> Result<u64, Error> {
    // Engines before 23 refuse zstd, and read uncompressed layers fastest.
    let as_stored = job.engine()?.server_major >= 26;
    let chains = job.docker.all_chains()?;
    let blobs: BTreeMap<&DiffId, &Descriptor> = images
        .iter()
        .flat_map(|image| image.diff_ids.iter().zip(&image.manifest.layers))
        .collect();
    let archive = images
        .iter()
        .map(|image| image.for_archive(&chains, as_stored))
        .collect::<Result<Vec<_>, _>>()?;
    let mut written = None;
    let loaded = job.docker.load(|stdin| {
        let open = |layer: &ArchiveLayer| -> std::io::Result<Box<dyn std::io::Read>> {
            let blob = blobs[&layer.diff_id];
            if as_stored {
                return Ok(Box::new(std::fs::File::open(
                    layout.blob_path(&blob.digest),
                )?));
            }
            Ok(Box::new(
                layout.open_layer(blob).map_err(std::io::Error::other)?,
            ))
        };
        written = Some(docker_archive::write(
            stdin,
            ArchiveLayout::Oci,
            &archive,
            open,
        )?);
        Ok::<(), docker_archive::ArchiveError>(())
    })?;
    loaded.map_err(|error| Error::new(exit_code::STORE, error))?;
    Ok(written.map_or(0, |written| written.archive_bytes))
}

fn uncompressed_size(blob: &Descriptor) -> Result<u64, Error> {
    let size = blob
        .annotations
        .get(UNCOMPRESSED_SIZE)
        .and_then(|size| size.parse().ok());
    size.ok_or_else(|| {
        Error::new(
            exit_code::STORE,
            format_args!(
                "the layer {} does not tell its uncompressed size",
                blob.digest
            ),
        )
    })
}

fn verify_quietly(layout: &ImageLayout, blobs: &[Descriptor]) -> Vec<crate::oci::Digest> {
    let bad = |(digest, state)| (state != crate::image_layout::BlobState::Good).then_some(digest);
    layout.verify(blobs).into_iter().filter_map(bad).collect()
}
