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

    /// Returns how long all that was not a hit took: steps that ran, the export. In seconds; what
    /// ran at the same time is counted for each.
    pub fn busy_seconds(&self) -> f64 {
        let busy = self.vertices.values().filter(|vertex| !vertex.cached);
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
        // Several builds in one print what they share several times: it ran once, and hit then.
        let weight = |step: &Step| match step.result {
            StepResult::Failed => 0,
            StepResult::Run => 1,
            StepResult::Hit => 2,
        };
        steps.sort_by_key(|(order, step)| (*order, weight(step)));
        steps.dedup_by(|(_, later), (_, first)| {
            (&later.stage, &later.step) == (&first.stage, &first.step)
        });
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
            if line
                .strip_suffix(container.as_str())
                .is_some_and(|text| text.ends_with("Removing intermediate container "))
            {
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
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn short(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| {
                format!(
                    "{} {} {:?} {}",
                    step.stage, step.step, step.result, step.instruction
                )
            })
            .collect()
    }

    #[test]
    fn buildkit_steps_in_the_order_of_the_dockerfile() {
        let mut progress = BuildkitProgress::default();
        for line in "#0 building with \"default\" instance using docker driver\n\n#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n#4 [a 1/2] FROM docker.io/library/busybox:latest@sha256:02\n#4 CACHED\n#5 [stage-1  2/10] COPY --from=a /x /y\n#5 CACHED\n#6 [a 2/2] RUN echo CACHED\n#6 0.100 CACHED\n#6 DONE 0.2s\n#7 [linux/arm64 stage-1  3/10] RUN no\n#7 ERROR: process \"/bin/sh -c no\" did not complete successfully: exit code: 127\n#8 [stage-1  4/10] RUN later\n#8 CANCELED\nERROR: failed to build".lines() {
            progress.line(line);
        }
        assert_eq!(
            short(&progress.steps(&names(&["a", "stage-1"]))),
            [
                "a 2/2 Run RUN echo CACHED",
                "stage-1 2/10 Hit COPY --from=a /x /y",
                "stage-1 3/10 Failed RUN no"
            ]
        );
        assert_eq!(progress.errors().len(), 2);
    }

    #[test]
    fn buildkit_names_no_stage_where_there_is_one() {
        let mut progress = BuildkitProgress::default();
        for line in [
            "#5 [2/2] RUN true",
            "#5 CACHED",
            "#5 sha256:00 1.0MB / 1.0MB",
            "#5 DONE 3.5s",
        ] {
            progress.line(line);
        }
        let steps = progress.steps(&names(&["stage-0"]));
        assert_eq!(short(&steps), ["stage-0 2/2 Hit RUN true"]);
        assert!((steps[0].seconds - 3.5).abs() < f64::EPSILON);
    }

    #[test]
    fn blobs_that_come_in_are_told_in_several_ways() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let mut progress = BuildkitProgress::default();
        for line in [
            "#5 [2/3] RUN true".to_owned(),
            format!("#5 pulling {} 0.5s done", digest("1")),
            format!("#5 {} 1.0MB / 5.0MB 0.1s", digest("2")),
            format!("#5 extracting {} 0.1s done", digest("2")),
            "#5 CACHED".to_owned(),
            "#6 [3/3] RUN false".to_owned(),
            format!("#6 0.1 pulling {}", digest("3")),
            "#6 DONE 1.5s".to_owned(),
            "#7 exporting to image".to_owned(),
            format!("#7 writing image {} done", digest("4")),
            "#7 DONE 0.5s".to_owned(),
        ] {
            progress.line(&line);
        }
        let found: Vec<String> = progress
            .brought_in()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, [digest("1"), digest("2")]);
        assert!((progress.busy_seconds() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn times_that_are_none_do_not_count() {
        for time in ["infs", "NaNs", "-0.2s", "1e999s"] {
            let mut progress = BuildkitProgress::default();
            progress.line("#5 [2/2] RUN true");
            progress.line("#5 CACHED");
            progress.line(&format!("#5 DONE {time}"));
            let steps = progress.steps(&names(&["stage-0"]));
            assert!(steps[0].seconds.abs() < f64::EPSILON, "{time}");
        }
    }

    #[test]
    fn a_step_of_several_builds_in_one_ran_once() {
        let mut progress = BuildkitProgress::default();
        for line in [
            "#8 [deps 2/3] COPY lock .",
            "#8 CACHED",
            "#9 [deps 2/3] COPY lock .",
            "#9 DONE 1.5s",
            "#10 [deps 3/3] RUN a",
            "#10 CACHED",
        ] {
            progress.line(line);
        }
        let steps = progress.steps(&["deps".to_owned()]);
        let found: Vec<(&str, StepResult)> = steps
            .iter()
            .map(|step| (step.step.as_str(), step.result))
            .collect();
        assert_eq!(found, [("2/3", StepResult::Run), ("3/3", StepResult::Hit)]);
    }

    #[test]
    fn classic_steps_and_stage_images() {
        let mut progress = ClassicProgress::default();
        let lines = "Step 1/8 : ARG V=1\nStep 2/8 : FROM busybox AS a\n ---> 4ddaed64d78d\nStep 3/8 : RUN echo hi > /x\n ---> Using cache\n ---> f5e94f0d320b\nStep 4/8 : from busybox\n ---> 4ddaed64d78d\nStep 5/8 : COPY --from=a /x /y\n ---> 9ad9f169a7d0\nStep 6/8 : RUN no\n ---> Running in aa6bc4f9cc88";
        for (second, line) in (0_u8..).zip(lines.lines()) {
            progress.line(line, f64::from(second));
        }
        assert_eq!(
            short(&progress.steps(&names(&["a", "stage-1"]), true)),
            [
                "a 2/2 Hit RUN echo hi > /x",
                "stage-1 2/3 Run COPY --from=a /x /y",
                "stage-1 3/3 Failed RUN no"
            ]
        );
        assert_eq!(
            progress.stage_images(),
            [
                Some("f5e94f0d320b".to_owned()),
                Some("9ad9f169a7d0".to_owned())
            ]
        );
    }
    #[test]
    fn what_a_classic_step_prints_is_not_the_builders_word() {
        let mut progress = ClassicProgress::default();
        for line in [
            "Step 1/4 : FROM busybox AS a",
            " ---> 4ddaed64d78d",
            "Step 2/4 : RUN cat log",
            " ---> Running in aa6bc4f9cc88",
            "Step 3/4 : FROM spoof",
            " ---> 0123456789ab",
            " ---> Using cache",
            "Removing intermediate container 0123456789ab",
            "no line endRemoving intermediate container aa6bc4f9cc88",
            " ---> f5e94f0d320b",
            "Step 3/4 : FROM busybox",
            " ---> 4ddaed64d78d",
            "Step 4/4 : COPY --from=a /x /y",
            " ---> 9ad9f169a7d0",
        ] {
            progress.line(line, 0.0);
        }
        assert_eq!(
            short(&progress.steps(&names(&["a", "b"]), false)),
            ["a 2/2 Run RUN cat log", "b 2/2 Run COPY --from=a /x /y"]
        );
        let images = progress.stage_images();
        assert_eq!(
            images,
            [
                Some("f5e94f0d320b".to_owned()),
                Some("9ad9f169a7d0".to_owned())
            ]
        );
    }
}
