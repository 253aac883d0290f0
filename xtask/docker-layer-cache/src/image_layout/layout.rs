//! Opening a store, and the paths in it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::oci::{Digest, ImageIndex};

use super::{StoreError, StoreErrorKind, index};

/// The version of what we add to an image layout: annotations, lock files, folders.
pub const FORMAT: u32 = 1;

/// A store on disk.
///
/// Opening it reads two small files; everything else is read when asked for.
#[derive(Debug, Clone)]
pub struct ImageLayout {
    root: PathBuf,
}

impl ImageLayout {
    /// Opens the store at `root`, and lays it out where there is none.
    ///
    /// # Errors
    /// Returns an error if the store is of a later format, or cannot be written, or if the folder
    /// is another's.
    pub fn open_or_create(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let layout = Self {
            root: root.as_ref().to_owned(),
        };
        layout.check_format()?;
        layout.check_ours()?;
        for folder in [layout.blobs("sha256"), layout.temporary()] {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        }
        let marker = layout.root.join("oci-layout");
        if !marker.is_file() {
            layout.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        // No earlier format has anything that this one reads otherwise.
        let format = layout.root.join("format");
        let current = format!("{FORMAT}\n");
        if !fs::read_to_string(&format).is_ok_and(|text| text == current) {
            layout.replace(&format, current.as_bytes())?;
        }
        // Without an index no tool reads the folder. Where blobs are left, the index was lost:
        // then it is for the reader to find out and to say.
        if !layout.index_path().exists() && layout.is_empty() {
            let _lock = layout.lock_index()?;
            if !layout.index_path().exists() {
                index::replace(&layout, &ImageIndex::new(Vec::new()))?;
            }
        }
        Ok(layout)
    }

    /// Opens the store at `root` without writing anything, ever. A folder that is not there is an
    /// empty store.
    ///
    /// # Errors
    /// Returns an error if the store is of a later format.
    pub fn open_read_only(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let layout = Self {
            root: root.as_ref().to_owned(),
        };
        layout.check_format()?;
        Ok(layout)
    }

    /// Tells whether what is in the folder may be a store of ours; one that is not there may be.
    ///
    /// # Errors
    /// Where the folder holds something else that a store would take for its own and remove.
    pub fn check_ours(&self) -> Result<(), StoreError> {
        // What is in `tmp` is removed now and then: it must be our own.
        if !self.is_marked() && !self.blobs("sha256").is_dir() && self.temporary().exists() {
            return Err(StoreError::new(&self.root, StoreErrorKind::NotAStore));
        }
        Ok(())
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where the blob is, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.encoded())
    }

    pub(super) fn blobs(&self, algorithm: &str) -> PathBuf {
        self.root.join("blobs").join(algorithm)
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    /// Tells whether the folder says that it is a store.
    pub(super) fn is_marked(&self) -> bool {
        ["format", "oci-layout"]
            .iter()
            .any(|marker| self.root.join(marker).is_file())
    }

    /// Tells whether there is not one blob.
    pub(super) fn is_empty(&self) -> bool {
        fs::read_dir(self.blobs("sha256")).map_or(true, |mut files| files.next().is_none())
    }

    /// Returns a new file in the store's own folder for them: on the same disk as the blobs.
    pub(super) fn temporary_file(&self) -> Result<NamedTempFile, StoreError> {
        let folder = self.temporary();
        // CI caches do not keep empty folders.
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        readable_by_all(&mut tempfile::Builder::new())
            .tempfile_in(&folder)
            .map_err(StoreError::io("create a file in", &folder))
    }

    /// Replaces a small file in one step, such that it survives a loss of power.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.temporary_file()?;
        file.as_file()
            .write_all(bytes)
            .and_then(|()| file.as_file().sync_all())
            .map_err(StoreError::io("write", path))?;
        file.persist(path)
            .map_err(|error| StoreError::io("write", path)(error.error))?;
        Ok(())
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.root.join("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Not text: no version that we know wrote it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        match text.trim().parse::<u32>() {
            Ok(version) if version <= FORMAT => Ok(()),
            // An empty file is what a full disk leaves behind.
            Err(_) if text.trim().is_empty() => Ok(()),
            _ => {
                let found = text.trim().escape_debug().take(40).collect();
                Err(StoreError::new(
                    &self.root,
                    StoreErrorKind::NewerFormat { found },
                ))
            }
        }
    }
}

/// Gives files the usual permissions: a temporary file has 0600, and a store may be shared.
#[cfg(unix)]
fn readable_by_all<'a, 'b>(
    builder: &'a mut tempfile::Builder<'b, 'b>,
) -> &'a mut tempfile::Builder<'b, 'b> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all<'a, 'b>(
    builder: &'a mut tempfile::Builder<'b, 'b>,
) -> &'a mut tempfile::Builder<'b, 'b> {
    builder
}
