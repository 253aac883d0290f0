//! `docker-key` against what one would write instead, in one run.
//!
//! ```sh
//! cargo bench -p xtask --bench key --profile dev -- [--runs 7] [--latency 50] [--files 100000]
//! ```
//!
//! `--profile dev`, since a plain `cargo xtask` is a dev build; without it, it is a release build.
//!
//! Bases: 1 and 10 references at a registry on loopback that answers every request late.
//! - *recipe*: curl and jq, one base after the other: ping, then the manifest, digest from the
//!   header;
//! - *skopeo*: `skopeo inspect --no-tags`, one base after the other;
//! - *first*: `docker-key` on a machine that knows nothing: it reads the bases' configs, too, for
//!   `ONBUILD`, which the others do not;
//! - *again*: `docker-key` where it ran before.
//!
//! Both are run without an engine, as the others are, and with the engine that `docker` reaches,
//! whose mirrors, platform and builder are then part of the key.
//!
//! Files: a tree of many files under one glob, against `git ls-files | xargs sha256sum`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use docker_layer_cache_demo::{BaseImage, Fault, Registry};
use serde_json::Value;
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RECIPE: &str = r#"
set -euo pipefail
accept='application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'
for reference in "$@"; do
  host=${reference%%/*}; rest=${reference#*/}; name=${rest%:*}; tag=${rest##*:}
  # A ping, where Docker Hub wants a token: curl … | jq -r .token
  curl -fsS "http://$host/v2/" | jq -c . >/dev/null
  curl -fsS -D - -o /dev/null -H "Accept: $accept" "http://$host/v2/$name/manifests/$tag" |
    tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'
done
"#;

fn main() -> Result<()> {
    let flags: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = flags.iter().position(|flag| flag == name);
        at.and_then(|at| flags.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    let runs = number("--runs", 7);
    let latency = Duration::from_millis(number("--latency", 50) as u64);
    let mut figures = Figures::default();
    for n_bases in [1, 10] {
        bases(n_bases, runs, latency, &mut figures)?;
        figures.print();
    }
    files(number("--files", 100_000), runs.min(5), &mut figures)?;
    figures.print();
    Ok(())
}

/// Times by name, in the order in which they came.
#[derive(Default)]
struct Figures(Vec<(String, Vec<Duration>)>);

impl Figures {
    fn add(&mut self, name: &str, time: Duration) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => times.push(time),
            None => self.0.push((name.to_owned(), vec![time])),
        }
    }

    /// Prints what came since it was last called.
    fn print(&mut self) {
        let (median, min, max) = ("median", "min", "max");
        println!("{:<42} {median:>9} {min:>9} {max:>9}  runs", "ms");
        for (name, times) in self.0.drain(..) {
            let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
            ms.sort_by(f64::total_cmp);
            let (median, min, max) = (ms[ms.len() / 2], ms[0], ms[ms.len() - 1]);
            println!(
                "{name:<42} {median:>9.1} {min:>9.1} {max:>9.1}  {:>4}",
                ms.len()
            );
        }
    }
}

fn bases(n_bases: usize, runs: usize, latency: Duration, figures: &mut Figures) -> Result<()> {
    let registry = Registry::start()?;
    let host = without_tls(registry.host())?;
    let image = BaseImage::make()?;
    let mut references = Vec::new();
    let mut dockerfile = String::new();
    let mut expected = Vec::new();
    for n in 0..n_bases {
        let base = image.variant(u32::try_from(n)?);
        base.push(&registry.host(), &format!("bench/base{n}"), "1")?;
        let reference = format!("{host}/bench/base{n}:1");
        write!(dockerfile, "FROM {reference} AS s{n}\nRUN true\n")?;
        references.push(reference);
        expected.push(base.index().digest.to_string());
    }
    dockerfile.push_str("FROM scratch\n");
    for n in 0..n_bases {
        writeln!(dockerfile, "COPY --from=s{n} /etc/base-release /{n}")?;
    }
    let repository = TempDir::with_prefix("dlc-bench-")?;
    fs::create_dir_all(repository.path().join("docker"))?;
    fs::write(repository.path().join("docker/Dockerfile"), dockerfile)?;
    fs::write(
        repository.path().join("docker/images.toml"),
        "[image.app]\n",
    )?;
    registry.fail(Fault::Slow(latency));

    let has_recipe = has("curl") && has("jq");
    let has_skopeo = has("skopeo");
    let engine = Command::new("docker")
        .arg("info")
        .output()
        .is_ok_and(|output| output.status.success());
    for (name, is_there) in [("curl and jq", has_recipe), ("skopeo", has_skopeo)] {
        if !is_there {
            println!("{name}: not on this machine, so left out");
        }
    }
    let name = |who: &str| format!("{n_bases:>2} bases: {who}");
    for _ in 0..runs {
        if has_recipe {
            let mut command = Command::new("bash");
            command.args(["-c", RECIPE, "recipe"]).args(&references);
            let (time, output) = timed(&mut command)?;
            figures.add(&name("curl and jq"), time);
            assert_eq!(lines(&output), expected, "the recipe's digests");
        }
        if has_skopeo {
            let started = Instant::now();
            let mut found = Vec::new();
            for reference in &references {
                let mut command = Command::new("skopeo");
                command
                    .args(["inspect", "--no-tags", "--tls-verify=false"])
                    .args(["--format", "{{.Digest}}"])
                    .arg(format!("docker://{reference}"));
                found.extend(lines(&timed(&mut command)?.1));
            }
            figures.add(&name("skopeo inspect --no-tags"), started.elapsed());
            assert_eq!(found, expected, "skopeo's digests");
        }
        if engine {
            let mut command = Command::new("docker");
            let (time, _) = timed(command.args(["info", "--format", "{{json .}}"]))?;
            figures.add(&name("docker info alone"), time);
        }
        for (with, asks_engine) in [("no engine", false), ("engine", true)] {
            if asks_engine && !engine {
                continue;
            }
            let _ = fs::remove_dir_all(repository.path().join("target"));
            for when in ["first", "again"] {
                let (time, digests) = key(repository.path(), asks_engine)?;
                figures.add(&name(&format!("docker-key, {with}, {when}")), time);
                let wanted: BTreeMap<_, _> = references.iter().zip(&expected).collect();
                let found: BTreeMap<_, _> = digests.iter().map(|(a, b)| (a, b)).collect();
                assert_eq!(found, wanted, "docker-key's digests");
            }
        }
    }
    Ok(())
}

/// Runs `docker-key`, with or without an engine, and returns how long it took, and the digests of the bases.
fn key(repository: &Path, asks_engine: bool) -> Result<(Duration, Vec<(String, String)>)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["docker-key", "--json", "--root"])
        .arg(repository);
    if !asks_engine {
        // Where there is no docker command, there is none to wait for.
        command.env("PATH", repository);
    }
    let (time, output) = timed(&mut command)?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bases = report["bases"].as_array().cloned().unwrap_or_default();
    let bases = bases
        .iter()
        .map(|base| (text(&base["reference"]), text(&base["digest"])));
    Ok((time, bases.collect()))
}

fn files(n_files: usize, runs: usize, figures: &mut Figures) -> Result<()> {
    let repository = TempDir::with_prefix("dlc-bench-")?;
    let root = repository.path();
    let mut index = String::new();
    for n in 0..n_files {
        let path = format!("src/{:03}/file{n}.txt", n / 1000);
        if n % 1000 == 0 {
            fs::create_dir_all(root.join(&path).parent().unwrap_or(root))?;
        }
        // 0.1 to 4 kB, as sources are.
        fs::write(root.join(&path), format!("line {n}\n").repeat(10 + n % 300))?;
        writeln!(index, "100644 {:040x} 0\t{path}", n + 1)?;
    }
    fs::create_dir_all(root.join("docker"))?;
    fs::write(root.join("docker/Dockerfile"), "FROM scratch\nCOPY src /\n")?;
    fs::write(
        root.join("docker/images.toml"),
        "[image.app]\ninputs = [\"src/**\"]\n",
    )?;
    let has_git = has("git") && has("sha256sum");
    if has_git {
        timed(
            Command::new("git")
                .args(["init", "--quiet"])
                .current_dir(root),
        )?;
        let mut git = Command::new("git")
            .args(["update-index", "--index-info"])
            .current_dir(root)
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = git.stdin.take() {
            stdin.write_all(index.as_bytes())?;
        }
        git.wait()?;
    } else {
        println!("git and sha256sum: not on this machine, so left out");
    }
    for run in 0..=runs {
        // The first run brings the files into the page cache.
        let mut add = |who: &str, time: Duration| {
            if run > 0 {
                figures.add(&format!("{n_files} files: {who}"), time);
            }
        };
        if has_git {
            let recipes = [
                ("ls-files | xargs sha256sum", "sha256sum"),
                ("ls-files | xargs -P2 sha256sum", "-P2 -n 2000 sha256sum"),
            ];
            for (who, tail) in recipes {
                let script = format!("git ls-files -z src | xargs -0 {tail} | sha256sum");
                let mut command = Command::new("bash");
                command.args(["-c", &script]).current_dir(root);
                add(who, timed(&mut command)?.0);
            }
        }
        let _ = fs::remove_dir_all(root.join("target"));
        for when in ["first", "again"] {
            let (time, _) = key(root, false)?;
            add(&format!("docker-key, {when}"), time);
        }
    }
    Ok(())
}

fn timed(command: &mut Command) -> Result<(Duration, Output)> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let time = started.elapsed();
    if output.status.success() {
        Ok((time, output))
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?} failed: {said}").into())
    }
}

/// Returns an address that passes connections on to `host` and hangs up on TLS: skopeo tries that
/// first, and our registry would keep it waiting.
fn without_tls(host: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let host = host.clone();
            thread::spawn(move || pass(&client, &host));
        }
    });
    Ok(address)
}

fn pass(client: &TcpStream, host: &str) -> std::io::Result<()> {
    const TLS_HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    if client.peek(&mut first)? == 0 || first[0] == TLS_HANDSHAKE {
        return client.shutdown(Shutdown::Both);
    }
    let server = TcpStream::connect(host)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut &*client, &mut &server);
            server.shutdown(Shutdown::Write)
        });
        let _ = std::io::copy(&mut &server, &mut &*client);
        client.shutdown(Shutdown::Both)
    })
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}
