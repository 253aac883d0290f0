//! CI files, run: this repository's own and those that `docker-init` makes. The second job finds what
//! the first one saved, on a machine and an engine that are new.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::ci_emulator::{self, CacheService, Cargo, Ci, Commit, Event, JobLog, Machine};
use crate::support::{Bench, Outcome};

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "own_circleci_file_is_warm_the_second_time",
    own_circleci_file,
)];

/// A repository and its CI.
pub(crate) struct Pipeline<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) repository: &'a Path,
    pub(crate) ci: Ci,
    pub(crate) file: &'a str,
    pub(crate) job: &'a str,
    pub(crate) cargo: Cargo,
}

/// What one job did and built.
pub(crate) struct Done {
    pub(crate) log: JobLog,
    /// Steps that hit, and all.
    pub(crate) hits: usize,
    pub(crate) steps: usize,
}

impl Pipeline<'_> {
    /// Runs the job of a commit in a fresh checkout, on an engine that is new.
    pub(crate) fn run(&self, caches: &mut CacheService, revision: &str) -> Result<Done, Failed> {
        let machine = Machine::blank(self.bench, self.repository, self.cargo)?;
        let commit = Commit {
            revision: revision.to_owned(),
            branch: "main".to_owned(),
        };
        let log = ci_emulator::run(self.ci, self.file, self.job, &machine, caches, &commit)?;
        let (hits, steps) = hits(&machine.checkout())?;
        Ok(Done { log, hits, steps })
    }

    /// Runs three jobs: cold, warm, and one after `change`, of which some steps hit.
    pub(crate) fn check(&self, layers: &str, change: impl Fn(&Path) -> Outcome) -> Outcome {
        let mut caches = CacheService::new()?;
        let mut said = String::new();
        let mut job = |caches: &mut CacheService, revision: &str| -> Result<Done, Failed> {
            let done = self.run(caches, revision)?;
            writeln!(
                said,
                "{revision}: {} of {} steps hit\n{}",
                done.hits, done.steps, done.log
            )?;
            Ok(done)
        };
        let cold = job(&mut caches, "commit-1")?;
        let warm = job(&mut caches, "commit-2")?;
        change(self.repository)?;
        let partial = job(&mut caches, "commit-3")?;
        if std::env::var_os("DOCKER_LAYER_CACHE_TEST_SHOW").is_some() {
            let engine = self.bench.engine.name();
            io::Write::write_fmt(
                &mut io::stderr(),
                format_args!("{} on {engine}\n{said}", self.file),
            )?;
        }
        let check = |is_right: bool, what: &str| -> Outcome {
            if is_right {
                Ok(())
            } else {
                Err(format!("{what}\n{said}").into())
            }
        };
        let is_restored =
            |done: &Done| matches!(done.log.restored(layers), Some(Event::Restored { .. }));
        check(cold.steps > 0 && cold.hits == 0, "the first job is cold")?;
        check(!is_restored(&cold), "the first job restores nothing")?;
        check(cold.log.has_saved(layers), "the first job saves")?;
        check(is_restored(&warm), "the second job restores")?;
        check(warm.hits == warm.steps, "every step of the second job hits")?;
        check(is_restored(&partial), "the third job restores")?;
        check(
            partial.hits > 0 && partial.hits < partial.steps,
            "some steps of the third job hit",
        )
    }
}

/// Returns how many steps of all images hit, and how many there are, by the notes of the job.
fn hits(checkout: &Path) -> Result<(usize, usize), Failed> {
    let work = checkout.join("target/docker-layer-cache-key/.work");
    let (mut hits, mut steps) = (0, 0);
    for entry in fs::read_dir(&work)? {
        let path = entry?.path().join("job.json");
        // Beside the folders of the images lie notes on the engine.
        if !path.is_file() {
            continue;
        }
        let notes: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let list = notes["built"]["steps"]
            .as_array()
            .ok_or_else(|| format!("`{}` tells of no build", path.display()))?;
        steps += list.len();
        hits += list.iter().filter(|step| step["result"] == "hit").count();
    }
    Ok((hits, steps))
}

/// Its bases are exchanged for the one of the test: there is no internet.
fn own_circleci_file(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?.reference;
    let folder = tempfile::TempDir::with_prefix("dlc-test-")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let repository = folder.path().join("repository");
    let mut files: BTreeSet<String> = [
        ".circleci/config.yml",
        ".cargo/config.toml",
        ".dockerignore",
        "Cargo.toml",
        "Cargo.lock",
        "xtask/src/main.rs",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ]
    .map(str::to_owned)
    .into();
    for folder in ["docker", "docker/site"] {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    for file in &files {
        let to = repository.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&repository))?;
        fs::copy(root.join(file), to)?;
    }
    let dockerfile = repository.join("docker/Dockerfile");
    let text = fs::read_to_string(&dockerfile)?
        .replace("FROM debian:${DEBIAN_VERSION}", &format!("FROM {base}"))
        .replace("FROM busybox", &format!("FROM {base}"));
    assert_eq!(text.matches(&base).count(), 3, "{text}");
    fs::write(&dockerfile, text)?;
    let pipeline = Pipeline {
        bench,
        repository: &repository,
        ci: Ci::Circleci,
        file: ".circleci/config.yml",
        job: "image",
        cargo: Cargo::Wrapper,
    };
    pipeline.check("layers-v1-", |repository| {
        Ok(fs::write(repository.join("README.md"), "# Other words\n")?)
    })
}
