//! Save, wipe, restore, rebuild: what hits when nothing, a late file, an early file changed.

use crate::Scenario;
use crate::support::{Bench, Outcome, Project};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "unchanged_rebuild_after_a_wipe_hits_every_step",
        unchanged_rebuild,
    ),
    ("stages_without_names_count_once", stages_without_names),
    (
        "late_source_change_hits_every_earlier_step_20_times",
        late_source_change,
    ),
    (
        "middle_source_change_hits_every_earlier_step_5_times",
        middle_source_change,
    ),
    (
        "lock_file_change_moves_the_full_key_and_hits_what_is_before_it",
        lock_file_change,
    ),
    (
        "three_generations_hit_and_the_way_back_hits_the_older_entry",
        three_generations,
    ),
    (
        "unchanged_save_writes_nothing",
        unchanged_save_writes_nothing,
    ),
    (
        "exporting_builder_exports_along_with_the_build",
        exports_along,
    ),
    (
        "key_prints_the_key_alone_and_restores_its_own_store",
        key_prints_the_key_alone,
    ),
];

/// The `RUN` steps of a project, in the order of their random texts.
const ALL: &[&str] = &["tools", "deps", "build", "runtime", "late"];
/// How many steps a project has, its `FROM` lines not counted.
const N_STEPS: usize = 9;

fn unchanged_rebuild(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    cold.check_hits(0, N_STEPS)?;
    assert_eq!(cold.report.result, "miss");
    project.check_truth(&cold, &base, &base)?;

    bench.wipe()?;
    let warm = project.ci(bench)?;
    warm.check_reused(&cold.files, ALL)?;
    warm.check_hits(N_STEPS, N_STEPS)?;
    assert_eq!(warm.report.result, "hit");
    assert_eq!(warm.report.full_key, cold.report.full_key);
    project.check_truth(&warm, &base, &base)
}

/// The image and its stages are built in one run the first time: each step is told once, and no
/// tag of ours stays.
fn stages_without_names(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?.reference;
    let project = Project::with_dockerfile(&format!(
        "FROM {base}\nCOPY a.txt /a.txt\nRUN cat /a.txt > /b.txt\nFROM {base}\nCOPY b.txt /c.txt\nRUN mkdir /out && cat /c.txt > /out/c.txt\nCOPY --from=0 /b.txt /out/b.txt\n"
    ))?;
    project.write("a.txt", "a 1\n")?;
    project.write("b.txt", "b 1\n")?;
    project.ci(bench)?.check_hits(0, 5)?;
    let tags = bench
        .engine
        .run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])?;
    assert!(!tags.contains("__save-"), "{tags}");
    bench.wipe()?;
    project.ci(bench)?.check_hits(5, 5)
}

fn late_source_change(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    for n in 1..=20 {
        bench.wipe()?;
        project.write("late.txt", &format!("late change {n}\n"))?;
        let built = project.restore_and_build(bench)?;
        let before = &cold.files;
        built
            .check_reused(before, &["tools", "deps", "build", "runtime"])
            .and_then(|()| built.check_hits(7, N_STEPS))
            .and_then(|()| project.check_truth(&built, &base, &base))
            .map_err(|error| format!("run {n} of 20: {}", error.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn middle_source_change(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;
    for n in 1..=5 {
        bench.wipe()?;
        project.write("src/main.txt", &format!("source change {n}\n"))?;
        let built = project.restore_and_build(bench)?;
        built.check_reused(&cold.files, &["tools", "deps", "runtime"])?;
        built.check_hits(4, N_STEPS)?;
        project.check_truth(&built, &base, &base)?;
    }
    Ok(())
}

fn lock_file_change(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci(bench)?;

    bench.wipe()?;
    project.write("deps.lock", "dependency 2.0\n")?;
    let built = project.ci(bench)?;
    assert_eq!(built.report.base_key, cold.report.base_key);
    assert_ne!(built.report.full_key, cold.report.full_key);
    assert_eq!(built.report.result, "partial");
    built.check_reused(&cold.files, &["tools", "runtime"])?;
    built.check_hits(2, N_STEPS)?;
    project.check_truth(&built, &base, &base)
}

fn three_generations(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let first = project.ci(bench)?;
    let mut latest = first.files.clone();
    for generation in 2..=3 {
        bench.wipe()?;
        project.write("src/main.txt", &format!("source {generation}\n"))?;
        let partial = project.ci(bench)?;
        partial.check_reused(&latest, &["tools", "deps", "runtime"])?;
        project.check_truth(&partial, &base, &base)?;

        bench.wipe()?;
        let whole = project.ci(bench)?;
        whole.check_reused(&partial.files, ALL)?;
        whole.check_hits(N_STEPS, N_STEPS)?;
        latest = whole.files;
    }

    bench.wipe()?;
    project.write("src/main.txt", "source 1\n")?;
    let back = project.ci(bench)?;
    back.check_reused(&first.files, ALL)?;
    project.check_truth(&back, &base, &base)
}

fn unchanged_save_writes_nothing(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.ci(bench)?;
    let blobs = project.blobs()?;
    bench.wipe()?;
    project.ci(bench)?;
    project.xtask(bench, &["docker-save"])?.success()?;
    assert_eq!(project.blobs()?, blobs, "the blobs of the store");
    Ok(())
}

/// Where `BuildKit` can export, the build that adds something does so itself; the save adopts that,
/// and makes up for an export that is gone.
fn exports_along(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let driver = bench
        .engine
        .run(&["info", "--format", "{{json .DriverStatus}}"])?;
    let can_export = driver.contains("io.containerd.snapshotter");
    let export = project
        .root()
        .join("target/docker-layer-cache-key/.work/app/export");

    let cold = project.restore_and_build(bench)?;
    assert_eq!(export.join("index.json").is_file(), can_export);
    project.xtask(bench, &["docker-save"])?.success()?;
    assert!(!export.exists(), "what was saved is left");
    bench.wipe()?;
    let warm = project.restore_and_build(bench)?;
    warm.check_reused(&cold.files, ALL)?;
    assert!(!export.exists(), "nothing ran that could be exported");

    project.write("late.txt", "late 2\n")?;
    bench.wipe()?;
    let late = project.restore_and_build(bench)?;
    if can_export {
        std::fs::remove_file(export.join("index.json"))?;
    }
    project.xtask(bench, &["docker-save"])?.success()?;
    bench.wipe()?;
    let again = project.ci(bench)?;
    again.check_reused(&late.files, ALL)?;
    project.check_truth(&again, &base, &base)
}

fn key_prints_the_key_alone(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let printed = project.xtask(bench, &["docker-key"])?.success()?;
    let key = printed.stdout.trim_end_matches('\n');
    assert!(
        !key.is_empty() && !key.contains(char::is_whitespace),
        "one key and nothing else: {:?}",
        printed.stdout
    );
    let again = project.xtask(bench, &["docker-key", "app"])?.success()?;
    assert_eq!(printed.stdout, again.stdout, "the key of the same sources");
    let report = project.ci(bench)?.report;
    assert_eq!(report.full_key, key);
    Ok(())
}
