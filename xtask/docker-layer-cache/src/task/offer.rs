//! What of the store this very build is offered, and why: the plan, made, noted and told.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::build::annotate;
use super::job::Job;
use super::key::Keyed;
use super::notes::{Built, Restored};
use super::restore::{entries_of, recorded_by};
use crate::cache_key::StageDigest;
use crate::engine::{ImageStore, Strategy};
use crate::error::Error;
use crate::image_layout::StoredEntry;
use crate::oci::{ChainId, Digest};
use crate::plan::{
    self, ExpectedStep, ImportCost, LayerChain, Outcome, PredictedStep, RealStep, RecordedStep,
    RestorePlan, RestoreRequest, Verdict,
};
use crate::ui::{Table, bytes};

/// The engine is asked for its layers where it has at most so many images: asking for more takes
/// longer than what is learned is worth.
const MAX_IMAGES: usize = 100;

/// How fast `docker save` gives images out, in bytes of the blobs that become of them a second:
/// twice as many of the archive.
const SAVE_BYTES_PER_SECOND: f64 = 60e6;

/// How many steps that ran and were not saved are remembered with an entry.
const MAX_SEEN: usize = 16;

/// A plan, as it is noted and reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Planned {
    /// What bringing in layers costs, by measurement or experience.
    pub(super) import: ImportCost,
    /// The layers, and why they are offered or not.
    pub(super) chains: Vec<LayerChain>,
    /// What the steps will do.
    pub(super) expected: Vec<ExpectedStep>,
    /// Steps that would hit and are not offered.
    pub(super) left_out: Vec<RecordedStep>,
    /// What the engine will read, in bytes.
    pub(super) bytes_to_read: u64,
}

/// Plans what of `entries`, the best first, is offered. Nothing where there is no forecast: then
/// everything is.
pub(super) fn plan<'a>(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
    import: ImportCost,
    entries: &[&'a [RecordedStep]],
) -> Result<Option<RestorePlan<'a>>, Error> {
    let Some(forecast) = keyed.forecast(job) else {
        return Ok(None);
    };
    let mut engine_layers = BTreeSet::new();
    let with = |engine_layers: &BTreeSet<ChainId>| {
        plan::restore(&RestoreRequest {
            stages: forecast.stages(),
            target: keyed.evaluation.target,
            entries,
            engine_layers,
            import,
            all: job.offer.all,
            lazy: strategy.uses_view(),
        })
    };
    let plan = with(&engine_layers);
    // `BuildKit` on the containerd image store does not look for the layers of images.
    let is_asked = job.engine()?.image_store == ImageStore::GraphDriver;
    if !is_asked || plan.left_out.is_empty() {
        return Ok(Some(plan));
    }
    for diff_ids in job.docker.chains(MAX_IMAGES)?.unwrap_or_default() {
        engine_layers.extend(ChainId::of_each(&diff_ids));
    }
    Ok(Some(with(&engine_layers)))
}

/// Notes what of the forecast came true, and what of the build is not worth being saved. Returns
/// how many steps should have hit for certain. `seen` is what earlier builds saw that were not
/// saved.
pub(super) fn compare(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    built: &mut Built,
    seen: &[RecordedStep],
) -> usize {
    let Some(forecast) = keyed.forecast(job) else {
        return 0;
    };
    let before = recorded_by(job, &restored.entries);
    built.recorded = forecast.recorded(&built.steps, &before, seen);
    let Some(planned) = &restored.plan else {
        return 0;
    };
    let steps = built.steps.clone();
    let real: Vec<_> = forecast
        .real(&steps)
        .into_iter()
        .map(|(real, _)| real)
        .collect();
    let stages = forecast.stages();
    if !built.without_cache {
        built.disagreements = plan::disagreements(&planned.expected, stages, &real);
    }
    built.not_worth_saving = plan::not_worth_saving(
        stages,
        planned.import,
        &built.recorded,
        &planned.left_out,
        &real,
    );
    forget_what_is_not_stored(built, &real, &before);
    planned.n_sure_hits(stages)
}

/// Returns what was built, without the stages whose images take longer to be read out of the
/// engine than their steps took. The second job that runs the same steps saves them all the same:
/// they are needed again and again.
pub(super) fn that_pays(job: &Job<'_>, keyed: &Keyed, restored: &Restored, built: &Built) -> Built {
    let mut saved = built.clone();
    // Without an entry that served the build, or after a save that was missed, all is saved.
    let is_weighed = !job.offer.all
        && !job.args.read_only
        && reads_images(built.strategy)
        && !built.unsaved_before
        && !restored.entries.is_empty();
    let Some(forecast) = keyed.forecast(job).filter(|_| is_weighed) else {
        return saved;
    };
    let real = forecast.real(&built.steps);
    let real: Vec<_> = real.into_iter().map(|(real, _)| real).collect();
    let stages = forecast.stages();
    let mut seen = ran_unsaved(job, &restored.entries);
    let mut dear = plan::dear_to_save(stages, &built.recorded, &real, SAVE_BYTES_PER_SECOND);
    for stage in stages {
        let Some(last) = stage.steps.last().filter(|_| dear.contains(&stage.name)) else {
            continue;
        };
        if seen.contains(&last.digest) {
            dear.remove(&stage.name);
            continue;
        }
        seen.push(last.digest.clone());
        job.talk.say(format_args!(
            "{}: stage `{}` is not saved: reading its image out of the engine takes longer than its steps did (a second job that runs them, docker-save, or --all saves it)",
            keyed.image.label(), stage.name
        ));
    }
    if !dear.is_empty() {
        let recent = &seen[seen.len().saturating_sub(MAX_SEEN)..];
        let json = serde_json::to_string(recent).expect("digests are JSON");
        annotate(job, restored, super::RAN_UNSAVED_ANNOTATION, &json);
        saved.not_worth_saving.extend(dear);
        let before = recorded_by(job, &restored.entries);
        forget_what_is_not_stored(&mut saved, &real, &before);
    }
    saved
}

/// Returns the last steps of stages that earlier jobs ran on these entries and did not save.
fn ran_unsaved(job: &Job<'_>, manifests: &[Digest]) -> Vec<Digest> {
    let noted = |stored: &StoredEntry| -> Option<Vec<Digest>> {
        let json = stored.entry.extra.get(super::RAN_UNSAVED_ANNOTATION)?;
        serde_json::from_str(json).ok()
    };
    let entries = entries_of(job, manifests);
    entries.iter().filter_map(noted).flatten().collect()
}

/// What neither is in the store nor gets there is no knowledge for the next forecast.
fn forget_what_is_not_stored(built: &mut Built, real: &[RealStep<'_>], before: &[RecordedStep]) {
    let not_worth_saving = &built.not_worth_saving;
    built.recorded.retain(|step| {
        let is_it =
            |real: &&RealStep<'_>| (real.stage, real.ordinal) == (&step.stage, step.ordinal);
        !not_worth_saving.contains(&step.stage)
            || real.iter().find(is_it).is_none_or(|real| real.hit)
            || before.iter().any(|known| known.digest == step.digest)
    });
}

/// Tells whether saving reads whole images, rather than an export that leaves out what is stored.
fn reads_images(strategy: Strategy) -> bool {
    strategy != Strategy::ExportedBuildCache
}

impl Planned {
    /// Notes a plan. `lost`: the step's layer cannot be had after all.
    pub(super) fn new(
        job: &Job<'_>,
        keyed: &Keyed,
        import: ImportCost,
        plan: &RestorePlan<'_>,
        lost: impl Fn(&PredictedStep<'_>) -> bool,
    ) -> Planned {
        let stages = keyed
            .forecast(job)
            .map_or(&[][..], |forecast| forecast.stages());
        Planned {
            import,
            chains: plan.chains.clone(),
            expected: plan::expected(plan, stages, lost),
            left_out: plan.left_out_steps().cloned().collect(),
            bytes_to_read: plan.bytes_to_read(),
        }
    }

    /// Returns how many steps will hit for certain of a build of `stages`: files may have changed
    /// since the plan was made.
    fn n_sure_hits(&self, stages: &[StageDigest]) -> usize {
        let is_built = |expected: &ExpectedStep| {
            let mut steps = stages.iter().flat_map(|stage| &stage.steps);
            steps.any(|step| step.digest == expected.digest)
        };
        let is_sure = |step: &&ExpectedStep| step.outcome == Outcome::Hit && is_built(step);
        self.expected.iter().filter(is_sure).count()
    }

    /// Says what is brought in and what is left out; chains that are too small to be weighed only
    /// where all is asked for.
    pub(super) fn tell(&self, job: &Job<'_>, keyed: &Keyed) {
        let name = &keyed.image.name;
        if job.dry_run {
            if !self.chains.is_empty() {
                job.talk.say(self.table());
            }
            return;
        }
        for chain in &self.chains {
            match chain.verdict {
                Verdict::DoesNotPay => job
                    .talk
                    .say(format_args!("{name}: left out {chain} (--all offers it)")),
                Verdict::Pays | Verdict::Forced if chain.import_seconds > 0.0 => {
                    job.talk.say(format_args!("{name}: offered {chain}"));
                }
                _ => {}
            }
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["stage", "steps", "plan", ">bytes", ">import s", ">spared s"]);
        for chain in &self.chains {
            let verdict = match chain.verdict {
                Verdict::Pays => "offered: it pays",
                Verdict::Present => "offered: nothing to import",
                Verdict::NotRead => "offered: not needed",
                Verdict::Forced => "offered: --all, or for what stands on it",
                Verdict::DoesNotPay => "left out: it does not pay",
            };
            table.row([
                chain.stage.clone(),
                format!("{}-{}", chain.first, chain.last),
                verdict.to_owned(),
                bytes(chain.bytes),
                format!("{:.1}", chain.import_seconds),
                format!("{:.1}", chain.spared_seconds),
            ]);
        }
        table
    }
}
