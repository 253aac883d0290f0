//! Images for several platforms: each is keyed, cached and tagged by itself.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run, TestedBuilder};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("platforms_are_cached_each_by_itself", each_by_itself),
    ("platforms_share_a_stage_of_the_builders_own", own_stage),
    ("platform_that_cannot_run_is_told", cannot_run),
    ("platforms_have_one_key_in_any_order", one_key),
];

const COPY_ONLY: &str = "\
FROM scratch AS files
COPY first.txt /first.txt

FROM scratch
COPY --from=files /first.txt /copied.txt
COPY second.txt /second.txt
";

const OWN_STAGE: &str = "\
FROM --platform=$BUILDPLATFORM @base@ AS tool
RUN mkdir /out && cat /proc/sys/kernel/random/uuid > /out/tool.id

FROM scratch
COPY --from=tool /out /out
COPY second.txt /second.txt
";

/// Whatever runs these tests, one of the two is not its own.
const BOTH: &str = "platforms = [\"linux/arm64\", \"linux/amd64\"]\n";

fn project(dockerfile: &str) -> Result<Project, Failed> {
    let project = Project::with_dockerfile(dockerfile)?;
    project.configure(BOTH)?;
    project.write("first.txt", "first 1\n")?;
    project.write("second.txt", "second 1\n")?;
    Ok(project)
}

fn each_by_itself(bench: &Bench<'_>) -> Outcome {
    let project = project(COPY_ONLY)?;
    if bench.engine.builder() == TestedBuilder::Classic {
        project
            .xtask(bench, &["docker-ci"])?
            .exit(2)?
            .says(&["several platforms", "buildx"])?;
        return Ok(());
    }
    let cold = job(bench, &project)?;
    // To `BuildKit` a copied file is the same on every platform.
    assert_eq!(hits(&cold)?[0], (0, 3));
    check_tags(bench, &project)?;

    bench.wipe()?;
    assert_eq!(hits(&job(bench, &project)?)?, [(3, 3), (3, 3)]);
    check_tags(bench, &project)?;

    bench.wipe()?;
    let arm64 = project.xtask(bench, &["docker-ci", "--json", "--platform", "linux/arm64"])?;
    assert_eq!(hits(&arm64.success()?)?, [(3, 3)]);

    bench.wipe()?;
    project.write("second.txt", "second 2\n")?;
    assert_eq!(hits(&job(bench, &project)?)?[0], (2, 3));
    bench.wipe()?;
    assert_eq!(hits(&job(bench, &project)?)?, [(3, 3), (3, 3)]);
    Ok(())
}

fn own_stage(bench: &Bench<'_>) -> Outcome {
    // The classic builder does not know `$BUILDPLATFORM`.
    if bench.engine.builder() == TestedBuilder::Classic {
        return Ok(());
    }
    let base = bench.base("base")?;
    let project = project(&OWN_STAGE.replace("@base@", &base.reference))?;
    job(bench, &project)?;

    bench.wipe()?;
    assert_eq!(hits(&job(bench, &project)?)?, [(3, 3), (3, 3)]);
    Ok(())
}

fn cannot_run(bench: &Bench<'_>) -> Outcome {
    let project = project("FROM scratch\nCOPY first.txt /\nRUN [\"/first.txt\"]\n")?;
    project.configure("platforms = [\"linux/riscv64\"]\n")?;
    let run = project.xtask(bench, &["docker-build"])?;
    if bench.engine.builder() == TestedBuilder::Classic {
        assert_ne!(run.code, Some(0), "{}", run.stderr);
        run.says(&["may be unable to run", "line 3", "linux/riscv64"])?;
    } else {
        run.exit(2)?.says(&[
            "stage `stage-0` runs on linux/riscv64, which the builder cannot run",
            "line 3",
            "--platform=$BUILDPLATFORM",
        ])?;
    }
    Ok(())
}

fn one_key(bench: &Bench<'_>) -> Outcome {
    let project = project(COPY_ONLY)?;
    let key = |arguments: &[&str]| {
        let run = project.xtask(bench, arguments)?.success()?;
        let file = project.read("target/docker-layer-cache-key/app.full")?;
        Ok::<_, Failed>((run.stdout, file))
    };
    let (both, file) = key(&["docker-key"])?;
    assert_eq!(both.lines().count(), 1, "{both}");
    for platform in ["platform linux/amd64\n", "platform linux/arm64\n"] {
        assert!(file.contains(platform), "{file}");
    }
    let turned = key(&["docker-key", "--platform", "linux/amd64,linux/arm64"])?;
    assert_eq!(turned, (both.clone(), file));
    let (one, file) = key(&["docker-key", "--platform", "linux/arm64"])?;
    assert_ne!(one, both);
    assert!(file.starts_with("docker-layer-cache full v1\n"), "{file}");

    project.write("docker/Dockerfile", &COPY_ONLY.replace("second", "first"))?;
    project
        .xtask(bench, &["docker-key", "--explain"])?
        .success()?
        .says(&["app linux/amd64: compared", "app linux/arm64: compared"])?;
    Ok(())
}

fn job(bench: &Bench<'_>, project: &Project) -> Result<Run, Failed> {
    project.xtask(bench, &["docker-ci", "--json"])?.success()
}

/// Returns the hits and the steps of each platform, in the order of the platforms.
fn hits(run: &Run) -> Result<Vec<(usize, usize)>, Failed> {
    let reports: Vec<Value> = run
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let mut platforms = Vec::new();
    let mut hits = Vec::new();
    for report in &reports {
        platforms.push(report["platform"].as_str().unwrap_or_default());
        let steps = report["steps"].as_array().ok_or("no steps")?;
        let hit = steps.iter().filter(|step| step["result"] == "hit").count();
        hits.push((hit, steps.len()));
    }
    assert!(platforms.is_sorted(), "{platforms:?}");
    Ok(hits)
}

/// Fails unless the tags hold the platforms that they say, and the plain one that of the engine.
fn check_tags(bench: &Bench<'_>, project: &Project) -> Outcome {
    let own = bench
        .engine
        .run(&["version", "--format", "{{.Server.Arch}}"])?;
    let tag = &project.tag;
    for (tag, expected) in [
        (tag.clone(), own.trim()),
        (format!("{tag}-linux-amd64"), "amd64"),
        (format!("{tag}-linux-arm64"), "arm64"),
    ] {
        let found =
            bench
                .engine
                .run(&["image", "inspect", "--format", "{{.Architecture}}", &tag])?;
        assert_eq!(found.trim(), expected, "{tag}");
    }
    Ok(())
}
