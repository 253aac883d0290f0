//! `docker-save`: what the last build added → the store.

mod exported;
mod images;
mod layers;
mod written;

use std::time::{Instant, SystemTime};

use xshell::Shell;

use super::cache_mounts;
use super::forecast::recorded_annotation;
use super::import_rate::import_rate_annotation;
use super::job::Job;
use super::key::{Digests, Keyed, key};
use super::notes::{Built, Notes, Restored};
use super::remote;
use super::remote_cache;
use super::restore::of_store;
use super::stage_images::{drop_saving_tags, unique};
use super::{RECIPE_ANNOTATION, STAGE_RECORDS_ANNOTATION};
use crate::buildkit_cache::{CacheGraph, StageRecords};
use crate::cli::TaskArgs;
use crate::docker_archive::SavedImage;
use crate::engine::Strategy;
use crate::error::{Error, exit_code};
use crate::image_layout::{
    Entry, EntryKind, ImageLayout, Retention, StoredEntry, StoredLayers, Timestamp, Writer,
};
use crate::oci::{ImageManifest, media_type};
use crate::plan::RecordedStep;
use crate::ui::{self, bytes, seconds};

/// How many entries of one image, platform, engine class and stage the store keeps.
const KEEP: usize = 8;

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &TaskArgs) -> Result<(), Error> {
    let job = Job::open(sh, args)?;
    for image in job.images(sh)? {
        let _lock = job.lock(&image)?;
        let notes = Notes::read(&job.workspace.work_file(&image, "job.json"));
        let Some((built, restored)) =
            notes.and_then(|notes| Some((notes.built?, notes.restored.unwrap_or_default())))
        else {
            return Err(Error::usage(format_args!(
                "image `{}`: nothing was built that could be saved",
                image.label()
            ))
            .with_hint("run `cargo xtask docker-build` first"));
        };
        let keyed = key(&job, image, Digests::OfLastBuild)?;
        let saved = save(&job, &keyed, &restored, &built)?;
        let mounts = cache_mounts::save(&job, &keyed, &restored, &built)?;
        remote::upload(&job, &keyed)?;
        if args.json {
            ui::data(
                serde_json::json!({ "image": keyed.image.name, "platform": keyed.platform.to_string(), "key": keyed.keys, "saved": saved, "cache_mounts": mounts }),
            )?;
        }
    }
    Ok(())
}

/// What a save did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Saved {
    /// Bytes that were written as new layers.
    pub(super) bytes: u64,
    /// How many layers were new.
    pub(super) layers: usize,
    /// Why nothing was saved, where nothing was.
    pub(super) skipped: Option<&'static str>,
}

/// Stores what the build added. A store that cannot be written is a warning.
pub(super) fn save(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    built: &Built,
) -> Result<Saved, Error> {
    if built.strategy == Strategy::RemoteBuildCache {
        return remote_cache::save(job, keyed, built);
    }
    let started = Instant::now();
    let saved = try_save(job, keyed, restored, built);
    drop_saving_tags(job, &keyed.image);
    let saved = match saved {
        Ok(saved) => saved,
        Err(error) if job.args.strict => return Err(error),
        Err(error) => {
            let hint = error
                .hint()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            job.talk.warn(format_args!(
                "{}: not saved: {error}{hint}",
                keyed.image.label()
            ));
            return Ok(Saved {
                skipped: Some("the store could not be written"),
                ..Saved::default()
            });
        }
    };
    match saved.skipped {
        Some(reason) => job.talk.say(format_args!(
            "{}: nothing to save: {reason}",
            keyed.image.label()
        )),
        None => job.talk.say(format_args!(
            "{}: saved {} new layers, {} in {}",
            keyed.image.label(),
            saved.layers,
            bytes(saved.bytes),
            seconds(started.elapsed().as_secs_f64())
        )),
    }
    Ok(saved)
}

fn try_save(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    built: &Built,
) -> Result<Saved, Error> {
    let skipped = |reason| {
        Ok(Saved {
            skipped: Some(reason),
            ..Saved::default()
        })
    };
    if job.args.read_only {
        return skipped("the store is read-only for this job");
    }
    // What the build could not take does not serve the save either.
    let nothing = Restored {
        damaged: restored.damaged.clone(),
        ..Restored::default()
    };
    let restored = if built.without_cache {
        &nothing
    } else {
        restored
    };
    let strategy = if built.cache_is_not_taken {
        Strategy::InlineStageImages
    } else {
        built.strategy
    };
    let class = strategy.engine_class(job.engine()?);
    let kind = if strategy.uses_view() {
        EntryKind::BuildCache
    } else {
        EntryKind::StageImage
    };
    if built.stages_to_save().is_empty() && !built.unsaved_before {
        // Whatever hit came out of the store, or was in the engine while the store knew of it; an
        // entry that the restore before could not use counts for nothing.
        let is_usable = restored.strategy.is_none() || !restored.entries.is_empty();
        let known = ImageLayout::open_read_only(&job.workspace.store)
            .is_ok_and(|layout| has_entry(&layout, keyed, &class, kind));
        if known && is_usable {
            // A later build that finds all of it in the engine need not make up for it.
            let _ = std::fs::remove_file(job.workspace.work_file(&keyed.image, "unsaved"));
            return skipped(if built.stages_that_ran().is_empty() {
                "no step ran"
            } else {
                "it would take longer than running again what ran"
            });
        }
    }
    let layout =
        ImageLayout::open_or_create(&job.workspace.store).map_err(|error| of_store(&error))?;
    let mut writer = layout.writer().map_err(|error| of_store(&error))?;
    discard_damaged(&writer, restored)?;
    if let Some(url) = job.remote_url() {
        let elsewhere = layout
            .blobs_at_remote(&url)
            .map_err(|error| of_store(&error))?;
        writer = writer.with_elsewhere(&url, elsewhere);
    }
    let layers = writer.all_layers().map_err(|error| of_store(&error))?;
    let mut save = Save {
        job,
        keyed,
        restored,
        built,
        writer,
        class,
        kind,
        layers,
        everything: built.unsaved_before || built.stages_to_save().is_empty(),
        unique: unique(),
        recorded: layers::without_new_layers(built),
        saved: Saved::default(),
    };
    match strategy {
        Strategy::WrittenBuildCache => save.written_build_cache()?,
        Strategy::ExportedBuildCache => save.exported_build_cache()?,
        Strategy::StageImages => save.stage_images(&built.stage_images)?,
        Strategy::InlineStageImages => save.inline_stage_images()?,
        Strategy::RemoteBuildCache => unreachable!("the builder keeps it by itself"),
    }
    let Save { saved, writer, .. } = save;
    drop(writer);
    // What an earlier save missed is in this one.
    let _ = std::fs::remove_file(job.workspace.work_file(&keyed.image, "unsaved"));
    tidy(job, &layout);
    Ok(saved)
}

/// Drops what the configuration does not want to keep.
pub(super) fn tidy(job: &Job<'_>, layout: &ImageLayout) {
    let retention = Retention {
        max_size_bytes: job.workspace.images.max_size_bytes,
        keep: Some(KEEP),
        ..Retention::default()
    };
    match layout.collect_garbage(&retention) {
        Ok(collected) if !collected.entries.is_empty() => job.talk.say(format_args!(
            "the store dropped {} old entries, {}",
            collected.entries.len(),
            bytes(collected.freed_bytes)
        )),
        Ok(_) => {}
        Err(error) => job
            .talk
            .warn(format_args!("the store could not be tidied: {error}")),
    }
}

/// One save under way.
struct Save<'a> {
    job: &'a Job<'a>,
    keyed: &'a Keyed,
    restored: &'a Restored,
    built: &'a Built,
    writer: Writer,
    class: String,
    kind: EntryKind,
    /// The layers that the store has, those of this save included.
    layers: StoredLayers,
    /// What an earlier build left in the engine is not in the store: no stage may be passed over.
    everything: bool,
    /// Told apart from every other save on the same engine or store.
    unique: String,
    /// The steps of the build, with their layers as far as they are known.
    recorded: Vec<RecordedStep>,
    saved: Saved,
}
impl Save<'_> {
    fn put_build_cache(
        &mut self,
        graph: &CacheGraph,
        records: Option<&StageRecords>,
    ) -> Result<(), Error> {
        let mut graph = graph.clone();
        graph.prune(|digest| self.writer.has(digest));
        let written = graph.write().map_err(of_cache)?;
        self.writer
            .put_blob(media_type::BUILDKIT_CACHE_CONFIG, &written.config)
            .map_err(|error| of_store(&error))?;
        let mut manifest: ImageManifest =
            serde_json::from_slice(&written.manifest).expect("it was written just now");
        if let Some(records) = records {
            let records = serde_json::to_string(records).expect("names and digests are JSON");
            manifest
                .annotations
                .insert(STAGE_RECORDS_ANNOTATION.to_owned(), records);
        }
        self.put_entry(None, &manifest)
    }

    fn put_stage_image(&mut self, stage: &str, image: &SavedImage) -> Result<(), Error> {
        let layers = self.descriptors(image)?;
        let names = self.keyed.stage_names();
        if let Some(at) = names.iter().position(|name| name == stage) {
            self.record_image(at, image, &layers);
        }
        let config = self
            .writer
            .put_blob(media_type::OCI_CONFIG, &image.config)
            .map_err(|error| of_store(&error))?;
        self.put_entry(Some(stage), &ImageManifest::new(config, layers))
    }

    fn put_entry(&mut self, stage: Option<&str>, manifest: &ImageManifest) -> Result<(), Error> {
        let recorded: Vec<RecordedStep> = self
            .recorded
            .iter()
            .filter(|step| stage.is_none_or(|stage| step.stage == stage))
            .cloned()
            .collect();
        let mut extra = recorded_annotation(&recorded);
        extra.extend(self.recipe_annotation());
        let entries = self.writer.entries().unwrap_or_default();
        let served = entries
            .iter()
            .filter(|stored| self.restored.entries.contains(&stored.descriptor.digest));
        let strategy = self.built.strategy;
        extra.extend(import_rate_annotation(self.job, strategy, served)?);
        let entry = Entry {
            kind: self.kind,
            image: self.keyed.image.name.clone(),
            platform: self.keyed.platform.clone(),
            engine_class: self.class.clone(),
            key_base: self.built.base_key.to_string(),
            key_full: self.built.full_key.to_string(),
            stage: stage.map(str::to_owned),
            mount: None,
            created: Timestamp::from(SystemTime::now()),
            steps: serde_json::to_value(&self.built.steps).expect("steps are JSON"),
            extra,
        };
        self.writer
            .put_entry(&entry, manifest)
            .map_err(|error| of_store(&error))?;
        Ok(())
    }

    /// Returns the recipe, for `docker-key --explain` on machines that have nothing but the store.
    /// A long one is left out: the index is read by every command.
    fn recipe_annotation(&self) -> Option<(String, String)> {
        const MAX_BYTES: usize = 32 * 1024;
        let recipe: Option<serde_json::Value> =
            serde_json::from_str(&self.keyed.recipe.to_json()).ok();
        recipe
            .map(|recipe| recipe.to_string())
            .filter(|recipe| recipe.len() < MAX_BYTES)
            .map(|recipe| (RECIPE_ANNOTATION.to_owned(), recipe))
    }

    fn is_ours(&self, stored: &StoredEntry) -> bool {
        let entry = &stored.entry;
        entry.kind == self.kind
            && entry.image == self.keyed.image.name
            && entry.engine_class == self.class
            && entry.platform == self.keyed.platform
    }
}

/// Blobs that were found damaged go, so that they count as new.
fn discard_damaged(writer: &Writer, restored: &Restored) -> Result<(), Error> {
    let known = writer.layers().map_err(|error| of_store(&error))?;
    for blob in known
        .by_diff_id
        .values()
        .filter(|blob| restored.damaged.contains(&blob.digest))
    {
        writer
            .discard_if_damaged(blob)
            .map_err(|error| of_store(&error))?;
    }
    Ok(())
}

fn of_cache(error: crate::buildkit_cache::CacheConfigError) -> Error {
    Error::new(exit_code::STORE, error)
}

/// Tells whether the store has a usable build cache for the image at all.
fn has_entry(layout: &ImageLayout, keyed: &Keyed, engine_class: &str, kind: EntryKind) -> bool {
    layout.entries().is_ok_and(|entries| {
        entries.iter().any(|stored| {
            stored.entry.kind == kind
                && !stored.entry.extra.contains_key(super::FAILED_ANNOTATION)
                && stored.entry.image == keyed.image.name
                && stored.entry.engine_class == engine_class
                && stored.entry.platform == keyed.platform
        })
    })
}
