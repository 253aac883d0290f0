//! The two locks of a store.
//!
//! A lock belongs to an open file and ends with it, also when the process is killed. Order, for
//! those who take both: use, then index.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;

use super::{ImageLayout, StoreError};

/// As long as this lives, no blob of the store is removed.
#[derive(Debug)]
pub struct Hold {
    /// None on a disk on which no lock can be had: read-only, and never locked before.
    _file: Option<File>,
}

impl ImageLayout {
    /// Keeps garbage collection away; waits for one that is under way.
    ///
    /// A [`super::Writer`] holds the store by itself. On a read-only store without lock files,
    /// nothing can be removed by us either.
    ///
    /// # Errors
    /// Returns an error if the lock exists and cannot be taken.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let path = self.root().join("use.lock");
        let file = match self.lock_file("use.lock") {
            Ok(file) => file,
            Err(_) => match File::open(&path) {
                Ok(file) => file,
                Err(_) => return Ok(Hold { _file: None }),
            },
        };
        unless_unsupported(file.lock_shared()).map_err(StoreError::io("lock", &path))?;
        Ok(Hold { _file: Some(file) })
    }

    /// Keeps everybody else from adding or using blobs, or returns nothing if somebody does so.
    pub(super) fn try_exclusive(&self) -> Result<Option<File>, StoreError> {
        let file = self.lock_file("use.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // Without locks nobody knows who else is there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(None)
            }
            Err(TryLockError::Error(error)) => {
                Err(StoreError::io("lock", self.root().join("use.lock"))(error))
            }
        }
    }

    /// Waits until nobody else replaces the index.
    pub(super) fn lock_index(&self) -> Result<File, StoreError> {
        let file = self.lock_file("index.lock")?;
        unless_unsupported(file.lock())
            .map_err(StoreError::io("lock", self.root().join("index.lock")))?;
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.root().join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open", &path))
    }
}

/// Some network file systems have no locks. A single process is safe without.
fn unless_unsupported(locked: io::Result<()>) -> io::Result<()> {
    match locked {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}
