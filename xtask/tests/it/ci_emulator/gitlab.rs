//! GitLab CI: `before_script` and `script` in one shell, `variables`, `cache`.
//!
//! A cache is written over by the next that has its key. Keys are whole: the newest of the key, or
//! else of the first of `fallback_keys` that is there.
//! Source: <https://docs.gitlab.com/ci/yaml/#cache>

use docker_layer_cache::oci::Digest;
use libtest_mimic::Failed;
use serde_json::Value;

use super::cache_service::CacheService;
use super::job_log::{Event, JobLog};
use super::machine::{Machine, Variables};
use super::{Commit, only, text, texts};

pub(super) fn run(
    file: &Value,
    job: &str,
    machine: &Machine<'_>,
    caches: &mut CacheService,
    commit: &Commit,
    log: &mut JobLog,
) -> Result<(), Failed> {
    let job = &file[job];
    let known = [
        "image",
        "services",
        "variables",
        "cache",
        "before_script",
        "script",
    ];
    only(job, &known, "the job")?;
    let variables = variables(job, machine, commit, log);
    let caches_of_job: Vec<&Value> = match &job["cache"] {
        Value::Array(list) => list.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    };
    for cache in &caches_of_job {
        only(cache, &["key", "fallback_keys", "paths", "policy"], "cache")?;
        if text(cache, "policy") != "push" {
            let mut keys = vec![key(&cache["key"], machine, &variables)?];
            let fallback = texts(&cache["fallback_keys"]);
            keys.extend(fallback.iter().map(|key| expanded(key, &variables)));
            log.push(caches.restore_exactly(&keys, machine)?);
        }
    }
    let mut script = Vec::new();
    for line in texts(&job["before_script"]) {
        if line.starts_with("apk add ") {
            log.push(Event::Skipped {
                step: line,
                reason: "needs the internet; the machine has it",
            });
        } else {
            script.push(line);
        }
    }
    script.extend(texts(&job["script"]));
    let script = script.join("\n");
    let run = machine.bash(&["-eo", "pipefail"], &script, &variables)?;
    log.push(Event::Ran {
        step: script,
        time: run.time,
    });
    for cache in &caches_of_job {
        if text(cache, "policy") != "pull" {
            let key = key(&cache["key"], machine, &variables)?;
            log.push(caches.save_over(&key, &texts(&cache["paths"]), machine)?);
        }
    }
    Ok(())
}

/// Returns the predefined variables, and those of the job.
fn variables(job: &Value, machine: &Machine<'_>, commit: &Commit, log: &mut JobLog) -> Variables {
    let project = machine.checkout().to_string_lossy().into_owned();
    let slug = commit.branch.to_lowercase().replace('/', "-");
    let mut variables = Variables::from([
        ("GITLAB_CI".to_owned(), "true".to_owned()),
        ("CI_PROJECT_DIR".to_owned(), project),
        ("CI_COMMIT_REF_NAME".to_owned(), commit.branch.clone()),
        ("CI_COMMIT_REF_SLUG".to_owned(), slug),
        ("CI_COMMIT_SHA".to_owned(), commit.revision.clone()),
        ("CI_DEFAULT_BRANCH".to_owned(), "main".to_owned()),
    ]);
    for (name, value) in job["variables"].as_object().into_iter().flatten() {
        if name.starts_with("DOCKER_") {
            log.push(Event::Skipped {
                step: format!("variable {name}"),
                reason: "the engine of the test takes the service's place",
            });
        } else {
            let value = expanded(value.as_str().unwrap_or_default(), &variables);
            variables.insert(name.clone(), value);
        }
    }
    variables
}

/// Returns a cache's key: a text, or of the content of files, behind a prefix.
fn key(value: &Value, machine: &Machine<'_>, variables: &Variables) -> Result<String, Failed> {
    if let Some(key) = value.as_str() {
        return Ok(expanded(key, variables));
    }
    only(value, &["prefix", "files"], "cache:key")?;
    let mut bytes = Vec::new();
    for path in texts(&value["files"]) {
        bytes.extend(std::fs::read(machine.checkout().join(path)).unwrap_or_default());
    }
    let of_files = if bytes.is_empty() {
        "default".to_owned()
    } else {
        Digest::of(&bytes).encoded()[..40].to_owned()
    };
    let prefix = expanded(text(value, "prefix"), variables);
    Ok(format!("{prefix}-{of_files}"))
}

/// Puts the values of variables in the place of `$NAME` and `${NAME}`.
fn expanded(text: &str, variables: &Variables) -> String {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let braced = part.strip_prefix('{').and_then(|part| part.split_once('}'));
        let (name, rest) = braced.unwrap_or_else(|| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            part.split_at(part.find(|c| !is_word(c)).unwrap_or(part.len()))
        });
        filled.push_str(variables.get(name).map_or("", String::as_str));
        filled.push_str(rest);
    }
    filled
}
