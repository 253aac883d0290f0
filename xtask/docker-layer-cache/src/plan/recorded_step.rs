//! What an entry of the store knows of a step.

use serde::{Deserialize, Serialize};

use crate::cache_key::{Builder, StageDigest, StepDigest};
use crate::oci::{ChainId, Descriptor, DiffId, Digest, History, ImageConfig};

/// A step of a build that was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedStep {
    /// The stage, as builders name it.
    pub stage: String,
    /// The step's place among the stage's steps, from 1.
    pub ordinal: usize,
    /// See [`StepDigest::digest`].
    pub digest: Digest,
    /// See [`StepDigest::outline`].
    pub outline: Digest,
    /// How long the step took when it last ran, in seconds; nothing where nobody saw it run.
    pub seconds: Option<f64>,
    /// The layer that it made; nothing where it made none or the layer is not known.
    pub layer: Option<RecordedLayer>,
}

/// The layer of a recorded step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLayer {
    /// The layer with all below it: what an engine knows it by.
    pub chain_id: ChainId,
    /// The blob in the store.
    pub blob: Digest,
    /// The blob's size.
    pub bytes: u64,
}

impl RecordedLayer {
    /// Describes the uppermost of these layers, lowest first: their diff IDs, and its blob.
    pub fn uppermost(diff_ids: &[DiffId], blob: &Descriptor) -> Option<RecordedLayer> {
        Some(RecordedLayer {
            chain_id: ChainId::of_each(diff_ids).pop()?,
            blob: blob.digest.clone(),
            bytes: blob.size,
        })
    }
}

/// What a step is taken to spare whose time is not known, in seconds: more than any import costs.
pub(super) const UNKNOWN_SECONDS: f64 = 1e6;

impl RecordedStep {
    /// Returns what the step spares by not being run.
    pub(super) fn spared_seconds(&self) -> f64 {
        self.seconds.unwrap_or(UNKNOWN_SECONDS)
    }

    /// Records a step of `stage`.
    pub fn new(
        stage: &str,
        step: &StepDigest,
        seconds: Option<f64>,
        layer: Option<RecordedLayer>,
    ) -> RecordedStep {
        RecordedStep {
            stage: stage.to_owned(),
            ordinal: step.ordinal,
            digest: step.digest.clone(),
            outline: step.outline.clone(),
            seconds,
            layer,
        }
    }
}

/// Returns the steps of a stage with those of the stages that it starts from, lowest first.
pub fn steps_of_image(stages: &[StageDigest], stage: usize) -> Vec<(&StageDigest, &StepDigest)> {
    let mut chain: Vec<&StageDigest> = Vec::new();
    let mut next = stages.get(stage);
    while let Some(one) = next {
        chain.push(one);
        // A stage starts from an earlier one: this ends.
        let base = one.base.filter(|base| *base < one.index);
        next = base.and_then(|base| stages.get(base));
    }
    let lowest_first = chain.into_iter().rev();
    lowest_first
        .flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
        .collect()
}

/// Returns for each step which layer of an image it made, by place among the image's layers; nothing
/// for a step that made none. `keywords` are those of the stage's steps, with those of the stages
/// that it starts from, lowest first.
///
/// None where the image's history is not that of these steps.
pub fn layers_of_steps(
    config: &ImageConfig,
    keywords: &[&str],
    builder: Builder,
) -> Option<Vec<Option<usize>>> {
    let n_layers = config.history.iter().filter(|one| !one.empty_layer).count();
    if n_layers != config.rootfs.diff_ids.len() {
        return None;
    }
    let mut layers = Vec::with_capacity(keywords.len());
    let mut next_layer = n_layers;
    let mut history = config.history.iter().rev();
    while let Some(at) = keywords.len().checked_sub(layers.len() + 1) {
        let one = history.next()?;
        let layer = if one.empty_layer {
            None
        } else {
            next_layer = next_layer.checked_sub(1)?;
            Some(next_layer)
        };
        match step_keyword(one, builder) {
            Some(keyword) if keyword == keywords[at] => layers.push(layer),
            None if one.empty_layer => {}
            _ => return None,
        }
    }
    layers.reverse();
    Some(layers)
}

/// Returns the instruction of a line of an image's history; none where it is no step. `BuildKit`
/// writes it first, and makes a layer for every step. The classic builder writes the command of a
/// `RUN`, and of others the instruction behind a mark.
fn step_keyword(history: &History, builder: Builder) -> Option<&str> {
    let text = history.created_by.as_deref().unwrap_or_default();
    let written = match builder {
        Builder::BuildKit if history.empty_layer => return None,
        Builder::BuildKit => text,
        Builder::Classic => match text.split_once("#(nop) ") {
            Some((_, written)) => written,
            None => return Some("RUN"),
        },
    };
    let word = written.split_whitespace().next().unwrap_or_default();
    ["RUN", "COPY", "ADD", "WORKDIR"]
        .contains(&word)
        .then_some(word)
}
