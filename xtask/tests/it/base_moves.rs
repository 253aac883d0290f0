//! The base image moves behind its tag.

use docker_layer_cache_demo::{Base, BaseImage};

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, unique};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "moved_base_is_used_on_a_wiped_engine",
        moved_base_on_a_wiped_engine,
    ),
    (
        "moved_base_is_used_where_the_engine_holds_the_old_one",
        moved_base_on_a_warm_engine,
    ),
    (
        "moved_runtime_base_leaves_the_stages_on_the_other_base",
        moved_runtime_base,
    ),
    (
        "moved_deps_base_leaves_the_stage_on_the_other_base",
        moved_deps_base,
    ),
    ("base_that_moves_back_hits_again", base_moves_back),
    (
        "base_moved_between_key_and_build_is_the_keys",
        moved_between_key_and_build,
    ),
    (
        "stage_named_as_its_base_keeps_its_steps",
        stage_named_as_its_base,
    ),
    (
        "moved_base_is_explained_from_the_store",
        explained_from_the_store,
    ),
];

fn moved_base_on_a_wiped_engine(bench: &Bench<'_>) -> Outcome {
    moved_base(bench, true)
}

fn moved_base_on_a_warm_engine(bench: &Bench<'_>) -> Outcome {
    moved_base(bench, false)
}

fn moved_base(bench: &Bench<'_>, wiped: bool) -> Outcome {
    let mut base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;

    base.move_to(1)?;
    if wiped {
        bench.wipe()?;
    }
    let built = project.ci(bench)?;
    assert_ne!(built.report.base_key, cold.report.base_key);
    assert_ne!(built.report.full_key, cold.report.full_key);
    built.check_reused(&cold.files, &[])?;
    project.check_truth(&built, &base, &base)
}

fn moved_runtime_base(bench: &Bench<'_>) -> Outcome {
    let (deps_base, mut runtime_base, project) = two_bases(bench)?;
    let cold = project.ci(bench)?;
    project.check_truth(&cold, &deps_base, &runtime_base)?;

    runtime_base.move_to(1)?;
    bench.wipe()?;
    let built = project.ci(bench)?;
    assert_ne!(built.report.base_key, cold.report.base_key);
    built.check_reused(&cold.files, &["tools", "deps", "build"])?;
    project.check_truth(&built, &deps_base, &runtime_base)
}

fn moved_deps_base(bench: &Bench<'_>) -> Outcome {
    let (mut deps_base, runtime_base, project) = two_bases(bench)?;
    let cold = project.ci(bench)?;

    deps_base.move_to(1)?;
    bench.wipe()?;
    let built = project.ci(bench)?;
    assert_ne!(built.report.base_key, cold.report.base_key);
    built.check_reused(&cold.files, &["runtime"])?;
    project.check_truth(&built, &deps_base, &runtime_base)
}

fn base_moves_back(bench: &Bench<'_>) -> Outcome {
    let mut base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    base.move_to(1)?;
    bench.wipe()?;
    project.ci(bench)?;

    base.move_to(0)?;
    bench.wipe()?;
    let back = project.ci(bench)?;
    assert_eq!(back.report.full_key, cold.report.full_key);
    back.check_reused(&cold.files, &["tools", "deps", "build", "runtime", "late"])?;
    project.check_truth(&back, &base, &base)
}

/// One truth for key and build: what is built is what the key says.
fn moved_between_key_and_build(bench: &Bench<'_>) -> Outcome {
    let mut base = bench.base("base")?;
    let project = Project::on(&base)?;
    let of_key = base.release();
    project.xtask(bench, &["docker-key"])?.success()?;

    base.move_to(1)?;
    // The engine may hold what the tag names now.
    bench.engine.run(&["pull", &base.reference])?;
    let built = project.restore_and_build(bench)?;
    assert_eq!(built.files.text("deps.base"), of_key);
    assert_eq!(built.files.text("runtime.base"), of_key);
    project.xtask(bench, &["docker-save"])?.success()?;

    // The next job asks anew.
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)
}

/// `FROM golang AS golang`: a named context `golang` would replace the stage, steps and all.
fn stage_named_as_its_base(bench: &Bench<'_>) -> Outcome {
    let image = BaseImage::make()?;
    let name = unique("base");
    let repository = format!("library/{name}");
    let push = |variant: u32| {
        let moved = image.variant(variant);
        let mirrors = bench.loopback_mirrors()?;
        let pushed = mirrors
            .iter()
            .any(|mirror| moved.push(mirror, &repository, "latest").is_ok());
        Ok::<_, libtest_mimic::Failed>(pushed.then(|| moved.release()))
    };
    let Some(of_key) = push(0)? else {
        // Only a name of Docker Hub can be a stage's name, and that needs a mirror to write to.
        return Ok(());
    };
    let dockerfile = format!(
        "FROM {name} AS {name}\nRUN mkdir /out && cat /etc/base-release > /out/own.base\nFROM {name}\nRUN cat /etc/base-release > /out/next.base\n"
    );
    let project = Project::with_dockerfile(&dockerfile)?;
    project.xtask(bench, &["docker-key"])?.success()?;
    push(1)?;
    let built = project.restore_and_build(bench)?;
    assert_eq!(built.files.text("own.base"), of_key);
    assert_eq!(built.files.text("next.base"), of_key);
    Ok(())
}

/// A machine that has nothing but the store can say what moved, and what it will cost.
fn explained_from_the_store(bench: &Bench<'_>) -> Outcome {
    let (deps_base, mut runtime_base, project) = two_bases(bench)?;
    project.ci(bench)?;
    std::fs::remove_dir_all(project.root().join("target/docker-layer-cache-key"))?;
    let old = runtime_base.digest().clone();
    runtime_base.move_to(1)?;
    let run = project
        .xtask(bench, &["docker-key", "--explain", "--json"])?
        .success()?
        .says(&[
            "the store's entry",
            old.as_str(),
            runtime_base.digest().as_str(),
            "invalidates `runtime` (",
        ])?;
    assert!(!run.stderr.contains("no run recorded"), "{}", run.stderr);
    let object: serde_json::Value = serde_json::from_str(&run.stdout)?;
    let invalidated = &object["explain"]["changes"][0]["invalidates"][0];
    assert_eq!(invalidated["stage"], "runtime");
    assert!(invalidated["seconds"].as_f64() > Some(0.0), "{invalidated}");
    assert!(invalidated["bytes"].as_u64() > Some(0), "{invalidated}");
    assert!(!run.stderr.contains(&deps_base.reference), "{}", run.stderr);
    Ok(())
}

fn two_bases(bench: &Bench<'_>) -> Result<(Base, Base, Project), libtest_mimic::Failed> {
    let (deps_base, mut runtime_base) = (bench.base("deps-base")?, bench.base("runtime-base")?);
    // Two bases that differ: otherwise the engine may take one's steps for the other's.
    runtime_base.move_to(100)?;
    let project = Project::new(&deps_base.reference, &runtime_base.reference)?;
    Ok((deps_base, runtime_base, project))
}
