//! Every CI file holds to its service's own schema, by `check-jsonschema`, which carries them.

use std::process::{Command, Stdio};

use crate::init::Fixture;
use crate::support::{Outcome, Run};

/// A test that needs `check-jsonschema`.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("own_circleci_file", own),
    ("generated_files", generated),
    ("wrong_files_are_found", wrong),
];

/// Returns why the tests cannot be run, if so.
pub(crate) fn obstacle() -> Option<String> {
    let version = Command::new("check-jsonschema")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    match version {
        Ok(status) if status.success() => None,
        _ => Some("no check-jsonschema: `pip install check-jsonschema`".to_owned()),
    }
}

fn own() -> Outcome {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.circleci/config.yml");
    check("vendor.circle-ci", path)?.success()?;
    Ok(())
}

fn generated() -> Outcome {
    for (ci, schema, path) in [
        (
            &["circleci"][..],
            "vendor.circle-ci",
            ".circleci/config.yml",
        ),
        (
            &["circleci", "--remote-docker"],
            "vendor.circle-ci",
            ".circleci/config.yml",
        ),
        (
            &["github"],
            "vendor.github-workflows",
            ".github/workflows/docker-layer-cache.yml",
        ),
        (&["gitlab"], "vendor.gitlab-ci", ".gitlab-ci.yml"),
        (
            &["buildkite"],
            "vendor.buildkite",
            ".buildkite/pipeline.yml",
        ),
    ] {
        let fixture = Fixture::of("ruby", "busybox")?;
        let mut arguments = vec!["--yes", "--ci"];
        arguments.extend(ci);
        fixture.init(&arguments)?.success()?;
        check(schema, &fixture.root.join(path).to_string_lossy())?.success()?;
    }
    Ok(())
}

/// The check itself can fail.
fn wrong() -> Outcome {
    let fixture = Fixture::of("node", "busybox")?;
    let path = fixture.root.join(".github/workflows/test.yml");
    std::fs::write(&path, "on: push\njobs: { a: { runs-on: x, stepz: [] } }\n")?;
    check("vendor.github-workflows", &path.to_string_lossy())?.exit(1)?;
    Ok(())
}

fn check(schema: &str, path: &str) -> Result<Run, libtest_mimic::Failed> {
    let mut command = Command::new("check-jsonschema");
    command.args(["--builtin-schema", schema, path]);
    if schema == "vendor.gitlab-ci" {
        command.args(["--data-transform", "gitlab-ci"]);
    }
    Run::of(&mut command)
}
