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
    /// What chooses another builder or strategy than the engine's own best one.
    settings: Vec<(&'static str, &'static str)>,
    in_use: Mutex<()>,
}

/// What builds on an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestedBuilder {
    /// Neither mounts nor here-documents nor `COPY --link`.
    Classic,
    /// `BuildKit` of Docker 20.10: mounts, but neither here-documents nor `COPY --link`.
    FirstBuildkit,
    /// All of it.
    Buildkit,
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
            settings: Vec::new(),
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
            settings: Vec::new(),
            in_use: Mutex::new(()),
        }
    }

    /// Returns the same engine once for each other way in which layers can be kept on it.
    pub(crate) fn other_ways(&self) -> Result<Vec<Engine>, Failed> {
        let way = |name: &str, setting| Engine {
            name: format!("{}-{name}", self.name),
            host: self.host.clone(),
            path: self.path.clone(),
            config: self.config.clone(),
            lock: self.lock.clone(),
            settings: vec![setting],
            in_use: Mutex::new(()),
        };
        let driver = self.run(&["info", "--format", "{{json .DriverStatus}}"])?;
        if driver.contains("io.containerd.snapshotter") {
            return Ok(Vec::new());
        }
        Ok(if self.run(&["buildx", "version"]).is_ok() {
            let inline = ("DOCKER_LAYER_CACHE_STRATEGY", "inline-stage-images");
            vec![
                way("inline", inline),
                way("classic", ("DOCKER_BUILDKIT", "0")),
            ]
        } else if self.client_major()? < 23 {
            vec![way("buildkit", ("DOCKER_BUILDKIT", "1"))]
        } else {
            // Since 23.0 the client has no BuildKit of its own.
            Vec::new()
        })
    }

    fn client_major(&self) -> Result<u32, Failed> {
        let version = self.run(&["version", "--format", "{{.Client.Version}}"])?;
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        Ok(major.ok_or_else(|| format!("the client's version is `{}`", version.trim()))?)
    }

    /// Returns what the builder understands of a Dockerfile.
    pub(crate) fn builder(&self) -> TestedBuilder {
        let asked = self
            .settings
            .iter()
            .find(|(name, _)| *name == "DOCKER_BUILDKIT");
        match asked {
            Some((_, "0")) => TestedBuilder::Classic,
            Some(_) => TestedBuilder::FirstBuildkit,
            None if self.run(&["buildx", "version"]).is_ok() => TestedBuilder::Buildkit,
            None => TestedBuilder::Classic,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the engine was named for tests, and may be wiped.
    pub(crate) fn is_ours(&self) -> bool {
        self.host.is_some()
    }

    /// Sets the environment in which `docker` reaches this engine and no other, and builds as it is
    /// to be tested.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.reach(command).envs(self.settings.iter().copied())
    }

    fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
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
        self.reach(&mut command);
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
