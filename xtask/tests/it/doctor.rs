//! `docker-doctor`: what it finds on engines that are well, and where something is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use docker_layer_cache_demo::Fault;
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::Scenario;
use crate::secrets::{base64, contains};
use crate::support::{Bench, Outcome, Project, Run};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("no_docker_at_all", no_docker),
    ("engine_down", engine_down),
    ("wrong_configuration_is_a_finding", wrong_configuration),
    ("lines_are_short_and_plain", lines),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("doctor_finds_nothing_and_leaves_nothing", healthy),
    ("doctor_store_unwritable", store_unwritable),
    ("doctor_store_damaged", store_damaged),
    ("doctor_wrong_credentials", wrong_credentials),
    ("doctor_rate_limit", rate_limit),
    ("doctor_buildkit_off", buildkit_off),
    ("doctor_store_in_the_context", store_in_context),
    ("doctor_proves_inline_stage_images", inline),
];

/// Exit codes of the contract.
const USAGE: i32 = 2;
const REGISTRY: i32 = 3;
const ENGINE: i32 = 4;
const STORE: i32 = 5;

/// A reference by digest, at a registry where nothing listens.
fn dockerfile() -> String {
    format!("FROM 127.0.0.1:1/base@sha256:{}\n", "ab".repeat(32))
}

/// Returns the findings of a check as `level: what`, of all checks where it is empty.
fn findings(run: &Run, check: &str) -> Result<Vec<(String, String, Value)>, Failed> {
    let report: Value = serde_json::from_str(&run.stdout)
        .map_err(|cause| run.failure(&format!("stdout is no JSON: {cause}")))?;
    if report["exit_code"].as_i64() != run.code.map(i64::from) {
        return Err(run.failure("tells another exit code than it ends with"));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    for finding in &findings {
        let is_ok = finding["level"] == "ok";
        if !is_ok && (text(&finding["why"]).is_empty() || text(&finding["mend"]).is_empty()) {
            return Err(run.failure(&format!("says not why or how: {finding}")));
        }
    }
    Ok(findings
        .into_iter()
        .filter(|finding| check.is_empty() || finding["check"] == check)
        .map(|finding| (text(&finding["level"]), text(&finding["what"]), finding))
        .collect())
}

/// Fails unless the check has a finding of this level that says `part`, with `hint` in what mends it.
fn check(run: &Run, check: &str, level: &str, part: &str, hint: &str) -> Outcome {
    let found = findings(run, check)?;
    let fits = |(found, what, finding): &(String, String, Value)| {
        let mend = finding["mend"].as_str().unwrap_or_default();
        found == level && what.contains(part) && mend.contains(hint)
    };
    if found.iter().any(fits) {
        Ok(())
    } else {
        Err(run.failure(&format!(
            "has no {level} of {check} with `{part}`, `{hint}`"
        )))
    }
}

fn doctor(bench: &Bench<'_>, project: &Project, flags: &[&str]) -> Command {
    let mut command = project.command(&["docker-doctor", "--json"]);
    command.args(flags);
    bench.engine.environment(&mut command);
    command
}

/// A project on a base that the engine and we reach.
fn project(bench: &Bench<'_>) -> Result<Project, Failed> {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.write(".dockerignore", "target\n")?;
    Ok(project)
}

fn no_docker() -> Outcome {
    let empty = TempDir::new()?;
    let project = Project::with_dockerfile("FROM scratch\n")?;
    let mut command = project.command(&["docker-doctor", "--json"]);
    command.env("PATH", empty.path());
    let run = Run::of(&mut command)?.exit(ENGINE)?;
    check(&run, "docker", "problem", "cannot run `docker`", "install")?;
    // What needs no engine is looked at all the same, and nothing can be proved.
    check(&run, "store", "ok", "not there yet", "")?;
    assert!(findings(&run, "proof")?.is_empty(), "{}", run.stdout);
    Ok(())
}

fn engine_down() -> Outcome {
    let folder = TempDir::new()?;
    let socket = folder.path().join("docker.sock");
    // Bound and closed: the file is there, and refuses.
    drop(UnixListener::bind(&socket)?);
    let project = Project::with_dockerfile("FROM scratch\n")?;
    let mut command = project.command(&["docker-doctor", "--json"]);
    command
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env_remove("DOCKER_CONTEXT");
    let run = Run::of(&mut command)?.exit(ENGINE)?;
    check(
        &run,
        "engine",
        "problem",
        "does not answer",
        "systemctl start docker",
    )?;
    check(&run, "engine", "problem", "docker.sock", "DOCKER_HOST")
}

fn wrong_configuration() -> Outcome {
    let project = Project::with_dockerfile(&dockerfile())?;
    project.configure("stratgy = \"stage-images\"\n")?;
    let mut command = project.command(&["docker-doctor", "--json", "--no-proof"]);
    command
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .env_remove("DOCKER_CONTEXT");
    let run = Run::of(&mut command)?.exit(ENGINE)?;
    check(
        &run,
        "images",
        "problem",
        "unknown field",
        "did you mean `strategy`?",
    )
}

/// What people read: lines of 80 characters, no colour where nobody sees it.
fn lines() -> Outcome {
    let project = Project::with_dockerfile(&dockerfile())?;
    project.write(".dockerignore", "target\n")?;
    let mut command = project.command(&["docker-doctor", "--no-proof"]);
    command
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .env_remove("DOCKER_CONTEXT");
    let run = Run::of(&mut command)?
        .exit(ENGINE)?
        .says(&["docker-doctor found 2 problems"])?;
    for line in run.stdout.lines() {
        let known = ["ok       ", "advice   ", "problem  ", "         "];
        let is_known = known.iter().any(|start| line.starts_with(start));
        // One that cannot be broken, such as a path, may be longer.
        let is_short = line.chars().count() <= 80 || !line.trim_start().contains(' ');
        if !is_known || !is_short || line.contains('\u{1b}') {
            return Err(run.failure(&format!("prints `{line}`")));
        }
    }
    Ok(())
}

/// A healthy engine: no advice, a proof, and nothing of it left; what was there stays.
fn healthy(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    project.ci(bench)?;
    let before = held(bench)?;
    let run = Run::of(&mut doctor(bench, &project, &["--deep"]))?.success()?;
    for (level, what, _) in findings(&run, "")? {
        if level != "ok" {
            return Err(run.failure(&format!("{level}: {what}")));
        }
    }
    check(&run, "proof", "ok", "without the store 0 of", "")?;
    check(&run, "store", "ok", "every byte was read", "")?;
    check(&run, "registry", "ok", "reached, anonymous (1 base)", "")?;
    check(&run, "disk", "ok", "free", "")?;
    let after = held(bench)?;
    if !before.is_subset(&after) {
        let gone: Vec<_> = before.difference(&after).collect();
        return Err(run.failure(&format!("took away {gone:?}")));
    }
    let left: Vec<_> = after
        .difference(&before)
        .filter(|left| !left.contains("local source for"))
        .collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(run.failure(&format!("left {left:?}")))
    }
}

/// Returns the images and the build cache records of the engine.
fn held(bench: &Bench<'_>) -> Result<BTreeSet<String>, Failed> {
    let images = bench
        .engine
        .run(&["image", "ls", "--all", "--quiet", "--no-trunc"])?;
    let format = "{{range .BuildCache}}{{.ID}} {{.Description}}\n{{end}}";
    let records = bench
        .engine
        .run(&["system", "df", "--verbose", "--format", format])?;
    let records = records.lines().map(|line| line.replace('*', ""));
    Ok(images
        .lines()
        .map(str::to_owned)
        .chain(records)
        .filter(|line| !line.trim().is_empty())
        .collect())
}

/// A file stands where the store should be: that stops root, too.
fn store_unwritable(bench: &Bench<'_>) -> Outcome {
    let mut project = project(bench)?;
    let folder = TempDir::new()?;
    let file = folder.path().join("file");
    fs::write(&file, "in the way")?;
    for store in [file.clone(), file.join("store")] {
        project.set_store(&store);
        let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.exit(STORE)?;
        check(&run, "store", "problem", "cannot be written", "`--store`")?;
    }
    // The job that is not to write does not mind.
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof", "--read-only"]))?;
    match findings(&run, "store")?
        .iter()
        .find(|(_, what, _)| what.contains("cannot be written"))
    {
        None => Ok(()),
        Some(_) => Err(run.failure("tries to write all the same")),
    }
}

/// A blob that is cut short is seen by its size; one with other bytes only by reading it.
fn store_damaged(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    project.ci(bench)?;
    let blobs = project.blobs()?;
    let (name, size) = blobs
        .iter()
        .max_by_key(|(_, size)| **size)
        .ok_or("no blobs")?;
    let path = project.store().join("blobs/sha256").join(name);
    let mut bytes = fs::read(&path)?;
    let middle = usize::try_from(*size)? / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes)?;
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.success()?;
    check(&run, "store", "ok", "by their sizes", "")?;
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof", "--deep"]))?.exit(STORE)?;
    check(&run, "store", "problem", &name[..12], "docker-store verify")?;
    fs::write(&path, &bytes[..middle])?;
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.exit(STORE)?;
    check(&run, "store", "problem", &name[..12], "docker-store verify")
}

/// The registry takes no password: told with its place and the command, and never shown.
fn wrong_credentials(bench: &Bench<'_>) -> Outcome {
    const PASSWORD: &str = "planted-password-77aa";
    let host = bench.registry.host();
    let project = Project::with_dockerfile(&format!("FROM {host}/team/base:1\n"))?;
    project.write(".dockerignore", "target\n")?;
    bench.registry.fail(Fault::Unauthorized);
    let auth = base64(format!("ci:{PASSWORD}").as_bytes());
    let config = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}");
    let run = Run::of(doctor(bench, &project, &["--no-proof"]).env("DOCKER_AUTH_CONFIG", config))?;
    let run = run.exit(REGISTRY)?;
    let login = format!("docker login {host}");
    check(
        &run,
        "registry",
        "problem",
        "refuses the stored credentials",
        &login,
    )?;
    for secret in [PASSWORD, &auth] {
        for text in [&run.stdout, &run.stderr] {
            assert!(!contains(text.as_bytes(), secret), "a secret is told");
        }
    }
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.exit(REGISTRY)?;
    check(&run, "registry", "problem", "asks for credentials", &login)?;
    // A credential helper that is not there is told by its name.
    let config = format!("{{\"credHelpers\":{{\"{host}\":\"not-installed\"}}}}");
    let run = Run::of(doctor(bench, &project, &["--no-proof"]).env("DOCKER_AUTH_CONFIG", config))?;
    let run = run.exit(REGISTRY)?;
    check(
        &run,
        "registry",
        "advice",
        "docker-credential-not-installed",
        "helper",
    )?;
    bench.registry.recover();
    // As the registry of a tag alone it stops no job, but a push.
    let project = project_with_tag(bench, &format!("{host}/team/app:1"))?;
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.success()?;
    check(
        &run,
        "registry",
        "advice",
        "there is no login for it",
        &login,
    )
}

fn project_with_tag(bench: &Bench<'_>, tag: &str) -> Result<Project, Failed> {
    let mut project = project(bench)?;
    tag.clone_into(&mut project.tag);
    project.configure("")?;
    Ok(project)
}

fn rate_limit(bench: &Bench<'_>) -> Outcome {
    let host = bench.registry.host();
    let project = Project::with_dockerfile(&format!("FROM {host}/team/base:1\n"))?;
    project.write(".dockerignore", "target\n")?;
    bench.registry.fail(Fault::TooManyRequests {
        retry_after: std::time::Duration::from_secs(60),
    });
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.exit(REGISTRY)?;
    // Asked once: a doctor does not wait for its turn.
    assert_eq!(bench.registry.count("HEAD", "/manifests/"), 1, "requests");
    check(&run, "registry", "problem", "limits the rate", "wait")
}

/// `DOCKER_BUILDKIT=0`: advice where the engine has `BuildKit`, a problem on the containerd store,
/// nothing where it never was the default.
fn buildkit_off(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let driver = bench
        .engine
        .run(&["info", "--format", "{{json .DriverStatus}}"])?;
    let version = bench
        .engine
        .run(&["version", "--format", "{{.Server.Version}}"])?;
    let run = Run::of(doctor(bench, &project, &[]).env("DOCKER_BUILDKIT", "0"))?;
    if driver.contains("io.containerd.snapshotter") {
        let run = run.exit(USAGE)?;
        check(
            &run,
            "builder",
            "problem",
            "DOCKER_BUILDKIT=0",
            "unset DOCKER_BUILDKIT",
        )?;
        assert!(findings(&run, "proof")?.is_empty(), "{}", run.stdout);
        return Ok(());
    }
    let run = run.success()?;
    if version.starts_with("20.") {
        check(&run, "builder", "ok", "classic builder", "")?;
    } else {
        check(
            &run,
            "builder",
            "advice",
            "DOCKER_BUILDKIT=0",
            "unset DOCKER_BUILDKIT",
        )?;
    }
    check(&run, "strategy", "ok", "stage-images", "")?;
    check(&run, "proof", "ok", "without the store 0 of", "")
}

/// Stages that are built one after the other take from one another: that is no memory of the engine.
fn inline(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let flags = ["--strategy", "inline-stage-images"];
    let run = Run::of(&mut doctor(bench, &project, &flags))?;
    if run.code == Some(0) {
        check(&run, "strategy", "ok", "inline-stage-images", "")?;
        return check(&run, "proof", "ok", "without the store 0 of", "");
    }
    // An engine that cannot do it says so, and proves nothing.
    let run = run.exit(USAGE)?;
    check(
        &run,
        "strategy",
        "problem",
        "does not work on this engine",
        "strategy",
    )?;
    assert!(findings(&run, "proof")?.is_empty(), "{}", run.stdout);
    Ok(())
}

fn store_in_context(bench: &Bench<'_>) -> Outcome {
    let mut project = project(bench)?;
    project.set_store(&project.root().join("target/docker-layer-cache"));
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.success()?;
    check(&run, "context", "ok", "no build context", "")?;
    fs::remove_file(project.root().join(".dockerignore"))?;
    let run = Run::of(&mut doctor(bench, &project, &["--no-proof"]))?.exit(USAGE)?;
    let hint = "`printf 'target\\n' >> .dockerignore`";
    check(
        &run,
        "context",
        "problem",
        "`target/docker-layer-cache`",
        hint,
    )
}
