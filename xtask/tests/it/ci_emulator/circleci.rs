//! CircleCI: jobs, commands, `run`, `restore_cache`, `save_cache`.
//!
//! Caches cannot be changed. Keys are templates; a key that is restored is a prefix, the newest of
//! which counts.
//! Source: <https://circleci.com/docs/configuration-reference/#save_cache>

use docker_layer_cache::oci::Digest;
use libtest_mimic::Failed;
use serde_json::Value;

use super::cache_service::CacheService;
use super::job_log::{Event, JobLog};
use super::machine::{Machine, Variables};
use super::{Commit, filled, only, text, texts};

/// Steps that bring what the machine of the test has, by name, and why they are skipped.
const SKIPPED: &[(&str, &str)] = &[("Rust", "needs the internet; the machine has it")];

struct Job<'a> {
    commands: &'a Value,
    machine: &'a Machine<'a>,
    caches: &'a mut CacheService,
    commit: &'a Commit,
    variables: Variables,
    log: &'a mut JobLog,
}

pub(super) fn run(
    file: &Value,
    job: &str,
    machine: &Machine<'_>,
    caches: &mut CacheService,
    commit: &Commit,
    log: &mut JobLog,
) -> Result<(), Failed> {
    only(
        file,
        &["version", "commands", "jobs", "workflows"],
        "the file",
    )?;
    let value = &file["jobs"][job];
    only(value, &["machine", "docker", "steps"], "the job")?;
    let environment = machine.service_file("bash-env");
    std::fs::write(&environment, "")?;
    let variables = Variables::from([
        ("CIRCLECI".to_owned(), "true".to_owned()),
        ("BASH_ENV".to_owned(), environment),
    ]);
    let mut job = Job {
        commands: &file["commands"],
        machine,
        caches,
        commit,
        variables,
        log,
    };
    job.steps(&value["steps"])
}

impl Job<'_> {
    fn steps(&mut self, steps: &Value) -> Result<(), Failed> {
        let steps = steps.as_array().ok_or("a job without steps")?;
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Value) -> Result<(), Failed> {
        let name = match step {
            Value::String(name) => name.as_str(),
            step => {
                let keys = step.as_object().and_then(|object| object.keys().next());
                keys.ok_or("a step without a name")?
            }
        };
        let with = &step[name];
        let event = match name {
            // The machine is made with it.
            "checkout" => return Ok(()),
            "setup_remote_docker" => Event::Skipped {
                step: name.to_owned(),
                reason: "the engine of the test takes its place",
            },
            "run" => self.run_step(with)?,
            "restore_cache" => {
                only(with, &["name", "key", "keys"], name)?;
                let keys = match &with["keys"] {
                    Value::Null => vec![text(with, "key").to_owned()],
                    keys => texts(keys),
                };
                let keys: Result<Vec<String>, Failed> =
                    keys.iter().map(|key| self.key(key)).collect();
                self.caches.restore_by_prefix(&keys?, self.machine)?
            }
            "save_cache" => {
                only(with, &["name", "key", "paths"], name)?;
                let key = self.key(text(with, "key"))?;
                self.caches
                    .save_once(&key, &texts(&with["paths"]), self.machine)?
            }
            command if self.commands[command].is_object() => {
                let steps = self.commands[command]["steps"].clone();
                return self.steps(&steps);
            }
            other => return Err(format!("the step `{other}` is not emulated").into()),
        };
        self.log.push(event);
        Ok(())
    }

    fn run_step(&self, with: &Value) -> Result<Event, Failed> {
        only(with, &["name", "command"], "run")?;
        let script = with.as_str().unwrap_or_else(|| text(with, "command"));
        let step = with["name"].as_str().unwrap_or(script).to_owned();
        if let Some((_, reason)) = SKIPPED.iter().find(|(name, _)| *name == step) {
            return Ok(Event::Skipped { step, reason });
        }
        let run = self
            .machine
            .bash(&["-eo", "pipefail"], script, &self.variables)?;
        let time = run.time;
        Ok(Event::Ran { step, time })
    }

    /// Fills the places of a key.
    fn key(&self, template: &str) -> Result<String, Failed> {
        filled(template, "{{", "}}", |expression| {
            let mut words = expression.splitn(2, ' ');
            let first = words.next().unwrap_or_default();
            let argument = words.next().unwrap_or_default().trim().trim_matches('"');
            match first {
                "arch" => Ok("arch1-linux-amd64-6_85".to_owned()),
                ".Branch" => Ok(self.commit.branch.clone()),
                ".Revision" => Ok(self.commit.revision.clone()),
                "checksum" => {
                    let path = self.machine.checkout().join(argument);
                    let bytes = std::fs::read(&path)
                        .map_err(|cause| format!("`{template}`: `{argument}`: {cause}"))?;
                    Ok(Digest::of(&bytes).encoded().to_owned())
                }
                name => match name.strip_prefix(".Environment.") {
                    Some(name) => Ok(self.variables.get(name).cloned().unwrap_or_default()),
                    None => Err(format!("`{{{{ {expression} }}}}` is not emulated").into()),
                },
            }
        })
    }
}
