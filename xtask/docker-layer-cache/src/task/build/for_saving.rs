//! The images of stages that a save will want, made in the same run as the image itself.

use super::super::stage_images::{saving_tag, unique};
use super::super::steps::steps_of;
use super::Builder;
use crate::engine::{self, BuildOutcome, BuildRequest, CacheTarget, Output, Strategy};
use crate::error::Error;

impl Builder<'_> {
    /// Returns a tag for each stage that a save will want, where one build can make them all.
    pub(super) fn saving_tags(&self) -> Result<Vec<(usize, String)>, Error> {
        let can = self.strategy == Strategy::WrittenBuildCache
            && matches!(self.job.engine()?.builder, engine::Builder::Buildx { .. });
        let unique = unique();
        let stages = &self.keyed.evaluation.stages;
        Ok((0..stages.len())
            .filter(|stage| can && stages[*stage].needed)
            .filter(|stage| steps_of(&stages[*stage]).next().is_some())
            .map(|stage| {
                let name = &self.stages[stage];
                (
                    stage,
                    saving_tag(&self.keyed.image.stage_repository(), name, &unique),
                )
            })
            .collect())
    }

    /// Builds the image, and in the same run the images of its stages, with inline records.
    pub(super) fn run_with_stages(&self, tags: &[(usize, String)]) -> Result<BuildOutcome, Error> {
        let mut requests = vec![self.request()];
        requests.extend(tags.iter().map(|(stage, tag)| BuildRequest {
            cache_to: Some(CacheTarget::Inline),
            output: Output::Image(vec![tag.clone()]),
            ..self.stage_request(*stage)
        }));
        let mut print = |line: &str| self.job.talk.build_output(line);
        let docker = &self.job.docker;
        let mut outcome = docker.build_all(&requests, &self.stages, &mut print)?;
        self.named.rename_steps(&mut outcome.steps, &self.stages);
        outcome.merge_repeats(&self.stages);
        Ok(outcome)
    }

    /// Names the stages of these tags.
    pub(super) fn made_for_saving(&self, tags: Vec<(usize, String)>) -> Vec<(String, String)> {
        tags.into_iter()
            .map(|(stage, tag)| (self.stages[stage].clone(), tag))
            .collect()
    }
}
