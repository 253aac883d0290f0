//! `docker-report`: says of the last job what `docker-ci` itself said.

use std::fs;

use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("report_tells_of_a_cold_and_a_warm_job", cold_and_warm),
    ("report_tells_of_a_failed_build_and_reads_only", failed),
];

fn cold_and_warm(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project
        .xtask(bench, &["docker-report"])?
        .exit(2)?
        .says(&["no job to report on", "docker-ci"])?;
    project.ci(bench)?;
    bench.wipe()?;
    project.write("late.txt", "late 2\n")?;
    let warm = project.ci(bench)?;
    let run = project
        .xtask(bench, &["docker-report", "--json"])?
        .success()?;
    let report: Value = serde_json::from_str(&run.stdout)?;
    let (hits, steps) = warm.report.hits();
    let past = report["history"].as_array().map_or(0, Vec::len);
    assert_eq!(past, 2, "{report}");
    assert_eq!(report["history"][0]["hits"], 0, "{report}");
    assert_eq!(report["history"][1]["hits"], hits, "{report}");
    assert_eq!(report["history"][1]["steps"], steps, "{report}");
    assert!(report["spared_seconds"].as_f64() > Some(0.0), "{report}");
    let blobs = project.blobs()?;
    let layers = report["layers"].as_array().cloned().unwrap_or_default();
    assert!(!layers.is_empty(), "{report}");
    for layer in &layers {
        let is_a_blob = blobs.values().any(|size| layer["bytes"] == *size);
        assert!(is_a_blob, "{layer} is of no blob: {blobs:?}");
    }
    let page = fs::read_to_string(project.root().join("target/docker-layer-cache-report.html"))?;
    assert!(
        page.contains(&format!("{hits} of {steps} steps hit, sparing")),
        "{page}"
    );
    let run = project.xtask(bench, &["docker-report", "--markdown", "-"])?;
    let summary = run.success()?.stdout;
    assert_eq!(
        summary.matches("| taken from the cache").count(),
        hits,
        "{summary}"
    );
    Ok(())
}

fn failed(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?.reference;
    let project =
        Project::with_dockerfile(&format!("FROM {base}\nWORKDIR /x\nRUN false '<script>'\n"))?;
    let run = project.xtask(bench, &["docker-ci", "--read-only"])?;
    assert_ne!(run.code, Some(0), "{}", run.stderr);
    let run = project
        .xtask(bench, &["docker-report", "--json"])?
        .success()?;
    let report: Value = serde_json::from_str(&run.stdout)?;
    assert_eq!(report["failed_in"], "build", "{report}");
    assert!(
        !project.store().join("history.jsonl").exists(),
        "the store was read-only"
    );
    let page = fs::read_to_string(project.root().join("target/docker-layer-cache-report.html"))?;
    assert!(
        page.contains("failed in build") && !page.contains("<script"),
        "{page}"
    );
    Ok(())
}
