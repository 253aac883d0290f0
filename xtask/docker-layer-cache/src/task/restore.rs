//! `docker-restore`: entries of the store → a view that `BuildKit` imports, or images loaded for
//! the classic builder.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use xshell::Shell;

use super::forecast::recorded_steps;
use super::job::Job;
use super::key::{Digests, Keyed, key};
use super::notes::{Notes, Restored};
use super::stage_images;
use crate::buildkit_cache::{CacheConfig, CacheGraph};
use crate::cli::TaskArgs;
use crate::engine::Strategy;
use crate::error::{Error, exit_code};
use crate::image_layout::{BlobState, EntryKind, ImageLayout, StoreError, StoredEntry, View};
use crate::oci::{Digest, ImageManifest};
use crate::plan::{Candidate, Fit, RecordedStep, Wanted, choose};
use crate::ui::{self, bytes, seconds};

/// How many entries are laid over one another in a view: generations of one image mostly share
/// their layers, so that more cost little, and help little.
const MAX_ENTRIES: usize = 6;

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &TaskArgs) -> Result<(), Error> {
    let job = Job::open(sh, args)?;
    for image in job.images(sh)? {
        let _lock = job.lock(&image)?;
        let keyed = key(&job, image, Digests::OfLastKey)?;
        let restored = restore(&job, &keyed)?;
        if args.json {
            ui::data(
                serde_json::json!({ "image": keyed.image.name, "key": keyed.keys, "restored": restored }),
            )?;
        }
    }
    Ok(())
}

/// Lays out what helps this build, and notes it. A store that cannot be used is a cold build.
pub(super) fn restore(job: &Job<'_>, keyed: &Keyed) -> Result<Restored, Error> {
    let started = Instant::now();
    let strategy = job.strategy(&keyed.image)?;
    let restored = try_restore(job, keyed, strategy);
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) if job.args.strict => return Err(error),
        Err(error) => {
            job.talk
                .warn(format_args!("{error}; going on without the store"));
            Restored::default()
        }
    };
    let path = job.workspace.work_file(&keyed.image, "job.json");
    let mut notes = Notes::read(&path).unwrap_or_else(|| Notes::new(&keyed.recipe));
    notes.restored = Some(restored.clone());
    notes.write(&path)?;
    if restored.entries.is_empty() {
        job.talk.say(format_args!(
            "{}: nothing in the store helps this build",
            keyed.image.name
        ));
    } else {
        job.talk.say(format_args!(
            "{}: restored {} ({} in {})",
            keyed.image.name,
            if restored.exact {
                "the very same key"
            } else {
                "what earlier builds left"
            },
            bytes(restored.bytes),
            seconds(started.elapsed().as_secs_f64())
        ));
    }
    Ok(restored)
}

fn try_restore(job: &Job<'_>, keyed: &Keyed, mut strategy: Strategy) -> Result<Restored, Error> {
    let (layout, mut chosen) = entries(job, keyed, strategy)?;
    let best = chosen.first().map(|(stored, _)| &stored.entry.extra);
    if strategy == Strategy::WrittenBuildCache
        && best.is_some_and(|extra| extra.contains_key(super::NOT_TAKEN_ANNOTATION))
    {
        job.talk.say(format_args!(
            "{}: this engine did not take our build cache before; using stage images",
            keyed.image.name
        ));
        strategy = Strategy::InlineStageImages;
        chosen = entries(job, keyed, strategy)?.1;
    }
    let restored = if strategy.uses_view() {
        view(job, keyed, &layout, &chosen)
    } else {
        stage_images::load(job, keyed, strategy, &layout, &chosen)
    }?;
    let offered: Vec<&StoredEntry> = chosen
        .iter()
        .map(|(stored, _)| stored)
        .filter(|stored| restored.entries.contains(&stored.descriptor.digest))
        .collect();
    let sure_hits = keyed
        .forecast(job)
        .map_or(0, |forecast| forecast.n_sure_hits(&offered));
    Ok(Restored {
        strategy: Some(strategy),
        sure_hits,
        ..restored
    })
}

/// Returns the steps that the entries of these manifests recorded.
pub(super) fn recorded_by(job: &Job<'_>, manifests: &[Digest]) -> Vec<RecordedStep> {
    let entries = ImageLayout::open_read_only(&job.workspace.store)
        .and_then(|layout| layout.entries())
        .unwrap_or_default();
    let of = entries
        .iter()
        .filter(|stored| manifests.contains(&stored.descriptor.digest));
    of.flat_map(recorded_steps).collect()
}

/// Opens the store for reading, and says what is wrong with it.
pub(super) fn open(job: &Job<'_>) -> Result<ImageLayout, Error> {
    let layout =
        ImageLayout::open_read_only(&job.workspace.store).map_err(|error| of_store(&error))?;
    if let Some(damage) = layout.index().map_err(|error| of_store(&error))?.damage {
        job.talk.warn(damage);
    }
    Ok(layout)
}

pub(super) fn of_store(error: &StoreError) -> Error {
    let found = Error::new(exit_code::STORE, error);
    match error.hint() {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}

/// Returns the entries that fit, best first.
fn entries(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
) -> Result<(ImageLayout, Vec<(StoredEntry, Fit)>), Error> {
    let kind = if strategy.uses_view() {
        EntryKind::BuildCache
    } else {
        EntryKind::StageImage
    };
    let engine_class = strategy.engine_class(job.engine()?);
    let layout = open(job)?;
    let entries: Vec<StoredEntry> = layout
        .entries()
        .map_err(|error| of_store(&error))?
        .into_iter()
        .filter(|stored| {
            stored.entry.kind == kind && !stored.entry.extra.contains_key(super::FAILED_ANNOTATION)
        })
        .collect();
    let candidates: Vec<Candidate<'_>> = entries
        .iter()
        .map(|stored| Candidate {
            image: &stored.entry.image,
            platform: &stored.entry.platform,
            engine_class: &stored.entry.engine_class,
            key_base: &stored.entry.key_base,
            key_full: &stored.entry.key_full,
            created: SystemTime::from(stored.entry.created)
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        })
        .collect();
    let wanted = Wanted {
        image: &keyed.image.name,
        platform: &keyed.platform,
        engine_class: &engine_class,
        key_base: keyed.keys.base.as_str(),
        key_full: keyed.keys.full.as_str(),
    };
    let mut chosen: Vec<(StoredEntry, Fit)> = choose(&wanted, &candidates, usize::MAX)
        .into_iter()
        .map(|(at, fit)| (entries[at].clone(), fit))
        .collect();
    // What this build will hit counts for more than the key it was saved under.
    if let Some(forecast) = keyed.forecast(job) {
        chosen.sort_by_key(|(stored, _)| {
            std::cmp::Reverse(match &stored.entry.stage {
                Some(stage) => forecast.n_same_steps(stage, stored),
                None => forecast.n_sure_hits(&[stored]),
            })
        });
    }
    if strategy.uses_view() {
        chosen.truncate(MAX_ENTRIES);
    }
    Ok((layout, chosen))
}

/// Lays the chosen entries over one another, leaves out what is missing or damaged, and gives
/// `BuildKit` a folder of what is left.
fn view(
    job: &Job<'_>,
    keyed: &Keyed,
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
) -> Result<Restored, Error> {
    let mut restored = Restored::default();
    let mut graphs: Vec<CacheGraph> = Vec::new();
    for (stored, fit) in chosen {
        match read_graph(layout, stored) {
            Ok(graph) => {
                restored.entries.push(stored.descriptor.digest.clone());
                restored.exact |= *fit == Fit::Full;
                if !job.args.read_only {
                    layout.touch(stored);
                }
                graphs.push(graph);
            }
            Err(error) => job.talk.warn(format_args!(
                "the entry `{}` cannot be used: {error}",
                stored.name
            )),
        }
    }
    if graphs.is_empty() {
        return Ok(restored);
    }
    let damaged = verify(job, layout, graphs.iter().flat_map(CacheGraph::blobs));
    let mut graph = CacheGraph::view(&graphs);
    graph.prune(|digest| !damaged.contains(digest));
    let written = graph
        .write()
        .map_err(|error| Error::new(exit_code::STORE, error))?;
    restored.damaged.extend(damaged);
    let manifest: ImageManifest =
        serde_json::from_slice(&written.manifest).expect("it was written just now");
    restored.bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    let directory = job.workspace.work_file(&keyed.image, "view");
    if let Some(parent) = directory.parent() {
        let cannot = |error| Error::usage(format_args!("cannot create `{parent}`: {error}"));
        std::fs::create_dir_all(parent).map_err(cannot)?;
    }
    View::create(directory.as_std_path(), layout, &manifest, &written.config)
        .map_err(|error| of_store(&error))?;
    restored.view = Some(directory);
    Ok(restored)
}

/// Reads the build cache of an entry.
pub(super) fn read_graph(layout: &ImageLayout, stored: &StoredEntry) -> Result<CacheGraph, Error> {
    let manifest = layout
        .manifest(&stored.descriptor)
        .map_err(|error| of_store(&error))?;
    let config = layout
        .read_blob(&manifest.config, 16 << 20)
        .map_err(|error| of_store(&error))?;
    let broken = |error| Error::new(exit_code::STORE, error);
    let config = CacheConfig::parse(&config).map_err(broken)?;
    CacheGraph::from_config(&config, &manifest.layers).map_err(broken)
}

/// Checks blobs byte for byte, and returns those that are missing or damaged.
pub(super) fn verify<'a>(
    job: &Job<'_>,
    layout: &ImageLayout,
    blobs: impl Iterator<Item = &'a crate::oci::Descriptor>,
) -> BTreeSet<Digest> {
    let blobs: BTreeMap<&Digest, &crate::oci::Descriptor> =
        blobs.map(|blob| (&blob.digest, blob)).collect();
    let blobs: Vec<crate::oci::Descriptor> = blobs.into_values().cloned().collect();
    let mut damaged = BTreeSet::new();
    for (digest, state) in layout.verify(&blobs) {
        match state {
            BlobState::Good => continue,
            BlobState::Missing => job.talk.warn(format_args!(
                "the store lacks the layer {digest}; the steps that need it run again"
            )),
            BlobState::Damaged(reason) => {
                job.talk.warn(format_args!("the store's layer {digest} is damaged ({reason}); the steps that need it run again"));
            }
        }
        damaged.insert(digest);
    }
    damaged
}
