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
    let known = match job.offer.import_rate {
        Some(megabytes) => Some(megabytes * 1e6),
        None => import_rate(job, strategy, entries)?,
    };
    Ok(ImportCost {
        bytes_per_second: known.unwrap_or_else(|| default_rate(strategy)),
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
    let noted = entries
        .into_iter()
        .filter_map(|stored| stored.entry.extra.get(IMPORT_RATE_ANNOTATION));
    Ok(known_rate(
        default_rate(strategy),
        measured,
        noted.map(String::as_str),
    ))
}

fn default_rate(strategy: Strategy) -> f64 {
    if strategy.uses_view() {
        DEFAULT_IMPORT
    } else {
        DEFAULT_LOAD
    }
}

/// Returns the rate that was measured here, or else the first one noted, of those that can be.
fn known_rate<'n>(
    default: f64,
    measured: Option<f64>,
    noted: impl IntoIterator<Item = &'n str>,
) -> Option<f64> {
    let noted = noted.into_iter().filter_map(|rate| rate.parse().ok());
    let mut rates = measured.into_iter().chain(noted);
    let rate = rates.find(|rate| RATES.contains(rate))?;
    Some(rate.max(least_rate(default)))
}

/// Returns the mean of a measured rate with what was known, which at first is the default: one slow
/// moment of the machine does not decide.
fn learned_rate(default: f64, known: Option<f64>, measured: f64) -> f64 {
    f64::midpoint(known.unwrap_or(default), measured).max(least_rate(default))
}

/// A lower rate is never believed: where nothing pays any more, nothing is measured any more.
fn least_rate(default: f64) -> f64 {
    default / 4.0
}

/// Notes that so many bytes came in, in so many seconds.
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
    let name = name(job, strategy)?;
    let default = default_rate(strategy);
    let known = known_rate(default, rates.get(&name).copied(), []);
    rates.insert(name, learned_rate(default, known, rate));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rate(found: Option<f64>, expected: Option<f64>) -> bool {
        match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1.0,
            (found, expected) => found.is_none() && expected.is_none(),
        }
    }

    #[test]
    fn a_rate_that_cannot_be_hides_no_other() {
        for (measured, noted, expected) in [
            (None, &[][..], None),
            (Some(50e6), &["60000000"], Some(50e6)),
            (
                None,
                &["NaN", "inf", "-1", "0", "many", "60000000"],
                Some(60e6),
            ),
            (Some(1.0), &["60000000", "70000000"], Some(60e6)),
            (Some(f64::NAN), &["9e9"], None),
            // What others noted is not believed to be slower than what is believed here.
            (None, &["2000000"], Some(10e6)),
        ] {
            let found = known_rate(40e6, measured, noted.iter().copied());
            assert!(
                is_rate(found, expected),
                "{measured:?} {noted:?}: {found:?}"
            );
        }
    }

    #[test]
    fn slow_moments_do_not_stick() {
        assert!(is_rate(Some(learned_rate(40e6, None, 2e6)), Some(21e6)));
        assert!(is_rate(
            Some(learned_rate(40e6, Some(60e6), 20e6)),
            Some(40e6)
        ));
        let mut rate = None;
        for _ in 0..20 {
            rate = Some(learned_rate(40e6, rate, 2e6));
        }
        assert!(is_rate(rate, Some(10e6)));
        for _ in 0..20 {
            rate = Some(learned_rate(40e6, rate, 80e6));
        }
        assert!(rate.is_some_and(|rate| rate > 79e6));
    }
}
