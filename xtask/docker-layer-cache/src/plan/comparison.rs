//! Predictions against what the build did.

use std::fmt;

use serde::Serialize;

use super::prediction::Outcome;
use super::restore::RestorePlan;
use crate::cache_key::StageDigest;

/// A step as the builder printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealStep<'a> {
    /// The stage, as builders name it.
    pub stage: &'a str,
    /// The number in its stage that the builder printed.
    pub place: usize,
    /// It was taken from the cache.
    pub hit: bool,
}

/// A step that turned out otherwise than predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The stage, as builders name it.
    pub stage: String,
    /// The step's place among the stage's steps, from 1.
    pub ordinal: usize,
    /// The instruction's line.
    pub line: usize,
    /// It was taken from the cache, and should have run; else it ran, and should have hit.
    pub hit: bool,
}

/// Compares each step that the builder printed with its prediction. A step that may hit agrees
/// with either, and so does one whose layer was not offered. `has_own_cache`: the engine holds
/// results of earlier builds, so that any step may hit.
pub fn disagreements(
    plan: &RestorePlan<'_>,
    stages: &[StageDigest],
    real: &[RealStep<'_>],
    has_own_cache: bool,
) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for (at, predicted) in plan.steps.iter().enumerate() {
        let Some(stage) = stages.get(predicted.stage) else {
            continue;
        };
        let step = stage
            .steps
            .iter()
            .find(|step| step.ordinal == predicted.ordinal);
        let hit = step.and_then(|step| {
            real.iter()
                .find(|real| real.stage == stage.name && real.place == step.place)
                .map(|real| real.hit)
        });
        let is_wrong = match (predicted.outcome, hit) {
            (Outcome::Hit, Some(false)) => plan.offered.contains(&at),
            (Outcome::Run, Some(true)) => !has_own_cache,
            _ => false,
        };
        if is_wrong {
            found.push(Disagreement {
                stage: stage.name.clone(),
                ordinal: predicted.ordinal,
                line: predicted.line,
                hit: predicted.outcome == Outcome::Run,
            });
        }
    }
    found
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, real) = if self.hit {
            ("to run", "hit")
        } else {
            ("to hit", "ran")
        };
        write!(
            f,
            "`{}` step {} (line {}) was predicted {told}, and {real}",
            self.stage, self.ordinal, self.line
        )
    }
}
