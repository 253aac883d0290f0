//! Stores that machines share, at a registry.

use docker_layer_cache_demo::Registry;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project};

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "another_machine_hits_what_one_saved_at_a_registry",
    another_machine,
)];

const ALL: &[&str] = &["tools", "deps", "build", "runtime", "late"];
const N_STEPS: usize = 9;

fn another_machine(bench: &Bench<'_>) -> Outcome {
    let registry = Registry::start()?;
    let url = format!("oci://{}/team/cache", registry.host());
    let remote = ["--remote", url.as_str()];
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.ci_with(bench, &remote)?;
    cold.check_hits(0, N_STEPS)?;

    // Nothing changed: all hits, and nothing goes up.
    bench.wipe()?;
    project.forget()?;
    let n_before = registry.served().len();
    let warm = project.ci_with(bench, &remote)?;
    warm.check_reused(&cold.files, ALL)?;
    warm.check_hits(N_STEPS, N_STEPS)?;
    project.check_truth(&warm, &base, &base)?;
    let served = registry.served()[n_before..].to_vec();
    if let Some(write) = served
        .iter()
        .find(|one| !["GET", "HEAD"].contains(&one.method.as_str()))
    {
        return Err(warm
            .run
            .failure(&format!("an unchanged build wrote: {write:?}")));
    }

    // A late step runs: its layer goes up and no other.
    bench.wipe()?;
    project.forget()?;
    project.write("late.txt", "late 2\n")?;
    let n_before = registry.served().len();
    let late = project.ci_with(bench, &remote)?;
    late.check_reused(&cold.files, &["tools", "deps", "build", "runtime"])?;
    project.check_truth(&late, &base, &base)?;
    let served = registry.served()[n_before..].to_vec();
    let n_blobs = served
        .iter()
        .filter(|one| one.method == "PUT" && one.url.contains("/blobs/"))
        .count();
    // At most two layers, a config and the catalog: one more would be a layer that was there.
    if n_blobs > 4 {
        return Err(late.run.failure(&format!("{n_blobs} blobs went up")));
    }

    // And from it, every step of either version hits on yet another machine.
    bench.wipe()?;
    project.forget()?;
    let again = project.ci_with(bench, &remote)?;
    again.check_reused(&late.files, ALL)?;
    project.check_truth(&again, &base, &base)?;
    bench.wipe()?;
    project.forget()?;
    project.write("late.txt", "late 1\n")?;
    let back = project.ci_with(bench, &remote)?;
    back.check_reused(&cold.files, ALL)?;
    project.check_truth(&back, &base, &base)
}
