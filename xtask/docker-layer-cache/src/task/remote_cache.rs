//! A build cache that `BuildKit` keeps elsewhere by itself, with our keys, pins and report around it.

use std::time::Instant;

use super::build::Builder;
use super::job::Job;
use super::key::Keyed;
use super::notes::{Built, Restored};
use super::save::Saved;
use crate::engine::{BuildRequest, CacheSource, CacheTarget, Output, RemoteCache, Strategy};
use crate::error::{Error, exit_code};
use crate::ui::seconds;

/// Returns where the image's cache is kept, for its platform.
pub(super) fn of(keyed: &Keyed) -> Result<Option<RemoteCache>, Error> {
    let image = &keyed.image;
    let several = !image.all_platforms.is_empty();
    let cache = image.build_cache.as_ref();
    let cache = cache.map(|cache| cache.of_platform(&keyed.platform, several));
    cache.transpose().map_err(|error| {
        Error::usage(format_args!(
            "image `{}` of `docker/images.toml`: build-cache: {error}",
            image.name
        ))
    })
}

/// Says that the builder brings in by itself what it finds; nothing of the store is offered.
pub(super) fn restore(job: &Job<'_>, keyed: &Keyed) -> Result<Restored, Error> {
    if let Some(cache) = of(keyed)? {
        job.talk.say(format_args!(
            "{}: the builder takes what it needs from {cache}",
            keyed.image.label()
        ));
    }
    Ok(Restored {
        strategy: Some(Strategy::RemoteBuildCache),
        ..Restored::default()
    })
}

/// Has the builder write what the build added. A cache that cannot be written is a warning.
pub(super) fn save(job: &Job<'_>, keyed: &Keyed, built: &Built) -> Result<Saved, Error> {
    let label = keyed.image.label();
    let skipped = |reason| {
        job.talk
            .say(format_args!("{label}: nothing to save: {reason}"));
        Ok(Saved {
            skipped: Some(reason),
            ..Saved::default()
        })
    };
    let Some(cache) = of(keyed)? else {
        return skipped("the image has no build cache");
    };
    let unsaved = job.workspace.work_file(&keyed.image, "unsaved");
    if job.args.read_only {
        return skipped("the cache is read-only for this job");
    }
    if built.stages_that_ran().is_empty() && !built.unsaved_before {
        return skipped("no step ran");
    }
    if !Strategy::can_export(job.engine()?) {
        job.talk.warn(format_args!(
            "{label}: this engine ({}) can read {cache}, and cannot write it (hint: turn the containerd image store on, choose a docker-container builder, or leave `build-cache` out)",
            job.engine()?
        ));
        return skipped("this engine cannot write it");
    }
    let started = Instant::now();
    let builder = Builder::new(job, keyed, Strategy::RemoteBuildCache)?;
    let request = BuildRequest {
        cache_from: vec![CacheSource::Remote(cache.import())],
        cache_to: Some(CacheTarget::Remote(cache.export())),
        output: Output::CacheOnly,
        ..builder.request()
    };
    let outcomes = builder.run_for_saving(&[request])?;
    if let Some(failure) = outcomes.iter().find_map(|outcome| outcome.failure.as_ref()) {
        let said = failure.errors.last().map_or("", String::as_str);
        let message = format!("{label}: the builder could not write {cache}: {said}");
        if job.args.strict {
            return Err(Error::new(exit_code::STORE, message));
        }
        job.talk.warn(message);
        return skipped("the cache could not be written");
    }
    // What an earlier save missed is in this one.
    let _ = std::fs::remove_file(unsaved);
    job.talk.say(format_args!(
        "{label}: the builder wrote {cache} in {}",
        seconds(started.elapsed().as_secs_f64())
    ));
    Ok(Saved::default())
}
