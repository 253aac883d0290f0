//! `docker-ci`: the whole job.

use std::collections::BTreeSet;

use serde::Serialize;
use xshell::Shell;

use super::cache_mounts::{self, RestoredMount};
use super::images::Image;
use super::job::Job;
use super::key::{Digests, key};
use super::offer::{self, Planned};
use super::report::{Phase, Watch};
use super::{build, links, remote, restore, save};
use crate::cache_key::Keys;
use crate::cli::CiArgs;
use crate::engine::{Step, Strategy};
use crate::error::Error;
use crate::image_layout::ImageLayout;
use crate::plan::Disagreement;
use crate::ui::{self, Table, bytes};

/// What came of one image.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    platform: String,
    #[serde(skip)]
    label: String,
    key: Keys,
    steps: Vec<Step>,
    plan: Option<Planned>,
    disagreements: Vec<Disagreement>,
    cache_mounts: Vec<RestoredMount>,
    phases: Vec<Phase>,
    result: &'static str,
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &CiArgs) -> Result<(), Error> {
    let job = Job::open(sh, &args.task)?.with_offer(&args.offer, false);
    let args = &args.task;
    let mut table = Table::new(&["image", "step", "result", ">bytes", ">seconds"]);
    let mut failed = None;
    let mut names_failed: BTreeSet<String> = BTreeSet::new();
    for image in job.images(sh)? {
        let name = image.name.clone();
        match links::without(&image, &names_failed).and_then(|()| one(&job, image)) {
            Ok(report) => {
                for phase in &report.phases {
                    let seconds = format!("{:.2}", phase.seconds);
                    table.row([
                        report.label.clone(),
                        phase.name.clone(),
                        phase.outcome.clone(),
                        bytes(phase.bytes),
                        seconds,
                    ]);
                }
                if args.json {
                    ui::data(serde_json::to_string(&report).expect("a report is JSON"))?;
                }
            }
            Err(error) => {
                names_failed.insert(name);
                // The last one is printed by whoever called us.
                if let Some(earlier) = failed.replace(error) {
                    ui::print_error(&earlier);
                }
            }
        }
    }
    if !table.is_empty() {
        job.talk.say(format_args!("\n{table}"));
    }
    failed.map_or(Ok(()), Err)
}

fn one(job: &Job<'_>, image: Image) -> Result<Report, Error> {
    let mut watch = Watch::start(job, &image);
    let result = watched(job, image, &mut watch);
    watch.end(job, result.is_err());
    result
}

fn watched(job: &Job<'_>, image: Image, watch: &mut Watch) -> Result<Report, Error> {
    let _lock = job.lock(&image)?;
    let keyed = key(job, image, Digests::Current)?;
    watch.phase(
        "key",
        0,
        keyed.keys.full.as_str().chars().take(15).collect(),
    );
    watch.keyed(job, &keyed);
    // What is offered stays in the store until the build has taken it.
    let hold = ImageLayout::open_read_only(&job.workspace.store)
        .and_then(|layout| layout.hold())
        .ok();
    let mut restored = restore::restore(job, &keyed)?;
    watch.phase(
        "restore",
        restored.bytes,
        if restored.strategy == Some(Strategy::RemoteBuildCache) {
            "by the builder"
        } else if restored.entries.is_empty() {
            "miss"
        } else if restored.exact {
            "hit"
        } else {
            "partial"
        }
        .to_owned(),
    );
    cache_mounts::restore(job, &keyed, &mut restored)?;
    if !restored.cache_mounts.is_empty() {
        let filled = restored
            .cache_mounts
            .iter()
            .filter(|mount| mount.is_filled());
        let filled: Vec<u64> = filled.map(|mount| mount.bytes).collect();
        let outcome = format!("{} of {} filled", filled.len(), restored.cache_mounts.len());
        watch.phase("mounts in", filled.iter().sum(), outcome);
    }
    let built = build::build(job, &keyed, &restored);
    watch.built(job, &keyed, &restored, built.as_ref().ok());
    let built = built?;
    watch.phase(
        "build",
        0,
        format!(
            "{}, {} of {} steps",
            built.result(),
            built.n_hits(),
            built.steps.len()
        ),
    );
    drop(hold);
    let built_to_save = offer::that_pays(job, &keyed, &restored, &built);
    let saved = save::save(job, &keyed, &restored, &built_to_save)?;
    watch.phase(
        "save",
        saved.bytes,
        saved
            .skipped
            .map_or_else(|| format!("{} new layers", saved.layers), str::to_owned),
    );
    let mounts = cache_mounts::save(job, &keyed, &restored, &built)?;
    if !mounts.mounts.is_empty() {
        let outcome = format!("{} saved", mounts.mounts.len());
        watch.phase("mounts out", mounts.bytes, outcome);
    }
    remote::upload(job, &keyed)?;
    let result = built.result();
    Ok(Report {
        platform: keyed.platform.to_string(),
        label: keyed.image.label(),
        image: keyed.image.name,
        key: keyed.keys,
        steps: built.steps,
        plan: restored.plan,
        disagreements: built.disagreements,
        cache_mounts: restored.cache_mounts,
        phases: watch.seen.phases.clone(),
        result,
    })
}
