//! `docker-ci`: the whole job.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;
use xshell::Shell;

use super::cache_mounts::{self, RestoredMount};
use super::images::Image;
use super::job::Job;
use super::key::{Digests, key};
use super::offer::{self, Planned};
use super::push::{Pushed, Shipment};
use super::report::{Phase, Watch};
use super::{build, deploy, links, push, remote, restore, reuse, save};
use crate::cache_key::Keys;
use crate::cli::{CiArgs, ShipArgs};
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pushed: Vec<Pushed>,
    result: &'static str,
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &CiArgs) -> Result<(), Error> {
    let job = Job::open(sh, &args.task)?.with_offer(&args.offer, false);
    let (args, ship) = (&args.task, &args.ship);
    push::check(ship, args.offline)?;
    let deploys = deploy::planned(&job.workspace, ship, &args.images)?;
    let mut shipment = Shipment::new(sh, args, ship.digest_file.as_deref())?;
    let mut table = Table::new(&["image", "step", "result", ">bytes", ">seconds"]);
    let mut failed = None;
    let mut names_failed: BTreeSet<String> = BTreeSet::new();
    for image in job.images(sh)? {
        let name = image.name.clone();
        match links::without(&image, &names_failed)
            .and_then(|()| one(&job, image, ship, &mut shipment))
        {
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
    let mut ended = failed.map_or(Ok(()), Err).and(shipment.end(&job, false));
    for deploy in deploys.iter().filter(|_| ship.deploy) {
        // Where one image failed, none goes on: they may belong together.
        if ended.is_ok() {
            let started = Instant::now();
            let deployed = deploy.run_with(&job, shipment.pushed());
            let outcome = if deployed.is_ok() { "done" } else { "failed" };
            let seconds = format!("{:.2}", started.elapsed().as_secs_f64());
            let (image, step) = (deploy.image.clone(), format!("deploy {}", deploy.name));
            table.row([image, step, outcome.to_owned(), bytes(0), seconds]);
            ended = deployed;
        }
    }
    if !table.is_empty() {
        job.talk.say(format_args!("\n{table}"));
    }
    ended
}

fn one(
    job: &Job<'_>,
    image: Image,
    ship: &ShipArgs,
    shipment: &mut Shipment,
) -> Result<Report, Error> {
    let mut watch = Watch::start(job, &image);
    let result = watched(job, image, &mut watch, ship, shipment);
    watch.end(job, result.is_err());
    result
}

fn watched(
    job: &Job<'_>,
    image: Image,
    watch: &mut Watch,
    ship: &ShipArgs,
    shipment: &mut Shipment,
) -> Result<Report, Error> {
    let asked = [("verify", ship.verify), ("push", ship.push)];
    let asked = asked.into_iter().filter(|(_, is_asked)| *is_asked);
    watch.behind = asked.map(|(phase, _)| phase).collect();
    let _lock = job.lock(&image)?;
    let keyed = key(job, image, Digests::Current)?;
    watch.phase(
        "key",
        0,
        keyed.keys.full.as_str().chars().take(15).collect(),
    );
    watch.keyed(job, &keyed);
    if ship.push && !ship.always_build && !ship.verify {
        let targets = push::own_targets(job, &keyed.image)?;
        if let Some(reused) = reuse::put(job, &keyed, &targets) {
            let pushed = shipment.add(job, &keyed.image, reused)?;
            watch.phase("push", 0, push::outcome(&pushed));
            return Ok(Report {
                platform: keyed.platform.to_string(),
                label: keyed.image.label(),
                image: keyed.image.name,
                key: keyed.keys,
                steps: Vec::new(),
                plan: None,
                disagreements: Vec::new(),
                cache_mounts: Vec::new(),
                phases: watch.seen.phases.clone(),
                pushed,
                result: "reused",
            });
        }
    }
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
    if ship.verify {
        let outcome = reuse::verify(job, &keyed, &built)?;
        watch.phase("verify", 0, outcome);
    }
    let mut pushed = Vec::new();
    if ship.push {
        let one = push::push(job, &keyed, &built)?;
        pushed = shipment.add(job, &keyed.image, one)?;
        watch.phase("push", 0, push::outcome(&pushed));
    }
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
        pushed,
        result,
    })
}
