//! The error that ends a command: an exit code, what happened, and what to do.

use std::fmt;

use crate::engine::EngineError;

/// The exit codes of the command line.
pub mod exit_code {
    /// All done, also with a cold or a broken cache.
    pub const DONE: u8 = 0;
    /// The build failed and docker gave no code of its own.
    pub const BUILD: u8 = 1;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 2;
    /// A registry refused or did not answer.
    pub const REGISTRY: u8 = 3;
    /// The engine refused or did not answer.
    pub const ENGINE: u8 = 4;
    /// The store could not be used, with `--strict` or by a command on the store itself, or
    /// `docker-store verify` found damage.
    pub const STORE: u8 = 5;
}

/// An error that ends a command.
#[derive(Debug)]
pub struct Error {
    exit_code: u8,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// Returns an error of usage or configuration.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(exit_code::USAGE, message)
    }

    /// Returns an error with one of [`exit_code`], or with docker's own.
    pub fn new(exit_code: u8, message: impl fmt::Display) -> Self {
        Self {
            exit_code,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Returns the error with the next step for the reader.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Returns the error with what was being done put before it.
    #[must_use]
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Returns the next step, where there is one to name.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self {
            exit_code: exit_code::ENGINE,
            message: error.to_string(),
            hint,
        }
    }
}
