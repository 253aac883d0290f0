//! A store that cannot be written: a warning, a good build, and an error only with `--strict`.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("store_on_a_full_disk_warns_and_builds", full_disk),
    ("store_on_a_read_only_disk_warns_and_builds", read_only_disk),
    ("store_that_is_a_file_warns_and_builds", store_is_a_file),
];

/// The exit code of the contract for a store that fails under `--strict`.
const STORE: i32 = 5;

/// A small file system of its own, until it is dropped.
pub(crate) struct Mount(TempDir);

impl Mount {
    /// Mounts a tmpfs of `size_bytes`.
    pub(crate) fn new(size_bytes: u64) -> Result<Self, Failed> {
        let folder = TempDir::with_prefix("dlc-test-mount-")?;
        let options = format!("size={size_bytes}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path())?;
        Ok(Self(folder))
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn make_read_only(&self) -> Outcome {
        mount(&["-o", "remount,ro"], self.0.path())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Where it fails the folder stays, and the next boot takes it.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn full_disk(bench: &Bench<'_>) -> Outcome {
    let Ok(disk) = Mount::new(1_000_000) else {
        return without_mount(bench);
    };
    let base = bench.base("base")?;
    let mut project = Project::on(&base)?;
    project.set_store(&disk.0.path().join("store"));
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    if !built.run.stderr.to_lowercase().contains("warning") {
        return Err(built.run.failure("does not warn"));
    }
    project.write("src/main.txt", "source 2\n")?;
    let again = project.ci(bench)?;
    project.check_truth(&again, &base, &base)?;
    project.write("src/main.txt", "source 3\n")?;
    let strict = project.xtask(bench, &["docker-ci", "--strict"])?;
    strict
        .exit(STORE)?
        .says_one_of(&["no space", "full"])
        .map(drop)
}

fn read_only_disk(bench: &Bench<'_>) -> Outcome {
    let Ok(disk) = Mount::new(100_000_000) else {
        return without_mount(bench);
    };
    let base = bench.base("base")?;
    let mut project = Project::on(&base)?;
    project.set_store(&disk.0.path().join("store"));
    let cold = project.ci(bench)?;
    disk.make_read_only()?;

    // What it holds is of use all the same.
    bench.wipe()?;
    project.write("late.txt", "late 2\n")?;
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    built.check_reused(&cold.files, &["tools", "deps", "build", "runtime"])?;
    if !built.run.stderr.to_lowercase().contains("warning") {
        return Err(built.run.failure("does not warn"));
    }
    project.write("late.txt", "late 3\n")?;
    let strict = project.xtask(bench, &["docker-ci", "--strict"])?;
    strict.exit(STORE)?.says(&["read-only"]).map(drop)
}

fn store_is_a_file(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    std::fs::write(project.store(), "not a folder")?;
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    let strict: Run = project.xtask(bench, &["docker-ci", "--strict"])?;
    strict.exit(STORE).map(drop)
}

fn mount(arguments: &[&str], folder: &Path) -> Outcome {
    let output = Command::new("mount").args(arguments).arg(folder).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

/// Without the right to mount the place where writing fails is a folder of the kernel's, which
/// takes no file from anybody.
fn without_mount(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let mut project = Project::on(&base)?;
    project.set_store(Path::new("/proc/docker-layer-cache"));
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    let strict = project.xtask(bench, &["docker-ci", "--strict"])?;
    strict.exit(STORE).map(drop)
}
