//! `docker-key --explain`: what moved, which stages that invalidates, and what they cost.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde::Serialize;

use super::super::RECIPE_ANNOTATION;
use super::super::job::Job;
use super::super::notes::Notes;
use super::Keyed;
use crate::cache_key::{self, Change, Recipe};
use crate::engine::{Step, StepResult};
use crate::error::Error;
use crate::image_layout::{ImageLayout, StoredEntry};
use crate::ui::seconds;

/// What is compared with, as it was before this run.
pub(super) struct Before {
    recipe: Option<Recipe>,
    from: String,
    notes: Option<Notes>,
}

/// The explanation of one image's key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Explanation {
    /// What it was compared with; nothing where there is nothing to compare with.
    compared_with: Option<String>,
    changes: Vec<Explained>,
}

#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    change: Change,
    invalidates: Vec<Invalidated>,
}

#[derive(Debug, Serialize)]
struct Invalidated {
    stage: String,
    /// What its steps took when they last ran; nothing where no run is recorded.
    seconds: Option<f64>,
}

impl Before {
    /// Reads the last recipe of the image, or the one in `file`.
    ///
    /// # Errors
    /// Where `file` cannot be read or is no recipe.
    pub(super) fn read(
        job: &Job<'_>,
        image: &super::Image,
        file: Option<&Utf8Path>,
    ) -> Result<Self, Error> {
        let notes = Notes::read(&job.workspace.work_file(image, "job.json"));
        let (recipe, from) = match file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Error::usage(format_args!("cannot read `{file}`: {error}")))?;
                let recipe = Recipe::from_json(&text).map_err(|error| {
                    Error::usage(format_args!("`{file}`: {error}")).with_hint(
                        "recipes are the files <image>.json in target/docker-layer-cache-key",
                    )
                })?;
                (Some(recipe), file.to_string())
            }
            None => (last_recipe(job, image), "the last recipe".to_owned()),
        };
        Ok(Before {
            recipe,
            from,
            notes,
        })
    }

    /// Compares with the key of now; without an earlier recipe with that of the store's nearest
    /// entry.
    pub(super) fn explain(self, job: &Job<'_>, keyed: &Keyed) -> Explanation {
        let entries = entries(job, keyed);
        let recipe = self.recipe.map(|recipe| (recipe, self.from)).or_else(|| {
            entries.iter().find_map(|stored| {
                let json = stored.entry.extra.get(RECIPE_ANNOTATION)?;
                let name = format!("the store's entry `{}`", stored.name);
                Some((Recipe::from_json(json).ok()?, name))
            })
        });
        let Some((before, from)) = recipe else {
            return Explanation {
                compared_with: None,
                changes: Vec::new(),
            };
        };
        let costs = Costs::new(self.notes.as_ref(), &entries);
        let context = keyed.image.context.strip_prefix(&job.workspace.root);
        let context = context.ok().map(Utf8Path::as_str);
        let names = keyed.stage_names();
        let explained = |change: Change| Explained {
            invalidates: cache_key::invalidated_stages(&change, &keyed.evaluation, context)
                .into_iter()
                .map(|stage| Invalidated {
                    stage: names[stage].clone(),
                    seconds: costs.of(&names[stage]),
                })
                .collect(),
            change,
        };
        Explanation {
            changes: cache_key::explain(&before, &keyed.recipe)
                .into_iter()
                .map(explained)
                .collect(),
            compared_with: Some(from),
        }
    }
}

impl Explanation {
    pub(super) fn print(&self, job: &Job<'_>, image: &str) {
        let Some(from) = &self.compared_with else {
            job.talk.say(format_args!(
                "{image}: no earlier recipe to compare with, here or in the store"
            ));
            return;
        };
        if self.changes.is_empty() {
            job.talk
                .say(format_args!("{image}: nothing moved since {from}"));
            return;
        }
        job.talk.say(format_args!("{image}: compared with {from}:"));
        for explained in &self.changes {
            job.talk.say(format_args!("  {}", explained.change));
            let mut stages: Vec<String> = Vec::new();
            for invalidated in &explained.invalidates {
                let cost = match invalidated.seconds {
                    Some(cost) => seconds(cost),
                    None => "no run recorded".to_owned(),
                };
                stages.push(format!("`{}` ({cost})", invalidated.stage));
            }
            job.talk
                .say(match (stages.len(), explained.change.ingredient) {
                    (0, _) => "    invalidates no stage by itself".to_owned(),
                    (_, "dockerfile") => {
                        format!("    may invalidate {}", stages.join(", "))
                    }
                    _ => format!("    invalidates {}", stages.join(", ")),
                });
        }
    }
}

/// Returns the last recipe of an image.
pub(super) fn last_recipe(job: &Job<'_>, image: &super::Image) -> Option<Recipe> {
    let path = job.workspace.key_file(image, "json");
    Recipe::from_json(&std::fs::read_to_string(path).ok()?).ok()
}

/// Returns the store's entries of the image, nearest first.
fn entries(job: &Job<'_>, keyed: &Keyed) -> Vec<StoredEntry> {
    let layout = ImageLayout::open_read_only(&job.workspace.store);
    let entries = layout.and_then(|layout| layout.entries());
    let mut entries = entries.unwrap_or_default();
    entries.retain(|stored| {
        stored.entry.image == keyed.image.name && stored.entry.platform == keyed.platform
    });
    entries.sort_by_key(|stored| {
        (
            stored.entry.key_base != keyed.keys.base.as_str(),
            std::cmp::Reverse(stored.entry.created),
        )
    });
    entries
}

/// What steps took when they last ran.
#[derive(Default)]
struct Costs {
    /// The instructions of each stage, in the newest build that tells.
    instructions: BTreeMap<String, BTreeSet<String>>,
    /// By stage and instruction.
    ran: BTreeMap<(String, String), f64>,
}

impl Costs {
    fn new(notes: Option<&Notes>, entries: &[StoredEntry]) -> Self {
        let mut costs = Self::default();
        if let Some(built) = notes.and_then(|notes| notes.built.as_ref()) {
            costs.add(&built.steps);
        }
        let mut newest: Vec<&StoredEntry> = entries.iter().collect();
        newest.sort_by_key(|stored| std::cmp::Reverse(stored.entry.created));
        for stored in newest {
            if let Ok(steps) = serde_json::from_value::<Vec<Step>>(stored.entry.steps.clone()) {
                costs.add(&steps);
            }
        }
        costs
    }

    /// Adds the steps of an older build. A hit costs no more than bringing it in, so only steps
    /// that ran tell.
    fn add(&mut self, steps: &[Step]) {
        let mut stages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for step in steps {
            let (stage, instruction) = (step.stage.clone(), step.instruction.clone());
            let instructions = stages.entry(stage.clone()).or_default();
            instructions.insert(instruction.clone());
            if step.result == StepResult::Run {
                self.ran.entry((stage, instruction)).or_insert(step.seconds);
            }
        }
        for (stage, instructions) in stages {
            self.instructions.entry(stage).or_insert(instructions);
        }
    }

    fn of(&self, stage: &str) -> Option<f64> {
        let ran = |instruction: &String| {
            let step = (stage.to_owned(), instruction.clone());
            self.ran.get(&step).copied()
        };
        let seconds: Vec<f64> = self
            .instructions
            .get(stage)?
            .iter()
            .filter_map(ran)
            .collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum())
    }
}
