//! Bad days of a store and of the engine beside it: they cost hits, never an image or an entry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("store_of_a_newer_version_is_left_alone", newer_format),
    ("store_on_another_file_system_is_used", another_file_system),
    ("entries_from_the_future_are_used", set_back_clock),
    (
        "docker_save_that_dies_half_way_names_nothing",
        dying_docker_save,
    ),
    ("docker_load_that_dies_half_way_builds", dying_docker_load),
    (
        "build_whose_engine_lost_a_snapshot_is_run_again",
        lost_snapshot,
    ),
    (
        "commands_killed_again_and_again_lose_nothing",
        killed_commands,
    ),
];

const ALL: [&str; 5] = ["tools", "deps", "build", "runtime", "late"];

fn newer_format(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    fs::write(project.store().join("format"), "99\n")?;
    let before = state(&project)?;

    bench.wipe()?;
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    built.check_reused(&cold.files, &[])?;
    built.run.says(&["warning", "format 99"])?;
    if state(&project)? == before {
        Ok(())
    } else {
        Err("a store of a newer version was changed".into())
    }
}

fn another_file_system(bench: &Bench<'_>) -> Outcome {
    // Not there on every machine, and on some the same file system: then it is one more cycle.
    let Ok(shm) = TempDir::with_prefix_in("dlc-test-", "/dev/shm") else {
        return Ok(());
    };
    let base = bench.base("base")?;
    let mut project = Project::on(&base)?;
    project.set_store(&shm.path().join("store"));
    let cold = project.ci(bench)?;
    bench.wipe()?;
    let again = project.ci(bench)?;
    again.check_reused(&cold.files, &ALL)?;
    project.check_truth(&again, &base, &base)?;
    verify(bench, &project)
}

fn set_back_clock(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    bench.wipe()?;
    let index = project.store().join("index.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&index)?)?;
    for entry in json["manifests"].as_array_mut().into_iter().flatten() {
        entry["annotations"]["dev.docker-layer-cache.created"] = "2199-01-01T00:00:00Z".into();
    }
    fs::write(&index, serde_json::to_vec(&json)?)?;
    let years = Duration::from_secs(10 * 365 * 86_400);
    for blob in project.blobs()?.keys() {
        let path = project.store().join("blobs/sha256").join(blob);
        fs::File::open(path)?.set_modified(SystemTime::now() + years)?;
    }
    let again = project.ci(bench)?;
    again.check_reused(&cold.files, &ALL)?;
    // What is saved after the clock was set back is kept and found, beside what was there before.
    project.write("late.txt", "late 2\n")?;
    let late = project.ci(bench)?;
    bench.wipe()?;
    let found = project.ci(bench)?;
    found.check_reused(&late.files, &ALL)?;
    project.check_truth(&found, &base, &base)?;
    project
        .xtask(bench, &["docker-gc", "--keep", "2"])?
        .success()?;
    verify(bench, &project)
}

fn dying_docker_save(bench: &Bench<'_>) -> Outcome {
    let ends = [
        ("says so", "echo 'unexpected EOF' >&2; exit 1"),
        ("is silent", "kill -9 $$"),
        ("claims success", "exit 0"),
    ];
    let base = bench.base("base")?;
    for (how, end) in ends {
        bench.wipe()?;
        let project = Project::on(&base)?;
        let docker = Docker::new(
            "'image save'",
            &format!("real \"$@\" | head -c 700000; {end}"),
        )?;
        let cold = docker.run(bench, &mut project.command(&["docker-ci"]))?;
        if !docker.was_called() {
            // The builder exports its cache by itself here.
            return Ok(());
        }
        let cold = cold.success()?;
        let cold = cold.says(&["warning", "not saved"])?;
        let files = bench.files(&project.tag)?;
        if !entries(bench, &project)?.is_empty() {
            return Err(cold.failure(&format!("names what a docker save left that {how}")));
        }
        verify(bench, &project)?;
        let strict = docker.run(bench, &mut project.command(&["docker-ci", "--strict"]))?;
        if strict.code == Some(0) {
            return Err(strict.failure("succeeds with --strict"));
        }
        no_litter(&project)?;

        project.ci(bench)?.check_reused(&files, &ALL)?;
        bench.wipe()?;
        let again = project.ci(bench)?;
        again.check_reused(&files, &ALL)?;
        project.check_truth(&again, &base, &base)?;
    }
    Ok(())
}

fn dying_docker_load(bench: &Bench<'_>) -> Outcome {
    let ends = [
        // What the command says when its engine dies.
        "echo 'error during connect: unexpected EOF' >&2; exit 1",
        "kill -9 $$",
    ];
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    for end in ends {
        bench.wipe()?;
        let docker = Docker::new(
            "'image load'",
            &format!("head -c 700000 | real \"$@\"; {end}"),
        )?;
        let run = docker.run(bench, &mut project.command(&["docker-ci", "--json"]))?;
        if !docker.was_called() {
            // A view is imported here, and nothing loaded.
            return Ok(());
        }
        let run = run.success()?.says(&["warning"])?;
        let files = bench.files(&project.tag)?;
        if files.text("main.txt") != project.read("src/main.txt")? {
            return Err(run.failure("built a wrong image"));
        }
        verify(bench, &project)?;
    }
    bench.wipe()?;
    let script = "head -c 700000 > /dev/null; : > $here/dead; exit 1";
    let docker = Docker::new("'image load'", script)?;
    let run = docker.run(bench, &mut project.command(&["docker-ci"]))?;
    if !matches!(run.code, Some(1 | 4)) {
        return Err(run.failure("does not tell that the engine died"));
    }
    run.says(&["cannot connect"])?;
    verify(bench, &project)?;

    let again = project.ci(bench)?;
    project.check_truth(&again, &base, &base)?;
    // The builds above ran steps anew and saved them: either generation may be the one that hits.
    if again.report.hits().0 == 0 || again.files == cold.files && again.report.result == "miss" {
        return Err(again.run.failure("nothing was kept"));
    }
    Ok(())
}

/// What containerd's garbage collection can do to a build, said by a `docker` that fails once.
fn lost_snapshot(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let mount = "failed to mount /tmp/buildkit-mount17: [{Type:overlay Source:overlay Target: Options:[lowerdir=/s/24/fs]}]: err: no such file or directory";
    let script = format!(
        "if [ -e $here/lost ]; then real \"$@\"; exit $?; fi; \
         : > $here/lost; echo 'ERROR: failed to solve: {mount}' >&2; exit 1"
    );
    // Nothing restored, then everything.
    let docker = Docker::new("'buildx build'|'buildx bake'", &script)?;
    let cold = docker.run(bench, &mut project.command(&["docker-ci"]))?;
    if !docker.was_called() {
        // The classic builder has no snapshots that could be lost.
        return Ok(());
    }
    cold.success()?.says(&["building once more"])?;
    let files = bench.files(&project.tag)?;

    bench.wipe()?;
    let docker = Docker::new("'buildx build'|'buildx bake'", &script)?;
    let warm = docker.run(bench, &mut project.command(&["docker-ci"]))?;
    warm.success()?.says(&["building once more"])?;
    let reused = bench.files(&project.tag)?.reused_since(&files);
    if reused.len() == ALL.len() {
        Ok(())
    } else {
        Err(format!("reused {reused:?} alone").into())
    }
}

fn killed_commands(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    for round in 0..12_u32 {
        project.write("late.txt", &format!("late {round}\n"))?;
        for task in ["docker-restore", "docker-build", "docker-save", "docker-gc"] {
            let mut command = project.command(&[task]);
            if task == "docker-build" {
                past_engine_race(|| project.xtask(bench, &[task])?.success())?;
                continue;
            }
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = bench.engine.environment(&mut command).spawn()?;
            // Not waiting for anything: some point of its work.
            std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 300)));
            // It may have ended by then: also a state that a store can be in.
            let _ = child.kill();
            child.wait()?;
        }
        verify(bench, &project)?;
    }
    let mut n = 0;
    let built = past_engine_race(|| {
        n += 1;
        project.write("late.txt", &format!("late and last {n}\n"))?;
        project.ci(bench)
    })?;
    project.check_truth(&built, &base, &base)?;
    built.check_reused(&cold.files, &["tools", "deps", "build", "runtime"])?;
    no_litter(&project)?;
    bench.wipe()?;
    let again = project.ci(bench)?;
    again.check_reused(&built.files, &ALL)?;
    project.check_truth(&again, &base, &base)
}

/// Does it again where containerd collected what it was just unpacking, even twice: a killed
/// command's own `docker build` may still run beside the next.
/// <https://github.com/moby/buildkit/issues/6521>
fn past_engine_race<T>(mut build: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let mut n_tries = 0;
    loop {
        n_tries += 1;
        match build() {
            Err(error)
                if n_tries < 5
                    && error
                        .message()
                        .is_some_and(|text| text.contains("parent snapshot")) => {}
            done => return done,
        }
    }
}

/// A `docker` command of which one subcommand is another script.
struct Docker(TempDir);

impl Docker {
    /// The script can call the real `docker` as `real`. `subcommand` is a pattern of the shell's
    /// `case`, for the first two words.
    fn new(subcommand: &str, script: &str) -> Result<Self, Failed> {
        let folder = TempDir::with_prefix("dlc-test-docker-")?;
        let here = folder.path().display();
        let text = format!(
            "#!/bin/sh\n\
             here={here}\n\
             PATH=${{PATH#{here}:}}\n\
             if [ -e $here/dead ]; then echo 'Cannot connect to the Docker daemon' >&2; exit 1; fi\n\
             real() {{ docker \"$@\"; }}\n\
             case \"$1 $2\" in\n\
             {subcommand}) : > $here/called; {script};;\n\
             *) exec docker \"$@\";;\n\
             esac\n"
        );
        let path = folder.path().join("docker");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    /// Runs `command`, which finds this `docker` before all others.
    fn run(&self, bench: &Bench<'_>, command: &mut Command) -> Result<Run, Failed> {
        bench.engine.environment(command);
        let set = command.get_envs().find(|(name, _)| *name == "PATH");
        let rest = set.and_then(|(_, value)| value.map(ToOwned::to_owned));
        let mut path = self.0.path().as_os_str().to_owned();
        if let Some(rest) = rest.or_else(|| std::env::var_os("PATH")) {
            path.push(":");
            path.push(rest);
        }
        Run::of(command.env("PATH", path))
    }

    fn was_called(&self) -> bool {
        self.0.path().join("called").exists()
    }
}

fn verify(bench: &Bench<'_>, project: &Project) -> Outcome {
    let run = project.xtask(bench, &["docker-store", "verify"])?;
    run.success().map(drop)
}

fn entries(bench: &Bench<'_>, project: &Project) -> Result<Vec<Value>, Failed> {
    let run = project.xtask(bench, &["docker-store", "ls", "--json"])?;
    let told: Value = serde_json::from_str(&run.success()?.stdout)?;
    Ok(told["entries"].as_array().cloned().unwrap_or_default())
}

/// Fails if a finished command left a file in the store's `tmp`.
fn no_litter(project: &Project) -> Outcome {
    match fs::read_dir(project.store().join("tmp"))?.next() {
        None => Ok(()),
        Some(file) => Err(format!("left in the store: {}", file?.path().display()).into()),
    }
}

/// Returns the names, sizes and times of the files of a store.
fn state(project: &Project) -> Result<Vec<(PathBuf, u64, SystemTime)>, Failed> {
    let mut state = Vec::new();
    let mut open = vec![project.store().to_owned()];
    while let Some(folder) = open.pop() {
        for file in fs::read_dir(&folder)? {
            let path = file?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                open.push(path);
            } else {
                state.push((path, metadata.len(), metadata.modified()?));
            }
        }
    }
    state.sort();
    Ok(state)
}
