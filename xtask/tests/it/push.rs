//! Pushes to a registry of the test's own: tags, retries, credentials, platforms, and builds that
//! need not run.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use docker_layer_cache_demo::{Fault, Registry};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run, TestedBuilder};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("push_prints_and_writes_the_digests_of_all_tags", all_tags),
    ("push_is_repeated_where_the_registry_fails_once", fails_once),
    ("push_logs_in_as_docker_does", logs_in),
    ("push_of_what_was_not_built_is_refused", not_built),
    ("push_of_an_unchanged_commit_builds_nothing", unchanged),
    ("push_builds_where_anything_has_changed", changed),
    ("push_builds_what_can_change_without_notice", volatile),
    ("push_makes_a_list_of_platforms", platforms),
];

const DOCKERFILE: &str = "\
FROM @base@ AS tool
COPY early.txt /early.txt
RUN mkdir /out && cat /proc/sys/kernel/random/uuid > /out/tool.id

FROM @base@
COPY --from=tool /out /out
COPY late.txt /out/late.txt
LABEL version=1
";

/// No commit but this, whatever CI or repository the tests run in.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn project(bench: &Bench<'_>, more: &str) -> Result<Project, Failed> {
    let base = bench.base("base")?;
    let project = Project::with_dockerfile(&DOCKERFILE.replace("@base@", &base.reference))?;
    project.write("early.txt", "early 1\n")?;
    project.write("late.txt", "late 1\n")?;
    configure(&project, &bench.registry, more)?;
    Ok(project)
}

fn configure(project: &Project, registry: &Registry, more: &str) -> Outcome {
    let host = registry.host();
    project.write(
        "docker/images.toml",
        &format!(
            "[image.app]\ntags = [\"{host}/team/app:{{git.sha}}\", \"{host}/team/app:{{git.branch}}\", \"{host}/team/app:v{{git.tag}}\", \"local:1\"]\n{more}"
        ),
    )
}

/// Returns a task on a commit of the branch `feature/x`, without a tag.
fn command(bench: &Bench<'_>, project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    bench.engine.environment(&mut command);
    for name in [
        "CIRCLE_TAG",
        "CI_COMMIT_TAG",
        "BUILDKITE_TAG",
        "GITHUB_REF_TYPE",
    ] {
        command.env_remove(name);
    }
    command.env("CIRCLE_SHA1", COMMIT);
    command.env("CIRCLE_BRANCH", "feature/x");
    command
}

fn task(bench: &Bench<'_>, project: &Project, arguments: &[&str]) -> Result<Run, Failed> {
    Run::of(&mut command(bench, project, arguments))
}

/// Runs the job with a push and returns its report.
fn ci(bench: &Bench<'_>, project: &Project, more: &[&str]) -> Result<(Run, Value), Failed> {
    let arguments = [&["docker-ci", "--push", "--json"], more].concat();
    let run = task(bench, project, &arguments)?.success()?;
    let report = run.stdout.lines().next().unwrap_or_default();
    let report = serde_json::from_str(report)?;
    Ok((run, report))
}

fn digest_of(bench: &Bench<'_>, tag: &str) -> Result<String, Failed> {
    let host = bench.registry.host();
    let url = format!("http://{host}/v2/team/app/manifests/{tag}");
    head_digest(&url).ok_or_else(|| format!("the registry has no `{tag}`").into())
}

/// Returns the digest that a registry says of a manifest.
fn head_digest(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    write!(
        stream,
        "HEAD /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("docker-content-digest")
            .then(|| value.trim().to_owned())
    })
}

fn all_tags(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    task(bench, &project, &["docker-build"])?
        .success()?
        .says(&["no tag", "`{git.tag}` has no value here"])?;
    let file = project.root().join("digests.json");
    let arguments = ["docker-push", "--digest-file", &file.to_string_lossy()];
    let run = task(bench, &project, &arguments)?
        .success()?
        .says(&["`local:1` names no registry"])?;
    let digest = digest_of(bench, COMMIT)?;
    assert_eq!(digest, digest_of(bench, "feature-x")?);
    let host = bench.registry.host();
    assert_eq!(
        run.stdout,
        format!("{host}/team/app:{COMMIT}@{digest}\n{host}/team/app:feature-x@{digest}\n")
    );
    let written: Value = serde_json::from_str(&project.read("digests.json")?)?;
    let one = &written[0];
    assert_eq!(written.as_array().map(Vec::len), Some(1), "{written}");
    assert_eq!(one["image"], "app");
    assert_eq!(one["digest"], digest.as_str());
    assert_eq!(one["repository"], format!("{host}/team/app"));
    assert_eq!(one["tags"].as_array().map(Vec::len), Some(2), "{written}");
    assert_eq!(one["result"], "pushed");
    // What is pulled by that digest is what was built.
    let pinned = format!("{host}/team/app@{digest}");
    let built = bench.files(&format!("{host}/team/app:{COMMIT}"))?;
    bench.wipe()?;
    bench.engine.run(&["pull", "--quiet", &pinned])?;
    assert_eq!(bench.files(&pinned)?.text("tool.id"), built.text("tool.id"));
    Ok(())
}

fn fails_once(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    task(bench, &project, &["docker-build"])?.success()?;
    bench.registry.fail_times(1, Fault::Failing);
    let arguments = ["docker-push", "--always-build"];
    let run = task(bench, &project, &arguments)?.success()?;
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    if !run.stderr.contains("once more") {
        // The engine with the containerd store repeats even the first question by itself.
        let failed = bench.registry.served().iter().any(|one| one.status == 500);
        assert!(failed, "no request failed: {}", run.stderr);
    }
    digest_of(bench, "feature-x")?;
    Ok(())
}

fn logs_in(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    task(bench, &project, &["docker-build"])?.success()?;
    // `ci:secret-word`
    bench.registry.ask_for("Basic Y2k6c2VjcmV0LXdvcmQ=");
    let host = bench.registry.host();
    let refused = task(bench, &project, &["docker-push"])?
        .exit(3)?
        .says(&[&format!("docker login {host}")])?;
    // A refusal is no hiccup.
    assert!(!refused.stderr.contains("once more"), "{}", refused.stderr);

    let folder = tempfile::tempdir()?;
    let auths = serde_json::json!({ "auths": { (&host): { "auth": "Y2k6c2VjcmV0LXdvcmQ=" } } });
    std::fs::write(folder.path().join("config.json"), auths.to_string())?;
    let logged_in =
        |arguments: &[&str]| task_with_config(bench, &project, folder.path(), arguments);
    for arguments in [
        &["docker-push"][..],
        // Now the registry's own interface is asked.
        &["docker-push", "--json"],
    ] {
        let run = logged_in(arguments)?.success()?;
        for secret in ["secret-word", "Y2k6c2VjcmV0LXdvcmQ="] {
            assert!(!run.stdout.contains(secret), "{}", run.stdout);
            assert!(!run.stderr.contains(secret), "{}", run.stderr);
        }
        if arguments.len() > 1 {
            let one: Value = serde_json::from_str(&run.stdout)?;
            assert_eq!(one["result"], "reused", "{}", run.stderr);
        }
    }
    Ok(())
}

/// Runs a task with the credentials of a `config.json` in `folder`.
pub(crate) fn task_with_config(
    bench: &Bench<'_>,
    project: &Project,
    folder: &Path,
    arguments: &[&str],
) -> Result<Run, Failed> {
    let mut command = command(bench, project, arguments);
    // The same plugins as everywhere, or it would be another builder.
    let link = folder.join("cli-plugins");
    if let Some(plugins) = plugins(&command)
        && !link.exists()
    {
        std::os::unix::fs::symlink(plugins, link)?;
    }
    Run::of(command.env("DOCKER_CONFIG", folder))
}

/// Returns the folder of the plugins that docker has in a command.
fn plugins(command: &Command) -> Option<PathBuf> {
    let mut set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let config = set.find(|(name, _)| *name == "DOCKER_CONFIG");
    let config = match config {
        Some((_, config)) => config.into(),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    Some(config.join("cli-plugins")).filter(|plugins| plugins.is_dir())
}

fn not_built(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "inputs = [\"early.txt\"]\n")?;
    task(bench, &project, &["docker-push"])?
        .exit(2)?
        .says(&["was not built", "docker-build"])?;
    task(bench, &project, &["docker-build"])?.success()?;
    project.write("early.txt", "early 2\n")?;
    task(bench, &project, &["docker-push"])?
        .exit(2)?
        .says(&["built of other inputs"])?;
    assert_eq!(bench.registry.count("PUT", "/v2/team/app"), 0);
    Ok(())
}

/// An unchanged commit on a blank machine: nothing is restored, built, loaded or pushed.
fn unchanged(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    let (_, cold) = ci(bench, &project, &[])?;
    assert_eq!(cold["result"], "miss");
    assert_eq!(cold["pushed"][0]["result"], "pushed");
    let digest = digest_of(bench, COMMIT)?;

    bench.wipe()?;
    forget(&project)?;
    let before = bench.registry.served().len();
    let arguments = ["docker-ci", "--push", "--json", "--tag"];
    let tag = format!("{}/team/app:next", bench.registry.host());
    let run = task(bench, &project, &[&arguments[..], &[&tag]].concat())?.success()?;
    let report: Value = serde_json::from_str(&run.stdout)?;
    let served = bench.registry.served();
    let requests = &served[before..];
    assert_eq!(report["result"], "reused", "{}", run.stderr);
    let phases: Vec<&str> = report["phases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|phase| phase["name"].as_str())
        .collect();
    assert_eq!(phases, ["key", "push"]);
    assert_eq!(digest_of(bench, "next")?, digest);
    assert_eq!(report["pushed"][0]["digest"], digest.as_str());
    // The bases may be at a mirror of the engine's, whose requests nobody counts here: the digest
    // and the config of one base are three more.
    assert!(requests.len() + 3 <= 20, "{requests:#?}");
    assert!(
        !requests
            .iter()
            .any(|one| one.url.contains("/blobs/uploads")),
        "{requests:#?}"
    );
    let images = bench.engine.run(&["image", "ls", "--quiet"])?;
    // For whoever wants to know: how long it takes is the machine's affair.
    let _ = writeln!(
        std::io::stderr(),
        "{}: unchanged commit: {:.2} s, {} requests at the registry",
        bench.engine.name(),
        run.time.as_secs_f64(),
        requests.len()
    );
    let named = bench
        .engine
        .run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])?;
    assert!(!named.contains("team/app"), "{images}{named}");

    // It is built where that is asked for, and where the registry has lost it.
    let (run, report) = ci(bench, &project, &["--always-build"])?;
    assert_eq!(report["pushed"][0]["result"], "pushed", "{}", run.stderr);
    bench.wipe()?;
    let (run, report) = ci(bench, &project, &["--verify"])?;
    assert_ne!(report["result"], "reused", "{}", run.stderr);
    let verified = report["phases"].as_array().into_iter().flatten();
    let mut verified = verified.filter(|phase| phase["name"] == "verify");
    let outcome = verified.next().and_then(|phase| phase["outcome"].as_str());
    assert_eq!(outcome, Some("the same"), "{}", run.stderr);
    delete_manifest(bench, &digest)?;
    let newest = digest_of(bench, COMMIT).ok();
    if let Some(newest) = newest {
        delete_manifest(bench, &newest)?;
    }
    let run = task(bench, &project, &["docker-ci", "--push", "--json"])?
        .success()?
        .says(&["the registry has lost the image"])?;
    let report: Value = serde_json::from_str(&run.stdout)?;
    assert_eq!(report["pushed"][0]["result"], "pushed", "{}", run.stderr);
    digest_of(bench, COMMIT)?;
    Ok(())
}

fn changed(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    ci(bench, &project, &[])?;
    let first = digest_of(bench, COMMIT)?;
    let dockerfile = project.read("docker/Dockerfile")?;
    let config = project.read("docker/images.toml")?;
    for (what, path, text) in [
        ("a file", "late.txt", "late 2\n".to_owned()),
        // No step knows of a label, nor does any digest of a step.
        (
            "a label",
            "docker/Dockerfile",
            dockerfile.replace("version=1", "version=2"),
        ),
        (
            "an arg",
            "docker/images.toml",
            format!("{config}build-args = {{ X = \"1\" }}\n"),
        ),
        (
            "a target",
            "docker/images.toml",
            format!("{config}target = \"tool\"\n"),
        ),
    ] {
        let before = project.read(path)?;
        project.write(path, &text)?;
        let (run, report) = ci(bench, &project, &[])?;
        assert_ne!(report["result"], "reused", "{what}: {}", run.stderr);
        project.write(path, &before)?;
        // And back: what was pushed first is still there.
        let (run, report) = ci(bench, &project, &[])?;
        assert_eq!(report["result"], "reused", "{what}: {}", run.stderr);
        assert_eq!(digest_of(bench, COMMIT)?, first, "{what}");
    }
    // A file that no instruction takes is none of the image's.
    project.write("unused.txt", "unused\n")?;
    let (run, report) = ci(bench, &project, &[])?;
    assert_eq!(report["result"], "reused", "{}", run.stderr);
    Ok(())
}

fn volatile(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "")?;
    let dockerfile = project.read("docker/Dockerfile")?;
    if bench.engine.builder() == TestedBuilder::Classic {
        return Ok(());
    }
    let secret = "RUN --mount=type=secret,id=s true\n";
    project.write("docker/Dockerfile", &format!("{dockerfile}{secret}"))?;
    for allowed in [false, true] {
        let more = if allowed {
            "reuse-with-secrets = true\n"
        } else {
            ""
        };
        configure(&project, &bench.registry, more)?;
        ci(bench, &project, &[])?;
        let (run, report) = ci(bench, &project, &[])?;
        let is_reused = report["result"] == "reused";
        assert_eq!(is_reused, allowed, "{}", run.stderr);
        if !allowed {
            run.says(&["line 9: secrets can change without notice"])?;
        }
    }
    Ok(())
}

fn platforms(bench: &Bench<'_>) -> Outcome {
    if bench.engine.builder() == TestedBuilder::Classic {
        return Ok(());
    }
    let project = Project::with_dockerfile("FROM scratch\nCOPY late.txt /late.txt\n")?;
    project.write("late.txt", "late 1\n")?;
    let both = "platforms = [\"linux/arm64\", \"linux/amd64\"]\n";
    configure(&project, &bench.registry, both)?;
    let check = |expected: &str| {
        let run = task(
            bench,
            &project,
            &["docker-ci", "--push", "--digest-file", "d.json"],
        )?;
        let run = run.success()?;
        let index = digest_of(bench, COMMIT)?;
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert_eq!(lines.len(), 6, "{}", run.stdout);
        let host = bench.registry.host();
        let line = format!("{host}/team/app:{COMMIT}@{index}");
        assert!(lines.contains(&line.as_str()), "{}", run.stdout);
        for platform in ["amd64", "arm64"] {
            let digest = digest_of(bench, &format!("{COMMIT}-linux-{platform}"))?;
            let line = format!("{host}/team/app:{COMMIT}-linux-{platform}@{digest}");
            assert!(lines.contains(&line.as_str()), "{}", run.stdout);
            let pinned = format!("{host}/team/app:{COMMIT}");
            let wanted = format!("linux/{platform}");
            bench
                .engine
                .run(&["pull", "--quiet", "--platform", &wanted, &pinned])?;
            let format = "{{.Architecture}}";
            let found = bench
                .engine
                .run(&["image", "inspect", "--format", format, &pinned])?;
            // The containerd store shows the engine's own of all platforms that it has.
            let driver = bench
                .engine
                .run(&["info", "--format", "{{json .DriverStatus}}"])?;
            let is_containerd = driver.contains("io.containerd.snapshotter");
            assert!(is_containerd || found.trim() == platform, "{found}");
        }
        let path = project.root().with_file_name("d.json");
        let written: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let list = written.as_array().and_then(|list| list.last());
        let list = list.ok_or("an empty digest file")?;
        assert_eq!(list["platform"], "linux/amd64,linux/arm64");
        assert_eq!(list["digest"], index.as_str());
        assert_eq!(list["result"], expected, "{}", run.stderr);
        Ok::<_, Failed>(index)
    };
    let first = check("pushed")?;
    bench.wipe()?;
    assert_eq!(check("reused")?, first);
    Ok(())
}

/// Takes away what a blank machine does not have: all but the store.
fn forget(project: &Project) -> Outcome {
    Ok(std::fs::remove_dir_all(
        project.root().join("target/docker-layer-cache-key"),
    )?)
}

fn delete_manifest(bench: &Bench<'_>, digest: &str) -> Outcome {
    let host = bench.registry.host();
    let mut stream = std::net::TcpStream::connect(&host)?;
    write!(
        stream,
        "DELETE /v2/team/app/manifests/{digest} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(())
}
