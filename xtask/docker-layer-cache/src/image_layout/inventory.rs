//! What the store holds: its entries, the blobs that each needs, and who shares them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use crate::oci::{Descriptor, Digest, DigestError};

use super::blob::JSON_BYTES_MAX;
use super::entry::name_or_digest;
use super::{ImageLayout, IndexDamage, StoreError, StoredEntry};

/// What a store held when it was looked at.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Why the index counts as empty, where it is damaged.
    pub damage: Option<IndexDamage>,
    /// Everything that the index names, in the order of the names.
    pub items: Vec<InventoryItem>,
    pub(super) files: BTreeMap<Digest, BlobFile>,
}

/// Something that the index names.
#[derive(Debug, Clone)]
pub struct InventoryItem {
    /// Its name; the digest of its manifest where it has none.
    pub name: String,
    /// The descriptor in the index.
    pub descriptor: Descriptor,
    /// The entry; nothing for what other tools or later versions put there.
    pub stored: Option<StoredEntry>,
    /// Every digest in its manifest, and in those below it: also such as are of no blob.
    pub(super) digests: BTreeSet<Digest>,
}

/// A file below `blobs/`.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlobFile {
    pub(super) size_bytes: u64,
    written: SystemTime,
}

impl ImageLayout {
    /// Looks at the index and at the sizes of all blobs. A store that is not there is empty.
    ///
    /// # Errors
    /// Returns an error if the index, a manifest or the folder of the blobs cannot be read.
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let stored = self.index()?;
        let files = self.blob_files()?;
        let mut items: Vec<InventoryItem> = stored
            .index
            .manifests
            .into_iter()
            .map(|descriptor| {
                let digests = self.reachable(&descriptor)?;
                Ok(InventoryItem {
                    name: name_or_digest(&descriptor).to_owned(),
                    stored: self.stored_entry(descriptor.clone()),
                    descriptor,
                    digests,
                })
            })
            .collect::<Result<_, _>>()?;
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Inventory {
            damage: stored.damage,
            items,
            files,
        })
    }

    /// Returns the digest of a manifest and all digests that it names, through indexes.
    ///
    /// Every digest anywhere in the JSON counts: so nothing is lost of formats that we do not know.
    fn reachable(&self, descriptor: &Descriptor) -> Result<BTreeSet<Digest>, StoreError> {
        let mut seen = BTreeSet::new();
        let mut walked = BTreeSet::new();
        let mut open = vec![(descriptor.digest.clone(), true)];
        while let Some((digest, is_manifest)) = open.pop() {
            seen.insert(digest.clone());
            if !is_manifest || !walked.insert(digest.clone()) {
                continue;
            }
            let path = self.blob_path(&digest);
            let is_small_file = fs::symlink_metadata(&path)
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= JSON_BYTES_MAX);
            if is_small_file {
                // Not being able to read it is no reason to remove what it names.
                let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
                if let Ok(json) = serde_json::from_slice(&bytes) {
                    named(&json, &mut open);
                }
            }
        }
        Ok(seen)
    }

    fn blob_files(&self) -> Result<BTreeMap<Digest, BlobFile>, StoreError> {
        let folder = self.blobs("sha256");
        let found = match fs::read_dir(&folder) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(StoreError::io("read", &folder)(error)),
        };
        let mut files = BTreeMap::new();
        for file in found {
            let file = file.map_err(StoreError::io("read", &folder))?;
            let digest: Result<Digest, DigestError> =
                format!("sha256:{}", file.file_name().to_string_lossy()).parse();
            // What is not named like a blob is not ours.
            if let (Ok(digest), Ok(metadata)) = (digest, file.metadata()) {
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let size_bytes = metadata.len();
                files.insert(
                    digest,
                    BlobFile {
                        size_bytes,
                        written,
                    },
                );
            }
        }
        Ok(files)
    }
}

impl Inventory {
    /// Returns the size of all blobs, whether anything names them or not.
    pub fn size_bytes(&self) -> u64 {
        self.files.values().map(|file| file.size_bytes).sum()
    }

    /// Returns the size of the blobs that nothing names: garbage.
    pub fn unnamed_bytes(&self) -> u64 {
        let named = union(self.items.iter().map(|item| &item.digests));
        let unnamed = self
            .files
            .iter()
            .filter(|(digest, _)| !named.contains(*digest));
        unnamed.map(|(_, file)| file.size_bytes).sum()
    }

    /// Returns the size of the blobs that `item` needs: those that it alone needs, and those that
    /// others need too.
    pub fn own_and_shared_bytes(&self, item: &InventoryItem) -> (u64, u64) {
        let mut sums = (0, 0);
        for (digest, size_bytes) in item.digests.iter().filter_map(|digest| self.sized(digest)) {
            if self.users(digest).nth(1).is_some() {
                sums.1 += size_bytes;
            } else {
                sums.0 += size_bytes;
            }
        }
        sums
    }

    /// Returns what needs a blob, in the order of the names.
    pub fn users<'a>(&'a self, digest: &'a Digest) -> impl Iterator<Item = &'a InventoryItem> {
        let items = self.items.iter();
        items.filter(move |item| item.digests.contains(digest))
    }

    /// Returns the size of those of the digests that are of blobs.
    pub(super) fn size_of(&self, digests: &BTreeSet<Digest>) -> u64 {
        let sizes = digests.iter().filter_map(|digest| self.sized(digest));
        sizes.map(|(_, size_bytes)| size_bytes).sum()
    }

    fn sized<'a>(&self, digest: &'a Digest) -> Option<(&'a Digest, u64)> {
        Some((digest, self.files.get(digest)?.size_bytes))
    }
}

impl BlobFile {
    /// Tells whether the file was written less than `grace` ago. A time that lies as far ahead is
    /// that of a clock that was set back, and says nothing.
    pub(super) fn is_young(&self, now: SystemTime, grace: Duration) -> bool {
        let distance = now
            .duration_since(self.written)
            .unwrap_or_else(|ahead| ahead.duration());
        distance < grace
    }
}

/// Collects the digests in `json`, and whether each is that of a manifest or index.
fn named(json: &serde_json::Value, found: &mut Vec<(Digest, bool)>) {
    match json {
        serde_json::Value::Object(fields) => {
            let is_manifest = fields
                .get("mediaType")
                .and_then(serde_json::Value::as_str)
                .is_some_and(|media_type| {
                    media_type.contains("manifest") || media_type.contains("index")
                });
            if let Some(serde_json::Value::String(text)) = fields.get("digest")
                && let Ok(digest) = text.parse()
            {
                found.push((digest, is_manifest));
            }
            fields.values().for_each(|value| named(value, found));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| named(value, found)),
        serde_json::Value::String(text) => {
            if let Ok(digest) = text.parse() {
                found.push((digest, false));
            }
        }
        _ => {}
    }
}

pub(super) fn union<'a>(sets: impl Iterator<Item = &'a BTreeSet<Digest>>) -> BTreeSet<Digest> {
    sets.flatten().cloned().collect()
}

#[cfg(test)]
mod tests;
