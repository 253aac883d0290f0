//! Garbage: entries that are no longer wanted, and blobs that no entry names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime};

use crate::oci::{Descriptor, Digest, DigestError};

use super::blob::{JSON_BYTES_MAX, remove};
use super::{Entry, ImageLayout, StoreError, StoredEntry};

/// What to keep. Entries of other tools and of later formats are always kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Drop the least recently used entries until all blobs together are not larger.
    pub max_size_bytes: Option<u64>,
    /// Drop entries that were not used for longer.
    pub max_age: Option<Duration>,
    /// Of the entries that differ in nothing but their key, keep this many.
    pub keep: Option<usize>,
    /// Keep blobs without an entry for this long: another tool may be about to name them.
    pub grace: Duration,
    /// Only tell what would be removed.
    pub dry_run: bool,
}

/// What garbage collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Nothing was looked at: another process is using the store.
    pub busy: bool,
    /// Nothing was removed: the index is damaged, and without it every blob looks unused.
    pub damaged_index: bool,
    /// The names of the dropped entries.
    pub entries: Vec<String>,
    /// How many blobs were removed.
    pub blobs: usize,
    /// The size of the removed blobs.
    pub freed_bytes: u64,
    /// The size of all blobs that are left.
    pub kept_bytes: u64,
}

impl Default for Retention {
    /// Keeps all entries.
    fn default() -> Self {
        Self {
            max_size_bytes: None,
            max_age: None,
            keep: None,
            grace: Duration::from_secs(600),
            dry_run: false,
        }
    }
}

impl ImageLayout {
    /// Drops the entries that `retention` does not keep, then every blob that no entry names.
    ///
    /// A save first writes blobs and later names them, so this needs the store for itself: it does
    /// nothing while any [`super::Writer`] or [`super::Hold`] lives, in this or another process.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced or a blob cannot be removed. The store is
    /// whole at any time.
    pub fn collect_garbage(&self, retention: &Retention) -> Result<Collected, StoreError> {
        let Some(_alone) = self.try_exclusive()? else {
            return Ok(Collected {
                busy: true,
                ..Collected::default()
            });
        };
        let stored = self.index()?;
        if stored.damage.is_some() {
            return Ok(Collected {
                damaged_index: true,
                ..Collected::default()
            });
        }
        let now = SystemTime::now();
        let files = self.blob_files()?;
        let reachable: Vec<(Descriptor, BTreeSet<Digest>)> = stored
            .index
            .manifests
            .into_iter()
            .map(|descriptor| {
                let digests = self.reachable(&descriptor)?;
                Ok((descriptor, digests))
            })
            .collect::<Result<_, _>>()?;
        let dropped = self.dropped(&reachable, &files, retention, now);
        let used = union(reachable.iter().map(|(_, digests)| digests));
        let kept = union(
            reachable
                .iter()
                .filter(|(descriptor, _)| !dropped.iter().any(|d| d.descriptor == *descriptor))
                .map(|(_, digests)| digests),
        );

        let mut collected = Collected {
            entries: dropped.iter().map(|entry| entry.name.clone()).collect(),
            ..Collected::default()
        };
        if !dropped.is_empty() && !retention.dry_run {
            // Unnamed first: what is named is there.
            self.update_index(|index| {
                index
                    .manifests
                    .retain(|descriptor| !dropped.iter().any(|d| d.descriptor == *descriptor));
            })?;
        }
        for (digest, file) in &files {
            let young = !used.contains(digest) && file.age(now) < retention.grace;
            if kept.contains(digest) || young {
                collected.kept_bytes += file.size_bytes;
                continue;
            }
            if !retention.dry_run {
                remove(&self.blob_path(digest))?;
            }
            collected.blobs += 1;
            collected.freed_bytes += file.size_bytes;
        }
        if !retention.dry_run {
            self.clear_temporary()?;
        }
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

    /// Returns our entries that are not to be kept, and those whose manifest is lost.
    fn dropped(
        &self,
        reachable: &[(Descriptor, BTreeSet<Digest>)],
        files: &BTreeMap<Digest, BlobFile>,
        retention: &Retention,
        now: SystemTime,
    ) -> Vec<StoredEntry> {
        let mut ours: Vec<(StoredEntry, &BTreeSet<Digest>)> = reachable
            .iter()
            .filter_map(|(descriptor, digests)| {
                Some((self.stored_entry(descriptor.clone())?, digests))
            })
            .collect();
        // Most recently used first. A clock that was set back makes an entry look new.
        ours.sort_by(|(a, _), (b, _)| b.last_use.cmp(&a.last_use).then(a.name.cmp(&b.name)));

        let mut per_group: BTreeMap<_, usize> = BTreeMap::new();
        let mut needed: BTreeSet<Digest> = union(
            reachable
                .iter()
                .filter(|(descriptor, _)| Entry::of(descriptor).is_none())
                .map(|(_, digests)| digests),
        );
        let size_of = |digests: &BTreeSet<Digest>| -> u64 {
            let sizes = digests.iter().filter_map(|digest| files.get(digest));
            sizes.map(|file| file.size_bytes).sum()
        };
        let mut full = false;
        let mut dropped = Vec::new();
        for (stored, digests) in ours {
            let earlier = per_group.entry(group(&stored.entry)).or_default();
            let age = stored
                .last_use
                .and_then(|used| now.duration_since(used).ok());
            let with_it: BTreeSet<Digest> = needed.union(digests).cloned().collect();
            // The least recently used go first: after one that does not fit, none does.
            full |= retention
                .max_size_bytes
                .is_some_and(|max| size_of(&with_it) > max);
            let keep = !full
                && self.manifest(&stored.descriptor).is_ok()
                && retention.keep.is_none_or(|keep| *earlier < keep)
                && retention
                    .max_age
                    .is_none_or(|max| age.unwrap_or_default() <= max);
            if keep {
                *earlier += 1;
                needed = with_it;
            } else {
                dropped.push(stored);
            }
        }
        dropped
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
        let mut files = BTreeMap::new();
        for file in fs::read_dir(&folder).map_err(StoreError::io("read", &folder))? {
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

struct BlobFile {
    size_bytes: u64,
    written: SystemTime,
}

impl BlobFile {
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.written).unwrap_or_default()
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

/// Returns what entries have in common that are generations of the same thing.
fn group(entry: &Entry) -> impl Ord + use<> {
    (
        entry.kind,
        entry.image.clone(),
        entry.platform.clone(),
        entry.engine_class.clone(),
        entry.stage.clone(),
    )
}

fn union<'a>(sets: impl Iterator<Item = &'a BTreeSet<Digest>>) -> BTreeSet<Digest> {
    sets.flatten().cloned().collect()
}
