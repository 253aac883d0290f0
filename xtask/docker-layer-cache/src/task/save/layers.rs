//! Which layer each recorded step made: what the next restore weighs.

use std::collections::{BTreeMap, BTreeSet};

use super::super::notes::Built;
use super::Save;
use crate::buildkit_cache::{CacheGraph, StageSources, UNCOMPRESSED_ANNOTATION};
use crate::cache_key::Builder;
use crate::docker_archive::SavedImage;
use crate::engine::Strategy;
use crate::oci::{Descriptor, DiffId, Digest, ImageConfig};
use crate::plan::{RecordedLayer, RecordedStep, layers_of_steps, steps_of_image};

impl Save<'_> {
    /// Records the layers of the steps of a stage's image. Nothing is recorded where they cannot
    /// be told: the plan then takes them for free.
    pub(super) fn record_image(&mut self, stage: usize, image: &SavedImage, blobs: &[Descriptor]) {
        let Some(forecast) = self.keyed.forecast(self.job) else {
            return;
        };
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&image.config) else {
            return;
        };
        let builder = match self.built.strategy {
            Strategy::StageImages => Builder::Classic,
            _ => Builder::BuildKit,
        };
        let steps = steps_of_image(forecast.stages(), stage);
        let keywords: Vec<&str> = steps
            .iter()
            .map(|(_, step)| step.keyword.as_str())
            .collect();
        let layers = layers_of_steps(&config, &keywords, builder).unwrap_or_default();
        for ((stage, step), at) in steps.iter().zip(layers) {
            let layer = at.and_then(|at| {
                RecordedLayer::uppermost(image.diff_ids.get(..=at)?, blobs.get(at)?)
            });
            record(&mut self.recorded, &stage.name, step.ordinal, layer);
        }
    }

    /// Records the layers of the steps of an exported cache, as far as they can be told.
    pub(super) fn record_export(&mut self, graph: &CacheGraph) {
        let Some(forecast) = self.keyed.forecast(self.job) else {
            return;
        };
        let diff_id = |blob: &&Descriptor| {
            let diff_id = blob.annotations.get(UNCOMPRESSED_ANNOTATION)?;
            diff_id.parse().ok().map(DiffId)
        };
        for (stage, blobs) in self.export_layers(graph) {
            let Some(diff_ids) = blobs.iter().map(diff_id).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let steps = steps_of_image(forecast.stages(), stage);
            let Some(n_below) = blobs.len().checked_sub(steps.len()) else {
                continue;
            };
            for ((stage, step), at) in steps.iter().zip(n_below..) {
                let layer = RecordedLayer::uppermost(&diff_ids[..=at], blobs[at]);
                record(&mut self.recorded, &stage.name, step.ordinal, layer);
            }
        }
    }

    /// Returns the blobs of an exported cache that only stages which are not worth it need. None
    /// where the layers of a stage cannot be told: they can be any.
    pub(super) fn not_worth_storing(&self, graph: &CacheGraph) -> BTreeSet<Digest> {
        let not_worth_saving = &self.built.not_worth_saving;
        let stages = match self.keyed.forecast(self.job) {
            Some(forecast) if !not_worth_saving.is_empty() => forecast.stages(),
            _ => return BTreeSet::new(),
        };
        let layers = self.export_layers(graph);
        let mut unwanted = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for (index, stage) in stages.iter().enumerate() {
            let blobs = match layers.get(&index) {
                Some(blobs) => blobs.iter().map(|blob| blob.digest.clone()),
                None if stage.steps.is_empty() => continue,
                None => return BTreeSet::new(),
            };
            if not_worth_saving.contains(&stage.name) {
                unwanted.extend(blobs);
            } else {
                wanted.extend(blobs);
            }
        }
        &unwanted - &wanted
    }

    /// Returns the layers of the stages of an exported cache, lowest first, as far as they can be
    /// told.
    fn export_layers<'g>(&self, graph: &'g CacheGraph) -> BTreeMap<usize, Vec<&'g Descriptor>> {
        let forecast = self.keyed.forecast(self.job);
        let stages = forecast.map_or(&[][..], |forecast| forecast.stages());
        let sources: Vec<StageSources> = (0..stages.len())
            .map(|stage| {
                let steps = steps_of_image(stages, stage).into_iter();
                steps.map(|(_, step)| step.sources.clone()).collect()
            })
            .collect();
        graph.stage_layers(&sources, self.keyed.evaluation.target)
    }
}

/// Returns the steps of a build; those whose layers are new and are to be stored are without any.
pub(super) fn without_new_layers(built: &Built) -> Vec<RecordedStep> {
    let stages = built.stages_to_save();
    let mut recorded = built.recorded.clone();
    for step in &mut recorded {
        if stages.contains(&step.stage) {
            step.layer = None;
        }
    }
    recorded
}

fn record(
    recorded: &mut [RecordedStep],
    stage: &str,
    ordinal: usize,
    layer: Option<RecordedLayer>,
) {
    let is_it = |step: &&mut RecordedStep| step.stage == stage && step.ordinal == ordinal;
    if let Some(step) = recorded.iter_mut().find(is_it) {
        step.layer = layer;
    }
}
