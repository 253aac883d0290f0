//! How fast this machine's engine brings layers in: measured by restores and builds, and noted in
//! the key folder.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::job::Job;
use super::notes::write_file;
use crate::engine::Strategy;
use crate::error::Error;
use crate::plan::ImportCost;

/// Fewer bytes than this say nothing about the rate.
const BYTES_MIN: u64 = 16_000_000;
/// Slower or faster than any disk: something else was measured.
const RATES: std::ops::RangeInclusive<f64> = 2e6..=2e9;
/// What an import takes besides its bytes, in seconds.
const OVERHEAD_SECONDS: f64 = 0.1;
/// Until it is measured, in bytes of blobs a second: a fresh `BuildKit` engine on a CI machine's
/// disk brings in 280 MB in 7 seconds, `docker load` 640 MB in 6.
const DEFAULT_IMPORT: f64 = 40e6;
const DEFAULT_LOAD: f64 = 100e6;

/// Returns what bringing in layers costs on this machine.
pub(super) fn import_cost(job: &Job<'_>, strategy: Strategy) -> Result<ImportCost, Error> {
    let default = if strategy.uses_view() {
        DEFAULT_IMPORT
    } else {
        DEFAULT_LOAD
    };
    let measured = match job.offer.import_rate {
        Some(megabytes) => Some(megabytes * 1e6),
        None => read(job).get(&name(job, strategy)?).copied(),
    };
    Ok(ImportCost {
        bytes_per_second: measured
            .filter(|rate| RATES.contains(rate))
            .unwrap_or(default),
        overhead_seconds: OVERHEAD_SECONDS,
    })
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
