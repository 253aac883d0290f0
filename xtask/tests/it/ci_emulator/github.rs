//! GitHub Actions: `run` steps, `actions/checkout`, `actions/cache`.
//!
//! Caches cannot be changed. `actions/cache` restores the newest whose key begins with its key or
//! with one of `restore-keys`, and saves behind the job, where the very key was not found.
//! Source: <https://github.com/actions/cache/blob/v4.2.0/README.md>

use docker_layer_cache::oci::Digest;
use globset::Glob;
use libtest_mimic::Failed;
use serde_json::Value;

use super::cache_service::CacheService;
use super::job_log::{Event, JobLog};
use super::machine::{Machine, Variables};
use super::{Commit, filled, only, text, texts};

pub(super) fn run(
    file: &Value,
    job: &str,
    machine: &Machine<'_>,
    caches: &mut CacheService,
    commit: &Commit,
    log: &mut JobLog,
) -> Result<(), Failed> {
    only(file, &["name", "on", "permissions", "jobs"], "the file")?;
    let job = &file["jobs"][job];
    only(job, &["runs-on", "steps"], "the job")?;
    let summary = machine.service_file("step-summary");
    let variables = Variables::from([
        ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
        ("GITHUB_STEP_SUMMARY".to_owned(), summary),
    ]);
    let context = Context { machine, commit };
    let mut to_save = Vec::new();
    for step in job["steps"].as_array().ok_or("a job without steps")? {
        only(step, &["name", "uses", "with", "run", "if"], "a step")?;
        if !matches!(text(step, "if"), "" | "always()") {
            return Err(format!("`if: {}` is not emulated", step["if"]).into());
        }
        let event = match text(step, "uses").split('@').next().unwrap_or_default() {
            "" => {
                let script = context.fill(text(step, "run"))?;
                let run = machine.bash(&["-e"], &script, &variables)?;
                Event::Ran {
                    step: step["name"].as_str().unwrap_or(&script).to_owned(),
                    time: run.time,
                }
            }
            // The machine is made with it.
            "actions/checkout" => continue,
            "actions/cache" => {
                let with = &step["with"];
                only(with, &["path", "key", "restore-keys"], "actions/cache")?;
                let key = context.fill(text(with, "key"))?;
                let restore_keys = context.fill(text(with, "restore-keys"))?;
                let mut keys = vec![key.clone()];
                keys.extend(restore_keys.lines().map(|line| line.trim().to_owned()));
                let event = caches.restore_by_prefix(&keys, machine)?;
                if !matches!(event, Event::Restored { exact: true, .. }) {
                    to_save.push((key, texts(&with["path"])));
                }
                event
            }
            other => return Err(format!("`uses: {other}` is not emulated").into()),
        };
        log.push(event);
    }
    // What is behind a job runs in the order that is reverse to its steps.
    for (key, paths) in to_save.into_iter().rev() {
        log.push(caches.save_once(&key, &paths, machine)?);
    }
    Ok(())
}

struct Context<'a> {
    machine: &'a Machine<'a>,
    commit: &'a Commit,
}

impl Context<'_> {
    fn fill(&self, text: &str) -> Result<String, Failed> {
        filled(text, "${{", "}}", |expression| match expression {
            "runner.os" => Ok("Linux".to_owned()),
            "runner.arch" => Ok("X64".to_owned()),
            // As for the run: each job of a test is of another commit.
            "github.sha" | "github.run_id" => Ok(self.commit.revision.clone()),
            "github.ref_name" => Ok(self.commit.branch.clone()),
            expression => {
                let patterns = expression
                    .strip_prefix("hashFiles(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .ok_or_else(|| format!("`${{{{ {expression} }}}}` is not emulated"))?;
                let patterns = patterns.split(',').map(|one| one.trim().trim_matches('\''));
                self.hash_files(patterns)
            }
        })
    }

    /// Returns the digest of the digests of all files that match; nothing where none does.
    fn hash_files<'p>(&self, patterns: impl Iterator<Item = &'p str>) -> Result<String, Failed> {
        let mut digests = String::new();
        for pattern in patterns {
            let glob = Glob::new(pattern)?.compile_matcher();
            let (folder, _) = pattern.rsplit_once('/').unwrap_or_default();
            if folder.contains('*') {
                return Err(format!("`{pattern}`: folders of all names are not emulated").into());
            }
            let mut names = Vec::new();
            let place = self.machine.checkout().join(folder);
            for entry in std::fs::read_dir(&place)? {
                let path = entry?.path();
                if path.is_file() && glob.is_match(path.strip_prefix(self.machine.checkout())?) {
                    names.push(path);
                }
            }
            names.sort();
            for path in names {
                digests.push_str(Digest::of(&std::fs::read(path)?).encoded());
            }
        }
        Ok(if digests.is_empty() {
            digests
        } else {
            Digest::of(digests.as_bytes()).encoded().to_owned()
        })
    }
}
