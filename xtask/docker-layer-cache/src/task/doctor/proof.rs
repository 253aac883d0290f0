//! The proof on the spot: an image of two stages and three steps is built and saved, the engine
//! forgets it, and it is built again from the store.
//!
//! ```text
//! cold     docker-ci, store empty         every step runs; saved
//!          forget: own images and records
//! control  docker-ci --read-only, no store   every step runs: the engine has really forgotten
//!          forget
//! warm     docker-ci, the first store     every step hits: so the hits come from the store
//!          forget
//! ```
//! It stands on `scratch` and asks for no network. Images are known by a label, build cache records
//! by a word or a layer's digest in their description, all new at each proof: nothing of anybody else
//! is touched. What `BuildKit` keeps of the context (under a kilobyte) tells nothing of whose it is,
//! and is left to the engine, which drops it within two days. The jobs run as children of their own,
//! as a user's do.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use tempfile::TempDir;

use super::finding::Finding;
use crate::cli::Task;
use crate::engine::{Builder, Docker, EngineError, Strategy};
use crate::error::exit_code;
use crate::oci::Digest;
use crate::ui::seconds;

const CHECK: &str = "proof";
const LABEL: &str = "dev.docker-layer-cache.doctor";

/// What came of it.
pub(super) struct ProofFacts {
    /// How many seconds all of it took.
    pub(super) seconds: f64,
    pub(super) outcome: Result<Outcome, ProofError>,
    /// Images and build cache records that could not be removed, or why nothing could.
    pub(super) left: Result<(usize, usize), EngineError>,
}

/// The three builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) cold: Steps,
    pub(super) control: Steps,
    pub(super) warm: Steps,
}

/// The steps of a build: whether each hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps(Vec<bool>);

/// Why there was no outcome.
#[derive(Debug)]
pub(super) enum ProofError {
    /// The folder could not be written, or the program not be started.
    Io(io::Error),
    /// The engine did not forget on demand.
    Engine(EngineError),
    /// A job failed: which, its exit code, and its last words.
    Job(&'static str, u8, String),
}

impl ProofFacts {
    /// Runs the proof.
    pub(super) fn gather(docker: &Docker, builder: &Builder, forced: Option<Strategy>) -> Self {
        let started = Instant::now();
        let word = word();
        let label = format!("{LABEL}={word}");
        let folder = TempDir::with_prefix("docker-layer-cache-doctor-");
        let (outcome, left) = match folder
            .as_ref()
            .map(|folder| Utf8Path::from_path(folder.path()))
        {
            Ok(Some(place)) => {
                let forget = || docker.remove_traces(builder, &label, &words(&word, place));
                (prove(&word, place, forced, &forget), forget())
            }
            Ok(None) => {
                let error = io::Error::other("the path of TMPDIR is not UTF-8");
                (Err(ProofError::Io(error)), Ok((0, 0)))
            }
            Err(error) => {
                let error = io::Error::new(error.kind(), error.to_string());
                (Err(ProofError::Io(error)), Ok((0, 0)))
            }
        };
        ProofFacts {
            seconds: started.elapsed().as_secs_f64(),
            outcome,
            left,
        }
    }

    /// Judges it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![match &self.outcome {
            Ok(outcome) => outcome.judge(self.seconds),
            Err(error) => error.judge(),
        }];
        let left = match &self.left {
            Ok((0, 0)) => None,
            Ok((images, records)) => Some(format!(
                "{images} images and {records} build cache records of the proof are left"
            )),
            Err(error) => Some(format!("the proof could not be cleaned up: {error}")),
        };
        findings.extend(left.map(|what| {
            Finding::advice(CHECK, what, "they are a few kilobytes in the engine").mend(format!(
                "`docker image prune --all --filter label={LABEL}`, `docker builder prune`"
            ))
        }));
        findings
    }
}

impl Outcome {
    fn judge(&self, took: f64) -> Finding {
        let warm = &self.warm;
        let took = seconds(took);
        let n_steps = warm.0.len();
        let n_remembered = self.n_remembered();
        if warm.n_hits() < n_steps || n_steps == 0 {
            return Finding::problem(
                exit_code::ENGINE,
                CHECK,
                format!("saved, restored and built again, {warm} of a small image hit"),
                "this engine does not take our cache: your builds will run again, too",
            )
            .mend("try the other strategies, `cargo xtask docker-doctor --strategy inline-stage-images`, and tell us what it prints with `--json`");
        }
        if n_remembered > 0 || self.control.n_hits() == n_steps {
            return Finding::advice(
                CHECK,
                format!("saved, restored and built again, {warm} hit; not proved that they come from the store: without it {} hit", self.control),
                "the engine did not forget the first build, which only a fresh machine does then",
            )
            .mend("look at the hits of a second job in your CI: `cargo xtask docker-report`");
        }
        Finding::ok(
            CHECK,
            format!(
                "a small image was built, saved, forgotten by the engine, restored and built again: {warm} hit, without the store {n_remembered} of {n_steps} ({took})"
            ),
        )
    }

    /// Returns how many steps the engine remembered when it was to have forgotten them. What hits
    /// already in the first build, of which nobody can know anything, is what a build has from
    /// itself: where stages are built one after the other, the second takes the first.
    fn n_remembered(&self) -> usize {
        let hits_in_cold = |step: usize| self.cold.0.get(step) == Some(&true);
        let control = self.control.0.iter().enumerate();
        control
            .filter(|(step, hit)| **hit && !hits_in_cold(*step))
            .count()
    }
}

impl Steps {
    fn n_hits(&self) -> usize {
        self.0.iter().filter(|hit| **hit).count()
    }
}

impl ProofError {
    fn judge(&self) -> Finding {
        let why = "what fails for a small image fails for yours";
        match self {
            ProofError::Io(error) => Finding::problem(
                exit_code::USAGE,
                CHECK,
                format!("could not be begun: {error}"),
                "it needs a temporary folder, and to start this program once more",
            )
            .mend("set TMPDIR to a folder that can be written, or `--no-proof`"),
            ProofError::Engine(error) => Finding::problem(
                exit_code::ENGINE,
                CHECK,
                format!("the engine did not let the small image go: {error}"),
                why,
            )
            .mend(error.hint().unwrap_or("`docker info` says more")),
            ProofError::Job(job, code, said) => Finding::problem(
                *code,
                CHECK,
                format!("the {job} job of a small image failed: {said}"),
                why,
            )
            .mend("run `cargo xtask docker-ci --strict` on your own image to see all of it"),
        }
    }
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} steps", self.n_hits(), self.0.len())
    }
}

fn prove(
    word: &str,
    place: &Utf8Path,
    forced: Option<Strategy>,
    forget: &dyn Fn() -> Result<(usize, usize), EngineError>,
) -> Result<Outcome, ProofError> {
    write(place, word).map_err(ProofError::Io)?;
    let job = |name, store, flags: &[&str]| run(name, place, store, flags, forced);
    let forget = || forget().map_err(ProofError::Engine);
    let cold = job("cold", "store", &[])?;
    forget()?;
    let control = job("control", "no-store", &["--read-only"])?;
    forget()?;
    let warm = job("warm", "store", &[])?;
    Ok(Outcome {
        cold,
        control,
        warm,
    })
}

/// Writes the repository: `word` is in each name, so that it is in each description.
fn write(place: &Utf8Path, word: &str) -> io::Result<()> {
    let root = place.join("repository");
    fs::create_dir_all(root.join("docker"))?;
    let (library, app) = (format!("library-{word}"), format!("app-{word}"));
    // The stages begin differently: where they do not, the classic builder takes the steps of the
    // first for the second, within one build.
    let dockerfile = format!(
        "FROM scratch AS library\nLABEL {LABEL}={word}\nCOPY {library} /{library}\n\n\
         FROM scratch\nLABEL {LABEL}={word} {LABEL}.stage=app\n\
         COPY --from=library /{library} /{library}\nCOPY {app} /{app}\n"
    );
    let images = format!("[image.doctor]\ntags = [\"docker-layer-cache-doctor:{word}\"]\n");
    for (path, text) in [
        ("docker/Dockerfile", dockerfile),
        ("docker/images.toml", images),
        (&library, format!("library {word}\n")),
        (&app, format!("app {word}\n")),
    ] {
        fs::write(root.join(path), text)?;
    }
    Ok(())
}

/// Runs one job, with a store and a key folder of its own.
fn run(
    name: &'static str,
    place: &Utf8Path,
    store: &str,
    flags: &[&str],
    forced: Option<Strategy>,
) -> Result<Steps, ProofError> {
    let program = std::env::current_exe().map_err(ProofError::Io)?;
    let words = Task::to_run("docker-ci", std::env::args_os())
        .unwrap_or_else(|| vec!["docker-ci".to_owned()]);
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        // What is set for the real jobs, such as a store or that nothing is to be written.
        if variable
            .to_string_lossy()
            .starts_with("DOCKER_LAYER_CACHE_")
        {
            command.env_remove(variable);
        }
    }
    let folder = |name: &str| -> Utf8PathBuf { place.join(name) };
    command
        .args(words)
        // What costs more to save than to run is saved all the same.
        .args(["--json", "--strict", "--offline", "--all"])
        .args(flags)
        .arg("--root")
        .arg(folder("repository"))
        .arg("--store")
        .arg(folder(store))
        .arg("--key-dir")
        .arg(folder(&format!("{name}-keys")));
    if let Some(strategy) = forced {
        command.arg("--strategy").arg(strategy.to_string());
    }
    let output = command
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .map_err(ProofError::Io)?;
    if !output.status.success() {
        let code = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok());
        let code = code.unwrap_or(exit_code::BUILD);
        let said = last_words(&String::from_utf8_lossy(&output.stderr));
        return Err(ProofError::Job(name, code, said));
    }
    steps(&output.stdout)
        .map_err(|error| ProofError::Job(name, exit_code::ENGINE, format!("its report: {error}")))
}

/// Returns the error of a job, or else its last line.
fn last_words(stderr: &str) -> String {
    let error = stderr
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("error: "));
    error
        .or_else(|| stderr.lines().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it said nothing")
        .to_owned()
}

fn steps(report: &[u8]) -> Result<Steps, serde_json::Error> {
    #[derive(Deserialize)]
    struct Report {
        steps: Vec<Step>,
    }
    #[derive(Deserialize)]
    struct Step {
        result: String,
    }
    let report: Report = serde_json::from_slice(report)?;
    let hits = report.steps.iter().map(|step| step.result == "hit");
    Ok(Steps(hits.collect()))
}

/// Returns what stands in the descriptions of the proof's records: its word, and the digests of what
/// its store holds.
fn words(word: &str, place: &Utf8Path) -> Vec<String> {
    let blobs = place.join("store/blobs/sha256").read_dir_utf8();
    let blobs = blobs.into_iter().flatten().filter_map(Result::ok);
    std::iter::once(word.to_owned())
        .chain(blobs.map(|blob| blob.file_name().to_owned()))
        .collect()
}

/// Returns a word that nobody has used: what is named by it is of this proof.
fn word() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = format!("{} {}", std::process::id(), now.as_nanos());
    let digest = Digest::of(seed.as_bytes());
    format!("proof-{}", &digest.encoded()[..20])
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Level, exit_code_of};
    use super::*;

    fn outcome(builds: [&[bool]; 3]) -> Vec<Finding> {
        let [cold, control, warm] = builds.map(|build| Steps(build.to_vec()));
        ProofFacts {
            seconds: 4.2,
            outcome: Ok(Outcome {
                cold,
                control,
                warm,
            }),
            left: Ok((0, 0)),
        }
        .judge()
    }

    #[test]
    fn hits_prove_something_only_where_the_control_has_none() {
        const NONE: &[bool] = &[false, false];
        const ONE: &[bool] = &[true, false];
        const ALL: &[bool] = &[true, true];
        for (builds, level, part) in [
            (
                [NONE, NONE, ALL],
                Level::Ok,
                "2 of 2 steps hit, without the store 0 of 2",
            ),
            // A build that takes from itself does so both times.
            ([ONE, ONE, ALL], Level::Ok, "without the store 0 of 2"),
            ([ALL, NONE, ALL], Level::Ok, "without the store 0 of 2"),
            ([NONE, ONE, ALL], Level::Advice, "not proved"),
            ([NONE, ALL, ALL], Level::Advice, "not proved"),
            ([ALL, ALL, ALL], Level::Advice, "not proved"),
            (
                [NONE, NONE, ONE],
                Level::Problem,
                "1 of 2 steps of a small image hit",
            ),
            ([&[], &[], &[]], Level::Problem, "0 of 0 steps"),
        ] {
            let findings = outcome(builds);
            assert_eq!(findings[0].level, level, "{findings:?}");
            assert!(findings[0].what.contains(part), "{findings:?}");
        }
    }

    #[test]
    fn a_failed_job_gives_its_code_and_its_error() {
        let said = last_words("step 1\nerror: no space left\nhint: free some\n");
        assert_eq!(said, "no space left");
        assert_eq!(last_words("a\nb\n\n"), "b");
        let facts = ProofFacts {
            seconds: 1.0,
            outcome: Err(ProofError::Job("warm", 5, said)),
            left: Ok((1, 2)),
        };
        let findings = facts.judge();
        assert_eq!(exit_code_of(&findings), 5);
        assert!(findings[0].what.contains("warm job"), "{findings:?}");
        assert!(findings[1].what.contains("1 images and 2"), "{findings:?}");
    }

    #[test]
    fn words_differ_and_stand_in_each_copy() {
        let word = word();
        assert_ne!(word, super::word());
        let folder = tempfile::tempdir().expect("a folder");
        let place = Utf8Path::from_path(folder.path()).expect("UTF-8");
        write(place, &word).expect("files");
        let text = fs::read_to_string(place.join("repository/docker/Dockerfile")).expect("a file");
        let mut copies = text.lines().filter(|line| line.starts_with("COPY"));
        assert!(copies.all(|line| line.contains(&word)), "{text}");
    }
}
