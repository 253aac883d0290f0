//! The whole job against what one would use instead, on real engines, in one run.
//!
//! ```sh
//! DOCKER_LAYER_CACHE_TEST_ENGINES="e28=unix:///…" cargo bench -p xtask --bench job -- [--runs 5] [--megabytes 300] [--work 10]
//! ```
//!
//! Each engine that is named is wiped before every job, as a fresh CI machine would be. Every job
//! but the first starts from what the first one saved. Competitors:
//! - *ours*: `docker-ci`;
//! - *none*: `docker build`;
//! - *seed*: `gunzip | docker load`, a `docker build --cache-from` for each stage,
//!   `docker save STAGES | gzip`;
//! - *zstd*: the same with `zstd -T0 -3` (where the machine has it);
//! - *local*: `--cache-from type=local --cache-to type=local,mode=max` (where the engine can);
//! - *floor*: `docker save > /dev/null` and `docker load` of an uncompressed archive: what the engine
//!   takes by itself.
//!
//! `--work` is what the dependency step takes besides writing its files, in seconds: it stands for
//! fetching and compiling. Medians go to stdout as a table and to `target/bench/job.json`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    reason = "a benchmark prints, and uses a part of the tests' support"
)]

mod course;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use course::{DOCKERFILE, copy, number, remove, timed, vendor, write_json};
use docker_layer_cache_demo::Base;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::{Bench, Engine, Project, engines};

const STAGES: [&str; 3] = ["deps", "build", "runtime"];
/// Each with what is changed before it.
const JOBS: [(&str, Change); 5] = [
    ("cold", Change::Nothing),
    ("unchanged", Change::Nothing),
    ("source changed", Change::Source),
    ("lock changed", Change::Lock),
    ("base moved", Change::Base),
];

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Nothing,
    Source,
    Lock,
    Base,
}

fn main() -> ExitCode {
    let size = Size {
        runs: number("--runs", 5),
        megabytes: number("--megabytes", 300),
        work_seconds: number("--work", 10),
    };
    let mut results = BTreeMap::new();
    for engine in engines() {
        let engine = match engine {
            Ok(engine) if engine.is_ours() => engine,
            Ok(_) => continue,
            Err(absent) => {
                eprintln!("left out: {absent:?}");
                continue;
            }
        };
        match race(&engine, &size) {
            Ok((version, figures)) => {
                println!("{}\n", table(engine.name(), &figures));
                let figures: BTreeMap<String, &BTreeMap<String, f64>> = figures
                    .iter()
                    .map(|((what, unit), cells)| (format!("{what}, {unit}"), cells))
                    .collect();
                results.insert(
                    engine.name().to_owned(),
                    json!({ "version": version, "medians": figures }),
                );
            }
            Err(error) => {
                eprintln!("{}: {}", engine.name(), error.message().unwrap_or_default());
                return ExitCode::FAILURE;
            }
        }
    }
    if results.is_empty() {
        eprintln!("name engines that may be wiped in DOCKER_LAYER_CACHE_TEST_ENGINES");
        return ExitCode::FAILURE;
    }
    let document = json!({
        "runs": size.runs,
        "megabytes": size.megabytes,
        "work seconds": size.work_seconds,
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "engines": results,
    });
    write_json("job", &document);
    ExitCode::SUCCESS
}

struct Size {
    runs: usize,
    megabytes: usize,
    work_seconds: usize,
}

/// What was measured, with its unit → competitor → median.
type Figures = BTreeMap<(String, &'static str), BTreeMap<String, f64>>;

/// All samples of one engine.
#[derive(Default)]
struct Samples(BTreeMap<(String, &'static str), BTreeMap<String, Vec<f64>>>);

impl Samples {
    fn seconds(&mut self, what: &str, who: &str, seconds: f64) {
        self.keep(what, "s", who, seconds);
    }

    #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
    fn bytes(&mut self, what: &str, who: &str, bytes: u64) {
        self.keep(what, "MB", who, bytes as f64 / 1e6);
    }

    fn keep(&mut self, what: &str, unit: &'static str, who: &str, value: f64) {
        let cells = self.0.entry((what.to_owned(), unit)).or_default();
        cells.entry(who.to_owned()).or_default().push(value);
    }

    fn medians(self) -> Figures {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let row = |cells: BTreeMap<String, Vec<f64>>| {
            let medians = cells.into_iter().map(|(who, all)| (who, median(all)));
            medians.collect()
        };
        let rows = self.0.into_iter();
        rows.map(|(what, cells)| (what, row(cells))).collect()
    }
}

/// One engine, one repository, and where the competitors keep what they save.
struct Race<'a> {
    bench: Bench<'a>,
    project: Project,
    base: Base,
    n_moves: u32,
    samples: Samples,
    is_buildkit: bool,
    can_export: bool,
    has_zstd: bool,
}

fn race(engine: &Engine, size: &Size) -> Result<(String, Figures), Failed> {
    let bench = Bench::new(engine)?;
    let base = bench.base("bench")?;
    let dockerfile = DOCKERFILE
        .replace("@base@", &base.reference)
        .replace("@work@", &size.work_seconds.to_string());
    let project = Project::with_dockerfile(&dockerfile)?;
    project.configure("inputs = [\"deps.lock\"]\n")?;
    vendor(&project.root().join("vendor.tar"), size.megabytes)?;
    let version = engine.run(&["version", "--format", "{{.Server.Version}}"])?;
    let is_buildkit = engine.run(&["buildx", "version"]).is_ok();
    let driver = engine.run(&["info", "--format", "{{json .DriverStatus}}"])?;
    let mut race = Race {
        bench,
        project,
        base,
        n_moves: 0,
        samples: Samples::default(),
        is_buildkit,
        can_export: is_buildkit && driver.contains("io.containerd.snapshotter"),
        has_zstd: Command::new("zstd").arg("--version").output().is_ok(),
    };
    for run in 0..size.runs {
        race.ours(run)?;
        race.none(run)?;
        race.by_hand(run, "seed", "gunzip -c", "gzip")?;
        if race.has_zstd {
            race.by_hand(run, "zstd", "zstd -q -dc", "zstd -q -T0 -3")?;
        }
        if race.can_export {
            race.local(run)?;
        }
    }
    Ok((version.trim().to_owned(), race.samples.medians()))
}

impl Race<'_> {
    /// Puts the repository and the registry as they are for a job, and empties the engine.
    fn prepare(&mut self, run: usize, job: &str, change: Change) -> Result<(), Failed> {
        let changed = |what| if change == what { job } else { "as it was" };
        self.project.write(
            "src/main.txt",
            &format!("source of run {run}, {}\n", changed(Change::Source)),
        )?;
        self.project.write(
            "deps.lock",
            &format!("lock of run {run}, {}\n", changed(Change::Lock)),
        )?;
        if change == Change::Base {
            self.n_moves += 1;
            self.base.move_to(self.n_moves)?;
        }
        self.bench.wipe()
    }

    /// The whole job with `docker-ci`.
    fn ours(&mut self, run: usize) -> Result<(), Failed> {
        let store = self.project.store().to_owned();
        let saved = self.folder().join("saved-store");
        remove(&store)?;
        for (job, change) in JOBS {
            self.prepare(run, job, change)?;
            if job != "cold" {
                copy(&saved, &store)?;
            }
            let started = Instant::now();
            let run = self.project.xtask(&self.bench, &["docker-ci", "--json"])?;
            let report = run.success()?;
            let job_row = format!("job, {job}");
            let seconds = started.elapsed().as_secs_f64();
            self.samples.seconds(&job_row, "ours", seconds);
            let report: Value = serde_json::from_str(report.stdout.trim())?;
            for phase in report["phases"].as_array().into_iter().flatten() {
                let name = phase["name"].as_str().unwrap_or_default();
                let row = format!("{name}, {job}");
                let seconds = phase["seconds"].as_f64().unwrap_or(f64::NAN);
                self.samples.seconds(&row, "ours", seconds);
                if let ("save", Some(bytes)) = (name, phase["bytes"].as_u64()) {
                    self.samples.bytes(&row, "ours", bytes);
                }
            }
            if job == "cold" {
                copy(&store, &saved)?;
            }
        }
        Ok(())
    }

    /// No cache at all.
    fn none(&mut self, run: usize) -> Result<(), Failed> {
        for (job, change) in JOBS {
            self.prepare(run, job, change)?;
            let line = format!(
                "docker build -q {} -t bench:none {}",
                self.file(),
                self.root()
            );
            let seconds = timed(&self.bench, &line)?;
            self.samples
                .seconds(&format!("job, {job}"), "none", seconds);
        }
        Ok(())
    }

    /// The images of the stages as an archive.
    fn by_hand(&mut self, run: usize, who: &str, unpack: &str, pack: &str) -> Result<(), Failed> {
        let archive = self.folder().join(format!("archive-{who}"));
        let archive = archive.to_str().ok_or("the temp folder is not UTF-8")?;
        let tags = STAGES.map(|stage| format!("bench:{stage}")).join(" ");
        let sources = STAGES.map(|stage| format!("--cache-from bench:{stage}"));
        let inline = if self.is_buildkit {
            "--build-arg BUILDKIT_INLINE_CACHE=1"
        } else {
            ""
        };
        let (file, root) = (self.file(), self.root());
        let build = |sources: &str| {
            let one = |stage| {
                format!(
                    "docker build -q {file} --target {stage} -t bench:{stage} {inline} {sources} {root}"
                )
            };
            STAGES.map(one).join(" && ")
        };
        for (job, change) in JOBS {
            self.prepare(run, job, change)?;
            let mut seconds = 0.0;
            if job != "cold" {
                seconds += timed(
                    &self.bench,
                    &format!("{unpack} < {archive} | docker load -q"),
                )?;
                self.samples
                    .seconds(&format!("restore, {job}"), who, seconds);
            }
            let sources = if job == "cold" {
                ""
            } else {
                &sources.join(" ")
            };
            seconds += timed(&self.bench, &build(sources))?;
            if job == "cold" && who == "seed" {
                let floor = timed(&self.bench, &format!("docker save {tags} > /dev/null"))?;
                self.samples.seconds("save, cold", "floor", floor);
            }
            let target = if job == "cold" { archive } else { "/dev/null" };
            let save = timed(
                &self.bench,
                &format!("docker save {tags} | {pack} > {target}"),
            )?;
            self.samples.seconds(&format!("save, {job}"), who, save);
            self.samples
                .seconds(&format!("job, {job}"), who, seconds + save);
            if job == "cold" {
                let bytes = std::fs::metadata(archive)?.len();
                self.samples.bytes("save, cold", who, bytes);
            }
            if job == "unchanged" && who == "seed" {
                self.floor_of_loading(archive, unpack)?;
            }
        }
        Ok(())
    }

    /// What loading the images takes without decompression.
    fn floor_of_loading(&mut self, archive: &str, unpack: &str) -> Result<(), Failed> {
        timed(
            &self.bench,
            &format!("{unpack} < {archive} > {archive}.tar"),
        )?;
        self.bench.wipe()?;
        let seconds = timed(&self.bench, &format!("docker load -q < {archive}.tar"))?;
        self.samples.seconds("restore, unchanged", "floor", seconds);
        Ok(std::fs::remove_file(format!("{archive}.tar"))?)
    }

    /// `BuildKit`'s own cache folder.
    fn local(&mut self, run: usize) -> Result<(), Failed> {
        let saved = self.folder().join("saved-local");
        let folder = self.folder().join("local");
        remove(&saved)?;
        for (job, change) in JOBS {
            self.prepare(run, job, change)?;
            remove(&folder)?;
            let source = if job == "cold" {
                String::new()
            } else {
                copy(&saved, &folder)?;
                format!("--cache-from type=local,src={}", folder.display())
            };
            let line = format!(
                "docker buildx build -q --provenance=false {} -t bench:local {source} --cache-to type=local,mode=max,dest={} {}",
                self.file(),
                folder.display(),
                self.root()
            );
            let seconds = timed(&self.bench, &line)?;
            self.samples
                .seconds(&format!("job, {job}"), "local", seconds);
            if job == "cold" {
                copy(&folder, &saved)?;
            }
        }
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.project.root().join("..")
    }

    fn root(&self) -> String {
        self.project.root().display().to_string()
    }

    fn file(&self) -> String {
        format!("-f {}/docker/Dockerfile", self.root())
    }
}

/// Returns one row per thing measured, one column per competitor.
fn table(engine: &str, figures: &Figures) -> String {
    const COLUMNS: [&str; 6] = ["ours", "none", "floor", "local", "zstd", "seed"];
    let used: BTreeSet<&str> = figures
        .values()
        .flat_map(|cells| cells.keys().map(String::as_str))
        .collect();
    let columns = COLUMNS.into_iter().filter(|name| used.contains(name));
    let columns: Vec<&str> = columns.collect();
    let mut text = format!("{engine:<26}");
    for column in &columns {
        let _ = write!(text, "{column:>10}");
    }
    for ((what, unit), cells) in figures {
        let _ = write!(text, "\n{what:<26}");
        for column in &columns {
            let cell = cells.get(*column);
            let cell = cell.map_or_else(String::new, |value| format!("{value:.2} {unit}"));
            let _ = write!(text, "{cell:>10}");
        }
    }
    text
}
