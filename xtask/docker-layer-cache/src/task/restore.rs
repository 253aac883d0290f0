//! `docker-restore`: entries of the store → a view that `BuildKit` imports, or images loaded for
//! the classic builder.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use xshell::Shell;

use super::cache_mounts;
use super::forecast::recorded_steps;
use super::import_rate::import_cost;
use super::job::Job;
use super::key::{Digests, Keyed, key};
use super::notes::{Notes, Restored};
use super::offer::{Planned, plan};
use super::remote;
use super::remote_cache;
use super::stage_images;
use super::verify::Verifier;
use crate::buildkit_cache::{CacheConfig, CacheGraph};
use crate::cli::RestoreArgs;
use crate::engine::Strategy;
use crate::error::{Error, exit_code};
use crate::image_layout::{EntryKind, ImageLayout, StoreError, StoredEntry, View};
use crate::oci::{Digest, ImageManifest};
use crate::plan::{Candidate, Fit, PredictedStep, RecordedStep, Wanted, choose};
use crate::ui::{self, bytes, seconds};

/// How many entries are laid over one another in a view: generations of one image mostly share
/// their layers, so that more cost little, and help little.
const MAX_ENTRIES: usize = 6;

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &RestoreArgs) -> Result<(), Error> {
    let job = Job::open(sh, &args.task)?.with_offer(&args.offer, args.dry_run);
    let args = &args.task;
    for image in job.images(sh)? {
        let _lock = job.lock(&image)?;
        let keyed = key(&job, image, Digests::OfLastKey)?;
        let mut restored = restore(&job, &keyed)?;
        cache_mounts::restore(&job, &keyed, &mut restored)?;
        if args.json {
            ui::data(
                serde_json::json!({ "image": keyed.image.name, "platform": keyed.platform.to_string(), "key": keyed.keys, "restored": restored }),
            )?;
        }
    }
    Ok(())
}

/// Lays out what helps this build, and notes it. A store that cannot be used is a cold build.
pub(super) fn restore(job: &Job<'_>, keyed: &Keyed) -> Result<Restored, Error> {
    let started = Instant::now();
    let strategy = job.strategy(&keyed.image)?;
    if strategy == Strategy::RemoteBuildCache {
        let restored = remote_cache::restore(job, keyed)?;
        if !job.dry_run {
            note(job, keyed, &restored)?;
        }
        return Ok(restored);
    }
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
    if let Some(plan) = &restored.plan {
        plan.tell(job, keyed);
    }
    if job.dry_run {
        return Ok(restored);
    }
    note(job, keyed, &restored)?;
    if restored.entries.is_empty() {
        job.talk.say(format_args!(
            "{}: nothing in the store helps this build",
            keyed.image.label()
        ));
    } else {
        job.talk.say(format_args!(
            "{}: restored {} ({} in {})",
            keyed.image.label(),
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

/// Notes what was restored, for the commands behind this one.
pub(super) fn note(job: &Job<'_>, keyed: &Keyed, restored: &Restored) -> Result<(), Error> {
    let path = job.workspace.work_file(&keyed.image, "job.json");
    let mut notes = Notes::read(&path).unwrap_or_else(|| Notes::new(&keyed.recipe));
    notes.restored = Some(restored.clone());
    notes.write(&path)
}

fn try_restore(job: &Job<'_>, keyed: &Keyed, mut strategy: Strategy) -> Result<Restored, Error> {
    remote::sync(job)?;
    let (layout, mut chosen) = entries(job, keyed, strategy)?;
    let best = chosen.first().map(|(stored, _)| &stored.entry.extra);
    if strategy == Strategy::WrittenBuildCache
        && best.is_some_and(|extra| extra.contains_key(super::NOT_TAKEN_ANNOTATION))
    {
        job.talk.say(format_args!(
            "{}: this engine did not take our build cache before; using stage images",
            keyed.image.label()
        ));
        strategy = Strategy::InlineStageImages;
        chosen = entries(job, keyed, strategy)?.1;
    }
    let restored = if strategy.uses_view() {
        view(job, keyed, strategy, &layout, &chosen)
    } else {
        stage_images::load(job, keyed, strategy, &layout, &chosen)
    }?;
    Ok(Restored {
        strategy: Some(strategy),
        ..restored
    })
}

/// Returns the steps that the entries of these manifests recorded.
pub(super) fn recorded_by(job: &Job<'_>, manifests: &[Digest]) -> Vec<RecordedStep> {
    let entries = entries_of(job, manifests);
    entries.iter().flat_map(recorded_steps).collect()
}

/// Returns the entries of these manifests that the store has.
pub(super) fn entries_of(job: &Job<'_>, manifests: &[Digest]) -> Vec<StoredEntry> {
    let mut entries = ImageLayout::open_read_only(&job.workspace.store)
        .and_then(|layout| layout.entries())
        .unwrap_or_default();
    entries.retain(|stored| manifests.contains(&stored.descriptor.digest));
    entries
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

/// Lays the chosen entries over one another, leaves out what does not pay and what is missing or
/// damaged, and gives `BuildKit` a folder of what is left.
fn view(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
) -> Result<Restored, Error> {
    let mut restored = Restored::default();
    let mut graphs: Vec<CacheGraph> = Vec::new();
    let mut recorded: Vec<Vec<RecordedStep>> = Vec::new();
    let chosen = &remote::entries_that_help(job, keyed, layout, chosen)?;
    for (stored, fit) in chosen {
        match read_graph(layout, stored) {
            Ok(graph) => {
                restored.entries.push(stored.descriptor.digest.clone());
                restored.exact |= *fit == Fit::Full;
                if !job.args.read_only && !job.dry_run {
                    layout.touch(stored);
                }
                graphs.push(graph);
                recorded.push(recorded_steps(stored));
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
    let recorded: Vec<&[RecordedStep]> = recorded.iter().map(Vec::as_slice).collect();
    let import = import_cost(job, strategy, chosen.iter().map(|(stored, _)| stored))?;
    let plan = plan(job, keyed, strategy, import, &recorded)?;
    let mut graph = CacheGraph::view(&graphs);
    if let Some(plan) = &plan {
        graph.prune(|digest| !plan.left_out.contains(digest));
    }
    let away = remote::fetch_what_is_read(job, keyed, layout, plan.as_ref(), &mut graph)?;
    let mut verifier = Verifier::new(job, keyed, layout);
    if !job.dry_run {
        verifier.are_good(graph.blobs());
    }
    restored.n_verified = verifier.n_read();
    let damaged = verifier.damaged();
    graph.prune(|digest| !damaged.contains(digest));
    if let Some(plan) = &plan {
        let there: BTreeSet<&Digest> = graph.blobs().map(|blob| &blob.digest).collect();
        let is_lost = |step: &PredictedStep<'_>| {
            let layer = step.recorded.and_then(|step| step.layer.as_ref());
            // Where it is not known which layer a step needs, it can be any.
            layer.map_or(!damaged.is_empty() || away.is_any_lost, |layer| {
                !there.contains(&layer.blob) && !away.not_read.contains(&layer.blob)
            })
        };
        restored.plan = Some(Planned::new(job, keyed, import, plan, is_lost));
    }
    graph.join_leaves();
    let written = graph
        .write()
        .map_err(|error| Error::new(exit_code::STORE, error))?;
    restored.damaged.extend(damaged.iter().cloned());
    let manifest: ImageManifest =
        serde_json::from_slice(&written.manifest).expect("it was written just now");
    restored.bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    if job.dry_run || graph.is_empty() {
        return Ok(restored);
    }
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
