//! `docker-build`: builds against what was restored, on the base digests of the key.

mod for_saving;
mod view;

use std::collections::BTreeSet;

use camino::Utf8Path;
use xshell::Shell;

use super::export;
use super::import_rate::learn_from_build;
use super::job::Job;
use super::key::{Digests, Keyed, key};
use super::links;
use super::notes::{Built, Notes, Restored, write_file};
use super::offer::compare;
use super::remote_cache;
use super::stage_images::{
    drop_saving_tags, note_saving_tags, pin_bases, stage_tag, wanted_stages,
};
use super::stages::NamedDockerfile;
use super::steps::{print_steps, with_unprinted};
use super::tags::tags;
use crate::cli::TaskArgs;
use crate::engine::{
    self, BuildArg, BuildOutcome, BuildRequest, CacheSource, CacheTarget, Failure, Output,
    StepResult, Strategy,
};
use crate::error::{Error, exit_code};
use crate::image_layout::ImageLayout;
use crate::plan::RecordedStep;
use crate::ui;

use view::{is_whole, view_blobs};

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &TaskArgs) -> Result<(), Error> {
    let job = Job::open(sh, args)?;
    for image in job.images(sh)? {
        let _lock = job.lock(&image)?;
        let keyed = key(&job, image, Digests::OfLastKey)?;
        let notes = Notes::read(&job.workspace.work_file(&keyed.image, "job.json"));
        let restored = notes.and_then(|notes| notes.restored).unwrap_or_default();
        let built = build(&job, &keyed, &restored)?;
        if args.json {
            ui::data(
                serde_json::json!({ "image": keyed.image.name, "platform": keyed.platform.to_string(), "key": keyed.keys, "steps": built.steps, "result": built.result(), "plan": restored.plan, "disagreements": built.disagreements }),
            )?;
        }
    }
    Ok(())
}

/// Builds the image, tags it, and notes what hit and what ran.
pub(super) fn build(job: &Job<'_>, keyed: &Keyed, restored: &Restored) -> Result<Built, Error> {
    let strategy = match restored.strategy {
        Some(strategy) => strategy,
        None => job.strategy(&keyed.image)?,
    };
    let image = &keyed.image;
    links::check(job, image, strategy)?;
    let unsaved = job.workspace.work_file(image, "unsaved");
    let unsaved_before = unsaved.exists();
    // What an earlier build saw that was not saved: seconds, above all.
    let seen: Vec<RecordedStep> = std::fs::read(&unsaved)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default();
    super::runnable::check(job, keyed)?;
    // Before the build: files that change under it are found when it is pushed.
    let reuse = super::reuse::digest(job, keyed).ok();
    let mut builder = Builder::new(job, keyed, strategy)?;
    let link_tag = links::new_tag(image);
    builder.tags.extend(link_tag.clone());
    if !matches!(job.engine()?.builder, crate::engine::Builder::Buildx { .. }) {
        pin_bases(job, keyed)?;
    }
    let path = job.workspace.work_file(&keyed.image, "job.json");
    let mut notes = Notes::read(&path).unwrap_or_else(|| Notes::new(&keyed.recipe));
    drop_saving_tags(job, image);
    let sources = builder.sources(restored)?;
    let mut without_cache = sources.is_empty();
    // A job that found nothing in the store will store everything: the images for that are made
    // beside the build, while other steps run.
    let finds_nothing = without_cache && !restored.is_all_left_out();
    let mut for_saving = if finds_nothing && restored.strategy.is_some() && !job.args.read_only {
        builder.saving_tags()?
    } else {
        Vec::new()
    };
    if !unsaved_before {
        // Until it is saved, also where this ends before the build does: a later build finds it in
        // the engine, and nothing would run.
        write_file(&unsaved, b"")?;
    }
    let mut export = export::along(job, keyed, strategy, restored);
    let mut outcome = if for_saving.is_empty() {
        builder.run(&sources, export.as_deref())?
    } else {
        note_saving_tags(job, image, &for_saving)?;
        builder.run_with_stages(&for_saving)?
    };
    if (!for_saving.is_empty() || export.take_if(|_| outcome.failure.is_some()).is_some())
        && let Some(failure) = &outcome.failure
    {
        drop_saving_tags(job, image);
        for_saving.clear();
        let is_import = !without_cache && failure.is_cache_import();
        if !failure.is_of_the_dockerfile() && !failure.is_engine_gone() && !is_import {
            job.talk.warn(format_args!(
                "{}: building the image together with what is saved of it failed; building the image alone",
                image.label()
            ));
            outcome = builder.run(&sources, None)?;
        }
    }
    if let Some(failure) = outcome.failure.take_if(|failure| {
        !without_cache && strategy != Strategy::StageImages && failure.is_cache_import()
    }) {
        job.talk.warn(format_args!(
            "{}: the build failed on bringing in the cache; building once more without it",
            keyed.image.label()
        ));
        without_cache = true;
        outcome = builder.run(&[], None)?;
        // A registry that hiccups looks alike: only a blob of ours, named by the engine, condemns.
        if outcome.failure.is_none() && view_blobs(restored).iter().any(|blob| failure.names(blob))
        {
            annotate(job, restored, super::FAILED_ANNOTATION, "true");
        }
    }
    let made_for_saving = builder.made_for_saving(for_saving);
    if let Some(failure) = &outcome.failure {
        notes.failed_steps = outcome.steps;
        notes.write(&path)?;
        return Err(of_failure(keyed, failure));
    }
    links::note_tag(job, image, link_tag.as_deref())?;
    if strategy != Strategy::StageImages {
        outcome.steps = with_unprinted(keyed, outcome.steps);
    }
    if !without_cache {
        learn_from_build(job, strategy, restored, &outcome)?;
    }
    let mut built = Built {
        strategy,
        base_key: keyed.keys.base.clone(),
        full_key: keyed.keys.full.clone(),
        stage_images: match strategy {
            Strategy::StageImages => builder.stage_images(&outcome)?,
            _ => made_for_saving,
        },
        recorded: Vec::new(),
        reuse,
        disagreements: Vec::new(),
        not_worth_saving: BTreeSet::new(),
        cache_is_not_taken: false,
        export,
        // What was left out on purpose is still known.
        without_cache: without_cache && !restored.is_all_left_out(),
        unsaved_before,
        steps: outcome.steps,
    };
    let sure_hits = compare(job, keyed, restored, &mut built, &seen);
    if strategy == Strategy::WrittenBuildCache
        && !without_cache
        && sure_hits > 0
        && built.n_hits() == 0
    {
        built.cache_is_not_taken = true;
        job.talk.warn(format_args!(
            "{}: no step hit, where {} should have: this BuildKit does not take our build cache; stage images are used from now on",
            image.label(), sure_hits
        ));
        annotate(job, restored, super::NOT_TAKEN_ANNOTATION, "true");
    }
    if !built.stages_to_save().is_empty() {
        let recorded = serde_json::to_vec(&built.recorded).expect("steps are JSON");
        write_file(&unsaved, &recorded)?;
    } else if !unsaved_before {
        let _ = std::fs::remove_file(&unsaved);
    }
    notes.built = Some(built.clone());
    notes.write(&path)?;
    print_steps(job, keyed, &built, outcome.duration.as_secs_f64());
    Ok(built)
}

/// Everything that the builds of one image share.
pub(super) struct Builder<'a> {
    job: &'a Job<'a>,
    keyed: &'a Keyed,
    strategy: Strategy,
    stages: Vec<String>,
    named: NamedDockerfile,
    build_contexts: Vec<(String, String)>,
    /// Of the image itself.
    tags: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        keyed: &'a Keyed,
        strategy: Strategy,
    ) -> Result<Self, Error> {
        let named = NamedDockerfile::new(job, keyed)?;
        Ok(Builder {
            job,
            keyed,
            strategy,
            stages: keyed.stage_names(),
            named,
            build_contexts: links::build_contexts(job, keyed)?,
            tags: keyed
                .image
                .tags_on(&tags(job, &keyed.image)?, &job.engine()?.platform),
        })
    }

    /// Returns the build of the image itself, without any cache.
    pub(super) fn request(&self) -> BuildRequest {
        let image = &self.keyed.image;
        BuildRequest {
            context: image.context.clone(),
            dockerfile: self.named.for_image().to_owned(),
            target: image.target.clone(),
            platform: image.platform.clone(),
            build_args: image
                .build_args
                .iter()
                .map(|(name, value)| BuildArg {
                    name: name.clone(),
                    value: value.clone(),
                    is_in_environment: std::env::var(name).is_ok_and(|found| found == *value),
                })
                .collect(),
            secrets: image.secrets.clone(),
            ssh: image.ssh.clone(),
            labels: image.labels.clone().into_iter().collect(),
            build_contexts: self.build_contexts.clone(),
            pins: self.named.pins().to_vec(),
            syntax: self.keyed.syntax(),
            cache_from: Vec::new(),
            cache_to: None,
            output: Output::Image(self.tags.clone()),
        }
    }

    /// Returns the build of one stage, by its index.
    pub(super) fn stage_request(&self, stage: usize) -> BuildRequest {
        let (dockerfile, target) = self.named.for_stage(stage);
        BuildRequest {
            dockerfile: dockerfile.to_owned(),
            target: Some(target.to_owned()),
            ..self.request()
        }
    }

    /// Runs one build; its output goes to stderr.
    fn run_request(&self, request: &BuildRequest) -> Result<BuildOutcome, Error> {
        let engine = self.job.engine()?;
        let talk = self.job.talk;
        let mut print = |line: &str| talk.build_output(line);
        let docker = &self.job.docker;
        Ok(docker.build(request, &engine.builder, &self.stages, &mut print)?)
    }

    /// Runs builds that save what was built before: their output goes to stderr only where one
    /// fails. Several become one where the builder can do that.
    pub(super) fn run_for_saving(
        &self,
        requests: &[BuildRequest],
    ) -> Result<Vec<BuildOutcome>, Error> {
        let builder = &self.job.engine()?.builder;
        let docker = &self.job.docker;
        let mut lines: Vec<String> = Vec::new();
        let mut keep = |line: &str| lines.push(line.to_owned());
        let mut outcomes = Vec::new();
        if let (engine::Builder::Buildx { .. }, [_, _, ..]) = (builder, requests) {
            outcomes.push(docker.build_all(requests, &self.stages, &mut keep)?);
        } else {
            for request in requests {
                outcomes.push(docker.build(request, builder, &self.stages, &mut keep)?);
            }
        }
        if outcomes.iter().any(|outcome| outcome.failure.is_some()) {
            for line in &lines {
                self.job.talk.build_output(line);
            }
        }
        Ok(outcomes)
    }

    /// Returns the cache sources that are still whole.
    fn sources(&self, restored: &Restored) -> Result<Vec<CacheSource>, Error> {
        if self.strategy == Strategy::RemoteBuildCache {
            let cache = remote_cache::of(self.keyed)?;
            let import = |cache: crate::engine::RemoteCache| CacheSource::Remote(cache.import());
            return Ok(cache.map(import).into_iter().collect());
        }
        let mut sources: Vec<CacheSource> = restored
            .loaded
            .iter()
            .map(|(_, tag)| CacheSource::Image(tag.clone()))
            .filter(|_| !self.strategy.uses_view())
            .collect();
        if let Some(view) = restored.view.as_ref().filter(|_| self.strategy.uses_view()) {
            if is_whole(view) {
                sources.push(CacheSource::View(view.clone()));
            } else {
                self.job.talk.warn(format_args!(
                    "the view `{view}` has lost blobs since it was restored; building without it"
                ));
            }
        }
        Ok(sources)
    }

    fn run(
        &self,
        sources: &[CacheSource],
        export: Option<&Utf8Path>,
    ) -> Result<BuildOutcome, Error> {
        if self.strategy == Strategy::InlineStageImages {
            return self.run_stage_by_stage(sources);
        }
        self.run_request(&BuildRequest {
            cache_from: sources.to_vec(),
            cache_to: export.map(|path| CacheTarget::Folder {
                path: path.to_owned(),
                ignore_error: true,
            }),
            ..self.request()
        })
    }

    /// Builds one stage after the other, each with only its own old image: given several images
    /// at once, `BuildKit` takes some steps of one and misses others, from run to run.
    fn run_stage_by_stage(&self, sources: &[CacheSource]) -> Result<BuildOutcome, Error> {
        let mut all: Option<BuildOutcome> = None;
        let evaluation = &self.keyed.evaluation;
        for (stage, name) in self
            .stages
            .iter()
            .enumerate()
            .filter(|(stage, _)| evaluation.stages[*stage].needed)
        {
            let own = CacheSource::Image(stage_tag(&self.keyed.image.stage_repository(), name, 0));
            let mut request = BuildRequest {
                cache_from: sources
                    .iter()
                    .filter(|source| **source == own)
                    .cloned()
                    .collect(),
                cache_to: Some(CacheTarget::Inline),
                output: Output::Image(vec![stage_tag(
                    &self.keyed.image.stage_repository(),
                    name,
                    0,
                )]),
                ..self.stage_request(stage)
            };
            if stage == evaluation.target {
                request.output = Output::Image(self.tags.clone());
            }
            let mut outcome = self.run_request(&request)?;
            self.named.rename_steps(&mut outcome.steps, &self.stages);
            let failed = outcome.failure.is_some();
            match &mut all {
                None => all = Some(outcome),
                Some(all) => all.extend(outcome),
            }
            if failed {
                break;
            }
        }
        all.ok_or_else(|| Error::usage("the Dockerfile has no stage to build"))
    }

    /// Gives the stages' images tags, so that nothing prunes them, and returns their IDs: another
    /// job on the same engine may move the tags.
    fn stage_images(&self, outcome: &BuildOutcome) -> Result<Vec<(String, String)>, Error> {
        let mut images = Vec::new();
        let wanted = wanted_stages(self.keyed, self.strategy);
        for (name, image) in self
            .stages
            .iter()
            .zip(&outcome.stage_images)
            .filter(|(name, _)| wanted.contains(name))
        {
            let Some(image) = image else { continue };
            let tag = stage_tag(&self.keyed.image.stage_repository(), name, 0);
            self.job.docker.tag(image, &tag)?;
            images.push((name.clone(), image.clone()));
        }
        Ok(images)
    }
}

impl Built {
    /// Returns how many steps hit.
    pub(super) fn n_hits(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.result == StepResult::Hit)
            .count()
    }

    /// Returns the stages in which a step ran.
    pub(super) fn stages_that_ran(&self) -> BTreeSet<String> {
        self.steps
            .iter()
            .filter(|step| step.result != StepResult::Hit)
            .map(|step| step.stage.clone())
            .collect()
    }

    /// Returns the stages in which a step ran, other than those that it would not pay to bring in.
    pub(super) fn stages_to_save(&self) -> BTreeSet<String> {
        &self.stages_that_ran() - &self.not_worth_saving
    }

    /// Returns `hit`, `partial` or `miss`.
    pub(super) fn result(&self) -> &'static str {
        match self.n_hits() {
            n if n == self.steps.len() => "hit",
            0 => "miss",
            _ => "partial",
        }
    }
}

/// Marks the entries that were offered.
pub(super) fn annotate(job: &Job<'_>, restored: &Restored, annotation: &str, value: &str) {
    if job.args.read_only {
        return;
    }
    let marked = ImageLayout::open_or_create(&job.workspace.store)
        .and_then(|layout| layout.annotate(&restored.entries, annotation, value));
    if let Err(error) = marked {
        job.talk
            .warn(format_args!("the entry could not be marked: {error}"));
    }
}

fn of_failure(keyed: &Keyed, failure: &Failure) -> Error {
    let error = Error::new(
        failure.exit_code,
        format_args!(
            "image `{}`: the build failed (docker's exit code {})",
            keyed.image.label(),
            failure.exit_code
        ),
    );
    if failure.is_engine_gone() {
        return Error::new(
            exit_code::ENGINE,
            format_args!(
                "image `{}`: the engine went away during the build",
                keyed.image.label()
            ),
        )
        .with_hint("look at the engine's log, then run the build again");
    }
    error
}
