//! Runs of the real binary.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use super::Report;

/// Longer than anything that the tests do; a command that hangs is a failure, not a stuck suite.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Run {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) time: Duration,
}

/// Returns the binary under test, free of the caller's settings.
pub(crate) fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOCKER_LAYER_CACHE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CI").env("NO_COLOR", "1");
    command
}

impl Run {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Result<Self, Failed> {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err(format!("{} did not end in {PATIENCE:?}", describe(command)).into());
            }
            thread::sleep(Duration::from_millis(10));
        };
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Ok(Self {
            command: describe(command),
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            time: started.elapsed(),
        })
    }

    /// Returns the run if it succeeded, otherwise all that it said.
    pub(crate) fn success(self) -> Result<Self, Failed> {
        self.exit(0)
    }

    /// Returns the run if it ended with `code`, otherwise all that it said.
    pub(crate) fn exit(self, code: i32) -> Result<Self, Failed> {
        if self.code == Some(code) {
            Ok(self)
        } else {
            Err(self.failure(&format!("ended with {:?}, not {code}", self.code)))
        }
    }

    /// Returns the run if its talk has every one of `parts`, in whatever case.
    pub(crate) fn says(self, parts: &[&str]) -> Result<Self, Failed> {
        let talk = self.stderr.to_lowercase();
        match parts
            .iter()
            .find(|part| !talk.contains(&part.to_lowercase()))
        {
            None => Ok(self),
            Some(part) => Err(self.failure(&format!("does not say `{part}`"))),
        }
    }

    /// Returns the run if its talk has at least one of `parts`, in whatever case.
    pub(crate) fn says_one_of(self, parts: &[&str]) -> Result<Self, Failed> {
        let talk = self.stderr.to_lowercase();
        if parts.iter().any(|part| talk.contains(&part.to_lowercase())) {
            Ok(self)
        } else {
            Err(self.failure(&format!("says none of {parts:?}")))
        }
    }

    /// Returns the report on `image` that `--json` put on stdout.
    pub(crate) fn report(&self, image: &str) -> Result<Report, Failed> {
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&self.stdout)
            .into_iter::<Value>()
            .collect();
        let values =
            values.map_err(|cause| self.failure(&format!("stdout is no JSON: {cause}")))?;
        let objects: Vec<Value> = values
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(values) => values,
                value => vec![value],
            })
            .collect();
        objects
            .iter()
            .find(|object| object["image"] == image)
            .ok_or_else(|| self.failure(&format!("no object on `{image}` on stdout")))
            .and_then(|object| Report::from_json(object).map_err(|error| self.failure(&error)))
    }

    /// Returns a failure with everything that is known of the run.
    pub(crate) fn failure(&self, what: &str) -> Failed {
        format!(
            "{} {what}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.stdout, self.stderr
        )
        .into()
    }
}

/// Returns the program and its arguments; the environment would only hide them.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    let program = program.unwrap_or_default().to_string_lossy();
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect();
    format!("`{program} {}`", arguments.join(" "))
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What arrived before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}
