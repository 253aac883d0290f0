//! Which blobs are what they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest};

use super::blob::digest_of_file;
use super::elsewhere::is_marked;
use super::{ImageLayout, Inventory, StoreError, StoreErrorKind};

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// It is there, byte for byte.
    Good,
    /// It is not there.
    Missing,
    /// It is something else: what is wrong with it.
    Damaged(&'static str),
}

/// What came of reading a whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many blobs are good.
    pub good_blobs: usize,
    /// The size of the good ones.
    pub good_bytes: u64,
    /// The others, in the order of their digests.
    pub damaged: Vec<DamagedBlob>,
}

/// A blob that is missing, or something else than its digest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// Its digest.
    pub digest: Digest,
    /// What is wrong; never [`BlobState::Good`].
    pub state: BlobState,
    /// The names of the entries that need it; none where it is garbage.
    pub entries: Vec<String>,
}

impl ImageLayout {
    /// Reads every blob that is there or that an item of the inventory needs. Blobs of other
    /// algorithms than SHA-256 are passed over.
    pub fn verify_all(&self, inventory: &Inventory) -> Verified {
        self.judge_all(inventory, |blobs| self.verify(blobs))
    }

    /// Looks as [`verify_all`](Self::verify_all) does, at sizes alone: it finds what is missing or
    /// cut short, and reads no layer.
    pub fn check_sizes(&self, inventory: &Inventory) -> Verified {
        let size_state = |descriptor: &Descriptor| {
            let state = match self.open_blob(descriptor) {
                Ok(_) => BlobState::Good,
                Err(error) => self.state_of_error(descriptor, &error),
            };
            (descriptor.digest.clone(), state)
        };
        self.judge_all(inventory, |blobs| blobs.iter().map(size_state).collect())
    }

    fn judge_all(
        &self,
        inventory: &Inventory,
        judge: impl Fn(&[Descriptor]) -> Vec<(Digest, BlobState)>,
    ) -> Verified {
        // By digest and size: two entries may differ on the size, and then one of them is wrong.
        let mut needed: BTreeMap<(Digest, u64), Vec<String>> = BTreeMap::new();
        for item in &inventory.items {
            for descriptor in self.needed(&item.descriptor) {
                let names = needed
                    .entry((descriptor.digest, descriptor.size))
                    .or_default();
                if names.last() != Some(&item.name) {
                    names.push(item.name.clone());
                }
            }
        }
        for (digest, file) in &inventory.files {
            let next = needed.range((digest.clone(), 0)..).next();
            if next.is_none_or(|((needed, _), _)| needed != digest) {
                needed.insert((digest.clone(), file.size_bytes), Vec::new());
            }
        }
        let (blobs, names): (Vec<Descriptor>, Vec<Vec<String>>) = needed
            .into_iter()
            .filter(|((digest, _), _)| digest.algorithm() == "sha256")
            .map(|((digest, size), names)| (Descriptor::new("", digest, size), names))
            .unzip();
        let elsewhere: BTreeSet<&str> = inventory
            .items
            .iter()
            .filter(|item| is_marked(&item.descriptor))
            .map(|item| item.name.as_str())
            .collect();
        let is_elsewhere = |names: &[String]| {
            !names.is_empty() && names.iter().all(|name| elsewhere.contains(name.as_str()))
        };
        let mut verified = Verified::default();
        for (at, (digest, state)) in judge(&blobs).into_iter().enumerate() {
            if state == BlobState::Good {
                verified.good_blobs += 1;
                verified.good_bytes += blobs[at].size;
            } else if state != BlobState::Missing || !is_elsewhere(&names[at]) {
                verified.damaged.push(DamagedBlob {
                    digest,
                    state,
                    entries: names[at].clone(),
                });
            }
        }
        verified
    }

    /// Returns what a manifest or an index names, itself first, as far as it can be read.
    fn needed(&self, descriptor: &Descriptor) -> Vec<Descriptor> {
        let mut needed: Vec<Descriptor> = Vec::new();
        let mut open = vec![descriptor.clone()];
        while let Some(descriptor) = open.pop() {
            if needed.iter().any(|known| known.digest == descriptor.digest) {
                continue;
            }
            needed.push(descriptor.clone());
            if let Ok(manifest) = self.read_json::<ImageManifest>(&descriptor) {
                needed.push(manifest.config);
                needed.extend(manifest.layers);
            } else if let Ok(index) = self.read_json::<ImageIndex>(&descriptor) {
                open.extend(index.manifests);
            }
        }
        needed
    }

    /// Reads all the blobs, several at a time, and tells of each what became of it, in the order
    /// asked.
    pub fn verify(&self, descriptors: &[Descriptor]) -> Vec<(Digest, BlobState)> {
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let mut states: Vec<(usize, BlobState)> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads.min(descriptors.len()))
                .map(|_| {
                    scope.spawn(|| {
                        let mut states = Vec::new();
                        loop {
                            let at = next.fetch_add(1, Ordering::Relaxed);
                            match descriptors.get(at) {
                                Some(descriptor) => states.push((at, self.state_of(descriptor))),
                                None => return states,
                            }
                        }
                    })
                })
                .collect();
            running
                .into_iter()
                .flat_map(|thread| thread.join().expect("reading a blob does not panic"))
                .collect()
        });
        states.sort_by_key(|(at, _)| *at);
        states
            .into_iter()
            .map(|(at, state)| (descriptors[at].digest.clone(), state))
            .collect()
    }

    pub(super) fn state_of(&self, descriptor: &Descriptor) -> BlobState {
        if descriptor.digest.algorithm() != "sha256" {
            return BlobState::Damaged("its digest is not sha256");
        }
        if let Err(error) = self.open_blob(descriptor) {
            return self.state_of_error(descriptor, &error);
        }
        let path = self.blob_path(&descriptor.digest);
        match digest_of_file(&path) {
            Ok((digest, _)) if digest == descriptor.digest => BlobState::Good,
            Ok(_) => BlobState::Damaged("other bytes"),
            Err(_) => BlobState::Damaged("it cannot be read"),
        }
    }

    /// Returns what it says about a blob that it cannot be opened.
    fn state_of_error(&self, descriptor: &Descriptor, error: &StoreError) -> BlobState {
        let path = self.blob_path(&descriptor.digest);
        match error.kind() {
            StoreErrorKind::Damaged { .. } if !path.is_symlink() && !path.exists() => {
                BlobState::Missing
            }
            StoreErrorKind::Damaged { reason, .. } => BlobState::Damaged(reason),
            _ => BlobState::Damaged("it cannot be read"),
        }
    }
}
