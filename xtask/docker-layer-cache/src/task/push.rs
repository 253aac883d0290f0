//! `docker-push`: the tags of an image to their registries.
//!
//! The engine pushes what it built. Where the very same image was pushed before, only its tags are
//! put onto it, without a build: see `reuse`. Of several platforms each is pushed by itself, and the
//! tag without a platform becomes the list of them.

mod attempts;
mod platforms;
mod shipment;

use serde::{Deserialize, Serialize};
use xshell::Shell;

use super::images::Image;
use super::job::Job;
use super::key::{Digests, Keyed, key};
use super::notes::{Built, Notes};
use super::reuse;
use super::tags::tags;
use crate::cli::{PushArgs, ShipArgs};
use crate::error::{Error, exit_code};
use crate::oci::{Digest, Reference};

use attempts::push_tag;
pub(super) use shipment::{Shipment, last_push, read_digest_file};

/// The registry that a name without one is of.
const DOCKER_HUB: &str = "docker.io";

/// A tag that is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// As the configuration has it.
    pub(super) tag: String,
    /// What it means.
    pub(super) reference: Reference,
}

/// What one repository got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// The image's name in the configuration.
    pub(super) image: String,
    /// The platform; several, with commas between them, of a list.
    pub(super) platform: String,
    /// The tags, with host and path.
    pub(super) tags: Vec<String>,
    /// Of the manifest, or of the list.
    pub(super) digest: Digest,
    /// Host and path, without a tag.
    pub(super) repository: String,
    /// How it came there.
    pub(super) result: PushResult,
}

/// How an image came to its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PushResult {
    /// Its layers and its manifest were pushed.
    Pushed,
    /// It was there, and got new tags.
    Reused,
}

impl Target {
    /// Returns host and path.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.reference.domain(), self.reference.path())
    }
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &PushArgs) -> Result<(), Error> {
    let job = Job::open(sh, &args.task)?;
    let mut shipment = Shipment::new(sh, &args.task, args.digest_file.as_deref())?;
    for image in job.images(sh)? {
        let _lock = job.lock(&image)?;
        let notes = Notes::read(&job.workspace.work_file(&image, "job.json"));
        let built = notes.and_then(|notes| notes.built);
        let digests = match built {
            Some(_) => Digests::OfLastBuild,
            None => Digests::OfLastKey,
        };
        let keyed = key(&job, image, digests)?;
        let reused = if args.always_build {
            None
        } else {
            reuse::put(&job, &keyed, &own_targets(&job, &keyed.image)?)
        };
        let pushed = match (reused, built) {
            (Some(pushed), _) => pushed,
            (None, Some(built)) => push(&job, &keyed, &built)?,
            (None, None) => return Err(not_built(&keyed.image, "was not built")),
        };
        shipment.add(&job, &keyed.image, pushed)?;
    }
    shipment.end(&job, args.task.json)
}

/// Tells what goes with a push and what does not.
pub(super) fn check(args: &ShipArgs, is_offline: bool) -> Result<(), Error> {
    if (args.push || args.verify) && is_offline {
        let message = "--push and --verify ask the registries, so they do not go with --offline";
        return Err(Error::usage(message));
    }
    Ok(())
}

/// Pushes what was built, and notes it for later builds.
pub(super) fn push(job: &Job<'_>, keyed: &Keyed, built: &Built) -> Result<Vec<Pushed>, Error> {
    if built.full_key != keyed.keys.full {
        return Err(not_built(&keyed.image, "was built of other inputs"));
    }
    let mut known = Vec::new();
    for target in own_targets(job, &keyed.image)? {
        let digest = push_tag(job, &keyed.image, &target)?;
        known.push((target, digest));
    }
    let pushed = group(keyed, &known, PushResult::Pushed);
    reuse::note(job, keyed, built.reuse.as_ref(), &pushed);
    Ok(pushed)
}

/// Returns the tags that are pushed: those of a registry. One that names neither a host nor a user
/// is for this machine.
pub(super) fn targets(job: &Job<'_>, image: &Image) -> Result<Vec<Target>, Error> {
    let mut targets: Vec<Target> = Vec::new();
    for tag in tags(job, image)? {
        let reference: Reference = tag.parse().map_err(|error| {
            Error::usage(format_args!("image `{}`: tag `{tag}`: {error}", image.name))
        })?;
        let is_local = reference.domain() == DOCKER_HUB
            && reference.path().starts_with("library/")
            && !tag.contains('/');
        if is_local {
            job.facts.tell_once(
                job.talk,
                format!(
                    "{}: `{tag}` names no registry, and is not pushed",
                    image.label()
                ),
            );
        } else if !targets.iter().any(|known| known.reference == reference) {
            targets.push(Target { tag, reference });
        }
    }
    if targets.is_empty() {
        return Err(Error::usage(format_args!(
            "image `{}` has no tag that names a registry",
            image.name
        ))
        .with_hint(
            "give it one in docker/images.toml, such as `tags = [\"registry.example.com/team/app:{git.sha}\"]`",
        ));
    }
    Ok(targets)
}

/// Returns the tags of this platform: with the platform behind them, where there are several.
pub(super) fn own_targets(job: &Job<'_>, image: &Image) -> Result<Vec<Target>, Error> {
    let targets = targets(job, image)?;
    let tags: Vec<String> = targets.iter().map(|target| target.tag.clone()).collect();
    let own = image.own_tags(&tags).into_iter().map(|tag| {
        let reference = tag.parse().map_err(|error| {
            Error::usage(format_args!("image `{}`: tag `{tag}`: {error}", image.name))
        })?;
        Ok(Target { tag, reference })
    });
    own.collect()
}

/// Returns what each repository got.
pub(super) fn group(keyed: &Keyed, known: &[(Target, Digest)], result: PushResult) -> Vec<Pushed> {
    let mut pushed: Vec<Pushed> = Vec::new();
    for (target, digest) in known {
        let repository = target.repository();
        let tag = target.reference.to_string();
        let mut same = pushed.iter_mut();
        let same = same.find(|one| one.repository == repository && one.digest == *digest);
        match same {
            Some(one) => one.tags.push(tag),
            None => pushed.push(Pushed {
                image: keyed.image.name.clone(),
                platform: keyed.platform.to_string(),
                tags: vec![tag],
                digest: digest.clone(),
                repository,
                result,
            }),
        }
    }
    pushed
}

/// Returns what was pushed in words, for a table.
pub(super) fn outcome(pushed: &[Pushed]) -> String {
    let n_tags: usize = pushed.iter().map(|one| one.tags.len()).sum();
    let is_reused = pushed.iter().all(|one| one.result == PushResult::Reused);
    let result = if is_reused { "reused" } else { "pushed" };
    match n_tags {
        1 => format!("{result}, 1 tag"),
        n => format!("{result}, {n} tags"),
    }
}

fn not_built(image: &Image, how: &str) -> Error {
    Error::new(
        exit_code::USAGE,
        format_args!("image `{}` {how}: there is nothing to push", image.label()),
    )
    .with_hint("run `cargo xtask docker-build` before, with the same --key-dir")
}
