//! `docker push`: an image's layers and manifest out of the engine to a registry.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::client::read_stderr;
use super::{Docker, EngineError, EngineErrorKind};
use crate::oci::Digest;

/// A push that docker gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushFailure {
    /// Docker's own words.
    pub message: String,
    /// What kind of failure it is.
    pub kind: PushFailureKind,
}

/// Why docker gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushFailureKind {
    /// The registry wants other credentials, or any at all.
    Denied,
    /// The engine has no image of that name.
    NoImage,
    /// The registry does not know the repository, and makes none by itself.
    NoRepository,
    /// The tag is there, and may not move.
    Immutable,
    /// Another time will be no better: TLS, a name that cannot be.
    Permanent,
    /// The network or the registry: another time may be better.
    Transient,
}

impl Docker {
    /// Runs `docker push TAG`; each line of its output goes to `print` as it comes. Returns the
    /// digest of the manifest, where docker told it.
    ///
    /// A push that fails is no error here but an outcome.
    ///
    /// # Errors
    /// Where `docker` cannot be started, or the engine does not answer.
    pub fn push(
        &self,
        tag: &str,
        print: &mut dyn FnMut(&str),
    ) -> Result<Result<Option<Digest>, PushFailure>, EngineError> {
        let args = ["push", "--", tag].map(str::to_owned);
        let (mut child, stdout, stderr) = self.start(&args, Stdio::null())?;
        let mut digest = None;
        let stderr = std::thread::scope(|scope| {
            let stderr = scope.spawn(move || read_stderr(stderr));
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                digest = digest_of_line(&line).or(digest.take());
                print(&line);
            }
            stderr.join().expect("the thread does not panic")
        });
        let status = child
            .wait()
            .map_err(|error| EngineError::new(EngineErrorKind::Failed, "docker push", error))?;
        if status.success() {
            return Ok(Ok(digest));
        }
        let error = EngineError::from_stderr("docker push", &stderr);
        if error.kind() != EngineErrorKind::Failed {
            return Err(error);
        }
        Ok(Err(PushFailure::new(stderr.trim())))
    }
}

impl PushFailure {
    fn new(stderr: &str) -> Self {
        let lower = stderr.to_ascii_lowercase();
        let has = |symptoms: &[&str]| symptoms.iter().any(|symptom| lower.contains(symptom));
        let kind = if has(&["immutable"]) {
            PushFailureKind::Immutable
        } else if has(&[
            "does not exist locally",
            "no such image",
            "tag does not exist",
        ]) {
            PushFailureKind::NoImage
        } else if has(&[
            "denied",
            "unauthorized",
            "authentication required",
            "no basic auth credentials",
            "401",
            "403",
        ]) {
            PushFailureKind::Denied
        } else if has(&[
            "name unknown",
            "does not exist",
            "repository name not known",
        ]) {
            PushFailureKind::NoRepository
        } else if has(&[
            "http response to https client",
            "x509",
            "certificate",
            "invalid reference",
        ]) {
            PushFailureKind::Permanent
        } else {
            PushFailureKind::Transient
        };
        let lines: Vec<&str> = stderr.lines().map(str::trim).collect();
        Self {
            message: lines.join("; "),
            kind,
        }
    }
}

/// Reads `latest: digest: sha256:… size: 528`, the last line of a push.
fn digest_of_line(line: &str) -> Option<Digest> {
    let (_, rest) = line.split_once(": digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_the_digest() {
        let digest = Digest::of(b"x");
        let line = format!("1: digest: {digest} size: 527");
        assert_eq!(digest_of_line(&line), Some(digest));
        for line in ["e6dc2712ae85: Pushed", "1: digest: x size: 1", ""] {
            assert_eq!(digest_of_line(line), None, "{line}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        use PushFailureKind::{Denied, Immutable, NoImage, NoRepository, Permanent, Transient};
        for (stderr, expected) in [
            // Docker 28.5.2, without and with the containerd store; Docker Hub; ECR.
            ("no basic auth credentials", Denied),
            (
                "push access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
                Denied,
            ),
            ("denied: requested access to the resource is denied", Denied),
            ("unauthorized: authentication required", Denied),
            (
                "name unknown: The repository with name 'x' does not exist in the registry with id '1'",
                NoRepository,
            ),
            (
                "tag invalid: The image tag '1' already exists in the 'x' repository and cannot be overwritten because the repository is immutable.",
                Immutable,
            ),
            (
                "An image does not exist locally with the tag: 127.0.0.1:5009/nothing",
                NoImage,
            ),
            ("tag does not exist: h/app:1", NoImage),
            (
                "Get \"https://h/v2/\": http: server gave HTTP response to HTTPS client",
                Permanent,
            ),
            (
                "Get \"http://127.0.0.1:5009/v2/\": dial tcp 127.0.0.1:5009: connect: connection refused",
                Transient,
            ),
            (
                "received unexpected HTTP status: 500 Internal Server Error",
                Transient,
            ),
        ] {
            assert_eq!(PushFailure::new(stderr).kind, expected, "{stderr}");
        }
    }
}
