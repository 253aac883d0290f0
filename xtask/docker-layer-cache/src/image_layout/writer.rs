//! The right to add to a store.

use std::collections::BTreeSet;
use std::ops::Deref;

use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest, media_type};

use super::entry::ref_name;
use super::{Entry, Hold, ImageLayout, StoreError, StoredEntry};

/// Adds blobs and entries to a store. While one lives, in any process, no blob is removed: a blob
/// that was found or written stays until an entry names it.
///
/// What the store holds is to be asked through the writer (it is an [`ImageLayout`] too), so that
/// the answer stays true.
#[derive(Debug)]
pub struct Writer {
    layout: ImageLayout,
    /// The URL of a remote store, and what is there.
    pub(super) elsewhere: Option<(String, BTreeSet<Digest>)>,
    _hold: Hold,
}

impl ImageLayout {
    /// Returns a writer; waits for a garbage collection that is under way. What killed processes
    /// left in `tmp/` is removed if nobody else writes.
    ///
    /// # Errors
    /// Returns an error if the store cannot be locked.
    pub fn writer(&self) -> Result<Writer, StoreError> {
        if let Some(_alone) = self.try_exclusive()? {
            self.clear_temporary()?;
        }
        Ok(Writer {
            layout: self.clone(),
            elsewhere: None,
            _hold: self.hold()?,
        })
    }
}

impl Writer {
    /// Stores an entry's manifest and names it in the index, in place of an entry of the same name.
    ///
    /// # Errors
    /// Returns an error if a blob that the manifest names is not in the store with its size, or if
    /// the index cannot be replaced.
    pub fn put_entry(
        &self,
        entry: &Entry,
        manifest: &ImageManifest,
    ) -> Result<StoredEntry, StoreError> {
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if !self.is_elsewhere(&blob.digest) {
                self.open_blob(blob)?;
            }
        }
        let bytes = serde_json::to_vec(manifest).expect("strings, numbers and lists are JSON");
        let mut descriptor = self.put_blob(media_type::OCI_MANIFEST, &bytes)?;
        descriptor.annotations = entry.annotations(&descriptor.digest);
        descriptor.platform = Some(entry.platform.clone());
        self.mark_where_incomplete(&mut descriptor);
        let name = entry.name(&descriptor.digest);
        self.update_index(|index| {
            index
                .manifests
                .retain(|other| ref_name(other) != Some(&name));
            index.manifests.push(descriptor.clone());
            index.manifests.sort_by(order);
        })?;
        let stored = StoredEntry {
            name,
            entry: entry.clone(),
            descriptor,
            last_use: None,
        };
        self.touch(&stored);
        Ok(stored)
    }
}

impl Writer {
    /// Changes the index while no other process does. A damaged index is kept beside the new one,
    /// and an unchanged one is not written.
    ///
    /// # Errors
    /// Returns an error if the index cannot be read, locked or replaced; it is then as before.
    pub fn update_index<T>(
        &self,
        change: impl FnOnce(&mut ImageIndex) -> T,
    ) -> Result<T, StoreError> {
        self.layout.update_index(change)
    }
}

impl Deref for Writer {
    type Target = ImageLayout;

    fn deref(&self) -> &ImageLayout {
        &self.layout
    }
}

fn order(a: &Descriptor, b: &Descriptor) -> std::cmp::Ordering {
    ref_name(a).cmp(&ref_name(b))
}
