//! Predictions against what the build did.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::prediction::{Outcome, PredictedStep};
use super::restore::RestorePlan;
use crate::cache_key::StageDigest;
use crate::oci::Digest;

/// What a step is expected to do, once it is settled what the engine is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedStep {
    /// The stage, as builders name it.
    pub stage: String,
    /// The step's place among the stage's steps, from 1.
    pub ordinal: usize,
    /// The instruction's line.
    pub line: usize,
    /// See [`crate::cache_key::StepDigest::digest`].
    pub digest: Digest,
    /// What will become of it.
    pub outcome: Outcome,
}

/// A step as the builder printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealStep<'a> {
    /// The stage, as builders name it.
    pub stage: &'a str,
    /// The step's place among the stage's steps, from 1.
    pub ordinal: usize,
    /// It was taken from the cache.
    pub hit: bool,
}

/// A step that turned out otherwise than predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Returns what is expected of each step, in the order of the Dockerfile. Nothing is certain of
/// steps that are not offered, or whose layers are `lost`, and of all that stands on their results or
/// takes files from them.
pub fn expected(
    plan: &RestorePlan<'_>,
    stages: &[StageDigest],
    lost: impl Fn(&PredictedStep<'_>) -> bool,
) -> Vec<ExpectedStep> {
    let mut open_stages: BTreeSet<usize> = BTreeSet::new();
    let mut expected = Vec::with_capacity(plan.steps.len());
    let mut predicted = plan.steps.iter().enumerate();
    for (index, stage) in stages.iter().enumerate() {
        let mut is_open = stage.base.is_some_and(|base| open_stages.contains(&base));
        for step in &stage.steps {
            let Some((at, predicted)) = predicted.next() else {
                return expected;
            };
            is_open |= predicted.outcome != Outcome::Run
                && (!plan.offered.contains(&at) || lost(predicted));
            is_open |= step
                .sources
                .iter()
                .any(|source| open_stages.contains(source));
            expected.push(ExpectedStep {
                stage: stage.name.clone(),
                ordinal: step.ordinal,
                line: step.line,
                digest: step.digest.clone(),
                outcome: match predicted.outcome {
                    Outcome::Hit if is_open => Outcome::Maybe,
                    outcome => outcome,
                },
            });
        }
        if is_open {
            open_stages.insert(index);
        }
    }
    expected
}

/// Compares each step that the builder printed with what was expected of it; a step of which
/// nothing is certain agrees with either. `stages` are those that were built: a step that has
/// changed since is passed over.
pub fn disagreements(
    expected: &[ExpectedStep],
    stages: &[StageDigest],
    real: &[RealStep<'_>],
) -> Vec<Disagreement> {
    let is_built = |expected: &ExpectedStep| {
        stages
            .iter()
            .filter(|stage| stage.name == expected.stage)
            .flat_map(|stage| &stage.steps)
            .any(|step| (step.ordinal, &step.digest) == (expected.ordinal, &expected.digest))
    };
    let mut found = Vec::new();
    for expected in expected.iter().filter(|expected| is_built(expected)) {
        let real = real
            .iter()
            .find(|real| (real.stage, real.ordinal) == (&expected.stage, expected.ordinal));
        let hit = match (expected.outcome, real.map(|real| real.hit)) {
            (Outcome::Hit, Some(false)) => false,
            (Outcome::Run, Some(true)) => true,
            _ => continue,
        };
        found.push(Disagreement {
            stage: expected.stage.clone(),
            ordinal: expected.ordinal,
            line: expected.line,
            hit,
        });
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
