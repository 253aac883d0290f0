//! A temporary repository with an image of three stages, whose steps leave traces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use docker_layer_cache_demo::Base;
use libtest_mimic::Failed;
use tempfile::TempDir;

use super::{Bench, Files, Report, Run, unique, xtask};

/// Each `RUN` leaves a random text in `/out/<step>.id`, and what it read beside it.
const DOCKERFILE: &str = "\
ARG DEPS_BASE=@deps@
ARG RUNTIME_BASE=@runtime@

FROM ${DEPS_BASE} AS deps
RUN mkdir /out && cat /etc/base-release > /out/deps.base && cat /proc/sys/kernel/random/uuid > /out/tools.id
COPY deps.lock /in/deps.lock
RUN cat /in/deps.lock > /out/deps.lock && head -c 1500000 /dev/urandom > /deps.bin && cat /proc/sys/kernel/random/uuid > /out/deps.id

FROM deps AS build
COPY src /in/src
RUN cat /in/src/main.txt > /out/main.txt && cat /proc/sys/kernel/random/uuid > /out/build.id

FROM ${RUNTIME_BASE} AS runtime
RUN mkdir /out && cat /etc/base-release > /out/runtime.base && cat /proc/sys/kernel/random/uuid > /out/runtime.id
COPY --from=build /out /out
COPY late.txt /in/late.txt
RUN cat /in/late.txt > /out/late.txt && cat /proc/sys/kernel/random/uuid > /out/late.id
";

/// A repository and its store, both gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Project {
    folder: TempDir,
    store: PathBuf,
    pub(crate) tag: String,
}

/// One build, seen from both sides: what was reported and what is in the image.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) run: Run,
    pub(crate) report: Report,
    pub(crate) files: Files,
}

impl Project {
    /// Makes a repository whose stages stand on these references.
    pub(crate) fn new(deps_base: &str, runtime_base: &str) -> Result<Self, Failed> {
        let dockerfile = DOCKERFILE
            .replace("@deps@", deps_base)
            .replace("@runtime@", runtime_base);
        let project = Self::with_dockerfile(&dockerfile)?;
        project.configure("inputs = [\"deps.lock\"]\n")?;
        project.write("deps.lock", "dependency 1.0\n")?;
        project.write("src/main.txt", "source 1\n")?;
        project.write("late.txt", "late 1\n")?;
        Ok(project)
    }

    /// Makes a repository whose stages all stand on `base`.
    pub(crate) fn on(base: &Base) -> Result<Self, Failed> {
        Self::new(&base.reference, &base.reference)
    }

    /// Makes a repository with this Dockerfile, one image `app`, and no source.
    pub(crate) fn with_dockerfile(dockerfile: &str) -> Result<Self, Failed> {
        let folder = TempDir::with_prefix("dlc-test-")?;
        let project = Self {
            store: folder.path().join("store"),
            folder,
            tag: format!("{}:1", unique("app")),
        };
        project.write("docker/Dockerfile", dockerfile)?;
        project.configure("")?;
        Ok(project)
    }

    /// Writes `docker/images.toml` with the image `app` and these lines more.
    pub(crate) fn configure(&self, more: &str) -> Result<(), Failed> {
        let tag = &self.tag;
        let image = "[image.app]\ndockerfile = \"docker/Dockerfile\"\ncontext = \".\"\n";
        self.write(
            "docker/images.toml",
            &format!("{image}tags = [\"{tag}\"]\n{more}"),
        )
    }

    /// Returns the repository's folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// Returns the store's folder.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Returns the names of the store's blobs, with their sizes in bytes.
    pub(crate) fn blobs(&self) -> Result<BTreeMap<String, u64>, Failed> {
        let mut blobs = BTreeMap::new();
        for entry in fs::read_dir(self.store.join("blobs/sha256"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            blobs.insert(name, entry.metadata()?.len());
        }
        Ok(blobs)
    }

    /// Puts the store elsewhere.
    pub(crate) fn set_store(&mut self, folder: &Path) {
        folder.clone_into(&mut self.store);
    }

    /// Writes a file of the repository, with the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        let path = self.root().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, text)?)
    }

    /// Returns the text of a file of the repository.
    pub(crate) fn read(&self, path: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.root().join(path))?)
    }

    /// Returns the command `xtask ARGUMENTS --root … --store …`, for whatever engine is reached.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xtask();
        command.args(arguments).current_dir(self.folder.path());
        command.arg("--root").arg(self.root());
        command.arg("--store").arg(&self.store);
        command
    }

    /// Runs a task on the engine of the test.
    pub(crate) fn xtask(&self, bench: &Bench<'_>, arguments: &[&str]) -> Result<Run, Failed> {
        let mut command = self.command(arguments);
        Run::of(bench.engine.environment(&mut command))
    }

    /// Runs the whole job and looks into the image.
    pub(crate) fn ci(&self, bench: &Bench<'_>) -> Result<Built, Failed> {
        let run = self.xtask(bench, &["docker-ci", "--json"])?.success()?;
        self.built(bench, run)
    }

    /// Runs the whole job with more flags and looks into the image.
    pub(crate) fn ci_with(&self, bench: &Bench<'_>, flags: &[&str]) -> Result<Built, Failed> {
        let arguments: Vec<&str> = [&["docker-ci", "--json"], flags].concat();
        let run = self.xtask(bench, &arguments)?.success()?;
        self.built(bench, run)
    }

    /// Forgets the store and all that was noted: another machine, with the same sources.
    pub(crate) fn forget(&self) -> Result<(), Failed> {
        for folder in [self.store.clone(), self.root().join("target")] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }

    /// Runs restore and build, without saving, and looks into the image.
    pub(crate) fn restore_and_build(&self, bench: &Bench<'_>) -> Result<Built, Failed> {
        self.xtask(bench, &["docker-restore"])?.success()?;
        let run = self.xtask(bench, &["docker-build", "--json"])?.success()?;
        self.built(bench, run)
    }

    /// Fails unless the image has what the sources and the bases say now: a hit that brings
    /// something else is worse than none.
    pub(crate) fn check_truth(
        &self,
        built: &Built,
        deps_base: &Base,
        runtime_base: &Base,
    ) -> Result<(), Failed> {
        for (file, expected) in [
            ("deps.lock", self.read("deps.lock")?),
            ("main.txt", self.read("src/main.txt")?),
            ("late.txt", self.read("late.txt")?),
            ("deps.base", deps_base.release()),
            ("runtime.base", runtime_base.release()),
        ] {
            if built.files.text(file) != expected {
                let found = built.files.text(file);
                let what = format!("built a wrong image: {file} is {found:?}, not {expected:?}");
                return Err(built.run.failure(&what));
            }
        }
        Ok(())
    }

    fn built(&self, bench: &Bench<'_>, run: Run) -> Result<Built, Failed> {
        let report = run.report("app")?;
        let was_empty = bench.was_empty();
        // What is left in an engine hits against the forecast.
        let mut wrong = report.disagreements.iter();
        if let Some((what, _)) = wrong.find(|(_, hit)| !hit || was_empty) {
            let what = format!("forecast otherwise: {what}\n{}", report.table());
            return Err(run.failure(&what));
        }
        let files = bench.files(&self.tag)?;
        Ok(Built { run, report, files })
    }
}

impl Built {
    /// Fails unless exactly `expected` of the `RUN` steps were reused from `before`, and the report
    /// says the same.
    pub(crate) fn check_reused(&self, before: &Files, expected: &[&str]) -> Result<(), Failed> {
        let expected: BTreeSet<String> = expected.iter().map(|&step| step.to_owned()).collect();
        let reused = self.files.reused_since(before);
        if reused != expected {
            let what = format!(
                "reused {reused:?}, not {expected:?}\n{}",
                self.report.table()
            );
            return Err(self.run.failure(&what));
        }
        let reported: BTreeSet<String> = self
            .report
            .steps
            .iter()
            .filter(|step| step.hit)
            .filter_map(|step| step.instruction.rsplit_once("> /out/"))
            .filter_map(|(_, file)| file.trim().strip_suffix(".id"))
            .map(str::to_owned)
            .collect();
        if reported != expected {
            let what = format!(
                "reports hits for {reported:?}, but reused {expected:?}\n{}",
                self.report.table()
            );
            return Err(self.run.failure(&what));
        }
        Ok(())
    }

    /// Fails unless the report counts so many hits of so many steps.
    pub(crate) fn check_hits(&self, hits: usize, steps: usize) -> Result<(), Failed> {
        if self.report.hits() == (hits, steps) {
            Ok(())
        } else {
            let (found, of) = self.report.hits();
            let what = format!(
                "reports {found} hits of {of}, not {hits} of {steps}\n{}",
                self.report.table()
            );
            Err(self.run.failure(&what))
        }
    }
}
