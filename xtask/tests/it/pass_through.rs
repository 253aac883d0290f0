//! What goes through to docker unchanged: arguments, secrets, tags, exit codes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use docker_layer_cache::oci::Digest;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run, unique};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "build_args_with_spaces_quotes_and_dashes_arrive",
        build_args_arrive,
    ),
    (
        "files_with_spaces_quotes_and_dashes_are_inputs",
        files_with_strange_names,
    ),
    ("secret_arrives_and_leaves_no_trace", secret_leaves_no_trace),
    ("every_tag_names_the_image", every_tag),
    (
        "failing_run_passes_the_exit_code_and_runs_once",
        failing_run,
    ),
    ("target_builds_that_stage", target_stage),
];

/// A shell would take each of these for something else.
const STRANGE: &[&str] = &[
    "two words",
    "--no-cache",
    "it's \"quoted\"",
    "$HOME `id` $(id) ; id & id | id > x",
    "back\\slash",
    "grüße 世界",
    "",
];

fn build_args_arrive(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let mut dockerfile = format!("FROM {}\nRUN mkdir /out\n", base.reference);
    let mut arguments = Vec::new();
    for (n, value) in STRANGE.iter().enumerate() {
        writeln!(dockerfile, "ARG A{n}")?;
        writeln!(dockerfile, "RUN printf '%s' \"$A{n}\" > /out/a{n}")?;
        let quoted = serde_json::to_string(value)?;
        arguments.push(format!("A{n} = {quoted}"));
    }
    let project = Project::with_dockerfile(&dockerfile)?;
    project.configure(&format!("build-args = {{ {} }}\n", arguments.join(", ")))?;
    for _ in 0..2 {
        let built = project.ci(bench)?;
        for (n, value) in STRANGE.iter().enumerate() {
            assert_eq!(built.files.text(&format!("a{n}")), *value);
        }
        bench.wipe()?;
    }
    Ok(())
}

fn files_with_strange_names(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let dockerfile = format!("FROM {}\nCOPY in /out\n", base.reference);
    let project = Project::with_dockerfile(&dockerfile)?;
    project.configure("inputs = [\"in/**\"]\n")?;
    let names = ["two words", "--no-cache", "it's", "$HOME;id", "grüße"];
    for name in names {
        project.write(&format!("in/{name}"), name)?;
    }
    let cold = project.ci(bench)?;
    for name in names {
        assert_eq!(cold.files.text(name), name);
    }
    project.write("in/--no-cache", "changed")?;
    bench.wipe()?;
    let built = project.ci(bench)?;
    assert_ne!(built.report.full_key, cold.report.full_key);
    assert_eq!(built.files.text("--no-cache"), "changed");
    Ok(())
}

fn secret_leaves_no_trace(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let value = unique("s3cret");
    let digest = "sha256sum /run/secrets/token | head -c 64 > /out/digest";
    let project = Project::with_dockerfile(&format!(
        "FROM {}\nRUN --mount=type=secret,id=token mkdir /out && {digest}\n",
        base.reference
    ))?;
    project.configure("secrets = [\"id=token,env=DLC_TEST_TOKEN\"]\n")?;
    let mut command = project.command(&["docker-ci", "--json"]);
    bench.engine.environment(&mut command);
    // The old command line builds with its classic builder otherwise, which knows no secrets.
    command
        .env("DLC_TEST_TOKEN", &value)
        .env("DOCKER_BUILDKIT", "1");
    let run = Run::of(&mut command)?;
    if bench.engine.run(&["buildx", "version"]).is_err() {
        // A client that cannot use BuildKit says so, before anything is built.
        run.exit(2)?.says(&["buildx plugin is missing"])?;
        return Ok(());
    }
    let run = run.success()?;
    let expected = Digest::of(value.as_bytes());
    assert_eq!(
        bench.files(&project.tag)?.text("digest"),
        expected.encoded()
    );
    assert!(!run.stdout.contains(&value) && !run.stderr.contains(&value));
    search(project.store(), value.as_bytes())?;
    search(&project.root(), value.as_bytes())
}

fn every_tag(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let tags = [
        unique("one"),
        format!("localhost:1/{}:v1.0_2-3", unique("two")),
    ];
    let config = project.read("docker/images.toml")?;
    let all = format!(
        "tags = [\"{}\", \"{}\", \"{}\"]",
        project.tag, tags[0], tags[1]
    );
    let with_one = format!("tags = [\"{}\"]", project.tag);
    project.write("docker/images.toml", &config.replace(&with_one, &all))?;
    for _ in 0..2 {
        project.ci(bench)?;
        let id = |tag: &str| {
            bench
                .engine
                .run(&["image", "inspect", "--format", "{{.Id}}", tag])
        };
        let expected = id(&project.tag)?;
        for tag in &tags {
            assert_eq!(id(tag)?, expected, "{tag}");
        }
        bench.wipe()?;
    }
    Ok(())
}

fn failing_run(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::with_dockerfile(&format!(
        "FROM {}\nRUN true\nRUN echo attempt-$(cat /proc/sys/kernel/random/uuid) && exit 7\n",
        base.reference
    ))?;
    let root = project.root();
    let file = root.join("docker/Dockerfile");
    let (file, root) = (file.to_string_lossy(), root.to_string_lossy());
    let plain = bench
        .engine
        .docker(&["build", "--file", &file, &root])
        .output()?;
    let code = plain.status.code().unwrap_or_default();
    assert_ne!(code, 0);
    for task in ["docker-build", "docker-ci"] {
        let run = project.xtask(bench, &[task])?.exit(code)?;
        let talk = format!("{}{}", run.stdout, run.stderr);
        let attempts: BTreeSet<&str> = talk
            .split("attempt-")
            .skip(1)
            .filter_map(|rest| rest.get(..36))
            .filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
            .collect();
        if attempts.len() != 1 {
            return Err(run.failure(&format!("ran the failing step {} times", attempts.len())));
        }
    }
    Ok(())
}

fn target_stage(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.configure("target = \"build\"\n")?;
    let cold = project.ci(bench)?;
    let stages: BTreeSet<&str> = cold.report.steps.iter().map(|step| &*step.stage).collect();
    assert_eq!(stages, BTreeSet::from(["build", "deps"]));
    bench.wipe()?;
    let warm = project.ci(bench)?;
    warm.check_reused(&cold.files, &["tools", "deps", "build"])
}

/// Fails if a file below `folder` has `needle` in it.
fn search(folder: &Path, needle: &[u8]) -> Outcome {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, needle)?;
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "the secret is in {}", path.display());
        }
    }
    Ok(())
}
