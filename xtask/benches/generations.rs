//! Ten jobs in a row, each on an empty engine, as a branch lives: what they take, and what is kept.
//!
//! ```sh
//! DOCKER_LAYER_CACHE_TEST_ENGINES="e28=unix:///…" cargo bench -p xtask --bench generations -- [--megabytes 60] [--work 5]
//! ```
//!
//! Each engine that is named is wiped before every job. Competitors:
//! - *ours*: `docker-ci` with the engine's own best strategy, and with each other one that it can do;
//! - *none*: `docker build`;
//! - *local*: `--cache-from type=local --cache-to type=local,mode=max` on one folder (where the
//!   engine can).
//!
//! The table goes to stdout, and as JSON to `target/bench/generations.json`.

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

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use course::{DOCKERFILE, number, timed, vendor, write_json};
use docker_layer_cache_demo::Base;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::{Bench, Engine, Project, engines};

/// What is changed before each job.
const JOBS: [&str; 10] = [
    "nothing", "source", "source", "lock", "source", "nothing", "source", "lock", "source", "base",
];

/// What ten jobs took.
struct Course {
    who: String,
    seconds: Vec<f64>,
    /// What is kept at the end, in bytes.
    kept_bytes: Option<u64>,
}

struct Size {
    megabytes: usize,
    work_seconds: usize,
}

fn main() -> ExitCode {
    let size = Size {
        megabytes: number("--megabytes", 60),
        work_seconds: number("--work", 5),
    };
    let mut results = serde_json::Map::new();
    for engine in engines()
        .into_iter()
        .flatten()
        .filter(|engine| engine.is_ours())
    {
        match courses(&engine, &size) {
            Ok(courses) => {
                print(engine.name(), &courses);
                let courses = courses.iter().map(Course::json);
                results.insert(engine.name().to_owned(), courses.collect());
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
    let document = json!({ "megabytes": size.megabytes, "work seconds": size.work_seconds, "jobs": JOBS, "engines": results });
    write_json("generations", &document);
    ExitCode::SUCCESS
}

fn courses(engine: &Engine, size: &Size) -> Result<Vec<Course>, Failed> {
    let mut courses = vec![course(engine, size, "ours", ours)?];
    for way in engine.other_ways()? {
        let name = way.name().trim_start_matches(engine.name());
        courses.push(course(&way, size, &format!("ours{name}"), ours)?);
    }
    courses.push(course(engine, size, "none", none)?);
    let driver = engine.run(&["info", "--format", "{{json .DriverStatus}}"])?;
    if driver.contains("io.containerd.snapshotter") {
        courses.push(course(engine, size, "local", local)?);
    }
    Ok(courses)
}

/// Runs the ten jobs, each on an empty engine.
fn course(
    engine: &Engine,
    size: &Size,
    who: &str,
    job: fn(&Bench<'_>, &Project) -> Result<(), Failed>,
) -> Result<Course, Failed> {
    let bench = Bench::new(engine)?;
    let mut base = bench.base("bench")?;
    // What is compiled is as large as a program, and mostly another one after each change.
    let dockerfile = DOCKERFILE
        .replace("@base@", &base.reference)
        .replace("@work@", &size.work_seconds.to_string())
        .replace(
            "RUN cat /src/main.txt /deps.done > /app",
            "RUN cat /src/main.txt /deps.done > /app && head -c 4000000 /dev/urandom >> /app && cat /opt/deps/usr/lib/*/*.so* | head -c 8000000 >> /app; sleep 2",
        );
    let project = Project::with_dockerfile(&dockerfile)?;
    project.configure("inputs = [\"deps.lock\"]\n")?;
    vendor(&project.root().join("vendor.tar"), size.megabytes)?;
    project.write("src/main.txt", "source\n")?;
    project.write("deps.lock", "lock\n")?;
    let mut seconds = Vec::new();
    for (n, change) in (1_u32..).zip(JOBS) {
        match change {
            "source" => project.write("src/main.txt", &format!("source {n}\n"))?,
            "lock" => project.write("deps.lock", &format!("lock {n}\n"))?,
            "base" => base.move_to(n)?,
            _ => {}
        }
        bench.wipe()?;
        let started = Instant::now();
        job(&bench, &project)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let kept = [project.store().to_owned(), project.root().join("../local")];
    let kept = kept.iter().find(|folder| folder.exists());
    Ok(Course {
        who: who.to_owned(),
        seconds,
        kept_bytes: kept.map(|folder| disk_usage(folder)).transpose()?,
    })
}

fn ours(bench: &Bench<'_>, project: &Project) -> Result<(), Failed> {
    project.xtask(bench, &["docker-ci"])?.success().map(drop)
}

fn none(bench: &Bench<'_>, project: &Project) -> Result<(), Failed> {
    let root = project.root();
    let root = root.display();
    let line = format!("docker build -q -f {root}/docker/Dockerfile -t bench:none {root}");
    timed(bench, &line).map(drop)
}

fn local(bench: &Bench<'_>, project: &Project) -> Result<(), Failed> {
    let root = project.root();
    let folder = root.join("../local");
    let (root, folder) = (root.display(), folder.display());
    let line = format!(
        "docker buildx build -q --provenance=false -f {root}/docker/Dockerfile -t bench:local \
         --cache-from type=local,src={folder} --cache-to type=local,mode=max,dest={folder} {root}"
    );
    timed(bench, &line).map(drop)
}

fn disk_usage(folder: &Path) -> Result<u64, Failed> {
    let output = Command::new("du").args(["-sb"]).arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Ok(bytes.ok_or_else(|| format!("`du` says `{text}`"))?)
}

impl Course {
    fn json(&self) -> Value {
        json!({ "who": self.who, "seconds": self.seconds, "kept bytes": self.kept_bytes })
    }
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn print(engine: &str, courses: &[Course]) {
    print!("{engine:<14}");
    for job in JOBS {
        print!("{job:>9}");
    }
    println!("{:>9}{:>10}", "all", "kept");
    for course in courses {
        print!("{:<14}", course.who);
        for seconds in &course.seconds {
            print!("{seconds:>9.1}");
        }
        let kept = course.kept_bytes.map(|bytes| bytes as f64 / 1e6);
        let kept = kept.map_or_else(String::new, |kept| format!("{kept:.1} MB"));
        println!("{:>9.1}{kept:>10}", course.seconds.iter().sum::<f64>());
    }
    println!();
}
