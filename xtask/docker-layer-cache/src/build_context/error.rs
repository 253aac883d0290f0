//! What can go wrong with files, ignore rules and globs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use camino::Utf8Path;

/// Why a build context cannot be read.
#[derive(Debug)]
pub struct ContextError {
    kind: Box<ErrorKind>,
}

#[derive(Debug)]
enum ErrorKind {
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Write {
        path: PathBuf,
        source: io::Error,
    },
    Name {
        path: PathBuf,
    },
    IgnorePattern {
        pattern: String,
        reason: &'static str,
    },
    IgnoreLine {
        line: usize,
    },
    Glob {
        pattern: String,
        reason: String,
    },
    OutsideRoot {
        pattern: String,
    },
    ThroughSymlink {
        pattern: String,
        link: String,
    },
}

impl ContextError {
    pub(super) fn read(path: impl AsRef<Path>, source: io::Error) -> Self {
        ErrorKind::Read {
            path: path.as_ref().to_owned(),
            source,
        }
        .into()
    }

    pub(super) fn write(path: impl AsRef<Path>, source: io::Error) -> Self {
        ErrorKind::Write {
            path: path.as_ref().to_owned(),
            source,
        }
        .into()
    }

    pub(super) fn name(path: impl AsRef<Path>) -> Self {
        ErrorKind::Name {
            path: path.as_ref().to_owned(),
        }
        .into()
    }

    pub(super) fn ignore_pattern(pattern: &str, reason: &'static str) -> Self {
        ErrorKind::IgnorePattern {
            pattern: pattern.to_owned(),
            reason,
        }
        .into()
    }

    pub(super) fn ignore_line(line: usize) -> Self {
        ErrorKind::IgnoreLine { line }.into()
    }

    pub(super) fn glob(pattern: &str, reason: impl fmt::Display) -> Self {
        ErrorKind::Glob {
            pattern: pattern.to_owned(),
            reason: reason.to_string(),
        }
        .into()
    }

    pub(super) fn outside_root(pattern: &str) -> Self {
        ErrorKind::OutsideRoot {
            pattern: pattern.to_owned(),
        }
        .into()
    }

    pub(super) fn through_symlink(pattern: &str, link: &Utf8Path) -> Self {
        ErrorKind::ThroughSymlink {
            pattern: pattern.to_owned(),
            link: link.to_string(),
        }
        .into()
    }

    /// Returns the next step for the user, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match *self.kind {
            ErrorKind::Read { .. } => "make the file readable, or leave it out with a `!` pattern",
            ErrorKind::Write { .. } => {
                "make the folder writable: files are digested anew until then"
            }
            ErrorKind::Name { .. } => "rename the file: paths in keys are UTF-8",
            ErrorKind::IgnorePattern { .. } | ErrorKind::IgnoreLine { .. } => {
                "mend the line in the ignore file: BuildKit refuses it as well"
            }
            ErrorKind::Glob { .. } => "mend the pattern in `inputs`",
            ErrorKind::OutsideRoot { .. } => {
                "patterns are relative to the root of the repository and stay in it"
            }
            ErrorKind::ThroughSymlink { .. } => "name the path that the link stands for",
        })
    }
}

impl From<ErrorKind> for ContextError {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind: Box::new(kind),
        }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            ErrorKind::Read { path, source } => {
                write!(f, "cannot read `{}`: {source}", path.display())
            }
            ErrorKind::Write { path, source } => {
                write!(f, "cannot write `{}`: {source}", path.display())
            }
            ErrorKind::Name { path } => {
                write!(f, "the name of `{}` is not UTF-8", path.display())
            }
            ErrorKind::IgnorePattern { pattern, reason } => {
                write!(f, "ignore pattern `{pattern}`: {reason}")
            }
            ErrorKind::IgnoreLine { line } => {
                write!(f, "line {line} of the ignore file: longer than 65535 bytes")
            }
            ErrorKind::Glob { pattern, reason } => {
                write!(f, "input pattern `{pattern}`: {reason}")
            }
            ErrorKind::OutsideRoot { pattern } => {
                write!(
                    f,
                    "input pattern `{pattern}` leaves the root of the repository"
                )
            }
            ErrorKind::ThroughSymlink { pattern, link } => {
                write!(
                    f,
                    "input pattern `{pattern}` goes through the symbolic link `{link}`"
                )
            }
        }
    }
}

impl std::error::Error for ContextError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            ErrorKind::Read { source, .. } | ErrorKind::Write { source, .. } => Some(source),
            _ => None,
        }
    }
}
