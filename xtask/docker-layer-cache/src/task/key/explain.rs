//! `docker-key --explain`: what moved, which stages that invalidates, and what they cost.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde::Serialize;

use super::super::RECIPE_ANNOTATION;
use super::super::forecast::recorded_steps;
use super::super::job::Job;
use super::super::notes::Notes;
use super::Keyed;
use crate::cache_key::{self, Change, Recipe};
use crate::engine::{Step, StepResult};
use crate::error::Error;
use crate::image_layout::{ImageLayout, StoredEntry};
use crate::oci::Digest;
use crate::plan::RecordedStep;
use crate::ui::{bytes, seconds};

/// What is compared with, as it was before this run.
pub(in crate::task) struct Before {
    recipe: Option<Recipe>,
    from: String,
    notes: Option<Notes>,
}

/// The explanation of one image's key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::task) struct Explanation {
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
    /// The size of its steps' layers in the store; nothing where none is recorded.
    bytes: Option<u64>,
}

impl Before {
    /// Reads the last recipe of the image, or the one in `file`.
    ///
    /// # Errors
    /// Where `file` cannot be read or is no recipe.
    pub(in crate::task) fn read(
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
    pub(in crate::task) fn explain(self, job: &Job<'_>, keyed: &Keyed) -> Explanation {
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
                    bytes: costs.bytes.get(&names[stage]).copied(),
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
    /// Returns what it was compared with, and what moved, in words.
    pub(in crate::task) fn into_texts(self) -> (Option<String>, Vec<String>) {
        let changes = self.changes.into_iter();
        let texts = changes.map(|explained| explained.change.text).collect();
        (self.compared_with, texts)
    }

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
                stages.push(format!("`{}` ({})", invalidated.stage, invalidated.cost()));
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

impl Invalidated {
    fn cost(&self) -> String {
        match (self.seconds, self.bytes) {
            (Some(time), Some(size)) => format!("{}, {}", seconds(time), bytes(size)),
            (Some(time), None) => seconds(time),
            (None, Some(size)) => format!("no run recorded, {}", bytes(size)),
            (None, None) => "no run recorded".to_owned(),
        }
    }
}

/// Returns the last recipe of an image.
pub(super) fn last_recipe(job: &Job<'_>, image: &super::Image) -> Option<Recipe> {
    let path = job.workspace.recipe_file(image);
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

/// What steps took when they last ran, and how large what they made is.
#[derive(Default)]
struct Costs {
    /// The instructions of each stage, in the newest build that tells.
    instructions: BTreeMap<String, BTreeSet<String>>,
    /// By stage and instruction.
    ran: BTreeMap<(String, String), f64>,
    /// By stage: the size of its layers as the newest entry has them.
    bytes: BTreeMap<String, u64>,
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
            for (stage, size) in layer_bytes(&recorded_steps(stored)) {
                costs.bytes.entry(stage).or_insert(size);
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

/// Returns the size of each stage's layers, each layer once; stages without a known layer are left out.
fn layer_bytes(steps: &[RecordedStep]) -> BTreeMap<String, u64> {
    let mut layers: BTreeMap<&str, BTreeMap<&Digest, u64>> = BTreeMap::new();
    for step in steps {
        if let Some(layer) = &step.layer {
            let of_stage = layers.entry(&step.stage).or_default();
            of_stage.insert(&layer.blob, layer.bytes);
        }
    }
    layers
        .into_iter()
        .map(|(stage, layers)| (stage.to_owned(), layers.values().sum()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_costs_the_bytes_of_its_layers() {
        let step = |stage: &str, ordinal: usize, layer: Option<(&str, u64)>| {
            let id = |text: &str| Digest::of(text.as_bytes());
            let layer = layer.map(|(content, bytes)| {
                serde_json::json!({ "chain_id": id("chain"), "blob": id(content), "bytes": bytes })
            });
            serde_json::json!({
                "stage": stage, "ordinal": ordinal, "seconds": 1.0,
                "digest": id("digest"), "outline": id("outline"), "layer": layer,
            })
        };
        let steps = serde_json::json!([
            step("deps", 1, Some(("a", 5_000))),
            step("deps", 2, None),
            step("deps", 3, Some(("b", 300))),
            // The same content twice is stored and brought in once.
            step("deps", 4, Some(("a", 5_000))),
            step("app", 1, Some(("a", 5_000))),
            step("docs", 1, None),
        ]);
        let steps: Vec<RecordedStep> = serde_json::from_value(steps).expect("recorded steps");
        let expected = [("app".to_owned(), 5_000), ("deps".to_owned(), 5_300)];
        assert_eq!(layer_bytes(&steps), BTreeMap::from(expected));
        let cost = |seconds, bytes| {
            Invalidated {
                stage: "deps".to_owned(),
                seconds,
                bytes,
            }
            .cost()
        };
        assert_eq!(cost(Some(2.0), Some(5_300)), "2.00 s, 5.3 kB");
        assert_eq!(cost(Some(2.0), None), "2.00 s");
        assert_eq!(cost(None, Some(1)), "no run recorded, 1 B");
        assert_eq!(cost(None, None), "no run recorded");
    }
}
