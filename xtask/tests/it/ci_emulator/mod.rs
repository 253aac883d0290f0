//! CI services in small: their own files are read and run, step by step, with bash on a machine that
//! is new for each job, and with a cache that keeps what the service would keep.
//!
//! ```text
//! .circleci/config.yml ─┐
//! a GitHub workflow     ├─▶ steps ─▶ bash in a fresh checkout, on the engine of the test
//! .gitlab-ci.yml        │     └────▶ CacheService: what one job saved, the next restores
//! a Buildkite pipeline ─┘
//! ```
//!
//! Only what the files use is emulated. Anything else is an error, so that a step is never left out
//! in silence; what needs the internet is skipped by name, with the reason.

mod buildkite;
mod cache_service;
mod circleci;
mod github;
mod gitlab;
mod job_log;
mod machine;

use std::path::Path;

use libtest_mimic::Failed;
use serde_json::Value;

pub(crate) use cache_service::CacheService;
pub(crate) use job_log::{Event, JobLog};
pub(crate) use machine::{Cargo, Machine};

/// A CI service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ci {
    Circleci,
    Github,
    Gitlab,
    Buildkite,
}

/// What differs from one job to the next.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// The commit's name; each job of a test has one of its own.
    pub(crate) revision: String,
    pub(crate) branch: String,
}

/// Runs the job `job` of the CI file at `path` in the machine's checkout.
pub(crate) fn run(
    ci: Ci,
    path: &str,
    job: &str,
    machine: &Machine<'_>,
    caches: &mut CacheService,
    commit: &Commit,
) -> Result<JobLog, Failed> {
    let file = read(&machine.checkout().join(path))?;
    let mut log = JobLog::default();
    let done = match ci {
        Ci::Circleci => circleci::run(&file, job, machine, caches, commit, &mut log),
        Ci::Github => github::run(&file, job, machine, caches, commit, &mut log),
        Ci::Gitlab => gitlab::run(&file, job, machine, caches, commit, &mut log),
        Ci::Buildkite => buildkite::run(&file, job, machine, caches, &mut log),
    };
    done.map_err(|error| {
        format!(
            "{path}: {}\n--- done before\n{log}",
            error.message().unwrap_or_default()
        )
    })?;
    Ok(log)
}

/// Reads a YAML file.
pub(crate) fn read(path: &Path) -> Result<Value, Failed> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| format!("failed to read `{}`: {cause}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|cause| format!("`{}`: {cause}", path.display()).into())
}

/// Returns the text at `name`, or nothing.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Returns a list of texts: of a sequence, or of a single text with one a line.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.lines().map(|line| line.trim().to_owned()).collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// Fails where a mapping has another key than `known`.
fn only(value: &Value, known: &[&str], what: &str) -> Result<(), Failed> {
    let unknown = value
        .as_object()
        .and_then(|object| object.keys().find(|key| !known.contains(&key.as_str())));
    match unknown {
        Some(key) => Err(format!("{what}: `{key}` is not emulated").into()),
        None => Ok(()),
    }
}

/// Puts what `value` returns in the place of each expression between `open` and `close`.
fn filled(
    template: &str,
    open: &str,
    close: &str,
    value: impl Fn(&str) -> Result<String, Failed>,
) -> Result<String, Failed> {
    let mut rest = template;
    let mut text = String::new();
    while let Some((before, behind)) = rest.split_once(open) {
        let (expression, after) = behind
            .split_once(close)
            .ok_or_else(|| format!("`{template}` has no `{close}`"))?;
        text.push_str(before);
        text.push_str(&value(expression.trim())?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}
