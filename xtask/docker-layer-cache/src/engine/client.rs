//! The `docker` command: one place where it is started.

use std::io::Read;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use xshell::{Shell, cmd};

use super::{EngineError, EngineErrorKind};

/// The `docker` command in `PATH`, which finds its engine by `DOCKER_HOST` or its context.
#[derive(Debug, Clone, Default)]
pub struct Docker {
    directory: Option<std::path::PathBuf>,
    environment: Vec<(String, String)>,
}

impl Docker {
    /// Returns the `docker` command with the environment of this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the command run in `directory`: what relative paths in its arguments are relative to.
    #[must_use]
    pub fn in_directory(&self, directory: &std::path::Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            environment: self.environment.clone(),
        }
    }

    /// Returns the command with one more variable set for it alone.
    #[must_use]
    pub fn with_env(&self, name: &str, value: &str) -> Self {
        let mut environment = self.environment.clone();
        environment.push((name.to_owned(), value.to_owned()));
        Self {
            directory: self.directory.clone(),
            environment,
        }
    }

    /// Returns a command that is not started yet.
    ///
    /// # Errors
    /// Where there is no current directory.
    pub(super) fn command(&self, args: &[String]) -> Result<Command, EngineError> {
        let sh = Shell::new()
            .map_err(|error| EngineError::new(EngineErrorKind::NoClient, "docker", error))?;
        let mut command = Command::from(cmd!(sh, "docker {args...}"));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // One engine, one answer: texts are matched in English.
        command.env("LC_ALL", "C");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        Ok(command)
    }

    /// Runs `docker ARGS` with nothing on stdin, and returns what it printed on stdout.
    ///
    /// # Errors
    /// Where the command cannot be started or exits with another code than 0.
    pub fn read(&self, args: &[String]) -> Result<Vec<u8>, EngineError> {
        let output = self.output(args)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(EngineError::from_stderr(
            &summary(args),
            &String::from_utf8_lossy(&output.stderr),
        ))
    }

    /// Runs `docker ARGS` and returns all that came of it, whatever its exit code.
    ///
    /// # Errors
    /// Where the command cannot be started.
    pub(super) fn output(&self, args: &[String]) -> Result<Output, EngineError> {
        self.command(args)?
            .stdin(Stdio::null())
            .output()
            .map_err(not_started)
    }

    /// Starts `docker ARGS` with pipes behind its stdout and stderr.
    ///
    /// # Errors
    /// Where the command cannot be started.
    pub(super) fn start(
        &self,
        args: &[String],
        stdin: Stdio,
    ) -> Result<(Child, ChildStdout, ChildStderr), EngineError> {
        let mut child = self
            .command(args)?
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        Ok((child, stdout, stderr))
    }
}

/// Returns the error of a command that could not be started.
pub(super) fn not_started(error: std::io::Error) -> EngineError {
    EngineError::new(EngineErrorKind::NoClient, "docker", error)
}

/// Returns `docker` and the words of `args` before the first flag or path: enough to know the
/// command, without a build arg that could be a secret.
pub(super) fn summary(args: &[String]) -> String {
    let mut text = "docker".to_owned();
    for word in args
        .iter()
        .take(3)
        .take_while(|word| !word.starts_with('-') && !word.contains(['/', ':', '=']))
    {
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// Reads at most the last 64 KiB of a child's stderr.
pub(super) fn read_stderr(mut stderr: impl Read) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
        if text.len() > 128 * 1024 {
            text.drain(..64 * 1024);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
