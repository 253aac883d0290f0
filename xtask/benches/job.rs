//! The whole job against what one would use instead, on real engines, in one run.
//!
//! ```sh
//! DOCKER_LAYER_CACHE_TEST_ENGINES="e28=unix:///…" cargo bench -p xtask --bench job -- [--runs 5] [--megabytes 300]
//! ```
//!
//! Each engine that is named is wiped again and again. Competitors:
//! - *seed*: `docker save STAGES | gzip`, then `gunzip | docker load` and `docker build --cache-from`;
//! - *zstd*: the same with `zstd -T0 -3` (where the machine has it);
//! - *none*: `docker build` on the blank engine;
//! - *floor*: `docker save > /dev/null`, what reading the images out costs by itself.
//!
//! Medians go to stdout as a table and to `target/bench/job.json`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::format_push_string,
    dead_code,
    unused_imports,
    reason = "a benchmark prints, and uses a part of the tests' support"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::{Bench, Engine, Project, engines};

const DOCKERFILE: &str = "\
FROM @base@ AS deps
COPY deps.lock /deps.lock
ADD vendor.tar /opt/deps/
RUN cat /deps.lock > /deps.done

FROM deps AS build
COPY src /src
RUN cat /src/main.txt /deps.done > /app

FROM @base@ AS runtime
COPY --from=build /app /app
RUN cat /app > /installed
";
const STAGES: [&str; 3] = ["deps", "build", "runtime"];

fn main() -> ExitCode {
    let flags: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = flags.iter().position(|flag| flag == name);
        at.and_then(|at| flags.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    let (runs, megabytes) = (number("--runs", 5), number("--megabytes", 300));
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
        match race(&engine, runs, megabytes) {
            Ok(figures) => {
                println!("{}", table(engine.name(), &figures));
                results.insert(engine.name().to_owned(), json!(figures));
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
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let written = std::fs::create_dir_all(&target).and_then(|()| {
        let document = json!({ "runs": runs, "megabytes": megabytes, "median seconds": results });
        std::fs::write(target.join("job.json"), document.to_string())
    });
    if let Err(error) = written {
        eprintln!("cannot write `{}`: {error}", target.display());
    }
    ExitCode::SUCCESS
}

/// Median seconds by what was measured.
type Figures = BTreeMap<String, f64>;

fn race(engine: &Engine, runs: usize, megabytes: usize) -> Result<Figures, Failed> {
    let bench = Bench::new(engine)?;
    let base = bench.base("bench")?;
    let project = Project::with_dockerfile(&DOCKERFILE.replace("@base@", &base.reference))?;
    project.configure("inputs = [\"deps.lock\"]\n")?;
    project.write("deps.lock", "1.0\n")?;
    vendor(&project.root().join("vendor.tar"), megabytes)?;
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for run in 0..runs {
        let mut keep =
            |what: &str, seconds: f64| samples.entry(what.to_owned()).or_default().push(seconds);
        project.write("src/main.txt", &format!("source {run}\n"))?;
        std::fs::remove_dir_all(project.store()).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        // Ours: cold, unchanged, source changed.
        for (job, phases) in [
            ("cold", &["save"][..]),
            ("unchanged", &["restore", "build", "save"]),
            ("source changed", &["save"]),
        ] {
            if job == "source changed" {
                project.write("src/main.txt", &format!("source {run} changed\n"))?;
            }
            bench.wipe()?;
            let started = Instant::now();
            let report = project.xtask(&bench, &["docker-ci", "--json"])?.success()?;
            keep(
                &format!("job, {job}: ours"),
                started.elapsed().as_secs_f64(),
            );
            let report: Value = serde_json::from_str(report.stdout.trim())?;
            for phase in phases {
                let seconds = report["phases"].as_array().and_then(|all| {
                    all.iter().find(|one| one["name"] == **phase)?["seconds"].as_f64()
                });
                keep(
                    &format!("{phase}, {job}: ours"),
                    seconds.unwrap_or(f64::NAN),
                );
            }
        }
        // The same images by hand.
        seed(&bench, &project, run, &mut keep)?;
    }
    Ok(samples
        .into_iter()
        .map(|(what, seconds)| (what, median(seconds)))
        .collect())
}

/// The classic recipe, with gzip and with zstd, and no cache at all.
fn seed(
    bench: &Bench<'_>,
    project: &Project,
    run: usize,
    keep: &mut impl FnMut(&str, f64),
) -> Result<(), Failed> {
    let root = project.root();
    let root = root.to_str().ok_or("the temp folder is not UTF-8")?;
    let inline = if bench.engine.name().starts_with("e20") {
        ""
    } else {
        "--build-arg BUILDKIT_INLINE_CACHE=1"
    };
    let stages = |sources: &str| {
        let one = |stage: &str| {
            format!(
                "docker build -q -f {root}/docker/Dockerfile --target {stage} -t seed:{stage} {inline} {sources} {root}"
            )
        };
        STAGES.map(one).join(" && ")
    };
    let all_tags = STAGES.map(|stage| format!("seed:{stage}")).join(" ");
    let sources = STAGES
        .map(|stage| format!("--cache-from seed:{stage}"))
        .join(" ");
    project.write("src/main.txt", &format!("source {run}\n"))?;
    bench.wipe()?;
    keep(
        "job, cold: none",
        timed(
            bench,
            &format!("docker build -q -f {root}/docker/Dockerfile -t seed:none {root}"),
        )?,
    );
    timed(bench, &stages(""))?;
    keep(
        "save, cold: floor",
        timed(bench, &format!("docker save {all_tags} > /dev/null"))?,
    );
    keep(
        "save, cold: zstd",
        timed(
            bench,
            &format!("docker save {all_tags} | zstd -q -T0 -3 > {root}/../seed.zst"),
        )?,
    );
    keep(
        "save, cold: seed",
        timed(
            bench,
            &format!("docker save {all_tags} | gzip > {root}/../seed.gz"),
        )?,
    );
    for (name, unpack, pack) in [
        ("seed", "gunzip -c", "gzip"),
        ("zstd", "zstd -q -dc", "zstd -q -T0 -3"),
    ] {
        let file = format!(
            "{root}/../seed.{}",
            if name == "seed" { "gz" } else { "zst" }
        );
        for job in ["unchanged", "source changed"] {
            let text = if job == "unchanged" {
                format!("source {run}\n")
            } else {
                format!("source {run} changed\n")
            };
            project.write("src/main.txt", &text)?;
            bench.wipe()?;
            let restore = timed(bench, &format!("{unpack} < {file} | docker load -q"))?;
            let build = timed(bench, &stages(&sources))?;
            let save = timed(
                bench,
                &format!("docker save {all_tags} | {pack} > {file}.new"),
            )?;
            keep(&format!("job, {job}: {name}"), restore + build + save);
        }
    }
    bench.wipe()?;
    keep(
        "job, source changed: none",
        timed(
            bench,
            &format!("docker build -q -f {root}/docker/Dockerfile -t seed:none {root}"),
        )?,
    );
    Ok(())
}

/// Runs a line of shell on the engine and returns its seconds.
fn timed(bench: &Bench<'_>, line: &str) -> Result<f64, Failed> {
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let output = bench.engine.environment(&mut command).output()?;
    let seconds = started.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(seconds);
    }
    Err(format!(
        "`{line}` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// Writes a tar of this machine's own libraries and programs, about so many megabytes.
fn vendor(path: &Path, megabytes: usize) -> Result<(), Failed> {
    let line = format!(
        "find /usr/lib /usr/share -xdev -type f -size -20000k -printf '%s %p\\n' 2>/dev/null | sort -k2 \
         | awk '{{ if (sum > {megabytes} * 1000000) exit; sum += $1; print $2 }}' \
         | tar -cf \"$1\" --files-from=- --absolute-names --transform='s#^/##'"
    );
    let status = Command::new("bash")
        .args(["-c", &line, "bash"])
        .arg(path)
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("cannot make the vendor tar".into())
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Returns one row per thing measured, one column per competitor.
fn table(engine: &str, figures: &Figures) -> String {
    const COLUMNS: [&str; 5] = ["ours", "none", "floor", "zstd", "seed"];
    let mut rows: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for (what, seconds) in figures {
        if let Some((row, column)) = what.split_once(": ") {
            rows.entry(row).or_default().insert(column, *seconds);
        }
    }
    let mut text = format!("{engine:<24}");
    for column in COLUMNS {
        text.push_str(&format!("{column:>9}"));
    }
    for (row, cells) in rows {
        text.push_str(&format!("\n{row:<24}"));
        for column in COLUMNS {
            let cell = cells
                .get(column)
                .map_or_else(String::new, |seconds| format!("{seconds:.2} s"));
            text.push_str(&format!("{cell:>9}"));
        }
    }
    text
}
