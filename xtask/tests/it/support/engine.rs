//! One engine: how to reach it, and whose turn it is.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::Failed;

/// An engine, and the `docker` command that drives it.
#[derive(Debug)]
pub(crate) struct Engine {
    name: String,
    /// `None`: whatever the user's own `docker` reaches.
    host: Option<String>,
    pub(super) path: Option<String>,
    pub(super) config: Option<String>,
    pub(super) lock: PathBuf,
    in_use: Mutex<()>,
}

/// The right to use an engine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _file: File,
    _in_use: MutexGuard<'a, ()>,
}

impl Engine {
    pub(super) fn named(name: &str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: Some(host.to_owned()),
            path: None,
            config: None,
            lock: lock_file(host),
            in_use: Mutex::new(()),
        }
    }

    pub(super) fn reached_by_docker() -> Self {
        let host = std::env::var("DOCKER_HOST")
            .unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        Self {
            name: "default".to_owned(),
            host: None,
            lock: lock_file(&host),
            path: None,
            config: None,
            in_use: Mutex::new(()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the engine was named for tests, and may be wiped.
    pub(crate) fn is_ours(&self) -> bool {
        self.host.is_some()
    }

    /// Sets the environment in which `docker` reaches this engine and no other.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
            for name in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
                command.env_remove(name);
            }
        }
        if let Some(config) = &self.config {
            command.env("DOCKER_CONFIG", config);
        }
        if let Some(folder) = &self.path {
            let mut path = OsString::from(folder);
            if let Some(rest) = std::env::var_os("PATH") {
                path.push(":");
                path.push(rest);
            }
            command.env("PATH", path);
        }
        for name in ["DOCKER_BUILDKIT", "BUILDKIT_PROGRESS", "BUILDX_BUILDER"] {
            command.env_remove(name);
        }
        command
    }

    /// Returns a `docker` command for this engine.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Command {
        // Through the shell's search, so that PATH of the child counts and not ours.
        let mut command = Command::new("/usr/bin/env");
        command.arg("docker").args(arguments).stdin(Stdio::null());
        self.environment(&mut command);
        command
    }

    /// Runs `docker` and returns what it printed; the error is what it complained about.
    pub(super) fn docker_text(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self
            .docker(arguments)
            .output()
            .map_err(|cause| format!("failed to run docker: {cause}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!(
                "`docker {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            ))
        }
    }

    /// Runs `docker`, which must succeed, and returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, Failed> {
        Ok(self.docker_text(arguments)?)
    }

    /// Waits for the turn of a test, in this process and among all of the machine.
    pub(crate) fn take_turn(&self) -> Result<Turn<'_>, Failed> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::create(&self.lock)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|cause| format!("failed to lock `{}`: {cause}", self.lock.display()))?;
        Ok(Turn {
            _file: file,
            _in_use: in_use,
        })
    }
}

fn lock_file(host: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    std::env::temp_dir().join(format!(
        "docker-layer-cache-engine-{:016x}.lock",
        hasher.finish()
    ))
}
