//! One tag to its registry, as often as it takes.

use std::time::Duration;

use super::super::bases;
use super::super::images::Image;
use super::super::job::Job;
use super::Target;
use crate::engine::{PushFailure, PushFailureKind};
use crate::error::{Error, exit_code};
use crate::oci::Digest;

/// The waits between attempts. Docker itself repeats what fails of a layer, but not of a manifest,
/// a token or the first question.
const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// Pushes a tag and returns the digest of its manifest.
///
/// # Errors
/// Where the registry refuses it, or fails each time.
pub(super) fn push_tag(job: &Job<'_>, image: &Image, target: &Target) -> Result<Digest, Error> {
    let mut waits = WAITS.iter();
    loop {
        let mut print = |line: &str| job.talk.build_output(line);
        let failure = match job.docker.push(&target.tag, &mut print)? {
            Ok(Some(digest)) => return Ok(digest),
            Ok(None) => return digest_at_registry(job, target),
            Err(failure) => failure,
        };
        let wait = waits.next();
        let Some(wait) = wait.filter(|_| failure.kind == PushFailureKind::Transient) else {
            return Err(of_failure(image, target, &failure));
        };
        job.talk.warn(format_args!(
            "{}: pushing `{}` failed, once more in {} s: {}",
            image.label(),
            target.tag,
            wait.as_secs(),
            failure.message
        ));
        std::thread::sleep(*wait);
    }
}

fn digest_at_registry(job: &Job<'_>, target: &Target) -> Result<Digest, Error> {
    let client = bases::client_without_mirrors(job.engine().ok())?;
    let found = client.manifest(&target.reference);
    let found = found.map_err(|error| bases::of_registry(&error))?;
    Ok(found.digest)
}

fn of_failure(image: &Image, target: &Target, failure: &PushFailure) -> Error {
    let host = target.reference.domain();
    let tag = &target.tag;
    let error = Error::new(
        exit_code::REGISTRY,
        format_args!(
            "image `{}`: `{tag}` was not pushed: {}",
            image.label(),
            failure.message
        ),
    );
    let path = target.reference.path();
    match failure.kind {
        PushFailureKind::Denied => error.with_hint(format_args!(
            "log in with `docker login {host}`, as a user who may push to `{path}`"
        )),
        PushFailureKind::NoImage => {
            error.with_hint("run `cargo xtask docker-build` before, with the same tags")
        }
        PushFailureKind::NoRepository => error.with_hint(format_args!(
            "make the repository `{path}` at `{host}` first; some registries make none by themselves"
        )),
        PushFailureKind::Immutable => error.with_hint(
            "use a tag that is new for each commit, such as `{git.sha}`, or let tags move",
        ),
        _ => error,
    }
}
