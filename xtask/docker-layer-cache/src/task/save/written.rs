//! Graph driver: stage images with inline records → a build cache that we write ourselves.

use std::collections::{BTreeMap, BTreeSet};

use super::super::STAGE_RECORDS_ANNOTATION;
use super::super::restore::read_graph;
use super::{Save, of_cache};
use crate::buildkit_cache::{CacheEntry, CacheGraph, InlineCache, StageRecords};
use crate::error::{Error, exit_code};

impl Save<'_> {
    /// Graph driver: stage images with inline records → a build cache that we write ourselves.
    pub(super) fn written_build_cache(&mut self) -> Result<(), Error> {
        let names = self.keyed.stage_names();
        let older = self.served();
        let ran = self.built.stages_to_save();
        let known: BTreeSet<&str> = older.stages.stages().collect();
        let has_steps = |name: &String| self.built.steps.iter().any(|step| step.stage == *name);
        let needed: Vec<usize> = (0..names.len())
            .filter(|stage| self.keyed.evaluation.stages[*stage].needed)
            .collect();
        let anew: Vec<usize> = needed
            .iter()
            .copied()
            .filter(|stage| {
                has_steps(&names[*stage])
                    && (self.everything
                        || ran.contains(&names[*stage])
                        || !known.contains(names[*stage].as_str()))
            })
            .collect();
        let mut images = BTreeMap::new();
        let stage_images = match self.images_of_the_build(&anew)? {
            Some(images) => images,
            None => self.stage_images_with_records(&anew)?,
        };
        for (stage, image) in stage_images {
            let Some(inline) = InlineCache::from_image_config(&image.config).map_err(of_cache)?
            else {
                let message = format!(
                    "the image of stage `{}` carries no cache records",
                    names[stage]
                );
                return Err(Error::new(exit_code::ENGINE, message));
            };
            let layers = self.descriptors(&image)?;
            self.record_image(stage, &image, &layers);
            images.insert(
                names[stage].clone(),
                CacheGraph::from_inline(&inline, &layers).map_err(of_cache)?,
            );
        }
        let entry = CacheEntry::after_build(
            &images,
            needed.iter().map(|stage| names[*stage].as_str()),
            Some(&older),
        );
        self.put_build_cache(&entry.graph, Some(&entry.stages))
    }

    /// Returns the caches that served the build, as one: of each stage, what all of them know.
    fn served(&self) -> CacheEntry {
        let mut parts: BTreeMap<String, CacheGraph> = BTreeMap::new();
        let entries = self.writer.entries().unwrap_or_default();
        let digests = &self.restored.entries;
        for stored in entries
            .iter()
            .filter(|stored| digests.contains(&stored.descriptor.digest) && self.is_ours(stored))
        {
            let Ok(mut graph) = read_graph(&self.writer, stored) else {
                continue;
            };
            graph.prune(|digest| self.writer.has(digest));
            let Ok(manifest) = self.writer.manifest(&stored.descriptor) else {
                continue;
            };
            let Some(records) = manifest.annotations.get(STAGE_RECORDS_ANNOTATION) else {
                continue;
            };
            let Ok(records) = serde_json::from_str::<StageRecords>(records) else {
                continue;
            };
            for stage in records.stages() {
                if let Some(part) = records.part_of(&graph, stage) {
                    parts.entry(stage.to_owned()).or_default().merge(&part);
                }
            }
        }
        let mut served = CacheEntry::default();
        for (stage, part) in &parts {
            served.graph.merge(part);
            served.stages.insert(stage, part);
        }
        served
    }
}
