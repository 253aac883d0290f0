//! What can go wrong with the folder of a cache mount.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use super::ListingError;

/// Why a folder was not read or filled: what, and at which path.
#[derive(Debug)]
pub struct MountError {
    path: PathBuf,
    kind: MountErrorKind,
}

/// The kinds of [`MountError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum MountErrorKind {
    /// The file system refused.
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// What the file system said.
        error: io::Error,
    },
    /// The listing cannot be used.
    Listing(ListingError),
    /// A pack has other bytes than its digest says.
    DamagedPack,
}

impl MountError {
    pub(super) fn new(path: impl AsRef<Path>, kind: MountErrorKind) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            kind,
        }
    }

    /// Returns a function for `map_err`.
    pub(super) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |error| Self::new(path, MountErrorKind::Io { action, error })
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> &MountErrorKind {
        &self.kind
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            MountErrorKind::Io { action, error } => write!(f, "cannot {action} `{path}`: {error}"),
            MountErrorKind::Listing(error) => write!(f, "listing `{path}`: {error}"),
            MountErrorKind::DamagedPack => write!(f, "pack `{path}` is damaged"),
        }
    }
}

impl error::Error for MountError {}
