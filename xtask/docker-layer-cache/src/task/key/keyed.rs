//! An image with everything that its key is made of, as the builds want it.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::super::bases::{Newer, Origin};
use super::super::forecast::Forecast;
use super::super::images::Image;
use super::super::job::Job;
use crate::cache_key::{Ingredient, Keys, Recipe};
use crate::dockerfile::{Dockerfile, Evaluation};
use crate::oci::{Digest, Platform, Reference};

/// An image with everything that its key is made of.
pub(in crate::task) struct Keyed {
    pub(in crate::task) image: Image,
    pub(in crate::task) dockerfile: Dockerfile,
    pub(in crate::task) evaluation: Evaluation,
    pub(in crate::task) platform: Platform,
    pub(in crate::task) recipe: Recipe,
    pub(in crate::task) keys: Keys,
    /// The keys of the image for all its platforms, where this is the last of several.
    pub(super) all_platforms_keys: Option<Keys>,
    pub(in crate::task) ignore: Option<(Utf8PathBuf, Vec<u8>)>,
    pub(super) forecast: OnceCell<Option<Forecast>>,
    /// The bases, each once, and where their digests came from.
    pub(in crate::task) bases: Vec<KeyedBase>,
    /// The config of every base was read: the evaluation knows all `ONBUILD` triggers.
    pub(in crate::task) has_all_configs: bool,
    /// Locked bases that have moved.
    pub(in crate::task) newer: Vec<Newer>,
}

/// A base and where its digest came from.
#[derive(Debug, Clone, Serialize)]
pub(in crate::task) struct KeyedBase {
    pub(in crate::task) reference: Reference,
    pub(in crate::task) digest: Digest,
    pub(in crate::task) from: Origin,
}

impl Keyed {
    /// Returns the forecast of this build; none where the build context cannot be read.
    pub(in crate::task) fn forecast(&self, job: &Job<'_>) -> Option<&Forecast> {
        self.forecast
            .get_or_init(|| Forecast::new(job, self))
            .as_ref()
    }

    /// Returns the stages' names as builders print them: `stage-N` where there is none.
    pub(in crate::task) fn stage_names(&self) -> Vec<String> {
        let name = |stage: &crate::dockerfile::Stage| {
            stage
                .name
                .clone()
                .unwrap_or_else(|| format!("stage-{}", stage.index))
        };
        self.evaluation.stages.iter().map(name).collect()
    }

    /// Returns each base by the name under which a named context replaces it, and the reference by
    /// digest that it is pinned to. Bases that are pinned already are left out.
    pub(in crate::task) fn pins(&self) -> Vec<(String, Reference)> {
        let mut pins: BTreeMap<String, Reference> = BTreeMap::new();
        for base in self
            .recipe
            .bases()
            .filter(|base| base.reference.digest().is_none())
        {
            if !self.image.build_contexts.contains_key(&base.written) {
                pins.insert(base.written.clone(), base.reference.at_digest(&base.digest));
            }
        }
        pins.into_iter().collect()
    }

    /// Returns the pinned frontend, where the Dockerfile names one.
    pub(in crate::task) fn syntax(&self) -> Option<Reference> {
        self.recipe
            .ingredients()
            .iter()
            .find_map(|ingredient| match ingredient {
                Ingredient::Frontend { reference, digest } => Some(reference.at_digest(digest)),
                _ => None,
            })
    }

    /// Returns the build contexts of the configuration, with images pinned.
    pub(in crate::task) fn build_contexts(&self) -> Vec<(String, String)> {
        let pin = |value: &String| {
            let reference: Reference = value.strip_prefix("docker-image://")?.parse().ok()?;
            let base = self
                .recipe
                .bases()
                .find(|base| base.reference == reference && reference.digest().is_none())?;
            Some(format!(
                "docker-image://{}",
                reference.at_digest(&base.digest)
            ))
        };
        self.image
            .build_contexts
            .iter()
            .map(|(name, value)| (name.clone(), pin(value).unwrap_or_else(|| value.clone())))
            .collect()
    }
}
