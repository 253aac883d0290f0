//! `docker/bases.lock`: the digests that every build uses until somebody updates them.
//!
//! ```text
//! docker.io/library/ruby:3.3 sha256:…
//! ghcr.io/team/base:2 sha256:…
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::notes::write_file;
use crate::error::Error;
use crate::oci::{Digest, Reference};

const HEADER: &str = "\
# The digests of the base images that `cargo xtask docker-*` builds on: reference, then digest.
# `cargo xtask docker-key --update` asks the registries anew. Commit this file.
";

/// The digests of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::task) struct Lock {
    digests: BTreeMap<Reference, Digest>,
}

impl Lock {
    /// Returns where the file of a repository is.
    pub(in crate::task) fn path(root: &Utf8Path) -> Utf8PathBuf {
        root.join("docker/bases.lock")
    }

    /// Reads the file of the repository at `root`, where it has one.
    ///
    /// # Errors
    /// Where it cannot be read, or a line is not a reference and its digest.
    pub(in crate::task) fn read(root: &Utf8Path) -> Result<Option<Self>, Error> {
        let path = Self::path(root);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|error| error.during(format_args!("`{path}`"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::usage(format_args!("cannot read `{path}`: {error}"))),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(in crate::task) fn write(&self, root: &Utf8Path) -> Result<(), Error> {
        write_file(&Self::path(root), self.to_text().as_bytes())
    }

    /// Returns the digest of a reference.
    pub(in crate::task) fn digest(&self, reference: &Reference) -> Option<&Digest> {
        self.digests.get(reference)
    }

    /// Sets the digest of a reference. A reference with a digest of its own needs no line.
    pub(in crate::task) fn insert(&mut self, reference: Reference, digest: Digest) {
        if reference.digest().is_none() {
            self.digests.insert(reference, digest);
        }
    }

    /// Returns how many references have a digest.
    pub(in crate::task) fn len(&self) -> usize {
        self.digests.len()
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let mut lock = Self::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: &str| {
                Error::usage(format_args!("line {}: {reason}", n + 1))
                    .with_hint("`cargo xtask docker-key --update` writes the file anew")
            };
            let (reference, digest) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("not a reference and its digest"))?;
            let reference: Reference = reference
                .parse()
                .map_err(|error| wrong(&format!("{error}")))?;
            let digest = digest
                .trim()
                .parse()
                .map_err(|error| wrong(&format!("{error}")))?;
            if lock.digests.insert(reference, digest).is_some() {
                return Err(wrong("the reference stands here twice"));
            }
        }
        Ok(lock)
    }

    fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (reference, digest) in &self.digests {
            writeln!(text, "{reference} {digest}").expect("a string takes every text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, fill: &str) -> String {
        format!("docker.io/library/{name} sha256:{}\n", fill.repeat(32))
    }

    #[test]
    fn what_is_written_is_read() {
        let text = format!("{HEADER}{}{}", line("a:1", "ab"), line("b:latest", "cd"));
        let lock = Lock::parse(&text).expect("valid");
        assert_eq!(lock.to_text(), text);
        assert!(lock.digest(&"b".parse().expect("valid")).is_some());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("<<<<<<<\n".to_owned(), "line 1: not a reference"),
            (format!("#\n{}", "a:1 sha256:12\n"), "line 2"),
            (
                line("a:1", "ab") + &line("a:1", "cd"),
                "line 2: the reference",
            ),
        ] {
            let error = Lock::parse(&text).expect_err(&text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn references_with_a_digest_are_left_out() {
        let pinned: Reference = format!("a@sha256:{}", "ab".repeat(32))
            .parse()
            .expect("valid");
        let mut lock = Lock::default();
        let digest = pinned.digest().expect("pinned").clone();
        lock.insert(pinned, digest);
        assert_eq!(lock.len(), 0);
    }
}
