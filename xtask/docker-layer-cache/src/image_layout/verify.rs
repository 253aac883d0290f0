//! Which blobs are what they should be.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::oci::{Descriptor, Digest};

use super::blob::digest_of_file;
use super::{ImageLayout, StoreErrorKind};

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

impl ImageLayout {
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
        let path = self.blob_path(&descriptor.digest);
        match self.open_blob(descriptor) {
            Ok(_) => {}
            Err(error) => {
                return match error.kind() {
                    StoreErrorKind::Damaged { .. } if !path.is_symlink() && !path.exists() => {
                        BlobState::Missing
                    }
                    StoreErrorKind::Damaged { reason, .. } => BlobState::Damaged(reason),
                    _ => BlobState::Damaged("it cannot be read"),
                };
            }
        }
        match digest_of_file(&path) {
            Ok((digest, _)) if digest == descriptor.digest => BlobState::Good,
            Ok(_) => BlobState::Damaged("other bytes"),
            Err(_) => BlobState::Damaged("it cannot be read"),
        }
    }
}
