//! What can go wrong with the store.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use crate::oci::Digest;

/// Why the store did not do what it was asked: what, and at which path.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    kind: StoreErrorKind,
}

/// The kinds of [`StoreError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The file system refused.
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// What the file system said.
        error: io::Error,
    },
    /// The bytes of a layer could not be read from where they come from.
    Source(io::Error),
    /// The store was written by a later version.
    NewerFormat {
        /// The version found.
        found: String,
    },
    /// A blob is missing, has another size, other bytes, or is not a file.
    Damaged {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: &'static str,
    },
    /// JSON that does not say what it should.
    Json(serde_json::Error),
    /// A blob beyond the limit for what it should be.
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// A name that no OCI tool would take.
    InvalidName(String),
    /// A folder that is in the way and not ours to remove.
    NotAView,
    /// A folder that is none of ours, with files that would be taken for ours.
    NotAStore,
}

impl StoreError {
    pub(super) fn new(path: impl AsRef<Path>, kind: StoreErrorKind) -> Self {
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
        move |error| Self {
            path,
            kind: StoreErrorKind::Io { action, error },
        }
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> &StoreErrorKind {
        &self.kind
    }

    /// Returns the file or folder that it went wrong with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the next step, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.kind {
            StoreErrorKind::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free disk space, or lower `max-size` under `[store]`")
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    Some("use `--read-only`, or choose a writable store with `--store`")
                }
                _ => None,
            },
            StoreErrorKind::NewerFormat { .. } => {
                Some("update docker-layer-cache, or choose another store with `--store`")
            }
            StoreErrorKind::Damaged { .. } => {
                Some("`cargo xtask docker-store verify` lists all damage; the next save repairs it")
            }
            StoreErrorKind::NotAView => Some("move the folder away"),
            StoreErrorKind::NotAStore => {
                Some("choose an empty folder, or one that does not exist, with `--store`")
            }
            _ => None,
        }
    }
}

impl From<StoreError> for io::Error {
    /// Keeps the kind, such as a full disk, and the whole error inside.
    fn from(error: StoreError) -> Self {
        let kind = match &error.kind {
            StoreErrorKind::Io { error, .. } | StoreErrorKind::Source(error) => error.kind(),
            StoreErrorKind::Damaged { .. } | StoreErrorKind::Json(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            StoreErrorKind::Io { action, error } => {
                write!(f, "store: cannot {action} `{path}`: {error}")
            }
            StoreErrorKind::Source(error) => write!(f, "store: cannot read the layer: {error}"),
            StoreErrorKind::NewerFormat { found } => write!(
                f,
                "store `{path}` has format {found}, this version knows up to {}",
                super::FORMAT
            ),
            StoreErrorKind::Damaged { reason, .. } => {
                write!(f, "store: blob `{path}` is damaged: {reason}")
            }
            StoreErrorKind::Json(error) => write!(f, "store: `{path}` is invalid: {error}"),
            StoreErrorKind::TooLarge { limit_bytes } => {
                write!(f, "store: `{path}` has more than {limit_bytes} bytes")
            }
            StoreErrorKind::InvalidName(name) => {
                write!(
                    f,
                    "store `{path}`: `{}` is not a name for an entry",
                    name.escape_debug()
                )
            }
            StoreErrorKind::NotAView => {
                write!(f, "`{path}` is in the way: it is not a view of a store")
            }
            StoreErrorKind::NotAStore => write!(f, "`{path}` holds something else than a store"),
        }
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            StoreErrorKind::Io { error, .. } | StoreErrorKind::Source(error) => Some(error),
            StoreErrorKind::Json(error) => Some(error),
            _ => None,
        }
    }
}
