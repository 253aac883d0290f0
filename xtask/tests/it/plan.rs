//! What does not pay is not brought in, and is not a loss.

use std::fs;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "cheap_step_with_a_big_layer_is_left_out_and_offered_with_all",
        cheap_step,
    ),
    ("expensive_step_with_a_big_layer_is_offered", expensive_step),
    (
        "cheap_step_above_a_big_layer_is_saved_only_when_told",
        cheap_late_step,
    ),
    ("dry_run_of_restore_changes_nothing", dry_run),
    ("second_restore_reads_no_blob_again", second_restore),
];

/// Of a file that no compression makes smaller.
const N_BYTES: u32 = 20_000_000;
/// In MB a second: five seconds for the file.
const RATE: &str = "--import-rate=4";

/// Makes a repository in which `step` leaves a big layer, and a late file follows.
fn project(bench: &Bench<'_>, step: &str) -> Result<Project, Failed> {
    let base = bench.base("base")?;
    let project = Project::with_dockerfile(&format!(
        "FROM {}\n{step}\nCOPY late.txt /in/late.txt\nRUN mkdir /out && cat /in/late.txt > /out/late.txt\n",
        base.reference
    ))?;
    project.write("late.txt", "late 1\n")?;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = random.flatten().take(N_BYTES as usize).collect();
    fs::write(project.root().join("big.bin"), bytes)?;
    project.ci(bench)?;
    bench.wipe()?;
    project.write("late.txt", "late 2\n")?;
    Ok(project)
}

fn cheap_step(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "COPY big.bin /big.bin")?;
    let restored = project.xtask(bench, &["docker-restore", RATE])?.success()?;
    restored.says(&["left out", "step 1", "20.0 MB", "--all"])?;
    let build = |hits: usize| {
        let run = project
            .xtask(bench, &["docker-build", "--json"])?
            .success()?;
        let report = run.report("app")?;
        if report.hits() != (hits, 3) || !report.disagreements.is_empty() {
            return Err(run.failure(&format!("not {hits} hits of 3\n{}", report.table())));
        }
        assert_eq!(bench.files(&project.tag)?.text("late.txt"), "late 2\n");
        Ok(())
    };
    build(0)?;

    // The store has what ran again, and what stands on it does not pay either.
    let before = project.blobs()?;
    let saved = project.xtask(bench, &["docker-save"])?.success()?;
    saved.says(&["nothing to save"])?;
    assert_eq!(project.blobs()?, before, "the blobs of the store");

    bench.wipe()?;
    let restored = project
        .xtask(bench, &["docker-restore", RATE, "--all"])?
        .success()?;
    if restored.stderr.contains("left out") {
        return Err(restored.failure("leaves something out"));
    }
    build(1)
}

fn expensive_step(bench: &Bench<'_>) -> Outcome {
    let step = format!("RUN sleep 7 && head -c {N_BYTES} /dev/urandom > /big.bin");
    let project = project(bench, &step)?;
    let run = project
        .xtask(bench, &["docker-ci", "--json", RATE])?
        .success()?;
    let report = run.report("app")?;
    if report.hits() != (1, 3) || !report.disagreements.is_empty() {
        return Err(run.failure(&format!("not one hit of 3\n{}", report.table())));
    }
    run.says(&["offered", "20.0 MB"]).map(|_| ())
}

fn cheap_late_step(bench: &Bench<'_>) -> Outcome {
    let step = "RUN sleep 5 && head -c 110000000 /dev/urandom > /big.bin";
    let project = project(bench, step)?;
    let before = project.blobs()?;
    let run = project.xtask(bench, &["docker-ci", "--json"])?.success()?;
    let report = run.report("app")?;
    if report.hits() != (1, 3) || !report.disagreements.is_empty() {
        return Err(run.failure(&format!("not one hit of 3\n{}", report.table())));
    }
    if run.stderr.contains("exported-build-cache") || project.blobs()? != before {
        // An export leaves out what is stored: it is never dear.
        return Ok(());
    }
    run.says(&["is not saved", "docker-save"])?;
    project.xtask(bench, &["docker-save"])?.success()?;
    assert_ne!(project.blobs()?, before, "the blobs of the store");
    bench.wipe()?;
    project.restore_and_build(bench)?.check_hits(3, 3)
}

fn dry_run(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "COPY big.bin /big.bin")?;
    let work = project
        .root()
        .join("target/docker-layer-cache-key/.work/app");
    let state = || -> Result<_, Failed> {
        let mut names: Vec<_> = fs::read_dir(&work)?
            .map(|file| file.map(|file| file.file_name()))
            .collect::<Result<_, _>>()?;
        // What is remembered of the build context changes nothing.
        names.retain(|name| name != "context-digests");
        names.sort();
        let notes: Value = serde_json::from_slice(&fs::read(work.join("job.json"))?)?;
        let index = fs::read_to_string(project.store().join("index.json"))?;
        let images = bench.engine.run(&["image", "ls", "--all", "--quiet"])?;
        Ok((names, notes["restored"].clone(), index, images))
    };
    project.xtask(bench, &["docker-key"])?.success()?;
    let before = state()?;
    let arguments = ["docker-restore", "--dry-run", "--json", RATE];
    let run = project.xtask(bench, &arguments)?.success()?;
    assert_eq!(state()?, before, "what there was before the dry run");
    let reported: Value = serde_json::from_str(&run.stdout)?;
    let chain = &reported["restored"]["plan"]["chains"][0];
    assert_eq!(chain["verdict"], "does-not-pay", "{reported}");
    run.says(&["it does not pay", "20.0 MB"]).map(|_| ())
}

fn second_restore(bench: &Bench<'_>) -> Outcome {
    let project = project(bench, "COPY big.bin /big.bin")?;
    let n_read = || -> Result<u64, Failed> {
        let arguments = ["docker-restore", "--json", "--all"];
        let run = project.xtask(bench, &arguments)?.success()?;
        let reported: Value = serde_json::from_str(&run.stdout)?;
        match reported["restored"]["n_verified"].as_u64() {
            Some(n_read) => Ok(n_read),
            None => Err(run.failure("does not tell what it read")),
        }
    };
    assert!(n_read()? > 0, "the first restore reads blobs");
    // A file that was written within a tick of the clock is read once more.
    for _ in 0..50 {
        if n_read()? == 0 {
            return Ok(());
        }
    }
    Err("blobs are read again and again".into())
}
