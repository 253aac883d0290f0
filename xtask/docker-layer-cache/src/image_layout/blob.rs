//! Blobs: read with their digest checked, written by rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use tempfile::{NamedTempFile, TempPath};

use crate::oci::{Descriptor, Digest, DigestWriter};

use super::{ImageLayout, StoreError, StoreErrorKind, Writer};

/// Large, so that the code between two reads does not count even in a dev build.
pub(super) const BUFFER_BYTES: usize = 512 * 1024;
/// More than any manifest or config that a registry takes.
pub(super) const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl ImageLayout {
    /// Tells whether there is a file for the blob. Its bytes are not looked at.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Reads a small blob and checks it.
    ///
    /// # Errors
    /// Returns an error if the blob is larger than `limit_bytes`, missing, or damaged.
    pub fn read_blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(&descriptor.digest);
        if descriptor.size > limit_bytes {
            return Err(StoreError::new(
                path,
                StoreErrorKind::TooLarge { limit_bytes },
            ));
        }
        let file = self.open_blob(descriptor)?;
        let mut bytes = Vec::new();
        file.take(descriptor.size + 1)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &path))?;
        if Digest::of(&bytes) == descriptor.digest {
            Ok(bytes)
        } else {
            Err(self.damaged(&descriptor.digest, "other bytes"))
        }
    }

    /// Reads a blob of JSON and checks it.
    pub(super) fn read_json<T: DeserializeOwned>(
        &self,
        descriptor: &Descriptor,
    ) -> Result<T, StoreError> {
        let bytes = self.read_blob(descriptor, JSON_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            StoreError::new(
                self.blob_path(&descriptor.digest),
                StoreErrorKind::Json(error),
            )
        })
    }

    /// Opens a blob that is a file of the right size.
    pub(super) fn open_blob(&self, descriptor: &Descriptor) -> Result<File, StoreError> {
        let path = self.blob_path(&descriptor.digest);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.damaged(&descriptor.digest, "it is missing"));
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        if !metadata.is_file() {
            return Err(self.damaged(&descriptor.digest, "it is not a file"));
        }
        if metadata.len() != descriptor.size {
            return Err(self.damaged(&descriptor.digest, "another size"));
        }
        File::open(&path).map_err(StoreError::io("open", &path))
    }

    pub(super) fn damaged(&self, digest: &Digest, reason: &'static str) -> StoreError {
        let kind = StoreErrorKind::Damaged {
            digest: digest.clone(),
            reason,
        };
        StoreError::new(self.blob_path(digest), kind)
    }
}

impl Writer {
    /// Stores a small blob, unless it is there.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn put_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        if self.read_blob(&descriptor, u64::MAX).is_err() {
            let file = self.temporary_file()?;
            file.as_file()
                .write_all(bytes)
                .map_err(StoreError::io("write", file.path()))?;
            self.name_blob(file, &descriptor.digest)?;
        }
        Ok(descriptor)
    }

    /// Stores a blob as its bytes come, unless they are not what the descriptor says.
    ///
    /// # Errors
    /// Returns [`StoreErrorKind::Source`] if `content` fails, [`StoreErrorKind::Damaged`] if it is
    /// something else, or an error if the store cannot be written. Nothing is stored then.
    pub fn put_checked(
        &self,
        descriptor: &Descriptor,
        content: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let file = self.temporary_file()?;
        let path = file.path().to_owned();
        let mut target = DigestWriter::new(file.as_file());
        // One byte more than there should be tells that there are more.
        let mut content = content.take(descriptor.size + 1);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => target
                    .write_all(&buffer[..n])
                    .map_err(StoreError::io("write", &path))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::new(path, StoreErrorKind::Source(error))),
            }
        }
        let (_, digest, size_bytes) = target.finish();
        if size_bytes != descriptor.size {
            return Err(self.damaged(&descriptor.digest, "another size"));
        }
        if digest != descriptor.digest {
            return Err(self.damaged(&descriptor.digest, "other bytes"));
        }
        self.name_blob(file, &digest)
    }

    /// Moves the file at `path` into the store, with the digest of what it has, and returns that
    /// and its size. The file is read once, moved where it is on the same disk and copied where
    /// it is not, and is gone afterwards in both cases.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or moved, or is not the `expected` blob.
    pub fn adopt_file(
        &self,
        path: &Path,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), StoreError> {
        let metadata = fs::symlink_metadata(path).map_err(StoreError::io("read", path))?;
        if !metadata.is_file() {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(StoreError::io("move what is not a file:", path)(error));
        }
        let (digest, size_bytes) = digest_of_file(path)?;
        if let Some(expected) = expected
            && *expected != digest
        {
            let kind = StoreErrorKind::Damaged {
                digest: expected.clone(),
                reason: "other bytes",
            };
            return Err(StoreError::new(path, kind));
        }
        match fs::rename(path, self.clear_blob_path(&digest)?) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy_file(path, &digest)?;
                fs::remove_file(path).map_err(StoreError::io("remove", path))?;
            }
            Err(error) => return Err(StoreError::io("move into the store", path)(error)),
        }
        Ok((digest, size_bytes))
    }

    /// Removes a blob if it is damaged, such that the next save stores it again. Tells whether it
    /// did.
    ///
    /// # Errors
    /// Returns an error if it cannot be removed.
    pub fn discard_if_damaged(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        let damaged = matches!(self.state_of(descriptor), super::BlobState::Damaged(_));
        if damaged {
            remove(&self.blob_path(&descriptor.digest))?;
        }
        Ok(damaged)
    }

    /// Gives a finished temporary file its place. It replaces what is there: that may be damaged.
    pub(super) fn name_blob(&self, file: NamedTempFile, digest: &Digest) -> Result<(), StoreError> {
        let path: TempPath = file.into_temp_path();
        let blob_path = self.clear_blob_path(digest)?;
        path.persist(&blob_path)
            .map_err(|error| StoreError::io("write", &blob_path)(error.error))
    }

    /// Copies a file from another disk, checking the bytes once more on the way.
    fn copy_file(&self, path: &Path, digest: &Digest) -> Result<(), StoreError> {
        let source = File::open(path).map_err(StoreError::io("open", path))?;
        let file = self.temporary_file()?;
        let target = file.path().to_owned();
        let (copied, _) = digest_of(source, DigestWriter::new(file.as_file()))
            .map_err(StoreError::io("copy into", target))?;
        if copied != *digest {
            return Err(self.damaged(digest, "it changed while it was copied"));
        }
        self.name_blob(file, digest)
    }

    /// Returns the blob's path, after removing what no file can replace.
    fn clear_blob_path(&self, digest: &Digest) -> Result<std::path::PathBuf, StoreError> {
        let path = self.blob_path(digest);
        if path.is_dir() {
            remove(&path)?;
        }
        let folder = self.blobs(digest.algorithm());
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        Ok(path)
    }
}

/// Returns the digest and the size of a file.
pub(super) fn digest_of_file(path: &Path) -> Result<(Digest, u64), StoreError> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    digest_of(file, DigestWriter::new(io::sink())).map_err(StoreError::io("read", path))
}

/// Removes a file, a symlink, or a folder with all it has; it may be gone.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn digest_of<W: Write>(
    mut source: impl Read,
    mut target: DigestWriter<W>,
) -> io::Result<(Digest, u64)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => target.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (_, digest, size_bytes) = target.finish();
    Ok((digest, size_bytes))
}
