//! `index.json`: what the store holds.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::oci::ImageIndex;

use super::{ImageLayout, StoreError, StoreErrorKind};

/// The index, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIndex {
    /// The entries; none where the index is damaged.
    pub index: ImageIndex,
    /// Why the index counts as empty: to be told to the user as a warning.
    pub damage: Option<IndexDamage>,
}

/// Why an index counts as empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDamage {
    path: PathBuf,
    reason: String,
}

impl ImageLayout {
    /// Reads `index.json`. An index that is lost or garbage is an empty one, with its damage told:
    /// a broken cache is a cold cache.
    ///
    /// # Errors
    /// Returns an error if the file is there and cannot be read.
    pub fn index(&self) -> Result<StoredIndex, StoreError> {
        let path = self.index_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_empty() => {
                return Ok(StoredIndex::new(ImageIndex::new(Vec::new())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(StoredIndex::damaged(path, "it is missing".to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Ok(StoredIndex::damaged(path, error.to_string()));
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        Ok(match serde_json::from_slice::<ImageIndex>(&bytes) {
            Ok(index) if index.schema_version == 2 => StoredIndex::new(index),
            Ok(index) => {
                StoredIndex::damaged(path, format!("schema version {}", index.schema_version))
            }
            Err(error) => StoredIndex::damaged(path, error.to_string()),
        })
    }

    /// Changes the index while no other process does. A damaged index is kept beside the new one.
    pub(super) fn update_index<T>(
        &self,
        change: impl FnOnce(&mut ImageIndex) -> T,
    ) -> Result<T, StoreError> {
        let _lock = self.lock_index()?;
        let stored = self.index()?;
        let mut index = stored.index.clone();
        let result = change(&mut index);
        // Nor is a damaged index given up for an empty one: its blobs would become garbage.
        if stored.index == index {
            return Ok(result);
        }
        if stored.damage.is_some() {
            self.set_aside()?;
        }
        replace(self, &index)?;
        Ok(result)
    }

    /// Moves a damaged `index.json` out of the way, for a person to look at.
    fn set_aside(&self) -> Result<(), StoreError> {
        let path = self.index_path();
        let aside = self.root().join("index.json.damaged");
        if aside.is_dir() {
            fs::remove_dir_all(&aside).map_err(StoreError::io("remove", &aside))?;
        }
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("move", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Writes `index.json`; the caller holds the index lock.
pub(super) fn replace(layout: &ImageLayout, index: &ImageIndex) -> Result<(), StoreError> {
    let path = layout.index_path();
    let bytes = serde_json::to_vec_pretty(index)
        .map_err(|error| StoreError::new(&path, StoreErrorKind::Json(error)))?;
    layout.replace(&path, &bytes)
}

impl StoredIndex {
    fn new(index: ImageIndex) -> Self {
        Self {
            index,
            damage: None,
        }
    }

    fn damaged(path: PathBuf, reason: String) -> Self {
        Self {
            index: ImageIndex::new(Vec::new()),
            damage: Some(IndexDamage { path, reason }),
        }
    }
}

impl std::fmt::Display for IndexDamage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "store: `{}` is damaged, the store counts as empty: {}",
            self.path.display(),
            self.reason
        )
    }
}
