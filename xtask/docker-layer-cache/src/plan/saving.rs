//! What of a build is not worth being saved.

use std::collections::BTreeSet;

use super::comparison::RealStep;
use super::import_cost::ImportCost;
use super::recorded_step::{RecordedStep, steps_of_image};
use super::restore::MARGIN_SECONDS;
use crate::cache_key::StageDigest;

/// A save that loses less than this, in seconds, is made: it may be used more than once.
const DEAR_SECONDS: f64 = 1.0;

/// Returns the names of the stages in which steps ran, and that it would not pay to bring in the
/// next time: they stand on layers that were left out because they did not pay, and with all that
/// ran above them they still do not. `recorded` are the steps of this build with their seconds,
/// and `left_out` the steps that were left out.
pub fn not_worth_saving(
    stages: &[StageDigest],
    import: ImportCost,
    recorded: &[RecordedStep],
    left_out: &[RecordedStep],
    real: &[RealStep<'_>],
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let steps: Vec<(&str, usize)> = steps_of_image(stages, index)
            .into_iter()
            .map(|(stage, step)| (stage.name.as_str(), step.ordinal))
            .filter(|(stage, ordinal)| {
                let is_it = |real: &&RealStep<'_>| (real.stage, real.ordinal) == (*stage, *ordinal);
                real.iter().find(is_it).is_some_and(|real| !real.hit)
            })
            .collect();
        let of = |recorded: &RecordedStep, (stage, ordinal): &(&str, usize)| {
            recorded.stage == *stage && recorded.ordinal == *ordinal
        };
        let skipped: Vec<&RecordedStep> = left_out
            .iter()
            .filter(|one| steps.iter().any(|step| of(one, step)))
            .collect();
        let layers = skipped.iter().filter_map(|step| step.layer.as_ref());
        let bytes: u64 = layers.map(|layer| layer.bytes).sum();
        let seconds: f64 = recorded
            .iter()
            .filter(|one| steps.iter().any(|step| of(one, step)))
            .map(RecordedStep::spared_seconds)
            .sum();
        let has_own = steps.iter().any(|(name, _)| *name == stage.name);
        let pays = seconds + MARGIN_SECONDS >= import.seconds(bytes);
        if has_own && !skipped.is_empty() && !pays {
            found.insert(stage.name.clone());
        }
    }
    found
}

/// Returns the names of the stages in which steps ran and whose images take longer to be read out
/// of the engine than those steps took: an engine gives an image out with all the layers below, at
/// so many bytes of blobs a second. Layers that are not known count for nothing, so that a first
/// save is never dear.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub fn dear_to_save(
    stages: &[StageDigest],
    recorded: &[RecordedStep],
    real: &[RealStep<'_>],
    bytes_per_second: f64,
) -> BTreeSet<String> {
    let find = |stage: &str, ordinal: usize| {
        recorded
            .iter()
            .find(|one| (one.stage.as_str(), one.ordinal) == (stage, ordinal))
    };
    let mut found = BTreeSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let ran: Vec<&RealStep<'_>> = real
            .iter()
            .filter(|step| step.stage == stage.name && !step.hit)
            .collect();
        let seconds: f64 = ran
            .iter()
            .filter_map(|step| find(step.stage, step.ordinal))
            .map(RecordedStep::spared_seconds)
            .sum();
        let bytes: u64 = steps_of_image(stages, index)
            .into_iter()
            .filter_map(|(stage, step)| find(&stage.name, step.ordinal)?.layer.as_ref())
            .map(|layer| layer.bytes)
            .sum();
        if !ran.is_empty() && bytes as f64 / bytes_per_second > seconds + DEAR_SECONDS {
            found.insert(stage.name.clone());
        }
    }
    found
}
