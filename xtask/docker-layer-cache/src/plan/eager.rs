//! What to load where images are loaded whole: for the classic builder, and for `BuildKit` without
//! a build cache.
//!
//! All that is loaded is brought in, whether something needs it or not, and upper layers that do
//! not hit come along. A stage that is not loaded runs again and gives other files: then nothing
//! that starts from it or takes files from it hits either.

use std::collections::BTreeSet;

use super::layer_chain::{LayerChain, Verdict};
use super::prediction::{Outcome, PredictedStep};
use super::restore::{MARGIN_SECONDS, RestorePlan, RestoreRequest};
use crate::cache_key::StageDigest;

/// Returns the stages as chains, and the places in `steps` of those that are offered.
pub(super) fn eager(
    request: &RestoreRequest<'_, '_>,
    steps: &[PredictedStep<'_>],
) -> (Vec<LayerChain>, BTreeSet<usize>) {
    let n_stages = request.stages.len();
    let costs: Vec<Cost> = (0..n_stages)
        .map(|stage| Cost::of(request, steps, stage))
        .collect();
    let mut kept: BTreeSet<usize> = (0..n_stages).collect();
    for stage in 0..n_stages {
        if request.all || !kept.contains(&stage) {
            continue;
        }
        let together: Vec<usize> = with_dependents(request, stage)
            .into_iter()
            .filter(|stage| kept.contains(stage))
            .collect();
        let bytes = together.iter().map(|&stage| costs[stage].bytes).sum();
        let spared: f64 = together
            .iter()
            .map(|&stage| costs[stage].spared_seconds)
            .sum();
        if request.import.seconds(bytes) > spared + MARGIN_SECONDS {
            kept.retain(|stage| !together.contains(stage));
        }
    }
    let mut chains = Vec::new();
    let mut offered = BTreeSet::new();
    for (stage, cost) in costs.iter().enumerate() {
        let (Some(&first), Some(&last)) = (cost.places.first(), cost.places.last()) else {
            continue;
        };
        let is_kept = kept.contains(&stage);
        if is_kept {
            offered.extend(&cost.places);
        }
        let import_seconds = request.import.seconds(cost.bytes);
        chains.push(LayerChain {
            stage: request.stages[stage].name.clone(),
            first: steps[first].ordinal,
            last: steps[last].ordinal,
            bytes: cost.bytes,
            import_seconds,
            spared_seconds: cost.spared_seconds,
            verdict: match is_kept {
                false => Verdict::DoesNotPay,
                true if cost.bytes == 0 => Verdict::Present,
                true if import_seconds > cost.spared_seconds + MARGIN_SECONDS => Verdict::Forced,
                true => Verdict::Pays,
            },
        });
    }
    (chains, offered)
}

/// Tells whether something of a stage's image can hit and is offered. `stages` are those of the
/// plan's request.
///
/// A stage without steps that bring layers hits where all that it stands on does.
pub fn is_worth_loading(plan: &RestorePlan<'_>, stages: &[StageDigest], stage: usize) -> bool {
    let Some(one) = stages.get(stage) else {
        return false;
    };
    if !one.steps.is_empty() {
        let is_offered = |chain: &LayerChain| chain.stage == one.name && chain.verdict.is_offered();
        return plan.chains.iter().any(is_offered);
    }
    // A stage stands on one before it.
    let Some(base) = one.base.filter(|&base| base < stage) else {
        return true;
    };
    let runs = |step: &PredictedStep<'_>| step.stage == base && step.outcome == Outcome::Run;
    !plan.steps.iter().any(runs) && is_worth_loading(plan, stages, base)
}

/// What a stage's image costs and spares.
struct Cost {
    /// The steps that hit or may hit.
    places: Vec<usize>,
    bytes: u64,
    spared_seconds: f64,
}

impl Cost {
    fn of(request: &RestoreRequest<'_, '_>, steps: &[PredictedStep<'_>], stage: usize) -> Cost {
        let is_hit = |step: &PredictedStep<'_>| step.stage == stage && step.outcome != Outcome::Run;
        let places: Vec<usize> = (0..steps.len()).filter(|&at| is_hit(&steps[at])).collect();
        let name = &request.stages[stage].name;
        let entry = places.iter().find_map(|&at| steps[at].entry);
        let image = entry.map_or(&[][..], |entry| request.entries[entry]);
        let bytes = image
            .iter()
            .filter(|step| step.stage == *name)
            .filter_map(|step| step.layer.as_ref())
            .filter(|layer| !request.engine_layers.contains(&layer.chain_id))
            .map(|layer| layer.bytes)
            .sum();
        let seconds = |&at: &usize| Some(steps[at].recorded?.spared_seconds());
        Cost {
            bytes,
            spared_seconds: places.iter().filter_map(seconds).sum(),
            places,
        }
    }
}

/// Returns a stage and all that start from it or take files from it, in the Dockerfile's order.
fn with_dependents(request: &RestoreRequest<'_, '_>, stage: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([stage]);
    for (index, one) in request.stages.iter().enumerate().skip(stage + 1) {
        let mut sources = one.steps.iter().flat_map(|step| &step.sources);
        if one.base.is_some_and(|base| found.contains(&base))
            || sources.any(|source| found.contains(source))
        {
            found.insert(index);
        }
    }
    found
}
