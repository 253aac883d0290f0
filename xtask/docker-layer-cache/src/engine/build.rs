//! Runs a build, passes its output on, and reads its steps.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::oci::Digest;

use super::bake::{bake_argv, bake_json, without_target};
use super::{
    BuildRequest, Builder, BuildkitProgress, ClassicProgress, Docker, EngineError, EngineErrorKind,
    Step, StepResult,
};

/// What came of a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildOutcome {
    /// The steps that hit, ran or failed, by stage and place.
    pub steps: Vec<Step>,
    /// Image ID at the end of each stage, by index: only the classic builder tells.
    pub stage_images: Vec<Option<String>>,
    /// Blobs that were brought in, as far as the builder told.
    pub brought_in: BTreeSet<Digest>,
    /// How long all that was not a hit took, in seconds: steps that ran, the export.
    pub busy_seconds: f64,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
}

/// A failed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Docker's exit code.
    pub exit_code: u8,
    /// The builder's own words, which it has printed already.
    pub errors: Vec<String>,
}

impl Docker {
    /// Runs the build of `request`. Each line of its output goes to `print` as it comes, and on
    /// its way through the reader of steps; `stages` are the stages' names by index.
    ///
    /// A build that fails is no error here but an outcome.
    ///
    /// # Errors
    /// Where `docker` cannot be started or its output cannot be read.
    pub fn build(
        &self,
        request: &BuildRequest,
        builder: &Builder,
        stages: &[String],
        print: &mut dyn FnMut(&str),
    ) -> Result<BuildOutcome, EngineError> {
        let docker = match builder {
            Builder::Classic => self.with_env("DOCKER_BUILDKIT", "0"),
            Builder::EmbeddedBuildkit | Builder::BuildxMissing => {
                self.with_env("DOCKER_BUILDKIT", "1")
            }
            Builder::Buildx { .. } => self.with_env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        };
        let is_classic = *builder == Builder::Classic;
        docker.run_build(
            &request.argv(builder),
            None,
            is_classic,
            None,
            stages,
            print,
        )
    }

    /// Runs several builds as one: `BuildKit` does what they share once. Steps and lines are as in
    /// a build of its own.
    ///
    /// # Errors
    /// As [`Docker::build`].
    pub fn build_all(
        &self,
        requests: &[BuildRequest],
        stages: &[String],
        print: &mut dyn FnMut(&str),
    ) -> Result<BuildOutcome, EngineError> {
        let docker = self
            .with_env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
            // What the targets read is what their builds would read anyway.
            .with_env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
            // Asked of git for each target, for an attestation that is not made.
            .with_env("BUILDX_GIT_INFO", "0");
        let json = bake_json(requests);
        docker.run_build(&bake_argv(), Some(&json), false, None, stages, print)
    }

    /// Runs a build of `BuildKit` with a Dockerfile on stdin, and ends it after `limit`.
    pub(super) fn run_limited(
        &self,
        argv: &[String],
        dockerfile: &str,
        limit: Duration,
    ) -> Result<BuildOutcome, EngineError> {
        self.run_build(argv, Some(dockerfile), false, Some(limit), &[], &mut |_| {})
    }

    /// Runs a build, and once more where the engine lost what it was building on.
    fn run_build(
        &self,
        argv: &[String],
        stdin: Option<&str>,
        is_classic: bool,
        limit: Option<Duration>,
        stages: &[String],
        print: &mut dyn FnMut(&str),
    ) -> Result<BuildOutcome, EngineError> {
        let mut outcome = self.run_once(argv, stdin, is_classic, limit, stages, print)?;
        let failure = outcome.failure.as_ref();
        if !is_classic && failure.is_some_and(Failure::is_snapshot_lost) {
            print(
                "warning: the engine collected a snapshot of its own while it built on it; building once more",
            );
            let first = outcome.duration;
            outcome = self.run_once(argv, stdin, is_classic, limit, stages, print)?;
            outcome.duration += first;
        }
        Ok(outcome)
    }

    fn run_once(
        &self,
        argv: &[String],
        stdin: Option<&str>,
        is_classic: bool,
        limit: Option<Duration>,
        stages: &[String],
        print: &mut dyn FnMut(&str),
    ) -> Result<BuildOutcome, EngineError> {
        let started = Instant::now();
        let (mut child, stdout, stderr) = self.start(
            argv,
            if stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            },
        )?;
        let input = child.stdin.take().zip(stdin);
        let mut buildkit = BuildkitProgress::default();
        let mut classic = ClassicProgress::default();
        let mut last_lines: Vec<String> = Vec::new();
        let watched = &mut child;
        std::thread::scope(|scope| {
            let (ended, end) = mpsc::channel::<()>();
            if let Some(limit) = limit {
                scope.spawn(move || {
                    if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                        // One that has just ended by itself needs no end.
                        let _ = watched.kill();
                    }
                });
            }
            let (sender, lines) = mpsc::channel();
            let other = sender.clone();
            scope.spawn(move || send_lines(stdout, &sender));
            scope.spawn(move || send_lines(stderr, &other));
            if let Some((mut pipe, text)) = input {
                // A child that does not read it says why itself.
                scope.spawn(move || pipe.write_all(text.as_bytes()));
            }
            for line in lines {
                let line = match stdin {
                    Some(_) => without_target(&line).into_owned(),
                    None => line,
                };
                if is_classic {
                    classic.line(&line, started.elapsed().as_secs_f64());
                } else {
                    buildkit.line(&line);
                }
                print(&line);
                if last_lines.len() == 20 {
                    last_lines.remove(0);
                }
                last_lines.push(line);
            }
            drop(ended);
        });
        let status = child
            .wait()
            .map_err(|error| EngineError::new(EngineErrorKind::Failed, "docker build", error))?;
        let failed = !status.success();
        let (steps, stage_images, errors) = if is_classic {
            (
                classic.steps(stages, failed),
                classic.stage_images(),
                last_lines,
            )
        } else {
            let errors = if buildkit.errors().is_empty() {
                last_lines
            } else {
                buildkit.errors().to_vec()
            };
            (buildkit.steps(stages), Vec::new(), errors)
        };
        let exit_code = status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1);
        let failure = failed.then_some(Failure { exit_code, errors });
        Ok(BuildOutcome {
            steps,
            stage_images,
            brought_in: buildkit.brought_in().clone(),
            busy_seconds: buildkit.busy_seconds(),
            duration: started.elapsed(),
            failure,
        })
    }
}

impl BuildOutcome {
    /// Takes steps that several builds in one have in common for one step, which ran once and hit
    /// in the others; stages in the order of `stages`.
    pub fn merge_repeats(&mut self, stages: &[String]) {
        let weight = |step: &Step| match step.result {
            StepResult::Failed => 0,
            StepResult::Run => 1,
            StepResult::Hit => 2,
        };
        self.steps.sort_by_cached_key(|step| {
            let stage = stages.iter().position(|name| *name == step.stage);
            let number = step.step.split('/').next().and_then(|n| n.parse().ok());
            (
                stage.unwrap_or(stages.len()),
                step.stage.clone(),
                number.unwrap_or(0_u32),
                weight(step),
            )
        });
        self.steps
            .dedup_by(|later, first| (&later.stage, &later.step) == (&first.stage, &first.step));
    }

    /// Adds the outcome of the build that came next.
    pub fn extend(&mut self, next: BuildOutcome) {
        // A later stage's build passes the earlier stages again, as hits of the engine's own.
        let known = |step: &Step| {
            self.steps
                .iter()
                .any(|mine| (&mine.stage, &mine.step) == (&step.stage, &step.step))
        };
        let new: Vec<Step> = next.steps.into_iter().filter(|step| !known(step)).collect();
        self.steps.extend(new);
        self.brought_in.extend(next.brought_in);
        self.busy_seconds += next.busy_seconds;
        self.duration += next.duration;
        self.failure = next.failure;
    }
}

impl Failure {
    /// Tells whether the build failed on bringing in the cache rather than on a step of its own.
    ///
    /// A step that ran and failed is never the cache's fault, whatever its output says; and the
    /// classic builder, whose errors are the last lines of all output, imports nothing.
    pub fn is_cache_import(&self) -> bool {
        let text = self.errors.join("\n");
        if self.is_of_a_step() || text.contains("dockerfile parse error") {
            return false;
        }
        let blob_lost = text.contains("sha256:")
            && (text.contains("not found") || text.contains("no such file"));
        blob_lost
            || [
                "unexpected commit digest",
                "cache importer",
                "parent snapshot",
                "failed to load cache",
                "failed to get reader from content store",
                "failed to copy: ",
                "wrong diff id",
                "failed to extract layer",
                "failed to register layer",
                "archive/tar: invalid tar header",
                "unexpected EOF",
            ]
            .iter()
            .any(|symptom| text.contains(symptom))
    }

    /// Tells whether the engine lost a snapshot of its own while the build stood on it: with the
    /// containerd image store its garbage collection can overtake a build, above all beside
    /// another one that was killed. The same build goes well a moment later.
    /// <https://github.com/moby/buildkit/issues/4024>, <https://github.com/moby/buildkit/issues/6521>
    fn is_snapshot_lost(&self) -> bool {
        let is_lost = |error: &String| {
            error.contains("snapshot") && error.contains("does not exist")
                || error.contains("failed to mount")
                    && error.contains("buildkit-mount")
                    && error.contains("no such file or directory")
        };
        !self.is_of_a_step() && self.errors.iter().any(is_lost)
    }

    /// Tells whether the error names this blob.
    pub fn names(&self, blob: &Digest) -> bool {
        self.errors
            .iter()
            .any(|error| error.contains(blob.encoded()))
    }

    /// Tells whether the engine itself has stopped answering.
    pub fn is_engine_gone(&self) -> bool {
        let text = self.errors.join("\n");
        !self.is_of_a_step()
            && [
                "Cannot connect to the Docker daemon",
                "error reading from server: EOF",
                "transport is closing",
            ]
            .iter()
            .any(|symptom| text.contains(symptom))
    }

    /// Tells whether the Dockerfile itself, or a step of it, is at fault.
    pub fn is_of_the_dockerfile(&self) -> bool {
        let is_parsing = |error: &String| error.contains("dockerfile parse error");
        self.is_of_a_step() || self.errors.iter().any(is_parsing)
    }

    fn is_of_a_step(&self) -> bool {
        self.errors.iter().any(|error| {
            error.contains("did not complete successfully")
                || error.contains("returned a non-zero code")
        })
    }
}

fn send_lines(stream: impl Read, sender: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        if sender
            .send(text.trim_end_matches(['\n', '\r']).to_owned())
            .is_err()
        {
            return;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_several_builds_in_one_ran_once() {
        let step = |stage: &str, step: &str, result| Step {
            stage: stage.to_owned(),
            step: step.to_owned(),
            instruction: String::new(),
            result,
            seconds: 1.0,
        };
        let (hit, run) = (StepResult::Hit, StepResult::Run);
        let mut outcome = BuildOutcome {
            steps: vec![
                step("other", "2/2", hit),
                step("app", "10/10", run),
                step("another", "2/2", run),
                step("app", "2/10", hit),
                step("app", "2/10", run),
                step("other", "2/2", run),
            ],
            ..BuildOutcome::default()
        };
        outcome.merge_repeats(&["app".to_owned()]);
        let expected = [
            step("app", "2/10", run),
            step("app", "10/10", run),
            step("another", "2/2", run),
            step("other", "2/2", run),
        ];
        assert_eq!(outcome.steps, expected);
    }

    #[test]
    fn a_failed_step_is_never_the_caches_fault() {
        let check = |errors: &[&str], expected| {
            let failure = Failure {
                exit_code: 1,
                errors: errors.iter().map(|e| (*e).to_owned()).collect(),
            };
            assert_eq!(failure.is_cache_import(), expected, "{errors:?}");
        };
        check(
            &[
                "process \"/bin/sh -c echo sha256:00 not found; exit 3\" did not complete successfully: exit code: 3",
            ],
            false,
        );
        check(
            &[
                "failed to solve: failed to compute cache key: failed to calculate checksum of ref x::y: \"/lock\": not found",
            ],
            false,
        );
        check(
            &[
                "RUN make test",
                "unexpected EOF",
                "The command '/bin/sh -c make test' returned a non-zero code: 2",
            ],
            false,
        );
        check(&["failed to solve: content sha256:12: not found"], true);
        check(
            &[
                "failed to solve: unexpected commit digest sha256:1, expected sha256:2: failed precondition",
            ],
            true,
        );
        check(
            &[
                "failed to solve: failed to prepare sha256:1 as x: parent snapshot sha256:2 does not exist: not found",
            ],
            true,
        );
    }

    #[test]
    fn lost_snapshots_are_told_from_failed_steps() {
        let check = |error: &str, expected| {
            let failure = Failure {
                exit_code: 1,
                errors: vec![error.to_owned()],
            };
            assert_eq!(failure.is_snapshot_lost(), expected, "{error}");
        };
        check(
            "failed to solve: failed to mount /tmp/buildkit-mount17: [{Type:overlay Source:overlay Target: Options:[lowerdir=/s/24/fs:/s/13/fs index=off]}]: mount source: \"overlay\", target: \"/tmp/buildkit-mount17\", fstype: overlay, flags: 0, data: \"lowerdir=/s/24/fs:/s/13/fs,index=off\", err: no such file or directory",
            true,
        );
        check(
            "failed to solve: failed to prepare sha256:1 as x: parent snapshot sha256:2 does not exist: not found",
            true,
        );
        check(
            "failed to apply diffs: failed to stat lower snapshot 7: snapshot 7 does not exist: not found",
            true,
        );
        check("failed to solve: content sha256:12: not found", false);
        check(
            "process \"/bin/sh -c snapshot does not exist\" did not complete successfully: exit code: 3",
            false,
        );
    }
}
