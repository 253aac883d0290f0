//! Asks the plugins that understand the files what they say.

use std::io::Write;
use std::process::Stdio;

use camino::Utf8PathBuf;

use super::BakePrint;
use crate::engine::client::not_started;
use crate::engine::{Docker, EngineError, EngineErrorKind};

/// A target of our own: whether its value is escaped in the output tells whether others are.
const PROBE: &str = r#"{"target":{"probe":{"args":{"value":"$${"}}}}"#;

impl Docker {
    /// Runs `docker buildx bake --print` on these files for the named targets and groups, or for
    /// the group `default`.
    ///
    /// # Errors
    /// Where the plugin is missing, or bake refuses.
    pub fn print_bake(
        &self,
        files: &[Utf8PathBuf],
        targets: &[String],
    ) -> Result<BakePrint, EngineError> {
        let mut args = ["buildx", "bake", "--print"].map(str::to_owned).to_vec();
        args.extend(files.iter().map(|file| format!("--file={file}")));
        // A name that looks like a flag is none of bake's.
        args.push("--".to_owned());
        args.extend(targets.iter().cloned());
        let json = self.read_definition("buildx", &args)?;
        let may_be_escaped = ["$${", "%%{"].iter().any(|mark| {
            json.windows(mark.len())
                .any(|found| found == mark.as_bytes())
        });
        let is_escaped = may_be_escaped && self.escapes()?;
        Ok(BakePrint { json, is_escaped })
    }

    /// Runs `docker compose config` on these files.
    ///
    /// # Errors
    /// Where the plugin is missing, or compose refuses.
    pub fn print_compose(&self, files: &[Utf8PathBuf]) -> Result<Vec<u8>, EngineError> {
        let mut args = vec!["compose".to_owned()];
        args.extend(files.iter().map(|file| format!("--file={file}")));
        args.extend(["config", "--format=json"].map(str::to_owned));
        self.read_definition("compose", &args)
    }

    fn read_definition(&self, plugin: &str, args: &[String]) -> Result<Vec<u8>, EngineError> {
        let output = self.output(args)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        // Without the plugin, docker complains of the first flag: only this tells it for certain.
        let version = [plugin, "version"].map(str::to_owned);
        let command = format!(
            "docker {plugin} {}",
            if plugin == "compose" {
                "config"
            } else {
                "bake"
            }
        );
        if !self.output(&version)?.status.success() {
            let detail = format!("the {plugin} plugin is not there");
            return Err(EngineError::new(
                EngineErrorKind::MissingPlugin,
                &command,
                detail,
            ));
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(EngineError::new(
            EngineErrorKind::Definition,
            &command,
            complaint(&stderr),
        ))
    }

    /// Tells whether this buildx escapes values in what it prints.
    fn escapes(&self) -> Result<bool, EngineError> {
        let args = ["buildx", "bake", "--print", "--file=-", "probe"].map(str::to_owned);
        let failed = |error: std::io::Error| {
            EngineError::new(EngineErrorKind::Failed, "docker buildx", error)
        };
        let mut child = self
            .command(&args)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(not_started)?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(PROBE.as_bytes()).map_err(failed)?;
        drop(stdin);
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            let detail = "it does not print a target read from stdin";
            return Err(EngineError::new(
                EngineErrorKind::Protocol,
                "docker buildx bake",
                detail,
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).contains("$${"))
    }
}

/// Returns what went wrong out of what the plugin printed: without its progress, and without the
/// lines of the file, which may hold what is nobody's business.
fn complaint(stderr: &str) -> String {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines()
        .filter_map(|line| line.strip_prefix("ERROR: "))
        .next_back();
    error
        .or_else(|| lines().next_back())
        .unwrap_or("it does not say why")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_progress_and_excerpts() {
        for (stderr, expected) in [
            (
                "#1 [internal] load local bake definitions\n#1 DONE 0.0s\ndocker-bake.hcl:3\n--------\n   3 | >>> args = { T = \"s3cret\"\n--------\nERROR: docker-bake.hcl:3,1-2: Invalid expression\n",
                "docker-bake.hcl:3,1-2: Invalid expression",
            ),
            (
                "time=\"…\" level=warning msg=\"unset\"\nopen /repo/none.yaml: no such file or directory\n",
                "open /repo/none.yaml: no such file or directory",
            ),
            ("", "it does not say why"),
        ] {
            assert_eq!(complaint(stderr), expected);
        }
    }
}
