//! Garbage: entries that are no longer wanted, and blobs that no entry names.

use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

use crate::oci::Digest;

use super::blob::remove;
use super::elsewhere::is_marked;
use super::inventory::{Inventory, union};
use super::{DropReason, ImageLayout, Retention, StoreError};

/// What garbage collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Nothing was looked at: another process is using the store.
    pub busy: bool,
    /// Nothing was removed: the index is damaged, and without it every blob looks unused.
    pub damaged_index: bool,
    /// The dropped entries, least recently used first.
    pub entries: Vec<DroppedEntry>,
    /// The entries that are left, those of other tools too, in the order of their names.
    pub kept: Vec<KeptEntry>,
    /// How many blobs were removed.
    pub blobs: usize,
    /// The size of the removed blobs.
    pub freed_bytes: u64,
    /// The size of all blobs that are left.
    pub kept_bytes: u64,
}

/// An entry that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedEntry {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: DropReason,
    /// The size of all blobs that it needs.
    pub size_bytes: u64,
    /// The size of the blobs that went with it: those that no entry needs that is kept or was
    /// dropped after it.
    pub freed_bytes: u64,
}

/// An entry that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEntry {
    /// Its name.
    pub name: String,
    /// The size of all blobs that it needs.
    pub size_bytes: u64,
}

impl ImageLayout {
    /// Drops the entries that `retention` does not keep, then every blob that no entry names.
    ///
    /// A save first writes blobs and later names them, so this needs the store for itself: it does
    /// nothing while any [`super::Writer`] or [`super::Hold`] lives, in this or another process.
    /// A dry run only reads, needs no lock, and tells what would go at this moment.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced or a blob cannot be removed. The store is
    /// whole at any time.
    pub fn collect_garbage(&self, retention: &Retention) -> Result<Collected, StoreError> {
        if !self.is_marked() {
            // No store, and nothing in the folder is ours.
            return Ok(Collected::default());
        }
        let _alone = if retention.dry_run {
            None
        } else {
            let Some(alone) = self.try_exclusive()? else {
                return Ok(Collected {
                    busy: true,
                    ..Collected::default()
                });
            };
            Some(alone)
        };
        let inventory = self.inventory()?;
        if inventory.damage.is_some() {
            return Ok(Collected {
                damaged_index: true,
                ..Collected::default()
            });
        }
        let now = SystemTime::now();
        let is_readable = |stored: &super::StoredEntry| {
            is_marked(&stored.descriptor) || self.manifest(&stored.descriptor).is_ok()
        };
        let dropped = retention.dropped(&inventory, is_readable, now);
        let names: BTreeSet<&str> = dropped.iter().map(|(item, _)| item.name.as_str()).collect();
        let used = union(inventory.items.iter().map(|item| &item.digests));
        let mut needed = union(
            inventory
                .items
                .iter()
                .filter(|item| !names.contains(item.name.as_str()))
                .map(|item| &item.digests),
        );
        let stays = |digest: &Digest| {
            needed.contains(digest)
                || (!used.contains(digest)
                    && inventory
                        .files
                        .get(digest)
                        .is_some_and(|file| file.is_young(now, retention.grace)))
        };
        let (kept, removed): (Vec<_>, Vec<_>) = inventory
            .files
            .iter()
            .partition(|(digest, _)| stays(digest));
        let size = |files: &[(&Digest, &super::inventory::BlobFile)]| -> u64 {
            files.iter().map(|(_, file)| file.size_bytes).sum()
        };
        let mut collected = Collected {
            blobs: removed.len(),
            freed_bytes: size(&removed),
            kept_bytes: size(&kept),
            kept: kept_entries(&inventory, &names),
            ..Collected::default()
        };
        // A blob that several need goes with the last of them.
        for (item, reason) in dropped.iter().rev() {
            let freed: BTreeSet<Digest> = item.digests.difference(&needed).cloned().collect();
            collected.entries.push(DroppedEntry {
                name: item.name.clone(),
                reason: *reason,
                size_bytes: inventory.size_of(&item.digests),
                freed_bytes: inventory.size_of(&freed),
            });
            needed.extend(freed);
        }
        collected.entries.reverse();
        if retention.dry_run {
            return Ok(collected);
        }
        if !dropped.is_empty() {
            // Unnamed first: what is named is there.
            self.update_index(|index| {
                index
                    .manifests
                    .retain(|descriptor| !dropped.iter().any(|(d, _)| d.descriptor == *descriptor));
            })?;
        }
        for (digest, _) in removed {
            remove(&self.blob_path(digest))?;
        }
        self.clear_temporary()?;
        Ok(collected)
    }

    /// Removes what killed processes left; the caller has the store for itself.
    pub(super) fn clear_temporary(&self) -> Result<(), StoreError> {
        let Ok(files) = fs::read_dir(self.temporary()) else {
            return Ok(());
        };
        for file in files.flatten() {
            remove(&file.path())?;
        }
        Ok(())
    }
}

fn kept_entries(inventory: &Inventory, dropped: &BTreeSet<&str>) -> Vec<KeptEntry> {
    let items = inventory.items.iter();
    items
        .filter(|item| !dropped.contains(item.name.as_str()))
        .map(|item| KeptEntry {
            name: item.name.clone(),
            size_bytes: inventory.size_of(&item.digests),
        })
        .collect()
}
