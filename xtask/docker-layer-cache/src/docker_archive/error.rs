//! What can be wrong with an archive.

use std::{error, fmt, io};

use crate::oci::{DiffId, Digest};

/// Why an archive was not read or written: what, and at which entry.
#[derive(Debug)]
pub struct ArchiveError {
    entry: Option<String>,
    kind: ArchiveErrorKind,
}

/// The kinds of [`ArchiveError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ArchiveErrorKind {
    /// The stream could not be read, or is not a tar.
    Read(io::Error),
    /// The archive could not be written.
    Write(io::Error),
    /// The sink did not take a layer, or a layer to write could not be opened or read.
    Layer(io::Error),
    /// The stream ends inside an entry.
    Truncated,
    /// There is no `manifest.json`: the stream ended early, or `docker save` did not write it.
    NoManifest,
    /// JSON that does not say what it should.
    Json(serde_json::Error),
    /// A path that is absolute, has `..`, or is not UTF-8.
    UnsafePath,
    /// An entry that is neither a file, a directory nor a symlink to a layer.
    UnexpectedType,
    /// A path that occurs twice.
    Duplicate,
    /// JSON beyond what an image needs.
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// Bytes that are not what their name says.
    DigestMismatch {
        /// The digest in the entry's name or in the image's config.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// `manifest.json` names an entry that the archive does not have, or that is of another type.
    Missing,
    /// The config and `manifest.json` disagree on the number of layers.
    LayerCount {
        /// Diff IDs in the config.
        config: usize,
        /// Layers in `manifest.json`.
        manifest: usize,
    },
    /// A layer to write has another size than announced.
    LayerSize {
        /// The layer.
        diff_id: DiffId,
        /// The announced size in bytes.
        expected: u64,
    },
}

impl ArchiveError {
    pub(super) fn new(kind: ArchiveErrorKind) -> Self {
        Self { entry: None, kind }
    }

    pub(super) fn at(entry: &str, kind: ArchiveErrorKind) -> Self {
        Self {
            entry: Some(entry.to_owned()),
            kind,
        }
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> &ArchiveErrorKind {
        &self.kind
    }

    /// Returns the path inside the archive, where one entry is at fault.
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// Returns the cause if it lies with the layer sink or the source of a layer: the store's own
    /// error.
    pub fn layer_error(&self) -> Option<&io::Error> {
        match &self.kind {
            ArchiveErrorKind::Layer(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the next step, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            ArchiveErrorKind::NoManifest | ArchiveErrorKind::Truncated => Some(
                "`docker save` ended early: see its own error, and the engine's free disk space",
            ),
            ArchiveErrorKind::DigestMismatch { .. } => {
                Some("run the save again; if it repeats, the engine's copy of the image is damaged")
            }
            _ => None,
        }
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("image archive")?;
        if let Some(entry) = &self.entry {
            write!(f, ", entry `{}`", entry.escape_debug())?;
        }
        f.write_str(": ")?;
        match &self.kind {
            ArchiveErrorKind::Read(error) => write!(f, "cannot read: {error}"),
            ArchiveErrorKind::Write(error) => write!(f, "cannot write: {error}"),
            ArchiveErrorKind::Layer(error) => error.fmt(f),
            ArchiveErrorKind::Truncated => f.write_str("the stream ends inside the entry"),
            ArchiveErrorKind::NoManifest => {
                f.write_str("no `manifest.json` before the end of the stream")
            }
            ArchiveErrorKind::Json(error) => write!(f, "invalid JSON: {error}"),
            ArchiveErrorKind::UnsafePath => f.write_str("a path that leaves the archive"),
            ArchiveErrorKind::UnexpectedType => {
                f.write_str("neither a file, a directory nor a symlink to a layer")
            }
            ArchiveErrorKind::Duplicate => f.write_str("the path occurs twice"),
            ArchiveErrorKind::TooLarge { limit_bytes } => {
                write!(f, "more JSON than {limit_bytes} bytes")
            }
            ArchiveErrorKind::DigestMismatch { expected, actual } => {
                write!(f, "the bytes have digest {actual}, expected {expected}")
            }
            ArchiveErrorKind::Missing => {
                f.write_str("named by `manifest.json` and not in the archive")
            }
            ArchiveErrorKind::LayerCount { config, manifest } => write!(
                f,
                "the config has {config} layers, `manifest.json` has {manifest}"
            ),
            ArchiveErrorKind::LayerSize { diff_id, expected } => {
                write!(f, "layer {diff_id} does not have {expected} bytes")
            }
        }
    }
}

impl error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            ArchiveErrorKind::Read(error)
            | ArchiveErrorKind::Write(error)
            | ArchiveErrorKind::Layer(error) => Some(error),
            ArchiveErrorKind::Json(error) => Some(error),
            _ => None,
        }
    }
}
