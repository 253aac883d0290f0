//! What the digest of an image's making does not cover.

use super::super::key::Keyed;
use crate::cache_key::{Certainty, StageDigest};
use crate::dockerfile::{Action, Instruction, StageBase};
use crate::oci::Reference;

/// Build args that are for the builder, not for the Dockerfile, and can change what it makes of it.
const BUILDERS_OWN: &str = "BUILDKIT_";
/// The one of them that only says what is said of the image in its cache.
const HARMLESS: &str = "BUILDKIT_INLINE_CACHE";

/// Returns why an equal digest would not mean an equal image; nothing where it would.
pub(super) fn obstacle(keyed: &Keyed, stages: &[StageDigest]) -> Option<String> {
    let image = &keyed.image;
    let evaluation = &keyed.evaluation;
    if image.is_linked || image.links().next().is_some() {
        return Some("it is linked with another image".to_owned());
    }
    if !keyed.has_all_configs {
        return Some("the config of a base could not be read".to_owned());
    }
    let is_builders_own = |name: &&String| name.starts_with(BUILDERS_OWN) && *name != HARMLESS;
    if let Some(name) = image.build_args.keys().find(is_builders_own) {
        return Some(format!("the build arg `{name}` is for the builder"));
    }
    if let Some(syntax) = evaluation.syntax.as_ref().map(Reference::path)
        && !syntax.ends_with("docker/dockerfile")
        && !syntax.ends_with("docker/dockerfile-upstream")
    {
        return Some(format!("nobody knows what the frontend `{syntax}` reads"));
    }
    if let Some(volatile) = evaluation.volatile_inputs.iter().find(|one| !one.pinned) {
        let (line, address) = (volatile.line, volatile.shown_address());
        return Some(format!(
            "line {line}: `{address}` can change without notice"
        ));
    }
    let needed = || evaluation.stages.iter().filter(|stage| stage.needed);
    let from_context = needed().find(|stage| matches!(stage.base, StageBase::Context(_)));
    if let Some(stage) = from_context {
        let line = stage.line;
        return Some(format!("line {line}: it starts from a build context"));
    }
    if !image.reuse_with_secrets {
        let has_secret = |instruction: &&Instruction| match &instruction.action {
            Action::Run(run) => {
                let mut mounts = run.mounts.iter();
                mounts.any(|mount| matches!(mount.kind.as_str(), "secret" | "ssh"))
            }
            _ => false,
        };
        let mut instructions = needed().flat_map(|stage| &stage.instructions);
        if let Some(instruction) = instructions.find(has_secret) {
            return Some(format!(
                "line {}: secrets can change without notice (`reuse-with-secrets = true` allows it)",
                instruction.line
            ));
        }
    }
    let stages = stages.iter().filter(|stage| stage.needed);
    let mut steps = stages.flat_map(|stage| &stage.steps);
    let open = steps.find(|step| step.certainty == Certainty::Open)?;
    Some(format!(
        "line {}: what `{}` takes can change without notice",
        open.line, open.keyword
    ))
}
