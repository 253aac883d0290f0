//! What can go wrong with the engine.

use std::fmt;

/// An error of the engine or of the `docker` command, with the command that met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    kind: EngineErrorKind,
    command: String,
    detail: String,
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// There is no `docker` command in `PATH`.
    NoClient,
    /// The engine does not answer.
    Unreachable,
    /// The engine's socket may not be opened by this user.
    PermissionDenied,
    /// The engine has no space left.
    NoSpace,
    /// A plugin of the command is missing.
    MissingPlugin,
    /// A bake or compose file is refused by the plugin that reads it.
    Definition,
    /// The command failed for another reason.
    Failed,
    /// The command answered something that we do not understand.
    Protocol,
}

impl EngineError {
    /// Returns an error for `command` (program, then sub-command) from what it printed on stderr.
    pub(super) fn from_stderr(command: &str, stderr: &str) -> Self {
        let lower = stderr.to_ascii_lowercase();
        let kind = if lower.contains("permission denied")
            && lower.contains("docker")
            && lower.contains("sock")
        {
            EngineErrorKind::PermissionDenied
        } else if lower.contains("cannot connect to the docker daemon")
            || lower.contains("error during connect")
            || lower.contains("failed to connect to the docker api")
        {
            EngineErrorKind::Unreachable
        } else if lower.contains("no space left on device") {
            EngineErrorKind::NoSpace
        } else {
            EngineErrorKind::Failed
        };
        Self {
            kind,
            command: command.to_owned(),
            detail: tail(stderr),
        }
    }

    pub(super) fn new(kind: EngineErrorKind, command: &str, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            command: command.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// Returns what kind of error it is.
    pub fn kind(&self) -> EngineErrorKind {
        self.kind
    }

    /// Returns the next step for the reader.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            EngineErrorKind::NoClient => Some("install the docker command, or put it into PATH"),
            EngineErrorKind::Unreachable => Some(
                "start the engine, or point DOCKER_HOST (or `docker context use`) at one that runs",
            ),
            EngineErrorKind::PermissionDenied => Some(
                "run as a user of the `docker` group (`sudo usermod -aG docker $USER`, then log in again), or as root",
            ),
            EngineErrorKind::NoSpace => {
                Some("free space on the engine's disk, for example with `docker system prune`")
            }
            EngineErrorKind::MissingPlugin if self.command.contains("compose") => Some(
                "install Docker's compose plugin (`docker-compose-plugin`, or `docker-compose` 2 and later)",
            ),
            EngineErrorKind::MissingPlugin => {
                Some("install Docker's buildx plugin (`docker-buildx-plugin`, or `docker-buildx`)")
            }
            EngineErrorKind::Definition | EngineErrorKind::Failed | EngineErrorKind::Protocol => {
                None
            }
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EngineErrorKind::NoClient => write!(f, "cannot run `docker`: {}", self.detail),
            EngineErrorKind::Unreachable => {
                write!(f, "the Docker engine does not answer: {}", self.detail)
            }
            EngineErrorKind::PermissionDenied => {
                write!(f, "no permission to use the Docker engine: {}", self.detail)
            }
            EngineErrorKind::Definition => {
                write!(f, "`{}` refuses it: {}", self.command, self.detail)
            }
            _ => write!(f, "`{}` failed: {}", self.command, self.detail),
        }
    }
}

impl std::error::Error for EngineError {}

/// Returns the last lines of an error text, as one line of at most 600 characters.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines[lines.len().saturating_sub(4)..].join("; ");
    match text.char_indices().rev().nth(600) {
        Some((start, _)) => format!("…{}", &text[start..]),
        None => text,
    }
}
