//! What an entry of the store knows of a step.

use serde::{Deserialize, Serialize};

use crate::cache_key::StepDigest;
use crate::oci::{ChainId, DiffId, Digest};

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
    /// How long the step took when it last ran, in seconds.
    pub seconds: f64,
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

impl RecordedStep {
    /// Records a step of `stage`.
    pub fn new(
        stage: &str,
        step: &StepDigest,
        seconds: f64,
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

/// Returns the layers of a stage's steps, as diff IDs with all below them: `diff_ids` are those of
/// the stage's image, and `n_steps` is how many steps the stage has, with those of the stages that
/// it starts from. `BuildKit` makes a layer of every step, also of one that changes nothing. None
/// where the image has fewer layers.
pub fn layers_of_steps(diff_ids: &[DiffId], n_steps: usize) -> Option<Vec<ChainId>> {
    let n_below = diff_ids.len().checked_sub(n_steps)?;
    Some(ChainId::of_each(diff_ids).split_off(n_below))
}
