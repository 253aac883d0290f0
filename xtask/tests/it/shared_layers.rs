//! Two images with layers in common: stored once, restored for both.

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, unique};

pub(crate) const SCENARIOS: &[Scenario] =
    &[("two_images_that_share_layers_store_them_once", two_images)];

fn two_images(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.ci(bench)?;
    let alone: u64 = project.blobs()?.values().sum();

    // The second image ends where the first image's middle stage ends.
    let tag = format!("{}:1", unique("tool"));
    let config = project.read("docker/images.toml")?;
    project.write(
        "docker/images.toml",
        &format!(
            "{config}\n[image.tool]\ndockerfile = \"docker/Dockerfile\"\ntarget = \"build\"\ntags = [\"{tag}\"]\n"
        ),
    )?;
    let run = project.xtask(bench, &["docker-ci", "--json"])?.success()?;
    let (hits, steps) = run.report("tool")?.hits();
    assert_eq!(
        hits,
        steps,
        "the other image's steps\n{}",
        run.report("tool")?.table()
    );
    let both: u64 = project.blobs()?.values().sum();
    assert!(
        both - alone < 200_000,
        "the second image added {} bytes to {alone}",
        both - alone
    );
    let before = (bench.files(&project.tag)?, bench.files(&tag)?);

    bench.wipe()?;
    let warm = project.xtask(bench, &["docker-ci", "--json"])?.success()?;
    for image in ["app", "tool"] {
        let report = warm.report(image)?;
        let (hits, steps) = report.hits();
        assert_eq!(hits, steps, "{image}\n{}", report.table());
    }
    assert_eq!((bench.files(&project.tag)?, bench.files(&tag)?), before);
    Ok(())
}
