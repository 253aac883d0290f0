//! The loopback registry and the base image that the other tests stand on: real engines pull from
//! it, push to it and build on it.

use docker_layer_cache_demo::{Base, BaseImage};

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, unique};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "oracle_tells_reuse_from_rerun",
        oracle_tells_reuse_from_rerun,
    ),
    (
        "registry_serves_pull_push_and_build",
        registry_serves_pull_push_and_build,
    ),
    (
        "base_made_of_commands_runs_them",
        base_made_of_commands_runs_them,
    ),
    ("base_moves_behind_its_tag", base_moves_behind_its_tag),
];

fn registry_serves_pull_push_and_build(bench: &Bench<'_>) -> Outcome {
    let base = Base::at_registry(&bench.registry, &unique("base"), &BaseImage::make()?)?;
    let dockerfile = format!(
        "FROM {}\nRUN head -c 3000000 /dev/urandom > /random\n",
        base.reference
    );
    let project = Project::with_dockerfile(&dockerfile)?;
    let root = project.root();
    let file = root.join("docker/Dockerfile");
    let pushed = format!("{}/{}:1", bench.registry.host(), unique("pushed"));

    bench.engine.run(&["pull", &base.reference])?;
    bench.engine.run(&[
        "build",
        "--tag",
        &pushed,
        "--file",
        &file.to_string_lossy(),
        &root.to_string_lossy(),
    ])?;
    let before = bench.engine.run(&[
        "image",
        "inspect",
        "--format",
        "{{.RootFS.Layers}}",
        &pushed,
    ])?;
    bench.engine.run(&["push", &pushed])?;
    bench.wipe()?;
    bench.engine.run(&["pull", &pushed])?;
    let after = bench.engine.run(&[
        "image",
        "inspect",
        "--format",
        "{{.RootFS.Layers}}",
        &pushed,
    ])?;
    assert_eq!(
        before, after,
        "an image that is pushed and pulled is the same"
    );
    assert!(bench.registry.count("PUT", "/blobs/uploads/") > 0);
    Ok(())
}

fn base_made_of_commands_runs_them(bench: &Bench<'_>) -> Outcome {
    let base = Base::at_registry(
        &bench.registry,
        &unique("base"),
        &BaseImage::from_commands()?,
    )?;
    let script = "cp /etc/base-release /tmp/copy && cat /tmp/copy";
    let said = bench
        .engine
        .run(&["run", "--rm", &base.reference, "sh", "-c", script])?;
    assert_eq!(said, base.release());
    Ok(())
}

fn base_moves_behind_its_tag(bench: &Bench<'_>) -> Outcome {
    let mut base = bench.base("base")?;
    let release = |base: &Base| {
        bench.engine.run(&["pull", &base.reference])?;
        bench
            .engine
            .run(&["run", "--rm", &base.reference, "cat", "/etc/base-release"])
    };
    let before = (base.digest().clone(), release(&base)?);
    base.move_to(1)?;
    let after = (base.digest().clone(), release(&base)?);
    assert_eq!(after.1, base.release());
    assert!(before.0 != after.0 && before.1 != after.1);
    Ok(())
}

/// Plain builds on an engine with its own cache: the files must tell what that cache did, or no
/// other test means anything.
fn oracle_tells_reuse_from_rerun(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let root = project.root();
    let file = root.join("docker/Dockerfile");
    let (file, root) = (file.to_string_lossy(), root.to_string_lossy());
    let build = || {
        bench
            .engine
            .run(&["build", "--tag", &project.tag, "--file", &file, &root])?;
        bench.files(&project.tag)
    };
    let steps = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();

    let cold = build()?;
    let all = cold.reused_since(&cold);
    assert_eq!(all, steps(&["tools", "deps", "build", "runtime", "late"]));
    assert_eq!(build()?.reused_since(&cold), all);
    project.write("late.txt", "late 2\n")?;
    let late = build()?;
    assert_eq!(late.text("late.txt"), "late 2\n");
    assert_eq!(
        late.reused_since(&cold),
        steps(&["tools", "deps", "build", "runtime"])
    );
    project.write("deps.lock", "dependency 2.0\n")?;
    assert_eq!(build()?.reused_since(&cold), steps(&["tools", "runtime"]));
    bench.wipe()?;
    assert_eq!(build()?.reused_since(&cold), steps(&[]));
    Ok(())
}
