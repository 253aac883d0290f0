//! Which steps of a build will hit, as far as the store can tell.

use serde::{Deserialize, Serialize};

use super::RecordedStep;
use crate::cache_key::{Certainty, StageDigest, StepDigest};

/// What will become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It will hit.
    Hit,
    /// It hits if what it takes turns out to be as it was.
    Maybe,
    /// It will run.
    Run,
}

/// A step of the build, and what the store knows of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictedStep<'a> {
    /// The stage, by its place among the stages.
    pub stage: usize,
    /// The step's place in its stage, from 1.
    pub ordinal: usize,
    /// The instruction's line.
    pub line: usize,
    /// What will become of it.
    pub outcome: Outcome,
    /// The entry that it will hit, by place.
    pub entry: Option<usize>,
    /// What that entry recorded.
    pub recorded: Option<&'a RecordedStep>,
}

/// Predicts all steps, in the order of the Dockerfile. `entries` come best first.
pub fn predict<'a>(
    stages: &[StageDigest],
    entries: &[&'a [RecordedStep]],
) -> Vec<PredictedStep<'a>> {
    stages
        .iter()
        .enumerate()
        .flat_map(|(at, stage)| stage.steps.iter().map(move |step| (at, step)))
        .map(|(at, step)| {
            let (outcome, found) = outcome(step, entries);
            PredictedStep {
                stage: at,
                ordinal: step.ordinal,
                line: step.line,
                outcome,
                entry: found.map(|(entry, _)| entry),
                recorded: found.map(|(_, recorded)| recorded),
            }
        })
        .collect()
}

fn outcome<'a>(
    step: &StepDigest,
    entries: &[&'a [RecordedStep]],
) -> (Outcome, Option<(usize, &'a RecordedStep)>) {
    let find = |is_same: &dyn Fn(&RecordedStep) -> bool| {
        entries.iter().enumerate().find_map(|(at, steps)| {
            let recorded = steps.iter().find(|recorded| is_same(recorded))?;
            Some((at, recorded))
        })
    };
    if let Some(found) = find(&|recorded| recorded.digest == step.digest) {
        let outcome = match step.certainty {
            Certainty::Certain => Outcome::Hit,
            Certainty::Open => Outcome::Maybe,
        };
        return (outcome, Some(found));
    }
    match find(&|recorded| recorded.outline == step.outline) {
        Some(found) => (Outcome::Maybe, Some(found)),
        None => (Outcome::Run, None),
    }
}
