//! From an engine and a binary to the table.

use std::io::{self, Write as _};
use std::path::Path;
use std::process;

use docker_layer_cache::oci::Digest;
use docker_layer_cache_demo::{Base, BaseImage, EngineSnapshot, Registry};

use super::docker::docker;
use super::job::Job;
use super::repository::Repository;
use super::table::table;

/// Runs the demo, prints its table, and takes its traces away.
pub(crate) fn run(xtask: &Path) -> Result<(), String> {
    let version = docker(&["version", "--format", "{{.Server.Version}}"])?;
    say(&format!("engine {}", version.trim()));
    let image = BaseImage::make().map_err(|error| error.to_string())?;
    let traces = Traces {
        before: EngineSnapshot::take(&docker)?,
        lowest: image.lowest_diff_id().clone(),
    };
    let jobs = jobs(xtask, &image, &traces);
    let cleaned = traces.remove();
    let jobs = jobs?;
    cleaned?;
    writeln!(io::stdout(), "{}", table(&jobs)).map_err(|cause| format!("failed to print: {cause}"))
}

/// Runs the four jobs, each on an engine without the traces of the one before.
fn jobs(xtask: &Path, image: &BaseImage, traces: &Traces) -> Result<Vec<Job>, String> {
    let registry =
        Registry::start().map_err(|cause| format!("failed to start a registry: {cause}"))?;
    let name = format!("docker-layer-cache-demo/base-{}", process::id());
    let mut base = Base::at_registry(&registry, &name, image).map_err(|error| error.to_string())?;
    say(&format!(
        "base image {} at {}",
        base.digest(),
        base.reference
    ));
    let tag = format!("docker-layer-cache-demo:{}", process::id());
    let repository = Repository::write(&base.reference, &tag)
        .map_err(|cause| format!("failed to write the repository: {cause}"))?;
    let change = |greeting| {
        repository
            .set_greeting(greeting)
            .map_err(|cause| format!("failed to write the repository: {cause}"))
    };
    let job = |name, greeting: &str| {
        say(name);
        let job = Job::run(name, xtask, &repository)?;
        let said = docker(&["run", "--rm", &repository.tag])?;
        if said.trim_end() == greeting {
            Ok(job)
        } else {
            Err(format!(
                "the {name} built an image that says {said:?}, not {greeting:?}"
            ))
        }
    };

    let mut jobs = vec![job("cold job", "hello")?];
    traces.remove()?;
    jobs.push(job("warm job, fresh engine", "hello")?);
    traces.remove()?;
    change("good morning")?;
    jobs.push(job("source changed, fresh engine", "good morning")?);
    traces.remove()?;
    base.move_to(1).map_err(|error| error.to_string())?;
    jobs.push(job("base image moved, fresh engine", "good morning")?);
    Ok(jobs)
}

/// What the demo brings to the engine: what was not there before and stands on its own base.
struct Traces {
    lowest: Digest,
    before: EngineSnapshot,
}

impl Traces {
    fn remove(&self) -> Result<(), String> {
        self.before
            .remove_what_appeared(&docker, std::slice::from_ref(&self.lowest))
    }
}

fn say(what: &str) {
    // Where standard error is closed nobody wants to know.
    let _ = writeln!(io::stderr(), "demo: {what}");
}
