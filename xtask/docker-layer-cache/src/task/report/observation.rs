//! What a job notes of itself for `docker-report`: beside the other notes, and in short in the
//! store's history.

use std::time::{Instant, SystemTime};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::super::images::Image;
use super::super::job::Job;
use super::super::key::{Before, Keyed};
use super::super::notes::{Built, Notes, Restored, write_file};
use super::reason::{Why, reason};
use crate::cache_key::Keys;
use crate::dockerfile::{Action, Source, StageBase};
use crate::engine::{Step, StepResult, Strategy};
use crate::image_layout::{ImageLayout, Timestamp};
use crate::oci::Digest;

/// What a job noted of one image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::task) struct Observation {
    /// The image's name in the configuration.
    pub(in crate::task) image: String,
    /// When the job began, RFC 3339.
    pub(in crate::task) time: String,
    /// How it was built.
    pub(in crate::task) strategy: Option<Strategy>,
    /// The keys; none where the key could not be made.
    pub(in crate::task) key: Option<Keys>,
    /// The phase in which the job failed.
    pub(in crate::task) failed_in: Option<String>,
    /// The phases that ended well, in their order.
    pub(in crate::task) phases: Vec<Phase>,
    /// The stages of the Dockerfile, in its order.
    pub(in crate::task) stages: Vec<ObservedStage>,
    /// The steps of the build.
    pub(in crate::task) steps: Vec<ObservedStep>,
    /// What the key was compared with.
    pub(in crate::task) compared_with: Option<String>,
    /// The ingredients of the key that moved, in words.
    pub(in crate::task) moved: Vec<String>,
}

/// A part of the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::task) struct Phase {
    /// `key`, `restore`, `build`, `save` or `push`.
    pub(in crate::task) name: String,
    /// How long it took, in seconds.
    pub(in crate::task) seconds: f64,
    /// What it verified, loaded or wrote, in bytes.
    pub(in crate::task) bytes: u64,
    /// What came of it, in words.
    pub(in crate::task) outcome: String,
}

/// A stage of the Dockerfile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::task) struct ObservedStage {
    /// Its name; `stage-N` where there is none.
    pub(in crate::task) name: String,
    /// The target needs it.
    pub(in crate::task) needed: bool,
    /// The stages that it stands on or takes files from, by index.
    pub(in crate::task) needs: Vec<usize>,
}

/// A step of the build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::task) struct ObservedStep {
    /// The stage.
    pub(in crate::task) stage: String,
    /// The instruction's first line in the Dockerfile, where it is known.
    pub(in crate::task) line: Option<usize>,
    /// The instruction.
    pub(in crate::task) instruction: String,
    /// What became of it.
    pub(in crate::task) result: StepResult,
    /// How long it took now, in seconds.
    pub(in crate::task) seconds: f64,
    /// For a hit: how long it took when it last ran, in seconds.
    pub(in crate::task) spared_seconds: Option<f64>,
    /// The digest by which the store knows it.
    pub(in crate::task) digest: Option<Digest>,
    /// Why it hit or ran, for people.
    pub(in crate::task) reason: String,
}

/// One job of the history. All fields have defaults: other versions may note others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::task) struct PastJob {
    pub(in crate::task) time: String,
    pub(in crate::task) image: String,
    pub(in crate::task) failed: bool,
    pub(in crate::task) seconds: f64,
    pub(in crate::task) spared_seconds: f64,
    pub(in crate::task) hits: usize,
    pub(in crate::task) steps: usize,
    pub(in crate::task) restored_bytes: u64,
    pub(in crate::task) saved_bytes: u64,
}

/// Watches one job on one image.
pub(in crate::task) struct Watch {
    path: Utf8PathBuf,
    notes_path: Utf8PathBuf,
    before: Option<Before>,
    started: Instant,
    /// The phases behind the save.
    pub(in crate::task) behind: Vec<&'static str>,
    pub(in crate::task) seen: Observation,
}

impl Watch {
    /// Begins before the key is made: that replaces the last recipe.
    pub(in crate::task) fn start(job: &Job<'_>, image: &Image) -> Self {
        Watch {
            path: job.workspace.work_file(image, "report.json"),
            notes_path: job.workspace.work_file(image, "job.json"),
            before: Before::read(job, image, None).ok(),
            started: Instant::now(),
            behind: Vec::new(),
            seen: Observation {
                image: image.name.clone(),
                time: Timestamp::from(SystemTime::now()).to_string(),
                strategy: None,
                key: None,
                failed_in: None,
                phases: Vec::new(),
                stages: Vec::new(),
                steps: Vec::new(),
                compared_with: None,
                moved: Vec::new(),
            },
        }
    }

    /// Ends a phase.
    pub(in crate::task) fn phase(&mut self, name: &str, bytes: u64, outcome: String) {
        self.seen.phases.push(Phase {
            name: name.to_owned(),
            seconds: self.started.elapsed().as_secs_f64(),
            bytes,
            outcome,
        });
        self.started = Instant::now();
    }

    /// Notes what the key is made of.
    pub(in crate::task) fn keyed(&mut self, job: &Job<'_>, keyed: &Keyed) {
        self.seen.key = Some(keyed.keys.clone());
        self.seen.stages = stages(keyed);
        if let Some(before) = self.before.take() {
            (self.seen.compared_with, self.seen.moved) = before.explain(job, keyed).into_texts();
        }
    }

    /// Notes the steps of the build, or of one that failed.
    pub(in crate::task) fn built(
        &mut self,
        job: &Job<'_>,
        keyed: &Keyed,
        restored: &Restored,
        built: Option<&Built>,
    ) {
        let failed: Vec<Step>;
        let steps = if let Some(built) = built {
            self.seen.strategy = Some(built.strategy);
            &built.steps
        } else {
            failed =
                Notes::read(&self.notes_path).map_or_else(Vec::new, |notes| notes.failed_steps);
            &failed
        };
        self.seen.steps = observed_steps(job, keyed, restored, steps, built);
    }

    /// Writes all of it: a report is no reason to fail a job, so what cannot be written is told and
    /// no more.
    pub(in crate::task) fn end(mut self, job: &Job<'_>, failed: bool) {
        if failed {
            let is_done = |name: &str| self.seen.phases.iter().any(|phase| phase.name == name);
            let order = ["key", "restore", "build", "save"].into_iter();
            let mut order = order.chain(self.behind.iter().copied());
            let failed_in = order.find(|name| !is_done(name));
            self.seen.failed_in = Some(failed_in.unwrap_or("save").to_owned());
        }
        let json = serde_json::to_vec_pretty(&self.seen).expect("an observation is JSON");
        if let Err(error) = write_file(&self.path, &json) {
            job.talk
                .warn(format_args!("nothing for docker-report: {error}"));
        }
        let past = self.seen.in_short();
        // A store that is otherwise as it was is not kept anew by the CI either.
        if job.args.read_only || past.saved_bytes == 0 {
            return;
        }
        let past = serde_json::to_value(past).expect("a job is JSON");
        let noted = ImageLayout::open_read_only(&job.workspace.store)
            .and_then(|layout| layout.note_history(&past));
        if let Err(error) = noted {
            job.talk
                .warn(format_args!("not in the history of the store: {error}"));
        }
    }
}

impl Observation {
    /// Returns how many steps hit.
    pub(in crate::task) fn n_hits(&self) -> usize {
        let hit = |step: &&ObservedStep| step.result == StepResult::Hit;
        self.steps.iter().filter(hit).count()
    }

    /// Returns what the steps that hit took when they last ran, in seconds.
    pub(in crate::task) fn spared_seconds(&self) -> f64 {
        self.steps
            .iter()
            .filter_map(|step| step.spared_seconds)
            .sum()
    }

    /// Returns how long the phases took, in seconds.
    pub(in crate::task) fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    pub(in crate::task) fn in_short(&self) -> PastJob {
        let bytes_of = |name: &str| {
            let phase = self.phases.iter().find(|phase| phase.name == name);
            phase.map_or(0, |phase| phase.bytes)
        };
        PastJob {
            time: self.time.clone(),
            image: self.image.clone(),
            failed: self.failed_in.is_some(),
            seconds: self.seconds(),
            spared_seconds: self.spared_seconds(),
            hits: self.n_hits(),
            steps: self.steps.len(),
            restored_bytes: bytes_of("restore"),
            saved_bytes: bytes_of("save"),
        }
    }
}

fn stages(keyed: &Keyed) -> Vec<ObservedStage> {
    let names = keyed.stage_names();
    let stages = keyed.evaluation.stages.iter().zip(names);
    stages
        .map(|(stage, name)| {
            let mut needs = Vec::new();
            if let StageBase::Stage(base) = stage.base {
                needs.push(base);
            }
            for instruction in &stage.instructions {
                let sources: Vec<&Option<Source>> = match &instruction.action {
                    Action::Copy(copy) => vec![&copy.from],
                    Action::Run(run) => run.mounts.iter().map(|mount| &mount.from).collect(),
                    Action::Metadata => Vec::new(),
                };
                needs.extend(sources.into_iter().filter_map(|source| match source {
                    Some(Source::Stage(index)) => Some(*index),
                    _ => None,
                }));
            }
            needs.sort_unstable();
            needs.dedup();
            ObservedStage {
                name,
                needed: stage.needed,
                needs,
            }
        })
        .collect()
}

fn observed_steps(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    steps: &[Step],
    built: Option<&Built>,
) -> Vec<ObservedStep> {
    let real = keyed
        .forecast(job)
        .map_or_else(Vec::new, |forecast| forecast.real(steps));
    let left_out = restored
        .plan
        .as_ref()
        .map_or(&[][..], |plan| &plan.left_out);
    let mut observed: Vec<ObservedStep> = Vec::new();
    for step in steps {
        let place = real.iter().find(|(_, real)| std::ptr::eq(*real, step));
        let digest = place.and_then(|(place, _)| {
            let stages = keyed.forecast(job)?.stages();
            let stage = stages.iter().find(|stage| stage.name == place.stage)?;
            stage
                .steps
                .iter()
                .find(|step| step.ordinal == place.ordinal)
        });
        let recorded = built.zip(digest).and_then(|(built, digest)| {
            let mut recorded = built.recorded.iter();
            recorded.find(|recorded| recorded.digest == digest.digest)
        });
        let is_hit = step.result == StepResult::Hit;
        let earlier = observed
            .iter()
            .rev()
            .find(|earlier| earlier.stage == step.stage && earlier.result != StepResult::Hit);
        let why = Why {
            result: step.result,
            nothing_offered: restored.entries.is_empty(),
            left_out: digest
                .is_some_and(|digest| left_out.iter().any(|left| left.digest == digest.digest)),
            after: earlier.map(|earlier| (earlier.line, earlier.instruction.as_str())),
        };
        let reason = reason(&why);
        observed.push(ObservedStep {
            stage: step.stage.clone(),
            line: digest.map(|digest| digest.line),
            instruction: step.instruction.clone(),
            result: step.result,
            seconds: step.seconds,
            spared_seconds: recorded
                .and_then(|recorded| recorded.seconds)
                .filter(|_| is_hit),
            digest: digest.map(|digest| digest.digest.clone()),
            reason,
        });
    }
    observed
}
