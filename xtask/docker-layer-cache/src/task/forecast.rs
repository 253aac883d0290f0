//! What this build will hit, told before it runs: stage and step digests over the bases, the
//! instructions and the files of the build context.
//!
//! It chooses what to restore and is recorded with what is saved. The engine decides what hits; a
//! wrong forecast costs time.

use std::collections::BTreeMap;

use super::job::Job;
use super::key::Keyed;
use crate::build_context::{
    ContextFile, ContextFileKind, DigestIndex, IgnoreRules, sent_files, stat_files,
};
use crate::cache_key::{Builder, ContextContent, ContextEntry, ContextTree, StageDigest};
use crate::engine::{Step, StepResult, Strategy};
use crate::error::Error;
use crate::image_layout::StoredEntry;
use crate::oci::{Digest, Platform, Reference};
use crate::plan::{Outcome, RealStep, RecordedStep, predict};

/// The build arg and variable by which times in an image are set.
pub(super) const SOURCE_DATE: &str = "SOURCE_DATE_EPOCH";
/// Annotation of an entry: JSON, the steps with their digests.
const RECORDED_ANNOTATION: &str = "dev.docker-layer-cache.recorded-steps";

/// The stages of a build and their steps, with digests.
pub(super) struct Forecast {
    stages: Vec<StageDigest>,
}

impl Forecast {
    /// Reads the build context. Nothing, with a word, where it cannot be read: the build will say
    /// why.
    pub(super) fn new(job: &Job<'_>, keyed: &Keyed) -> Option<Forecast> {
        match stages(job, keyed) {
            Ok(stages) => Some(Forecast { stages }),
            Err(error) => {
                job.talk.warn(format_args!("no forecast: {error}"));
                None
            }
        }
    }

    /// Returns how many steps of `stage`, from its first on, are as `entry` recorded them.
    pub(super) fn n_same_steps(&self, stage: &str, entry: &StoredEntry) -> usize {
        let recorded = recorded_steps(entry);
        let is_same = |digest: &Digest| recorded.iter().any(|step| step.digest == *digest);
        let found = self.stages.iter().find(|one| one.name == stage);
        found.map_or(0, |one| {
            one.steps
                .iter()
                .take_while(|step| is_same(&step.digest))
                .count()
        })
    }

    /// Returns how many steps will hit for certain, if these entries are offered.
    pub(super) fn n_sure_hits(&self, entries: &[&StoredEntry]) -> usize {
        let recorded: Vec<Vec<RecordedStep>> =
            entries.iter().map(|entry| recorded_steps(entry)).collect();
        let recorded: Vec<&[RecordedStep]> = recorded.iter().map(Vec::as_slice).collect();
        let steps = predict(&self.stages, &recorded);
        steps
            .iter()
            .filter(|step| step.outcome == Outcome::Hit)
            .count()
    }

    /// Returns the stages of the build.
    pub(super) fn stages(&self) -> &[StageDigest] {
        &self.stages
    }

    /// Returns the steps as they are recorded with what is saved. What was not built keeps what
    /// `before` knows of it, and so does the layer of a step until another one is saved.
    /// `unsaved` is what an earlier build saw that was not saved.
    pub(super) fn recorded(
        &self,
        built: &[Step],
        before: &[RecordedStep],
        unsaved: &[RecordedStep],
    ) -> Vec<RecordedStep> {
        let real = self.real(built);
        let mut recorded = Vec::new();
        for stage in &self.stages {
            for step in &stage.steps {
                let known = || before.iter().filter(|known| known.digest == step.digest);
                let ran = real.iter().find(|(real, _)| {
                    (real.stage, real.ordinal, real.hit) == (&stage.name, step.ordinal, false)
                });
                let seconds = ran.map(|(_, step)| step.seconds);
                let same = unsaved.iter().filter(|known| known.digest == step.digest);
                let seconds =
                    seconds.or_else(|| same.chain(known()).find_map(|known| known.seconds));
                let layer = known().find_map(|known| known.layer.clone());
                recorded.push(RecordedStep::new(&stage.name, step, seconds, layer));
            }
        }
        recorded
    }

    /// Returns the steps that the builder printed, by their places. Where it printed another
    /// number of steps for a stage, none can be told apart.
    pub(super) fn real<'b>(&'b self, built: &'b [Step]) -> Vec<(RealStep<'b>, &'b Step)> {
        let mut all = Vec::new();
        for stage in &self.stages {
            let real: Vec<&Step> = built
                .iter()
                .filter(|step| step.stage == stage.name && is_counted(step))
                .collect();
            if real.len() != stage.steps.len() {
                continue;
            }
            let steps = real.into_iter().zip(&stage.steps).map(|(real, step)| {
                let place = RealStep {
                    stage: &stage.name,
                    ordinal: step.ordinal,
                    hit: real.result == StepResult::Hit,
                };
                (place, real)
            });
            all.extend(steps);
        }
        all
    }
}

/// Returns the steps that an entry recorded; none where it recorded none that we can read.
pub(super) fn recorded_steps(stored: &StoredEntry) -> Vec<RecordedStep> {
    let json = stored.entry.extra.get(RECORDED_ANNOTATION);
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// Returns the annotation that records steps.
pub(super) fn recorded_annotation(steps: &[RecordedStep]) -> BTreeMap<String, String> {
    let json = serde_json::to_string(steps).expect("steps are JSON");
    BTreeMap::from([(RECORDED_ANNOTATION.to_owned(), json)])
}

/// The classic builder counts every instruction as a step; only these are forecast.
fn is_counted(step: &Step) -> bool {
    let keyword = step
        .instruction
        .split_whitespace()
        .next()
        .unwrap_or_default();
    ["RUN", "COPY", "ADD", "WORKDIR"]
        .iter()
        .any(|counted| keyword.eq_ignore_ascii_case(counted))
}

fn stages(job: &Job<'_>, keyed: &Keyed) -> Result<Vec<StageDigest>, Error> {
    let context = &keyed.image.context;
    let rules = keyed
        .ignore
        .as_ref()
        .map(|(_, text)| text.as_slice())
        .unwrap_or_default();
    let rules = IgnoreRules::parse(rules).map_err(Error::usage)?;
    let files = sent_files(context, &rules).map_err(Error::usage)?;
    let mut entries: Vec<ContextEntry> = Vec::with_capacity(files.len());
    for stat in stat_files(context, &files).map_err(Error::usage)? {
        let content = match stat.file.kind {
            ContextFileKind::File => ContextContent::File(None),
            ContextFileKind::Symlink => ContextContent::Symlink(stat.target.unwrap_or_default()),
            ContextFileKind::Folder => ContextContent::Folder,
            ContextFileKind::Other => ContextContent::Other,
        };
        entries.push(ContextEntry {
            path: stat.file.path,
            content,
            mode: stat.mode,
        });
    }
    let tree = ContextTree::new(entries.iter().cloned());
    let builder = match job.strategy(&keyed.image)? {
        Strategy::StageImages => Builder::Classic,
        _ => Builder::BuildKit,
    };
    let wanted: Vec<ContextFile> = builder
        .files_to_digest(&keyed.evaluation, &tree)
        .into_iter()
        .map(|path| ContextFile {
            path,
            kind: ContextFileKind::File,
        })
        .collect();
    let mut index = DigestIndex::open(&job.workspace.work_file(&keyed.image, "context-digests"));
    let inputs = index.digest_files(context, &wanted).map_err(Error::usage)?;
    if let Err(error) = index.write() {
        job.talk.warn(error);
    }
    let digests: BTreeMap<String, Digest> = inputs
        .into_iter()
        .map(|input| (input.path, input.digest))
        .collect();
    for entry in &mut entries {
        if let ContextContent::File(digest) = &mut entry.content {
            *digest = digests.get(&entry.path).cloned();
        }
    }
    let base_digest = |reference: &Reference, platform: &Platform| {
        let mut bases = keyed.recipe.bases();
        let base = bases.find(|base| base.reference == *reference && base.platform == *platform);
        base.map(|base| base.digest.clone())
    };
    let source_date = keyed.image.build_args.get(SOURCE_DATE).cloned();
    let source_date = source_date.or_else(|| std::env::var(SOURCE_DATE).ok());
    let tree = ContextTree::new(entries);
    Ok(builder.stage_digests(
        &keyed.evaluation,
        &tree,
        source_date.as_deref(),
        base_digest,
    ))
}
