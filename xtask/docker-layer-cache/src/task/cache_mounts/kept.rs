//! Which mounts of an image are kept, and which steps mount them.

use super::super::job::Job;
use super::super::key::Keyed;
use crate::dockerfile::CacheMount;
use crate::engine::{HelperMount, Strategy};
use crate::error::Error;

/// The build arg by which builders tell the caches of one team from those of another.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerui/config.go>
pub(super) const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// A mount that is kept.
#[derive(Debug, Clone)]
pub(super) struct KeptMount {
    /// What it is known by in the store: namespace, id, owner.
    pub(super) name: String,
    pub(super) mount: CacheMount,
    /// The steps that mount it: stage, and place among its steps.
    pub(super) steps: Vec<(String, usize)>,
}

impl KeptMount {
    /// Returns the mount as a helper's step has it.
    pub(super) fn of_helper(&self) -> HelperMount {
        HelperMount {
            id: self.mount.id.clone(),
            uid: self.mount.uid,
            gid: self.mount.gid,
            mode: self.mount.mode,
        }
    }

    /// Tells whether a step of this place mounts it.
    pub(super) fn is_of(&self, stage: &str, ordinal: usize) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| (step.0.as_str(), step.1) == (stage, ordinal))
    }
}

/// Returns the mounts of the image that can be kept, and why others cannot. The classic builder has
/// none.
pub(super) fn kept_mounts(
    job: &Job<'_>,
    keyed: &Keyed,
) -> Result<(Vec<KeptMount>, Vec<String>), Error> {
    let nothing = (Vec::new(), Vec::new());
    if !keyed.image.cache_mounts || job.strategy(&keyed.image)? == Strategy::StageImages {
        return Ok(nothing);
    }
    let mounts = keyed.evaluation.cache_mounts();
    // Without a forecast it is not known which steps run.
    let Some(forecast) = keyed.forecast(job).filter(|_| !mounts.is_empty()) else {
        return Ok(nothing);
    };
    let namespace = keyed.image.build_args.get(NAMESPACE);
    let (mut kept, mut refused) = nothing;
    for mount in mounts {
        let name = match namespace {
            Some(namespace) => format!("{namespace}/{mount}"),
            None => mount.to_string(),
        };
        let id = &mount.id;
        if mount.is_seeded {
            refused.push(format!(
                "cache mount `{id}` is not kept: it begins with the files of a stage or an image"
            ));
            continue;
        }
        if !HelperMount::can_name(id) {
            refused.push(format!(
                "cache mount `{id}` is not kept: its id has other characters than letters, digits and / . _ - : @ + = ~ # %"
            ));
            continue;
        }
        let steps = mount.uses.iter().flat_map(|place| {
            let stage = forecast.stages().get(place.stage);
            let steps = stage.map_or(&[][..], |stage| stage.steps.as_slice());
            let here = steps.iter().filter(|step| step.line == place.line);
            here.filter_map(move |step| Some((stage?.name.clone(), step.ordinal)))
        });
        kept.push(KeptMount {
            name,
            steps: steps.collect(),
            mount,
        });
    }
    Ok((kept, refused))
}
