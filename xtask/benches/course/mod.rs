//! What the benchmarks of whole jobs run on: a Dockerfile, files of some size, lines of shell.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::support::Bench;

/// Fetches, compiles, and puts a small image together.
pub(crate) const DOCKERFILE: &str = "\
FROM @base@ AS deps
COPY deps.lock /deps.lock
ADD vendor.tar /opt/deps/
RUN cat /deps.lock > /deps.done && sleep @work@

FROM deps AS build
COPY src /src
RUN cat /src/main.txt /deps.done > /app

FROM @base@ AS runtime
COPY --from=build /app /app
RUN cat /app > /installed
";

/// Runs a line of shell on the engine and returns its seconds.
pub(crate) fn timed(bench: &Bench<'_>, line: &str) -> Result<f64, Failed> {
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
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{line}` failed: {said}").into())
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), Failed> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Copies a folder in place of another.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    remove(to)?;
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("cannot copy `{}`", from.display()).into())
}

/// Writes a tar of this machine's own libraries and programs, about so many megabytes.
pub(crate) fn vendor(path: &Path, megabytes: usize) -> Result<(), Failed> {
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

/// Returns the number behind the flag `name` of this process.
pub(crate) fn number(name: &str, default: usize) -> usize {
    let mut flags = std::env::args().skip_while(|flag| flag != name).skip(1);
    let value = flags.next().and_then(|value| value.parse().ok());
    value.unwrap_or(default)
}

/// Writes what was measured to `target/bench/NAME.json`.
pub(crate) fn write_json(name: &str, document: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.json")), document.to_string()));
    if let Err(error) = written {
        eprintln!("cannot write to `{}`: {error}", folder.display());
    }
}
