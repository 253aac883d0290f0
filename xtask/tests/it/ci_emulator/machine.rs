//! The machine of one job: a fresh checkout, a home of its own, and the engine of the test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::support::{Bench, Run};

/// How `cargo xtask` is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// The real cargo compiles the tasks of the checkout.
    Real,
    /// A script looks for the alias and the shim, as cargo would, and runs the binary under test.
    Wrapper,
}

/// A machine that is new.
pub(crate) struct Machine<'a> {
    bench: &'a Bench<'a>,
    cargo: Cargo,
    folder: TempDir,
}

/// What each script of a job is run with.
pub(super) type Variables = BTreeMap<String, String>;

const WRAPPER: &str = r#"#!/bin/sh
task=$1; shift
line="$task = \"run --quiet --package $task --\""
if ! grep -qxF "$line" .cargo/config.toml; then
  echo "error: no such command: \`$task\`" >&2; exit 101
fi
if ! [ -f "$task/src/main.rs" ] || ! grep -q "\"$task\"" Cargo.toml; then
  echo "error: package ID specification \`$task\` did not match any packages" >&2; exit 101
fi
exec "@xtask@" "$@"
"#;

impl<'a> Machine<'a> {
    /// Wipes the engine, and makes a fresh checkout of `repository`.
    pub(crate) fn blank(
        bench: &'a Bench<'a>,
        repository: &Path,
        cargo: Cargo,
    ) -> Result<Self, Failed> {
        bench.wipe()?;
        let folder = TempDir::with_prefix("dlc-ci-machine-")?;
        let machine = Self {
            bench,
            cargo,
            folder,
        };
        fs::create_dir(machine.home())?;
        check_out(repository, &machine.checkout())?;
        if cargo == Cargo::Wrapper {
            let script = machine.tools().join("cargo");
            fs::create_dir(machine.tools())?;
            fs::write(
                &script,
                WRAPPER.replace("@xtask@", env!("CARGO_BIN_EXE_xtask")),
            )?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        Ok(machine)
    }

    /// Returns the folder of the checkout.
    pub(crate) fn checkout(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Returns a file of the service's own.
    pub(super) fn service_file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Returns where a path of a CI file is: `~/…`, absolute, or in the checkout.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(path) => self.home().join(path),
            None => self.checkout().join(path),
        }
    }

    /// Runs a script with bash and these options; its exit code must be 0.
    pub(super) fn bash(
        &self,
        options: &[&str],
        script: &str,
        variables: &Variables,
    ) -> Result<Run, Failed> {
        let mut command = Command::new("bash");
        command
            .args(options)
            .args(["-c", script])
            .current_dir(self.checkout());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("DOCKER_LAYER_CACHE_") || name.starts_with("CARGO") {
                command.env_remove(&*name);
            }
        }
        let real_home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let kept = |name: &str, folder: &str| {
            std::env::var_os(name).unwrap_or_else(|| real_home.join(folder).into_os_string())
        };
        command
            .env("HOME", self.home())
            .env("DOCKER_CONFIG", kept("DOCKER_CONFIG", ".docker"))
            .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
            .env("CI", "true")
            .env("NO_COLOR", "1")
            .envs(variables);
        self.bench.engine.environment(&mut command);
        if self.cargo == Cargo::Real {
            // What was compiled for this test run serves here, too: all but the shim and the
            // library, which are other packages in another workspace.
            let target = Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2);
            let target = target.ok_or("the binary under test lies in no target folder")?;
            command
                .env("CARGO_NET_OFFLINE", "true")
                .env("CARGO_BUILD_BUILD_DIR", target)
                .env("CARGO_TARGET_DIR", target.join("ci-emulator"));
        }
        let mut path = OsString::from(self.tools());
        let others = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .and_then(|(_, value)| value.map(OsString::from))
            .or_else(|| std::env::var_os("PATH"));
        if let Some(others) = others {
            path.push(":");
            path.push(others);
        }
        command.env("PATH", path);
        Run::of(&mut command)?.success()
    }

    fn tools(&self) -> PathBuf {
        self.folder.path().join("tools")
    }
}

/// Copies a repository without what git would not have.
fn check_out(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let (path, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            if name != "target" && name != ".git" {
                check_out(&path, &to)?;
            }
        } else if entry.file_type()?.is_file() {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
