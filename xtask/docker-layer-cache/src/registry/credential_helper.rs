//! Docker's credential helpers: `docker-credential-NAME get`, the server on standard input.
//!
//! Source: <https://github.com/docker/docker-credential-helpers/blob/v0.9.4/client/client.go>

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

/// How long a helper may take: some wait for a person to unlock a key ring.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any credential; a bound for a helper gone wild.
const LONGEST_ANSWER_BYTES: u64 = 1 << 20;

/// What a helper says.
pub(super) enum HelperAnswer {
    Found { user: String, secret: String },
    NotFound,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper `name`, from `folder` or else from `PATH`, for the credentials of `server`.
///
/// # Errors
///
/// Says which helper failed and how, without anything that it printed on standard output.
pub(super) fn get(
    folder: Option<&Utf8Path>,
    name: &str,
    server: &str,
) -> Result<HelperAnswer, String> {
    // The name comes from a file: it must not lead to a program elsewhere.
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !plain {
        return Err(format!("`{name}` is not the name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    // A bare name is looked up in PATH.
    let path = folder.map_or_else(
        || Utf8PathBuf::from(&program),
        |folder| folder.join(&program),
    );
    let failed = |cause: &str| format!("`{program} get` for `{server}`: {cause}");
    let mut child = Command::new(&path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that needs no input may be gone already; what it answers counts.
        let _ = stdin.write_all(server.as_bytes());
    }
    let (sender, receiver) = mpsc::channel();
    for (is_stdout, pipe) in [
        (
            true,
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ),
        (
            false,
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ),
    ] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                // What was read before an error is what there is.
                let _ = pipe.take(LONGEST_ANSWER_BYTES).read_to_end(&mut bytes);
            }
            let _ = sender.send((is_stdout, bytes));
        });
    }
    drop(sender);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        match receiver.recv_timeout(PATIENCE) {
            Ok((true, bytes)) => stdout = bytes,
            Ok((false, bytes)) => stderr = bytes,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(&format!("no answer in {} s", PATIENCE.as_secs())));
            }
        }
    }
    let status = child.wait().map_err(|error| failed(&error.to_string()))?;
    let stdout = String::from_utf8_lossy(&stdout);
    if !status.success() {
        // Helpers print their errors on standard output, so that this is no secret.
        let said = if stdout.trim().is_empty() {
            String::from_utf8_lossy(&stderr)
        } else {
            stdout
        };
        let said = said.trim();
        // The helpers' own words for "there is no login for this server".
        if said.contains("credentials not found") || said.contains("no credentials server URL") {
            return Ok(HelperAnswer::NotFound);
        }
        let line: String = said
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        return Err(failed(&format!("{status}: {line}")));
    }
    let answer: Answer = serde_json::from_str(&stdout)
        .map_err(|_| failed("its answer is not the JSON of a credential helper"))?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(HelperAnswer::NotFound);
    }
    Ok(HelperAnswer::Found {
        user: answer.username,
        secret: answer.secret,
    })
}
