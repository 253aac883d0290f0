//! Images of stages: built, read out of the engine, stored.

use std::io::Read;

use super::super::build::Builder;
use super::super::restore::of_store;
use super::super::stage_images::{saving_tag, untag, wanted_stages};
use super::{Save, Saved};
use crate::buildkit_cache::CREATED_AT_ANNOTATION;
use crate::docker_archive::{self, LayerName, LayerSink, SavedImage};
use crate::engine::{BuildRequest, CacheTarget, Output, StepResult};
use crate::error::{Error, exit_code};
use crate::image_layout::{KNOWN_AS, StoredLayers, Writer};
use crate::oci::{Descriptor, DiffId, History, ImageConfig};

impl Save<'_> {
    /// The classic builder: the images of the stages as they are.
    pub(super) fn stage_images(&mut self, images: &[(String, String)]) -> Result<(), Error> {
        let ran = self.built.stages_to_save();
        let entries = self.writer.entries().map_err(|error| of_store(&error))?;
        let stored = |stage: &String| {
            entries
                .iter()
                .any(|stored| self.is_ours(stored) && stored.entry.stage.as_ref() == Some(stage))
        };
        let wanted: Vec<&(String, String)> = images
            .iter()
            .filter(|(stage, _)| self.everything || ran.contains(stage) || !stored(stage))
            .collect();
        let ids: Vec<String> = wanted.iter().map(|(_, id)| id.clone()).collect();
        for image in self.read_images(&ids)? {
            for (stage, _) in wanted
                .iter()
                .filter(|(_, id)| image.image_id().encoded().starts_with(id.as_str()))
            {
                self.put_stage_image(stage, &image)?;
            }
        }
        Ok(())
    }

    /// BuildKit without a build cache: stage images that carry inline records.
    pub(super) fn inline_stage_images(&mut self) -> Result<(), Error> {
        let names = self.keyed.stage_names();
        let ran = self.built.stages_to_save();
        let entries = self.writer.entries().map_err(|error| of_store(&error))?;
        let stored = |stage: &String| {
            entries
                .iter()
                .any(|stored| self.is_ours(stored) && stored.entry.stage.as_ref() == Some(stage))
        };
        let wanted = wanted_stages(self.keyed, self.built.strategy);
        let anew: Vec<usize> = (0..names.len())
            .filter(|stage| {
                wanted.contains(&names[*stage])
                    && (self.everything || ran.contains(&names[*stage]) || !stored(&names[*stage]))
            })
            .collect();
        for (stage, image) in self.stage_images_with_records(&anew)? {
            self.put_stage_image(&names[stage], &image)?;
        }
        Ok(())
    }

    /// Builds the images of these stages once more, all steps cached, so that they carry complete
    /// inline records, and reads them.
    ///
    /// Without `--cache-from`: an image that is built with it lacks the layers of steps that hit.
    pub(super) fn stage_images_with_records(
        &mut self,
        stages: &[usize],
    ) -> Result<Vec<(usize, SavedImage)>, Error> {
        let builder = Builder::new(self.job, self.keyed, self.built.strategy)?;
        let names = self.keyed.stage_names();
        let tag = |stage: usize| {
            saving_tag(
                &self.keyed.image.stage_repository(),
                &names[stage],
                &self.unique,
            )
        };
        let tags: Vec<String> = stages.iter().map(|stage| tag(*stage)).collect();
        let requests: Vec<BuildRequest> = stages
            .iter()
            .zip(&tags)
            .map(|(stage, tag)| BuildRequest {
                cache_to: Some(CacheTarget::Inline),
                output: Output::Image(vec![tag.clone()]),
                ..builder.stage_request(*stage)
            })
            .collect();
        let built = self.build_stages(&builder, &requests);
        let images = built.and_then(|()| self.read_images(&tags));
        untag(self.job, &tags);
        let images = images?;
        by_stage(stages.iter().copied().zip(&tags), &images).ok_or_else(|| {
            Error::new(exit_code::ENGINE, "the engine left out an image of a stage")
                .during("docker save")
                .with_hint("another job may have removed its tag: run `docker-save` again")
        })
    }

    /// Reads the images that the build itself made of these stages; none where it made not all of
    /// them, or they are gone.
    pub(super) fn images_of_the_build(
        &mut self,
        stages: &[usize],
    ) -> Result<Option<Vec<(usize, SavedImage)>>, Error> {
        let names = self.keyed.stage_names();
        let made = &self.built.stage_images;
        let tag = |stage: &usize| {
            let found = made.iter().find(|(name, _)| *name == names[*stage]);
            found.map(|(_, tag)| (*stage, tag))
        };
        let Some(tags) = stages.iter().map(tag).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let wanted: Vec<String> = tags.iter().map(|(_, tag)| (*tag).clone()).collect();
        let present = self.job.docker.inspect_images(&wanted)?;
        if wanted.is_empty() || present.len() < wanted.len() {
            return Ok(None);
        }
        let images = self.read_images(&wanted)?;
        Ok(by_stage(tags.into_iter(), &images))
    }

    /// Builds the stages in one call where the builder can.
    fn build_stages(&self, builder: &Builder<'_>, requests: &[BuildRequest]) -> Result<(), Error> {
        let mut n_ran = 0;
        let outcomes = builder.run_for_saving(requests)?;
        for outcome in outcomes {
            if let Some(failure) = outcome.failure {
                let message = format!(
                    "the stages could not be built for saving (docker's exit code {})",
                    failure.exit_code
                );
                return Err(Error::new(exit_code::ENGINE, message));
            }
            n_ran += outcome
                .steps
                .iter()
                .filter(|step| step.result == StepResult::Run)
                .count();
        }
        if n_ran > 0 {
            let name = &self.keyed.image.name;
            self.job.talk.warn(format_args!(
                "{name}: {n_ran} steps ran once more for saving"
            ));
        }
        Ok(())
    }

    /// Streams images out of the engine; new layers go into the store.
    fn read_images(&mut self, tags: &[String]) -> Result<Vec<SavedImage>, Error> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let mut sink = Sink {
            writer: &self.writer,
            known: &mut self.layers,
            saved: Saved::default(),
        };
        let images = self
            .job
            .docker
            .save(tags, |archive| docker_archive::read(archive, &mut sink))?;
        let saved = sink.saved;
        self.saved.bytes += saved.bytes;
        self.saved.layers += saved.layers;
        images.map_err(|error| of_archive(&error))
    }

    /// Returns the descriptors of an image's layers as they are in the store, each with the time
    /// at which this image says that it was made.
    pub(super) fn descriptors(&self, image: &SavedImage) -> Result<Vec<Descriptor>, Error> {
        let times = layer_times(&image.config);
        let mut descriptors = Vec::new();
        for (at, diff_id) in image.diff_ids.iter().enumerate() {
            let Some(stored) = self.layers.by_diff_id.get(diff_id) else {
                return Err(Error::new(
                    exit_code::STORE,
                    format_args!("the layer {diff_id} was stored and is gone"),
                ));
            };
            let mut descriptor = stored.clone();
            if let Some(time) = times.get(at) {
                descriptor
                    .annotations
                    .insert(CREATED_AT_ANNOTATION.to_owned(), time.clone());
            }
            descriptors.push(descriptor);
        }
        Ok(descriptors)
    }
}

/// Finds the image of each stage by its tag; nothing where one is missing.
fn by_stage<'a>(
    tags: impl Iterator<Item = (usize, &'a String)>,
    images: &[SavedImage],
) -> Option<Vec<(usize, SavedImage)>> {
    let by_tag = |tag: &String| images.iter().find(|image| image.repo_tags.contains(tag));
    tags.map(|(stage, tag)| Some((stage, by_tag(tag)?.clone())))
        .collect()
}

/// Puts the layers of an archive into the store, except those that it has.
struct Sink<'a> {
    writer: &'a Writer,
    known: &'a mut StoredLayers,
    saved: Saved,
}

impl LayerSink for Sink<'_> {
    fn known(&mut self, name: LayerName<'_>) -> Option<DiffId> {
        match name {
            LayerName::Blob(digest) => {
                let diff_id = DiffId(digest.clone());
                let known = self
                    .known
                    .by_diff_id
                    .contains_key(&diff_id)
                    .then_some(diff_id);
                known.or_else(|| self.known.by_name.get(digest.as_str()).cloned())
            }
            LayerName::Legacy(name) => self.known.by_name.get(name).cloned(),
        }
    }

    fn layer(&mut self, name: LayerName<'_>, tar: &mut dyn Read) -> std::io::Result<DiffId> {
        let mut stored = self.writer.put_layer(tar)?;
        let known_as = match name {
            LayerName::Blob(digest) => digest.to_string(),
            LayerName::Legacy(name) => name.to_owned(),
        };
        stored
            .descriptor
            .annotations
            .insert(KNOWN_AS.to_owned(), known_as.clone());
        self.known.by_name.insert(known_as, stored.diff_id.clone());
        if self
            .known
            .by_diff_id
            .insert(stored.diff_id.clone(), stored.descriptor.clone())
            .is_none()
        {
            self.saved.bytes += stored.descriptor.size;
            self.saved.layers += 1;
        }
        Ok(stored.diff_id)
    }
}

/// Returns when each layer was made, lowest first; nothing where the history does not match the
/// layers.
fn layer_times(config: &[u8]) -> Vec<String> {
    let Ok(config) = serde_json::from_slice::<ImageConfig>(config) else {
        return Vec::new();
    };
    let created = |history: &History| history.other.get("created")?.as_str().map(str::to_owned);
    let times: Vec<String> = config
        .history
        .iter()
        .filter(|history| !history.empty_layer)
        .filter_map(created)
        .collect();
    if times.len() == config.rootfs.diff_ids.len() {
        times
    } else {
        Vec::new()
    }
}

fn of_archive(error: &docker_archive::ArchiveError) -> Error {
    let found = Error::new(exit_code::STORE, error).during("docker save");
    match error.hint() {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}
