//! A Swarm service to a new image; back to the old one where it does not run.

use std::time::Duration;

use super::Ground;
use crate::engine::ServiceFailure;
use crate::error::{Error, exit_code};
use crate::oci::Reference;

/// Updates the service and waits until it has converged.
///
/// # Errors
/// Where it does not: then it runs the old image again, as far as swarm can bring it back.
pub(super) fn update(
    ground: &Ground<'_>,
    service: &str,
    pinned: &str,
    limit: Duration,
) -> Result<(), Error> {
    let docker = ground.docker;
    let before = docker.service(service).map_err(|error| {
        Error::from(error).with_hint(
            "`docker service ls` lists the services, on a manager of the swarm; `docker service create` makes one",
        )
    })?;
    if ground.dry_run {
        ground.talk.say(format_args!(
            "would update the service `{service}` from `{}` to `{pinned}`",
            before.image
        ));
        return Ok(());
    }
    let talk = ground.talk;
    let mut print = |line: &str| talk.say(line);
    let updated = docker.update_service(service, pinned, limit, &mut print)?;
    let after = docker.service(service)?;
    let why = match updated {
        Ok(()) if is_same(&after.image, pinned) => return Ok(()),
        Ok(()) => format!("it runs `{}`: {}", after.image, after.message),
        Err(ServiceFailure::TimedOut(limit)) => {
            format!("it did not converge within {} s", limit.as_secs())
        }
        Err(ServiceFailure::Refused(words)) => words,
    };
    let task = docker.last_task_error(service);
    let why = match task {
        Some(task) => format!("{why} (its task: {task})"),
        None => why,
    };
    let what = format!("the service `{service}` does not run `{pinned}`: {why}");
    let failed = |end: String| {
        Error::new(exit_code::ENGINE, format_args!("{what}; {end}")).with_hint(format_args!(
            "`docker service ps --no-trunc {service}` says more"
        ))
    };
    if after.update.starts_with("rollback") {
        return Err(failed(format!("swarm rolled it back to `{}`", after.image)));
    }
    // Only what this update has changed is taken back: before it, another one may have failed.
    if !is_same(&after.image, pinned) || is_same(&before.image, pinned) {
        return Err(failed(format!("it is left with `{}`", after.image)));
    }
    talk.warn(format_args!(
        "the service `{service}` does not converge; rolling it back to `{}`",
        before.image
    ));
    let back = docker.roll_service_back(service, limit, &mut print)?;
    let now = docker.service(service)?;
    Err(failed(match back {
        Ok(()) if now.image == before.image => format!("rolled back to `{}`", before.image),
        Ok(()) => format!("the rollback left it with `{}`", now.image),
        Err(ServiceFailure::Refused(words)) => format!("the rollback failed, too: {words}"),
        Err(ServiceFailure::TimedOut(limit)) => {
            format!("the rollback did not end within {} s", limit.as_secs())
        }
    }))
}

/// Compares names of images: engines write those of Docker Hub with and without its host.
fn is_same(one: &str, other: &str) -> bool {
    let normal = |name: &str| name.parse::<Reference>().map(|name| name.to_string()).ok();
    one == other || (normal(one).is_some() && normal(one) == normal(other))
}
