//! A cache that `BuildKit` keeps at a registry by itself, with our keys and pins around it.

use libtest_mimic::Failed;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, TestedBuilder};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("builder_keeps_its_own_cache_at_a_registry", at_a_registry),
    (
        "builder_whose_own_cache_is_out_of_reach_builds",
        out_of_reach,
    ),
];

const ALL: &[&str] = &["tools", "deps", "build", "runtime", "late"];
/// The exit code of the contract for what the configuration asks in vain.
const USAGE: i32 = 2;

fn at_a_registry(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    configure(&project, &bench.registry.host())?;
    if is_refused(bench, &project)? {
        return Ok(());
    }
    let cold = project.ci(bench)?;
    cold.check_hits(0, 9)?;
    project.check_truth(&cold, &base, &base)?;
    if bench.registry.count("PUT", "/manifests/app") == 0 {
        // With a graph driver BuildKit has no such exporter.
        cold.run.says(&["warning", "cannot write it"])?;
        return Ok(());
    }

    bench.wipe()?;
    let warm = project.ci(bench)?;
    warm.check_reused(&cold.files, ALL)?;
    warm.check_hits(9, 9)?;
    project.check_truth(&warm, &base, &base)?;
    warm.run.says(&["nothing to save"])?;
    assert_eq!(bench.registry.count("PUT", "/manifests/app"), 1);

    bench.wipe()?;
    project.write("late.txt", "late 2\n")?;
    let late = project.ci(bench)?;
    late.check_reused(&cold.files, &["tools", "deps", "build", "runtime"])?;
    project.check_truth(&late, &base, &base)?;
    assert_eq!(bench.registry.count("PUT", "/manifests/app"), 2);
    bench.wipe()?;
    let again = project.ci(bench)?;
    again.check_reused(&late.files, ALL)?;
    project.check_truth(&again, &base, &base)
}

fn out_of_reach(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    // Nobody listens there.
    configure(&project, "127.0.0.1:1")?;
    if is_refused(bench, &project)? {
        return Ok(());
    }
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    built.run.says(&["warning"]).map(drop)
}

fn configure(project: &Project, registry: &str) -> Outcome {
    project.configure(&format!(
        "inputs = [\"deps.lock\"]\n[image.app.build-cache]\ntype = \"registry\"\nref = \"{registry}/dlc-test-cache:app\"\n"
    ))
}

/// Without `BuildKit` it is a mistake that is told.
fn is_refused(bench: &Bench<'_>, project: &Project) -> Result<bool, Failed> {
    if bench.engine.builder() == TestedBuilder::Buildkit {
        return Ok(false);
    }
    let run = project.xtask(bench, &["docker-ci"])?.exit(USAGE)?;
    run.says(&["`build-cache` needs BuildKit"])?;
    Ok(true)
}
