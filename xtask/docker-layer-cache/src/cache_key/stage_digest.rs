//! One digest per stage and per step: what a build will hit, told before it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::context_tree::{ContextContent, ContextTree};
use super::copy_selection::{SelectOptions, select};
use super::fields::Fields;
use super::stage_state::{Chain, StageState};
use super::step_digest::{Builder, Certainty, Inputs, StepDigest, step};
use crate::dockerfile::{Action, Evaluation, Stage, StageBase};
use crate::oci::{Digest, Platform, Reference};

/// A stage and its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageDigest {
    /// Its index in the Dockerfile, from 0.
    pub index: usize,
    /// Its name as builders print it: its own, or `stage-` and its index.
    pub name: String,
    /// The stage that it starts from, by index.
    pub base: Option<usize>,
    /// The target needs it; a stage that it does not need has no steps.
    pub needed: bool,
    /// Of the files at its end.
    pub digest: Digest,
    /// Its `RUN`, `COPY`, `ADD` and `WORKDIR` instructions, in order.
    pub steps: Vec<StepDigest>,
}

/// Returns the digests of all stages as `BuildKit` compares them, in the order of the Dockerfile;
/// without a `SOURCE_DATE_EPOCH`; see [`Builder::stage_digests`].
pub fn stage_digests(
    evaluation: &Evaluation,
    context: &ContextTree,
    base_digest: impl Fn(&Reference, &Platform) -> Option<Digest>,
) -> Vec<StageDigest> {
    Builder::BuildKit.stage_digests(evaluation, context, None, base_digest)
}

/// Returns the paths of the files whose digests [`stage_digests`] needs, sorted.
pub fn files_to_digest(evaluation: &Evaluation, context: &ContextTree) -> Vec<String> {
    Builder::BuildKit.files_to_digest(evaluation, context)
}

impl Builder {
    /// Returns the digests of all stages, in the order of the Dockerfile.
    ///
    /// `base_digest` returns the digest of a base image for a platform; a step that stands on an
    /// image without one is [`Certainty::Open`], and so is one that takes a file whose digest is
    /// not set in `context`.
    ///
    /// `source_date`: the build argument `SOURCE_DATE_EPOCH`, which buildx also takes from its
    /// environment. `BuildKit` dates the files of every `COPY`, `ADD` and `WORKDIR` by it, so that
    /// none of those hits where it has changed, whether the Dockerfile names it or not.
    pub fn stage_digests(
        self,
        evaluation: &Evaluation,
        context: &ContextTree,
        source_date: Option<&str>,
        base_digest: impl Fn(&Reference, &Platform) -> Option<Digest>,
    ) -> Vec<StageDigest> {
        // The classic builder knows of no such date.
        let source_date = source_date.filter(|_| self == Self::BuildKit);
        stages(self, evaluation, context, source_date, &base_digest)
    }

    /// Returns the paths of the files whose digests [`Self::stage_digests`] needs, sorted.
    pub fn files_to_digest(self, evaluation: &Evaluation, context: &ContextTree) -> Vec<String> {
        files(self, evaluation, context)
    }
}

fn stages(
    builder: Builder,
    evaluation: &Evaluation,
    context: &ContextTree,
    source_date: Option<&str>,
    base_digest: &dyn Fn(&Reference, &Platform) -> Option<Digest>,
) -> Vec<StageDigest> {
    let mut ends: Vec<Option<StageState>> = vec![None; evaluation.stages.len()];
    let mut digests = Vec::with_capacity(evaluation.stages.len());
    for stage in &evaluation.stages {
        let mut state = first_state(stage, &ends, base_digest);
        let inputs = Inputs {
            builder,
            source_date,
            tree: context,
            ends: &ends,
            base_digest,
        };
        let mut steps: Vec<StepDigest> = Vec::new();
        // Every `FROM` is a step of the classic builder, and that of an image one of `BuildKit`.
        let is_image = matches!(stage.base, StageBase::Image(_));
        let mut place = usize::from(is_image || builder == Builder::Classic);
        for instruction in &stage.instructions {
            // The classic builder counts what is written in the file.
            place += usize::from(builder == Builder::Classic && !instruction.from_onbuild);
            let counted = match builder {
                Builder::Classic => place,
                Builder::BuildKit => place + steps.len() + 1,
            };
            let numbers = (steps.len() + 1, counted);
            steps.extend(step(instruction, numbers, &mut state, &inputs));
        }
        let root = state.root.as_ref();
        digests.push(StageDigest {
            index: stage.index,
            name: stage
                .name
                .clone()
                .unwrap_or_else(|| format!("stage-{}", stage.index)),
            base: match stage.base {
                StageBase::Stage(base) => Some(base),
                _ => None,
            },
            needed: stage.needed,
            digest: root.map_or_else(|| Digest::of(b""), |root| root.digest.clone()),
            steps,
        });
        if let Some(end) = ends.get_mut(stage.index) {
            *end = Some(state);
        }
    }
    digests
}

fn files(builder: Builder, evaluation: &Evaluation, context: &ContextTree) -> Vec<String> {
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    let mut add = |source: &str, options: SelectOptions<'_>| {
        for entry in select(context, source, options).entries() {
            if matches!(entry.content, ContextContent::File(_)) {
                paths.insert(&entry.path);
            }
        }
    };
    let stages = evaluation.stages.iter().filter(|stage| stage.needed);
    for instruction in stages.flat_map(|stage| &stage.instructions) {
        match &instruction.action {
            Action::Copy(copy) if copy.from.is_none() => {
                let options = SelectOptions {
                    exclude: &copy.exclude,
                    parents: copy.parents,
                    builder,
                };
                for source in &copy.sources {
                    add(source, options);
                }
            }
            Action::Run(run) => {
                let options = SelectOptions::everything(builder);
                for mount in &run.mounts {
                    if mount.kind == "bind" && mount.from.is_none() {
                        add(&mount.source, options);
                    }
                }
            }
            Action::Copy(_) | Action::Metadata => {}
        }
    }
    paths.into_iter().map(str::to_owned).collect()
}

fn first_state(
    stage: &Stage,
    ends: &[Option<StageState>],
    base_digest: &dyn Fn(&Reference, &Platform) -> Option<Digest>,
) -> StageState {
    let open = |what: &str, name: &str| {
        let digest = Fields::new(what).with(name).digest();
        Some(Chain {
            outline: digest.clone(),
            digest,
            certainty: Certainty::Open,
        })
    };
    let root = match &stage.base {
        StageBase::Scratch => None,
        StageBase::Stage(index) => match ends.get(*index) {
            Some(Some(end)) => return end.clone(),
            _ => open("stage", &index.to_string()),
        },
        StageBase::Context(name) => open("named context", name),
        StageBase::Image(reference) => match base_digest(reference, &stage.platform) {
            Some(digest) => {
                let digest = Fields::new("image").with_digest(&digest).digest();
                Some(Chain {
                    outline: digest.clone(),
                    digest,
                    certainty: Certainty::Certain,
                })
            }
            None => open("image", &reference.to_string()),
        },
    };
    StageState::new(root, stage.platform.clone())
}
