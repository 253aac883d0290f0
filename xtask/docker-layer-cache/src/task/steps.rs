//! The steps of a build, completed and printed.

use super::job::Job;
use super::key::Keyed;
use super::notes::Built;
use crate::dockerfile::{Instruction, Stage};
use crate::engine::{Step, StepResult};
use crate::ui::{Table, seconds};

/// Returns the instructions of a stage that are steps of a build with `BuildKit`.
pub(super) fn steps_of(stage: &Stage) -> impl Iterator<Item = &Instruction> {
    let is_step = |keyword: &str| ["RUN", "COPY", "ADD", "WORKDIR"].contains(&keyword);
    let instructions = stage.instructions.iter();
    instructions.filter(move |one| is_step(&one.keyword))
}

/// Adds the steps that `BuildKit` did not print: where it finds a later step by its own key, it
/// never looks at the stage that the step takes files from. They are hits.
pub(super) fn with_unprinted(keyed: &Keyed, printed: Vec<Step>) -> Vec<Step> {
    let names = keyed.stage_names();
    let mut steps = Vec::new();
    for (stage, name) in keyed.evaluation.stages.iter().zip(&names) {
        let mine: Vec<&Step> = printed.iter().filter(|step| step.stage == *name).collect();
        let expected: Vec<_> = steps_of(stage).collect();
        if !stage.needed || mine.len() >= expected.len() {
            steps.extend(mine.into_iter().cloned());
            continue;
        }
        // A `FROM` that is a named context is not counted, one that is an image is.
        let place = |step: &Step| {
            step.step
                .split('/')
                .next()
                .and_then(|n| n.parse::<usize>().ok())
        };
        let shift = usize::from(
            mine.iter()
                .filter_map(|step| place(step))
                .any(|n| n > expected.len()),
        );
        for (at, instruction) in expected.iter().enumerate() {
            let number = at + 1 + shift;
            let found = mine.iter().find(|step| place(step) == Some(number));
            steps.push(found.map_or_else(
                || Step {
                    stage: name.clone(),
                    step: format!("{number}/{}", expected.len() + 1),
                    instruction: instruction.original.clone(),
                    result: StepResult::Hit,
                    seconds: 0.0,
                },
                |step| (*step).clone(),
            ));
        }
    }
    steps.extend(
        printed
            .into_iter()
            .filter(|step| !names.contains(&step.stage)),
    );
    steps
}

/// Says step by step what hit and what ran.
pub(super) fn print_steps(job: &Job<'_>, keyed: &Keyed, built: &Built, duration: f64) {
    let mut table = Table::new(&["stage", "step", "instruction", "result", ">seconds"]);
    for step in &built.steps {
        let result = match step.result {
            StepResult::Hit => "hit",
            StepResult::Run => "run",
            StepResult::Failed => "failed",
        };
        table.row([
            step.stage.clone(),
            step.step.clone(),
            step.instruction.clone(),
            result.to_owned(),
            format!("{:.1}", step.seconds),
        ]);
    }
    if !table.is_empty() {
        job.talk.say(&table);
    }
    job.talk.say(format_args!(
        "{}: built in {}, {} of {} steps hit",
        keyed.image.label(),
        seconds(duration),
        built.n_hits(),
        built.steps.len()
    ));
    if let Some(first) = built
        .steps
        .iter()
        .find(|step| step.result == StepResult::Run)
        && built.n_hits() > 0
    {
        job.talk.say(format_args!(
            "{}: the first step that missed is `{}` of stage `{}`",
            keyed.image.label(),
            first.instruction,
            first.stage
        ));
    }
}
