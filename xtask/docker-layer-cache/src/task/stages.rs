//! The Dockerfile as a builder gets it: with a name for every stage, and with bases pinned where a
//! named context cannot do it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::job::Job;
use super::key::Keyed;
use super::notes::write_file;
use crate::dockerfile::StageBase;
use crate::engine::{Builder, Step};
use crate::error::Error;
use crate::oci::Reference;

/// The Dockerfiles of one image: one for the image itself, and one in which every stage has a
/// name, for `--target`.
pub(super) struct NamedDockerfile {
    image: Utf8PathBuf,
    stages: Utf8PathBuf,
    names: Vec<String>,
    pins: Vec<(String, Reference)>,
}

impl NamedDockerfile {
    /// Writes what is needed into the key folder, with the ignore file that rules the context
    /// beside it.
    pub(super) fn new(job: &Job<'_>, keyed: &Keyed) -> Result<Self, Error> {
        let has_contexts = matches!(job.engine()?.builder, Builder::Buildx { .. });
        let (pins, bases) = split_pins(keyed, has_contexts);
        let named = keyed.dockerfile.with_named_stages_on(&bases);
        let folder = job.workspace.work_file(&keyed.image, "stages");
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            write_file(&path, text.as_bytes())?;
            if let Some((_, rules)) = &keyed.ignore {
                write_file(&folder.join(format!("{name}.dockerignore")), rules)?;
            }
            Ok::<_, Error>(path)
        };
        let image = if bases.is_empty() {
            keyed.image.dockerfile.clone()
        } else {
            write("Dockerfile.pinned", &keyed.dockerfile.with_bases(&bases))?
        };
        let stages = write("Dockerfile", &named.text)?;
        Ok(NamedDockerfile {
            image,
            stages,
            names: named.names,
            pins,
        })
    }

    /// Returns the Dockerfile for the image itself.
    pub(super) fn for_image(&self) -> &Utf8Path {
        &self.image
    }

    /// Returns the Dockerfile and the target for one stage.
    pub(super) fn for_stage(&self, stage: usize) -> (&Utf8Path, &str) {
        (&self.stages, &self.names[stage])
    }

    /// Calls the steps' stages what the image's own Dockerfile calls them.
    pub(super) fn rename_steps(&self, steps: &mut [Step], stages: &[String]) {
        for step in steps {
            if let Some(at) = self.names.iter().position(|name| *name == step.stage)
                && let Some(own) = stages.get(at)
            {
                step.stage.clone_from(own);
            }
        }
    }

    /// Returns the named contexts that pin the bases.
    pub(super) fn pins(&self) -> &[(String, Reference)] {
        &self.pins
    }
}

/// Returns the pins that named contexts can do, and for the others the bases by stage.
///
/// `FROM golang AS golang`: a context named `golang` would replace the stage, instructions and all.
/// There the base itself is written into the `FROM`, as for builders that know no named contexts.
fn split_pins(
    keyed: &Keyed,
    has_contexts: bool,
) -> (Vec<(String, Reference)>, BTreeMap<usize, String>) {
    let stages = &keyed.evaluation.stages;
    let is_stage = |name: &str| {
        stages
            .iter()
            .any(|stage| stage.name.as_deref() == Some(name))
    };
    let (written, pins): (Vec<_>, Vec<_>) = keyed
        .pins()
        .into_iter()
        .partition(|(name, _)| !has_contexts || is_stage(name));
    let mut bases = BTreeMap::new();
    for stage in stages.iter().filter(|stage| stage.needed) {
        let StageBase::Image(reference) = &stage.base else {
            continue;
        };
        let name = reference.context_name();
        if let Some((_, pinned)) = written.iter().find(|(pin, _)| *pin == name) {
            bases.insert(stage.index, pinned.to_string());
        }
    }
    (pins, bases)
}
