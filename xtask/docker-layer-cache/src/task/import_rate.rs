//! How fast this machine's engine brings layers in: measured by restores and builds, and noted in
//! the key folder.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::job::Job;
use super::notes::{Restored, write_file};
use crate::engine::{BuildOutcome, Strategy};
use crate::error::Error;
use crate::image_layout::StoredEntry;
use crate::oci::Digest;
use crate::plan::ImportCost;

/// Fewer bytes than this say nothing about the rate.
const BYTES_MIN: u64 = 16_000_000;
/// Slower or faster than any disk: something else was measured.
const RATES: std::ops::RangeInclusive<f64> = 2e6..=2e9;
/// What an import takes besides its bytes, in seconds.
const OVERHEAD_SECONDS: f64 = 0.1;
/// Annotation of an entry: bytes a second, as measured where it was saved.
const IMPORT_RATE_ANNOTATION: &str = "dev.docker-layer-cache.import-rate";
/// Until it is measured, in bytes of blobs a second: a fresh `BuildKit` engine on a CI machine's
/// disk brings in 280 MB in 7 seconds, `docker load` 640 MB in 6.
const DEFAULT_IMPORT: f64 = 40e6;
const DEFAULT_LOAD: f64 = 100e6;

/// Returns what bringing in layers costs on this machine: as told by a flag, as measured here, as
/// the machine measured it that saved one of `entries`, or by experience.
pub(super) fn import_cost<'a>(
    job: &Job<'_>,
    strategy: Strategy,
    entries: impl IntoIterator<Item = &'a StoredEntry>,
) -> Result<ImportCost, Error> {
    let default = if strategy.uses_view() {
        DEFAULT_IMPORT
    } else {
        DEFAULT_LOAD
    };
    let known = match job.offer.import_rate {
        Some(megabytes) => Some(megabytes * 1e6),
        None => import_rate(job, strategy, entries)?,
    };
    Ok(ImportCost {
        bytes_per_second: known.filter(|rate| RATES.contains(rate)).unwrap_or(default),
        overhead_seconds: OVERHEAD_SECONDS,
    })
}

/// Returns the annotation of an entry with the rate that was measured here, or else by whoever
/// saved one of `entries`: a CI machine that is thrown away keeps nothing but the store.
pub(super) fn import_rate_annotation<'a>(
    job: &Job<'_>,
    strategy: Strategy,
    entries: impl IntoIterator<Item = &'a StoredEntry>,
) -> Result<Option<(String, String)>, Error> {
    let rate = import_rate(job, strategy, entries)?;
    Ok(rate.map(|rate| (IMPORT_RATE_ANNOTATION.to_owned(), format!("{rate:.0}"))))
}

fn import_rate<'a>(
    job: &Job<'_>,
    strategy: Strategy,
    entries: impl IntoIterator<Item = &'a StoredEntry>,
) -> Result<Option<f64>, Error> {
    let measured = read(job).get(&name(job, strategy)?).copied();
    Ok(measured.or_else(|| {
        let noted = |stored: &StoredEntry| {
            let rate = stored.entry.extra.get(IMPORT_RATE_ANNOTATION)?;
            rate.parse().ok()
        };
        entries.into_iter().find_map(noted)
    }))
}

/// Notes that so many bytes came in, in so many seconds. The mean with what was known: one slow
/// moment of the machine does not decide.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn learn(
    job: &Job<'_>,
    strategy: Strategy,
    bytes: u64,
    seconds: f64,
) -> Result<(), Error> {
    let rate = bytes as f64 / (seconds - OVERHEAD_SECONDS).max(0.001);
    if bytes < BYTES_MIN || !RATES.contains(&rate) {
        return Ok(());
    }
    let mut rates = read(job);
    rates
        .entry(name(job, strategy)?)
        .and_modify(|known| *known = f64::midpoint(*known, rate))
        .or_insert(rate);
    let json = serde_json::to_vec_pretty(&rates).expect("names and numbers are JSON");
    write_file(&file(job), &json)
}

/// Notes how fast layers came in, where most of what was expected did. What `BuildKit` does
/// besides is not told: its steps and its export are.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn learn_from_build(
    job: &Job<'_>,
    strategy: Strategy,
    restored: &Restored,
    outcome: &BuildOutcome,
) -> Result<(), Error> {
    /// What a build in which nothing happens takes.
    const IDLE_SECONDS: f64 = 0.3;
    /// Layers come in untold where a step that runs asks for them.
    const TOLD_MIN: f64 = 0.8;
    let (Some(view), Some(plan)) = (&restored.view, &restored.plan) else {
        return Ok(());
    };
    let size = |blob: &Digest| {
        let path = view.join("blobs/sha256").join(blob.encoded());
        std::fs::metadata(path).map_or(0, |found| found.len())
    };
    let bytes: u64 = outcome.brought_in.iter().map(size).sum();
    if (bytes as f64) < TOLD_MIN * plan.bytes_to_read as f64 {
        return Ok(());
    }
    let seconds = outcome.duration.as_secs_f64() - outcome.busy_seconds - IDLE_SECONDS;
    learn(job, strategy, bytes, seconds)
}

fn read(job: &Job<'_>) -> BTreeMap<String, f64> {
    let bytes = std::fs::read(file(job)).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn file(job: &Job<'_>) -> Utf8PathBuf {
    job.workspace.key_dir.join(".work/import-rates.json")
}

/// Loading images and importing a view are not equally fast.
fn name(job: &Job<'_>, strategy: Strategy) -> Result<String, Error> {
    Ok(format!(
        "{} {strategy}",
        strategy.engine_class(job.engine()?)
    ))
}
