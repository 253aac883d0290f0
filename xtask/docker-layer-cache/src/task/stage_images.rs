//! Stage images: what the classic builder, and `BuildKit` without a build cache, can use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::forecast::recorded_steps;
use camino::Utf8PathBuf;

use super::images::{Image, slug};
use super::import_rate::{import_cost, learn};
use super::job::Job;
use super::key::Keyed;
use super::notes::{Restored, write_file};
use super::offer::{self, Planned};
use super::remote;
use super::restore::of_store;
use super::verify::Verifier;
use crate::docker_archive::{self, ArchiveImage, ArchiveLayer, ArchiveLayout};
use crate::engine::Strategy;
use crate::error::{Error, exit_code};
use crate::image_layout::{ImageLayout, StoredEntry, UNCOMPRESSED_SIZE};
use crate::oci::{Descriptor, DiffId, ImageConfig, ImageManifest};
use crate::plan::{self, Fit, PredictedStep, RecordedStep};

/// How many generations of a stage the classic builder is given. It follows the first one whose
/// first step fits and looks at no other; the second is for a stage whose best one is damaged in a
/// way that only the engine sees.
const GENERATIONS: usize = 2;

/// The registry that our tags name. No such host can ever be: a builder that lacks an image of ours
/// must not find one that somebody else put at a registry.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc2606#section-2>
pub(super) const TAG_HOST: &str = "docker-layer-cache.invalid";

/// Loads the chosen stage images that pay into the engine, without the layers that it has.
pub(super) fn load(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
) -> Result<Restored, Error> {
    // The base first: its layers then need not come out of the store.
    if !job.dry_run {
        pin_bases(job, keyed)?;
    }
    let generations = if strategy == Strategy::StageImages {
        GENERATIONS
    } else {
        1
    };
    let recorded: Vec<Vec<RecordedStep>> = chosen
        .iter()
        .map(|(stored, _)| recorded_steps(stored))
        .collect();
    let recorded: Vec<&[RecordedStep]> = recorded.iter().map(Vec::as_slice).collect();
    let import = import_cost(job, strategy, chosen.iter().map(|(stored, _)| stored))?;
    let plan = offer::plan(job, keyed, strategy, import, &recorded)?;
    let stages = keyed
        .forecast(job)
        .map_or(&[][..], |forecast| forecast.stages());
    let is_left_out = |at: usize, name: &str| {
        let (Some(plan), false) = (&plan, job.offer.all) else {
            return false;
        };
        // Of an entry that recorded nothing, nothing can be told.
        if recorded[at].is_empty() {
            let chains = &mut plan.chains.iter();
            return chains.any(|chain| chain.stage == name && !chain.verdict.is_offered());
        }
        let stage = stages.iter().position(|stage| stage.name == name);
        stage.is_some_and(|stage| !plan::is_worth_loading(plan, stages, stage))
    };
    let wanted = wanted_stages(keyed, strategy);
    let is_wanted = |at: usize, stage: &String| !is_left_out(at, stage) && wanted.contains(stage);
    let mut verifier = Verifier::new(job, keyed, layout);
    if !job.dry_run {
        remote::fetch_entries(
            job,
            layout,
            firsts(chosen, generations, is_wanted).into_iter(),
        )?;
        let first = layers_of_first(layout, chosen, generations, is_wanted);
        let spared = plan.as_ref().map(plan::RestorePlan::spared_seconds);
        remote::fetch(job, layout, first.iter(), spared)?;
        verifier.are_good(first.iter());
    }
    let mut restored = Restored::default();
    let mut images: Vec<StageImage> = Vec::new();
    let mut n_loaded: BTreeMap<String, usize> = BTreeMap::new();
    let mut unusable: BTreeSet<usize> = BTreeSet::new();
    for (at, (stored, fit)) in chosen.iter().enumerate() {
        let Some(stage) = stored.entry.stage.clone() else {
            continue;
        };
        let generation = n_loaded.entry(stage.clone()).or_default();
        if *generation == generations || !wanted.contains(&stage) {
            continue;
        }
        if is_left_out(at, &stage) {
            // What it knows of the steps is kept all the same.
            restored.entries.push(stored.descriptor.digest.clone());
            *generation += 1;
            continue;
        }
        if job.remote().is_some() && !layout.has_blob(&stored.descriptor.digest) {
            // It could not be fetched, as was told, or need not be.
            unusable.insert(at);
            continue;
        }
        let image = StageImage::read(layout, stored).and_then(|mut image| {
            image.tag = stage_tag(&keyed.image.stage_repository(), &stage, *generation);
            if job.dry_run || verifier.are_good(image.manifest.layers.iter()) {
                return Ok(image);
            }
            Err(Error::new(
                exit_code::STORE,
                "a layer is missing or damaged",
            ))
        });
        match image {
            Ok(image) => {
                *generation += 1;
                restored.entries.push(stored.descriptor.digest.clone());
                restored.loaded.push((stage, image.tag.clone()));
                restored.exact |= *fit == Fit::Full;
                if !job.args.read_only && !job.dry_run {
                    layout.touch(stored);
                }
                images.push(image);
            }
            Err(error) => {
                unusable.insert(at);
                job.talk.warn(format_args!(
                    "the entry `{}` cannot be used: {error}",
                    stored.name
                ));
            }
        }
    }
    restored.n_verified = verifier.n_read();
    restored.damaged.extend(verifier.damaged().iter().cloned());
    if let Some(plan) = &plan {
        let is_lost =
            |step: &PredictedStep<'_>| step.entry.is_some_and(|entry| unusable.contains(&entry));
        restored.plan = Some(Planned::new(job, keyed, import, plan, is_lost));
    }
    if !images.is_empty() && !job.dry_run {
        restored.bytes = stream(job, strategy, layout, &images)?;
    }
    Ok(restored)
}

/// Returns the entries of the images that are loaded where none is damaged.
fn firsts(
    chosen: &[(StoredEntry, Fit)],
    generations: usize,
    is_wanted: impl Fn(usize, &String) -> bool,
) -> Vec<&StoredEntry> {
    let mut n_found: BTreeMap<&String, usize> = BTreeMap::new();
    let mut first = Vec::new();
    for (at, (stored, _)) in chosen.iter().enumerate() {
        let stage = stored.entry.stage.as_ref();
        if let Some(stage) = stage.filter(|stage| is_wanted(at, stage)) {
            let n_found = n_found.entry(stage).or_default();
            *n_found += 1;
            if *n_found <= generations {
                first.push(stored);
            }
        }
    }
    first
}

/// Returns the layers of the images that are loaded where none is damaged.
fn layers_of_first(
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
    generations: usize,
    is_wanted: impl Fn(usize, &String) -> bool,
) -> Vec<Descriptor> {
    let mut n_found: BTreeMap<&String, usize> = BTreeMap::new();
    let mut layers = Vec::new();
    for (at, (stored, _)) in chosen.iter().enumerate() {
        let stage = stored.entry.stage.as_ref();
        let Some(stage) = stage.filter(|stage| is_wanted(at, stage)) else {
            continue;
        };
        let n_found = n_found.entry(stage).or_default();
        if *n_found < generations
            && let Ok(image) = StageImage::read(layout, stored)
        {
            *n_found += 1;
            layers.extend(image.manifest.layers);
        }
    }
    layers
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

/// Notes the tags that a build makes for the next save, before it makes them: whatever ends the
/// job, they go with the next one.
pub(super) fn note_saving_tags(
    job: &Job<'_>,
    image: &Image,
    tags: &[(usize, String)],
) -> Result<(), Error> {
    let tags: Vec<&String> = tags.iter().map(|(_, tag)| tag).collect();
    let json = serde_json::to_vec(&tags).expect("tags are JSON");
    write_file(&saving_tags_file(job, image), &json)
}

/// Takes the tags away that an earlier build made for a save.
pub(super) fn drop_saving_tags(job: &Job<'_>, image: &Image) {
    let file = saving_tags_file(job, image);
    let Ok(json) = std::fs::read(&file) else {
        return;
    };
    let tags: Vec<String> = serde_json::from_slice(&json).unwrap_or_default();
    untag(job, &tags);
    let _ = std::fs::remove_file(&file);
}

fn saving_tags_file(job: &Job<'_>, image: &Image) -> Utf8PathBuf {
    job.workspace.work_file(image, "saving-tags")
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
fn stream(
    job: &Job<'_>,
    strategy: Strategy,
    layout: &ImageLayout,
    images: &[StageImage],
) -> Result<u64, Error> {
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
    let sent: BTreeMap<&DiffId, u64> = archive
        .iter()
        .flat_map(|image| &image.layers)
        .filter(|layer| !layer.left_out)
        .map(|layer| (&layer.diff_id, blobs[&layer.diff_id].size))
        .collect();
    let started = Instant::now();
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
    learn(
        job,
        strategy,
        sent.values().sum(),
        started.elapsed().as_secs_f64(),
    )?;
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
