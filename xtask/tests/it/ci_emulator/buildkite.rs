//! Buildkite's hosted agents: a command, and a volume that stays under a name.
//!
//! Source: <https://buildkite.com/docs/pipelines/hosted-agents/cache-volumes>

use libtest_mimic::Failed;
use serde_json::Value;

use super::cache_service::CacheService;
use super::job_log::{Event, JobLog};
use super::machine::{Machine, Variables};
use super::{only, text, texts};

pub(super) fn run(
    file: &Value,
    job: &str,
    machine: &Machine<'_>,
    caches: &mut CacheService,
    log: &mut JobLog,
) -> Result<(), Failed> {
    only(file, &["steps"], "the file")?;
    let steps = file["steps"].as_array().ok_or("a pipeline without steps")?;
    let step = steps
        .iter()
        .find(|step| step["key"] == job)
        .ok_or_else(|| format!("there is no step `{job}`"))?;
    only(step, &["label", "key", "command", "cache"], "the step")?;
    let cache = &step["cache"];
    only(cache, &["name", "size", "paths"], "cache")?;
    let name = text(cache, "name").to_owned();
    log.push(caches.restore_exactly(std::slice::from_ref(&name), machine)?);
    let command = text(step, "command");
    let variables = Variables::from([("BUILDKITE".to_owned(), "true".to_owned())]);
    let run = machine.bash(&["-e"], command, &variables)?;
    log.push(Event::Ran {
        step: command.to_owned(),
        time: run.time,
    });
    log.push(caches.save_over(&name, &texts(&cache["paths"]), machine)?);
    Ok(())
}
