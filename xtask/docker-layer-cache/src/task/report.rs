//! `docker-report`: what the last job did, as one HTML file, Markdown or JSON.

mod html;
mod observation;
mod reason;
mod text;

use camino::Utf8PathBuf;
use serde::Serialize;
use xshell::Shell;

use super::Workspace;
use super::forecast::recorded_steps;
use super::images::Image;
use crate::cli::ReportArgs;
use crate::error::Error;
use crate::image_layout::ImageLayout;
use crate::ui::{self, Talk};

use observation::{Observation, PastJob};
pub(super) use observation::{Phase, Watch};

/// How many jobs of the history are shown.
const MAX_PAST: usize = 30;

/// All that is shown of one image.
#[derive(Debug, Serialize)]
pub(super) struct ImageReport {
    #[serde(flatten)]
    pub(super) job: Observation,
    /// What the steps that hit took when they last ran, in seconds.
    pub(super) spared_seconds: f64,
    /// The layers of this build's steps that the store has.
    pub(super) layers: Vec<Layer>,
    /// The last jobs, the oldest first.
    pub(super) history: Vec<PastJob>,
}

/// A layer in the store.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    pub(super) stage: String,
    pub(super) instruction: String,
    /// As it is stored, compressed.
    pub(super) bytes: u64,
    /// How many entries of the store need it.
    pub(super) entries: usize,
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &ReportArgs) -> Result<(), Error> {
    let place = &args.place;
    let workspace = Workspace::open(&sh.current_dir(), &place.store, place.key_dir.as_deref())?;
    let talk = Talk::new(args.quiet);
    let mut reports = Vec::new();
    let selected = workspace.images.select(&args.images)?.into_iter();
    let of_platforms = |image: &Image| {
        let platforms = image.all_platforms.clone();
        image.clone().for_each_platform(platforms)
    };
    for image in selected.flat_map(of_platforms) {
        let path = workspace.work_file(&image, "report.json");
        let noted = std::fs::read(&path).ok();
        match noted.and_then(|json| serde_json::from_slice(&json).ok()) {
            Some(job) => reports.push(image_report(&workspace, job, talk)),
            None => talk.warn(format_args!("{}: no job to report on", image.label())),
        }
    }
    if reports.is_empty() {
        return Err(Error::usage("there is no job to report on")
            .with_hint("run `cargo xtask docker-ci` first, with the same --key-dir"));
    }
    if args.json {
        for report in &reports {
            ui::data(serde_json::to_string(report).expect("a report is JSON"))?;
        }
    }
    if let Some(file) = &args.markdown {
        let markdown = text::markdown(&reports);
        if file == "-" {
            ui::data(markdown.trim_end())?;
        } else {
            write(&sh.current_dir(), file, &markdown)?;
        }
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => workspace.root.join("target/docker-layer-cache-report.html"),
    };
    write(&sh.current_dir(), &out, &html::page(&reports))?;
    talk.say(format_args!("the report is in `{out}`"));
    Ok(())
}

fn image_report(workspace: &Workspace, job: Observation, talk: Talk) -> ImageReport {
    let layout = ImageLayout::open_read_only(&workspace.store);
    let (layers, mut history) = layout
        .and_then(|layout| Ok((layers(&layout, &job)?, layout.history()?)))
        .unwrap_or_else(|error| {
            talk.warn(format_args!("nothing of the store is reported: {error}"));
            (Vec::new(), Vec::new())
        });
    history.retain(|past| past["image"] == job.image);
    let first = history.len().saturating_sub(MAX_PAST);
    ImageReport {
        spared_seconds: job.spared_seconds(),
        layers,
        history: history
            .drain(first..)
            .filter_map(|past| serde_json::from_value(past).ok())
            .collect(),
        job,
    }
}

fn layers(
    layout: &ImageLayout,
    job: &Observation,
) -> Result<Vec<Layer>, crate::image_layout::StoreError> {
    let inventory = layout.inventory()?;
    let stored = inventory
        .items
        .iter()
        .filter_map(|item| item.stored.as_ref());
    let recorded: Vec<_> = stored.flat_map(recorded_steps).collect();
    let layer = |step: &observation::ObservedStep| {
        let digest = step.digest.as_ref()?;
        let mut same = recorded.iter().filter(|one| one.digest == *digest);
        let layer = same.find_map(|one| one.layer.as_ref())?;
        Some(Layer {
            stage: step.stage.clone(),
            instruction: step.instruction.clone(),
            bytes: layer.bytes,
            entries: inventory.users(&layer.blob).count(),
        })
    };
    Ok(job.steps.iter().filter_map(layer).collect())
}

fn write(current: &std::path::Path, file: &Utf8PathBuf, text: &str) -> Result<(), Error> {
    let path = current.join(file);
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| {
            Error::usage(format_args!("cannot write `{file}`: {error}"))
                .with_hint("name a file that can be written")
        })
}
