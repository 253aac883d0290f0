//! What a build prints, read line by line: which steps hit, which ran, and for how long. Pure.
//!
//! `BuildKit` with `--progress=plain`:
//! ```text
//! #6 [deps 2/3] COPY Cargo.lock .
//! #6 CACHED
//! #7 [deps 3/3] RUN cargo fetch
//! #7 0.312 a line of the step's own output
//! #7 DONE 12.1s
//! ```
//! Source: <https://github.com/moby/buildkit/blob/v0.25.0/util/progress/progressui/printer.go>
//!
//! The classic builder:
//! ```text
//! Step 2/7 : RUN echo hi > /x
//!  ---> Using cache
//!  ---> f5e94f0d320b
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// One step of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The stage as the builder names it: its name, or `stage-N` with N from 0.
    pub stage: String,
    /// The step's place in its stage as the builder counts, such as `2/3`.
    pub step: String,
    /// The instruction.
    pub instruction: String,
    /// What became of it.
    pub result: StepResult,
    /// How long it took, in seconds; for a hit, the time to bring its layers in.
    pub seconds: f64,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// Taken from the cache.
    Hit,
    /// Run.
    Run,
    /// Run, and failed.
    Failed,
}

/// Reads the plain progress of `BuildKit`.
#[derive(Debug, Default)]
pub struct BuildkitProgress {
    vertices: BTreeMap<u32, Vertex>,
    error: Vec<String>,
    brought_in: BTreeSet<Digest>,
}

#[derive(Debug)]
struct Vertex {
    name: String,
    cached: bool,
    seconds: Option<f64>,
    failed: bool,
}

impl BuildkitProgress {
    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        if let Some((number, rest)) = numbered(line) {
            let vertex = self.vertices.entry(number).or_insert_with(|| Vertex {
                name: rest.to_owned(),
                cached: false,
                seconds: None,
                failed: false,
            });
            if rest == "CACHED" {
                vertex.cached = true;
            } else if let Some(seconds) = rest
                .strip_prefix("DONE ")
                .and_then(|text| text.strip_suffix('s'))
            {
                let is_a_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
                vertex.seconds = seconds.parse().ok().filter(is_a_time);
            } else if let Some(error) = rest.strip_prefix("ERROR: ") {
                vertex.failed = true;
                self.error.push(error.to_owned());
            } else {
                self.brought_in.extend(imported_blob(rest));
            }
        } else if let Some(error) = line.strip_prefix("ERROR: ") {
            self.error.push(error.to_owned());
        } else if line.starts_with("failed to ") {
            // Clients before 23.0 print the error without a word before it.
            self.error.push(line.to_owned());
        }
    }

    /// Returns the error lines, as `BuildKit` printed them.
    pub fn errors(&self) -> &[String] {
        &self.error
    }

    /// Returns the blobs that were brought in, as far as `BuildKit` told.
    pub fn brought_in(&self) -> &BTreeSet<Digest> {
        &self.brought_in
    }

    /// Returns how long all that was not a hit took: steps that ran, the export, and the pulls of
    /// bases, which count as hits. In seconds; what ran at the same time is counted for each.
    pub fn busy_seconds(&self) -> f64 {
        let is_busy = |vertex: &&Vertex| !vertex.cached || is_base(&vertex.name);
        let busy = self.vertices.values().filter(is_busy);
        busy.filter_map(|vertex| vertex.seconds).sum()
    }

    /// Returns the steps that hit, ran or failed, by stage and place; stages in the order of
    /// `stages`. Vertices without a place in a stage (such as `[internal] …`) and FROM lines are
    /// no steps.
    pub fn steps(&self, stages: &[String]) -> Vec<Step> {
        let mut steps: Vec<((usize, u32), Step)> = Vec::new();
        for vertex in self.vertices.values() {
            let Some((stage, place, instruction)) = step_name(&vertex.name) else {
                continue;
            };
            let result = match (vertex.failed, vertex.cached, vertex.seconds) {
                (true, _, _) => StepResult::Failed,
                (false, true, _) => StepResult::Hit,
                (false, false, Some(_)) => StepResult::Run,
                (false, false, None) => continue,
            };
            if instruction.starts_with("FROM ") {
                continue;
            }
            let stage = if stage.is_empty() {
                stages.last().cloned().unwrap_or_default()
            } else {
                stage
            };
            let order = stages
                .iter()
                .position(|name| *name == stage)
                .unwrap_or(stages.len());
            let number = place
                .split('/')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            let step = Step {
                stage,
                step: place,
                instruction,
                result,
                seconds: vertex.seconds.unwrap_or(0.0),
            };
            steps.push(((order, number), step));
        }
        steps.sort_by_key(|(order, _)| *order);
        steps.into_iter().map(|(_, step)| step).collect()
    }
}

fn numbered(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

/// Returns the blob of `pulling sha256:12 0.1s done` (graph driver), and of `sha256:12 1MB / 1MB`
/// and `extracting sha256:12` (containerd store).
fn imported_blob(line: &str) -> Option<Digest> {
    let mut words = line.split(' ');
    let word = match words.next()? {
        "pulling" | "extracting" => words.next()?,
        word => word,
    };
    word.parse().ok().filter(|_| word.starts_with("sha256:"))
}

/// Tells whether a vertex is a base: `[deps 1/3] FROM …`, or `FROM …` for what is copied from.
fn is_base(name: &str) -> bool {
    let in_stage = step_name(name).is_some_and(|(_, _, text)| text.starts_with("FROM "));
    in_stage || name.starts_with("FROM ")
}

/// Splits `[linux/amd64 deps 2/3] COPY a b` into stage, place and instruction.
fn step_name(name: &str) -> Option<(String, String, String)> {
    let (head, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let mut words: Vec<&str> = head.split_whitespace().collect();
    let place = words.pop()?;
    let (number, total) = place.split_once('/')?;
    if !(number.parse::<u32>().is_ok() && total.parse::<u32>().is_ok()) {
        return None;
    }
    let stage = words
        .into_iter()
        .find(|word| !word.contains('/'))
        .unwrap_or_default();
    Some((stage.to_owned(), place.to_owned(), instruction.to_owned()))
}

/// What is said before the ID of a container that has ended: by Docker before 23.0, and since.
const REMOVAL: [&str; 2] = [
    "Removing intermediate container ",
    " ---> Removed intermediate container ",
];

/// Reads what the classic builder prints.
#[derive(Debug, Default)]
pub struct ClassicProgress {
    steps: Vec<(usize, Step)>,
    /// Image ID after each stage's last step.
    images: Vec<Option<String>>,
    n_froms: usize,
    in_stage: u32,
    /// Steps so far, and of how many.
    n_steps: u32,
    total: Option<u32>,
    started: f64,
    running: bool,
    /// The container whose output comes, if one runs.
    container: Option<String>,
}

impl ClassicProgress {
    /// Takes one line, which came `elapsed` seconds after the build's start.
    pub fn line(&mut self, line: &str, elapsed: f64) {
        // What a container prints can look like anything: only its removal ends it. Output without
        // a line end stands before that on the same line.
        if let Some(container) = &self.container {
            let is_gone = |text: &str| REMOVAL.iter().any(|said| text.ends_with(said));
            if line.strip_suffix(container.as_str()).is_some_and(is_gone) {
                self.container = None;
            }
            return;
        }
        if let Some(container) = line.strip_prefix(" ---> Running in ") {
            self.container = Some(container.to_owned());
        } else if let Some((number, total, instruction)) = classic_step(line)
            && number == self.n_steps + 1
            && *self.total.get_or_insert(total) == total
        {
            self.n_steps = number;
            self.end_step(elapsed);
            self.started = elapsed;
            self.in_stage += 1;
            if is_from(instruction) {
                self.n_froms += 1;
                self.in_stage = 1;
                self.images.push(None);
            } else if let Some(stage) = self.n_froms.checked_sub(1) {
                self.running = true;
                let step = Step {
                    stage: String::new(),
                    step: self.in_stage.to_string(),
                    instruction: instruction.to_owned(),
                    result: StepResult::Run,
                    seconds: 0.0,
                };
                self.steps.push((stage, step));
            }
        } else if line == " ---> Using cache" {
            if let Some((_, step)) = self.steps.last_mut().filter(|_| self.running) {
                step.result = StepResult::Hit;
            }
        } else if let Some(id) = line.strip_prefix(" ---> ") {
            let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if let Some(image) = self.images.last_mut().filter(|_| is_id) {
                *image = Some(id.to_owned());
            }
            if is_id {
                self.end_step(elapsed);
            }
        }
    }

    /// Returns the steps in the order of the Dockerfile; `stages` are the stages' names by index.
    /// `failed`: the build has failed, and so the last step, unless it has ended.
    pub fn steps(&self, stages: &[String], failed: bool) -> Vec<Step> {
        let mut totals: BTreeMap<usize, u32> = BTreeMap::new();
        for (stage, _) in &self.steps {
            *totals.entry(*stage).or_insert(1) += 1;
        }
        let mut steps: Vec<Step> = self
            .steps
            .iter()
            .map(|(stage, step)| Step {
                stage: stages
                    .get(*stage)
                    .cloned()
                    .unwrap_or_else(|| format!("stage-{stage}")),
                step: format!("{}/{}", step.step, totals[stage]),
                ..step.clone()
            })
            .collect();
        if failed
            && self.running
            && let Some(last) = steps.last_mut()
        {
            last.result = StepResult::Failed;
        }
        steps
    }

    /// Returns the image ID at the end of each stage that was built, by the stage's index.
    pub fn stage_images(&self) -> Vec<Option<String>> {
        self.images.clone()
    }

    fn end_step(&mut self, elapsed: f64) {
        if self.running
            && let Some((_, step)) = self.steps.last_mut()
        {
            step.seconds = (elapsed - self.started).max(0.0);
        }
        self.running = false;
    }
}

/// Splits `Step 2/7 : RUN true` into number, total and instruction.
fn classic_step(line: &str) -> Option<(u32, u32, &str)> {
    let (place, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, total) = place.split_once('/')?;
    Some((number.parse().ok()?, total.parse().ok()?, instruction))
}

fn is_from(instruction: &str) -> bool {
    instruction.get(..5).is_some_and(|word| {
        word.eq_ignore_ascii_case("from ") || word.eq_ignore_ascii_case("from\t")
    })
}

#[cfg(test)]
mod tests;
