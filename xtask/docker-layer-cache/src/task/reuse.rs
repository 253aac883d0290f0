//! Builds that need not run: the very same image was pushed already, and the registry still has it.
//!
//! ```text
//! recipe + build args + labels + digests of all stages ──▶ what the image is made of
//! pushed.jsonl of the store: made of ──▶ digest at the registry ──▶ GET it, PUT it under the new tags
//! ```
//!
//! What the digest does not cover keeps it from being made, and the image is built: see `obstacle`.

mod obstacle;
mod verify;

use super::bases;
use super::forecast::{Forecast, SOURCE_DATE};
use super::job::Job;
use super::key::Keyed;
use super::push::{PushResult, Pushed, Target, group};
use crate::image_layout::{ImageLayout, PushedRecord};
use crate::oci::{Digest, Reference};
use crate::registry::{Client, ErrorKind, FetchedManifest};

use obstacle::obstacle;
pub(super) use verify::verify;

/// Goes up with every change of what the digest is made of.
const VERSION: &str = "docker-layer-cache made-of v1";

/// Returns the digest of all that the image is made of; the error says what it would not cover.
pub(super) fn digest(job: &Job<'_>, keyed: &Keyed) -> Result<Digest, String> {
    let forecast = keyed.forecast(job);
    made_of(keyed, forecast)
}

/// As [`digest`], from the files as they are now.
fn digest_now(job: &Job<'_>, keyed: &Keyed) -> Result<Digest, String> {
    made_of(keyed, Forecast::new(job, keyed).as_ref())
}

fn made_of(keyed: &Keyed, forecast: Option<&Forecast>) -> Result<Digest, String> {
    let stages = forecast
        .ok_or_else(|| "the build context cannot be read".to_owned())?
        .stages();
    if let Some(obstacle) = obstacle(keyed, stages) {
        return Err(obstacle);
    }
    let image = &keyed.image;
    let source_date = std::env::var(SOURCE_DATE).ok();
    let stages: Vec<_> = stages
        .iter()
        .filter(|stage| stage.needed)
        .map(|stage| {
            let steps: Vec<&Digest> = stage.steps.iter().map(|step| &step.digest).collect();
            (stage.index, &stage.digest, steps)
        })
        .collect();
    // JSON, so that no two lists of values look alike. Secrets are named, and never read.
    let text = serde_json::json!([
        VERSION,
        keyed.recipe.base_part().to_json(),
        image.build_args,
        image.labels,
        image.secrets,
        image.ssh,
        source_date,
        stages,
    ]);
    Ok(Digest::of(text.to_string().as_bytes()))
}

/// Puts the tags onto what was pushed before of the very same image; nothing where there is none,
/// or the registry has lost it. Whatever goes wrong is a warning: the image is built.
pub(super) fn put(job: &Job<'_>, keyed: &Keyed, targets: &[Target]) -> Option<Vec<Pushed>> {
    let label = keyed.image.label();
    let made_of = match digest(job, keyed) {
        Ok(digest) => digest,
        Err(obstacle) => {
            job.talk.say(format_args!(
                "{label}: built although it may be at the registry: {obstacle}"
            ));
            return None;
        }
    };
    let records = records(job);
    let known = |target: &Target| {
        let mut records = records.iter().rev();
        let record = records.find(|record| {
            record.image == keyed.image.name
                && record.platform == keyed.platform.to_string()
                && record.repository == target.repository()
                && record.made_of == made_of
        })?;
        Some((target.clone(), record.digest.clone()))
    };
    let known: Vec<(Target, Digest)> = targets.iter().map(known).collect::<Option<_>>()?;
    let client = bases::client_without_mirrors(job.engine().ok()).ok()?;
    match put_tags(&client, &known) {
        Ok(Some(())) => {
            job.talk.say(format_args!(
                "{label}: nothing to build: the registry has the image, which got its tags"
            ));
            Some(group(keyed, &known, PushResult::Reused))
        }
        Ok(None) => {
            job.talk.say(format_args!(
                "{label}: the registry has lost the image that was pushed; building it"
            ));
            None
        }
        Err(error) => {
            job.talk.warn(format_args!(
                "{label}: the image that was pushed cannot be tagged; building it: {error}"
            ));
            None
        }
    }
}

/// Gives each digest its tag; nothing where the registry has it no more.
fn put_tags(
    client: &Client,
    known: &[(Target, Digest)],
) -> Result<Option<()>, crate::registry::RegistryError> {
    let mut fetched: Vec<(Reference, FetchedManifest)> = Vec::new();
    for (target, digest) in known {
        let pinned = target.reference.at_digest(digest);
        if fetched.iter().any(|(known, _)| *known == pinned) {
            continue;
        }
        match client.manifest(&pinned) {
            Ok(manifest) => fetched.push((pinned, manifest)),
            Err(error) if *error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    // All are there: only now a tag moves.
    for (target, digest) in known {
        let pinned = target.reference.at_digest(digest);
        let mut fetched = fetched.iter();
        let Some((_, manifest)) = fetched.find(|(known, _)| *known == pinned) else {
            return Ok(None);
        };
        client.put_manifest(&target.reference, &manifest.media_type, &manifest.bytes)?;
    }
    Ok(Some(()))
}

/// Notes in the store what was pushed, where the build was of what the files still say.
pub(super) fn note(job: &Job<'_>, keyed: &Keyed, made_of: Option<&Digest>, pushed: &[Pushed]) {
    let Some(made_of) = made_of.filter(|_| !job.args.read_only) else {
        return;
    };
    if digest_now(job, keyed).as_ref() != Ok(made_of) {
        job.talk.warn(format_args!(
            "{}: files changed since it was built; the push is not noted for later builds",
            keyed.image.label()
        ));
        return;
    }
    let records: Vec<PushedRecord> = pushed
        .iter()
        .map(|one| {
            let platform = keyed.platform.to_string();
            PushedRecord::now(&one.image, &platform, &one.repository, made_of, &one.digest)
        })
        .collect();
    let noted = ImageLayout::open_or_create(&job.workspace.store)
        .and_then(|layout| layout.note_pushed(&records));
    if let Err(error) = noted {
        job.talk.warn(format_args!(
            "the push is not noted for later builds: {error}"
        ));
    }
}

fn records(job: &Job<'_>) -> Vec<PushedRecord> {
    ImageLayout::open_read_only(&job.workspace.store)
        .and_then(|layout| layout.pushed())
        .unwrap_or_default()
}
