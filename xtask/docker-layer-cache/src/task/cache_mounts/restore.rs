//! Into the engine: the mounts that steps of this build will mount, where that pays.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::forecast::Forecast;
use super::super::job::Job;
use super::super::key::Keyed;
use super::super::notes::Restored;
use super::super::remote;
use super::super::restore::note;
use super::helper::Helper;
use super::kept::{KeptMount, kept_mounts};
use super::{MountState, RECORD_ANNOTATION, RestoredMount, entries, record, record_json};
use crate::cache_mount::{MountOrder, MountOutcome, Order, OrderKind};
use crate::engine::HelperBuild;
use crate::error::Error;
use crate::image_layout::{BlobState, ImageLayout, StoredEntry};
use crate::oci::{Descriptor, Digest};
use crate::plan::{MountNeed, MountRecord, Outcome, worth_importing};
use crate::ui::{bytes, seconds};

/// A mount with what the store has of it.
struct Stored<'a> {
    kept: &'a KeptMount,
    entry: StoredEntry,
    record: MountRecord,
    /// The listing first, then the packs in its order.
    blobs: Vec<Descriptor>,
}

/// Fills mounts, and notes what was done. What cannot be done is a warning.
///
/// # Errors
/// Where the notes cannot be written, and with `--strict` where mounts cannot be filled.
pub(in crate::task) fn restore(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &mut Restored,
) -> Result<(), Error> {
    match try_restore(job, keyed, restored) {
        Ok(mounts) => restored.cache_mounts = mounts,
        Err(error) if job.args.strict => return Err(error),
        Err(error) => job.talk.warn(format_args!(
            "{}: cache mounts are not restored: {error}",
            keyed.image.name
        )),
    }
    if restored.cache_mounts.is_empty() || job.dry_run {
        return Ok(());
    }
    note(job, keyed, restored)
}

fn try_restore(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &mut Restored,
) -> Result<Vec<RestoredMount>, Error> {
    let (kept, refused) = kept_mounts(job, keyed)?;
    let name = &keyed.image.name;
    for reason in refused {
        job.talk.say(format_args!("{name}: {reason}"));
    }
    let Some(forecast) = keyed.forecast(job).filter(|_| !kept.is_empty()) else {
        return Ok(Vec::new());
    };
    let Ok(layout) = ImageLayout::open_read_only(&job.workspace.store) else {
        // Told already.
        return Ok(Vec::new());
    };
    // What is read stays until it is in the engine.
    let _hold = layout.hold().ok();
    let mut noted: Vec<RestoredMount> = Vec::new();
    let mut add = |stored: &Stored<'_>, state| {
        noted.push(RestoredMount {
            mount: stored.kept.name.clone(),
            state,
            bytes: stored.record.bytes,
        });
    };
    let mut entries = entries(&layout, &keyed.platform);
    let of_kept: Vec<&StoredEntry> = kept.iter().filter_map(|k| entries.get(&k.name)).collect();
    remote::fetch_entries(job, &layout, of_kept.into_iter())?;
    let mut needed: Vec<(Stored<'_>, Vec<usize>)> = Vec::new();
    for kept in &kept {
        let Some(entry) = entries.remove(&kept.name) else {
            continue;
        };
        let blobs = layout.manifest(&entry.descriptor);
        let stored = Stored {
            kept,
            record: record(&entry),
            entry,
            blobs: blobs.map(|manifest| manifest.layers).unwrap_or_default(),
        };
        let steps = steps_that_run(kept, forecast, restored);
        if steps.is_empty() {
            add(&stored, MountState::NotNeeded);
        } else if !stored.blobs.is_empty() {
            needed.push((stored, steps));
        }
    }
    let needs: Vec<MountNeed<'_>> = needed
        .iter()
        .map(|(stored, steps)| MountNeed {
            record: &stored.record,
            steps,
        })
        .collect();
    let worth = worth_importing(&needs);
    let mut wanted: Vec<Stored<'_>> = Vec::new();
    for ((stored, _), pays) in needed.into_iter().zip(worth) {
        if pays || job.offer.all {
            wanted.push(stored);
            continue;
        }
        let (mount, size) = (&stored.kept.name, bytes(stored.record.bytes));
        job.talk.say(format_args!(
            "{name}: left out cache mount `{mount}`, {size}: it takes longer to bring in than it spares (--all brings it in)"
        ));
        add(&stored, MountState::LeftOut);
    }
    if wanted.is_empty() || job.dry_run {
        return Ok(noted);
    }
    let blobs = wanted.iter().flat_map(|stored| &stored.blobs);
    remote::fetch(job, &layout, blobs, None)?;
    let damaged = damaged(job, &layout, &wanted);
    let (good, bad): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|stored| {
        let mut blobs = stored.blobs.iter();
        blobs.all(|blob| !damaged.contains(&blob.digest))
    });
    for stored in &bad {
        add(stored, MountState::Failed);
    }
    restored.damaged.extend(damaged);
    if !good.is_empty() {
        let states = fill(job, keyed, &layout, &good).or_else(|error| {
            if job.args.strict {
                return Err(error);
            }
            let name = &keyed.image.name;
            job.talk.warn(format_args!(
                "{name}: cache mounts are not restored: {error}"
            ));
            Ok(vec![MountState::NotHad; good.len()])
        })?;
        for (stored, state) in good.iter().zip(states) {
            add(stored, state);
        }
    }
    Ok(noted)
}

/// Returns the numbers of the steps that mount it and that are not certain to hit.
fn steps_that_run(kept: &KeptMount, forecast: &Forecast, restored: &Restored) -> Vec<usize> {
    let expected = restored.plan.iter().flat_map(|plan| &plan.expected);
    let hits: BTreeSet<(&str, usize)> = expected
        .filter(|step| step.outcome == Outcome::Hit)
        .map(|step| (step.stage.as_str(), step.ordinal))
        .collect();
    let stages = forecast.stages().iter();
    let steps = stages.flat_map(|stage| {
        let steps = stage.steps.iter();
        steps.map(|step| (stage.name.as_str(), step.ordinal))
    });
    steps
        .enumerate()
        .filter(|(_, step)| kept.is_of(step.0, step.1) && !hits.contains(step))
        .map(|(number, _)| number)
        .collect()
}

/// Reads all blobs, and warns of those that are not what they should be.
fn damaged(job: &Job<'_>, layout: &ImageLayout, wanted: &[Stored<'_>]) -> BTreeSet<Digest> {
    let mut damaged = BTreeSet::new();
    for stored in wanted {
        for (digest, state) in layout.verify(&stored.blobs) {
            let problem = match state {
                BlobState::Good => continue,
                BlobState::Missing => "is missing",
                BlobState::Damaged(reason) => reason,
            };
            job.talk.warn(format_args!(
                "cache mount `{}` begins empty: its blob {digest} cannot be used ({problem})",
                stored.kept.name
            ));
            damaged.insert(digest);
        }
    }
    damaged
}

/// Fills the mounts in one build.
fn fill(
    job: &Job<'_>,
    keyed: &Keyed,
    layout: &ImageLayout,
    wanted: &[Stored<'_>],
) -> Result<Vec<MountState>, Error> {
    let started = Instant::now();
    let helper = Helper::new(job, keyed)?;
    let mut mounts = Vec::new();
    for (number, stored) in wanted.iter().enumerate() {
        let files = stored
            .blobs
            .iter()
            .map(|blob| helper.add(&layout.blob_path(&blob.digest)));
        let mut files = files.collect::<Result<Vec<String>, Error>>()?.into_iter();
        mounts.push(MountOrder {
            folder: HelperBuild::mount_folder(number).into(),
            listing: files.next().map(Into::into),
            packs: files.map(|file| Some(file.into())).collect(),
            max_bytes: stored.record.bytes,
        });
    }
    let order = Order {
        kind: OrderKind::Import,
        mounts,
        out: HelperBuild::OUT.into(),
    };
    let kept: Vec<&KeptMount> = wanted.iter().map(|stored| stored.kept).collect();
    let n_bytes = wanted.iter().map(|stored| stored.record.bytes).sum();
    let report = helper.run(&kept, &order, n_bytes)?;
    let taken = started.elapsed().as_secs_f64();
    let filled: u64 = report
        .mounts
        .iter()
        .filter(|mount| mount.outcome == MountOutcome::Filled)
        .map(|mount| mount.size_bytes)
        .sum();
    let name = &keyed.image.name;
    let mut states = Vec::new();
    for (stored, reported) in wanted.iter().zip(report.mounts) {
        let mount = &stored.kept.name;
        let size = bytes(reported.size_bytes);
        states.push(match reported.outcome {
            MountOutcome::Filled => {
                job.talk
                    .say(format_args!("{name}: filled cache mount `{mount}`, {size}"));
                if !job.args.read_only {
                    layout.touch(&stored.entry);
                    let record = stored.record.after_import(filled, taken);
                    annotate(job, &stored.entry, &record);
                }
                MountState::Filled
            }
            MountOutcome::WasFilled => {
                let line = format_args!("{name}: the engine has files in cache mount `{mount}`");
                job.talk.say(line);
                MountState::WasFilled
            }
            MountOutcome::Failed(error) => {
                job.talk.warn(format_args!(
                    "{name}: cache mount `{mount}` begins empty: {error}"
                ));
                MountState::Failed
            }
            MountOutcome::Written | MountOutcome::Empty | MountOutcome::TooLarge => {
                MountState::Failed
            }
        });
    }
    if filled > 0 {
        job.talk.say(format_args!(
            "{name}: cache mounts came in in {}",
            seconds(taken)
        ));
    }
    Ok(states)
}

/// Notes what was learned of a mount with its entry.
pub(super) fn annotate(job: &Job<'_>, entry: &StoredEntry, record: &MountRecord) {
    let manifests = [entry.descriptor.digest.clone()];
    let annotated = ImageLayout::open_or_create(&job.workspace.store)
        .and_then(|layout| layout.annotate(&manifests, RECORD_ANNOTATION, &record_json(record)));
    if let Err(error) = annotated {
        job.talk.warn(format_args!(
            "what was learned of a cache mount is not noted: {error}"
        ));
    }
}
