//! The user's own `docker` command.

use std::process::{Command, Stdio};

/// Runs `docker` and returns what it printed, or what it complained about.
pub(super) fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| {
            format!("failed to run `docker`: {cause}\nhint: install Docker, or put it into PATH")
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "`docker {}` failed: {}",
            arguments.join(" "),
            complaint.trim()
        ))
    }
}
