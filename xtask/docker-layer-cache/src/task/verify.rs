//! Blobs of the store, checked byte for byte before the engine sees them.
//!
//! All that is offered is checked, also what the engine is not expected to read: a damaged blob
//! that it does read costs a minute of its retries, or the build, and checking goes at more than
//! 1 GB a second. What was checked on this machine and has not changed since is not read again.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;

use super::job::Job;
use super::key::Keyed;
use crate::build_context::{ContextFile, ContextFileKind, DigestIndex};
use crate::image_layout::{BlobState, ImageLayout};
use crate::oci::{Descriptor, Digest};

/// Checks the blobs of one store, each once.
pub(super) struct Verifier<'a> {
    job: &'a Job<'a>,
    layout: &'a ImageLayout,
    /// What is known from an earlier run; the first check takes it.
    index: Option<DigestIndex>,
    n_read: usize,
    good: BTreeSet<Digest>,
    damaged: BTreeSet<Digest>,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(job: &'a Job<'a>, keyed: &Keyed, layout: &'a ImageLayout) -> Self {
        let file = job.workspace.work_file(&keyed.image, "verified-blobs");
        Verifier {
            job,
            layout,
            index: Some(DigestIndex::open(&file)),
            n_read: 0,
            good: BTreeSet::new(),
            damaged: BTreeSet::new(),
        }
    }

    /// Tells whether all these blobs are there, byte for byte, and warns of each that is not. Only
    /// what is asked for first is remembered.
    pub(super) fn are_good<'b>(&mut self, blobs: impl Iterator<Item = &'b Descriptor>) -> bool {
        let blobs: BTreeMap<&Digest, &Descriptor> = blobs
            .filter(|blob| !self.good.contains(&blob.digest))
            .map(|blob| (&blob.digest, blob))
            .collect();
        let new = |blob: &&Descriptor| !self.damaged.contains(&blob.digest);
        let new: Vec<&Descriptor> = blobs.values().copied().filter(new).collect();
        self.check(&new);
        blobs.keys().all(|digest| self.good.contains(digest))
    }

    /// Returns the blobs that are missing or damaged.
    pub(super) fn damaged(&self) -> &BTreeSet<Digest> {
        &self.damaged
    }

    /// Returns how many blobs were read; the others are as they were when they were read last.
    pub(super) fn n_read(&self) -> usize {
        self.n_read
    }

    fn check(&mut self, blobs: &[&Descriptor]) {
        let known_good = self.known_good(blobs);
        self.good.extend(known_good);
        // The others are looked at once more, to say what is wrong with them.
        let others: Vec<Descriptor> = blobs
            .iter()
            .filter(|blob| !self.good.contains(&blob.digest))
            .map(|blob| (*blob).clone())
            .collect();
        let talk = self.job.talk;
        self.n_read += others.len();
        for (digest, state) in self.layout.verify(&others) {
            match state {
                BlobState::Good => {
                    self.good.insert(digest);
                    continue;
                }
                BlobState::Missing => talk.warn(format_args!(
                    "the store lacks the layer {digest}; the steps that need it run again"
                )),
                BlobState::Damaged(reason) => talk.warn(format_args!(
                    "the store's layer {digest} is damaged ({reason}); the steps that need it run again"
                )),
            }
            self.damaged.insert(digest);
        }
    }

    /// Returns the blobs that have the bytes that their digests say. Nothing where one of them
    /// cannot be read.
    fn known_good(&mut self, blobs: &[&Descriptor]) -> BTreeSet<Digest> {
        let folder = Utf8PathBuf::from_path_buf(self.layout.root().join("blobs/sha256"));
        let (Some(mut index), Ok(folder)) = (self.index.take(), folder) else {
            return BTreeSet::new();
        };
        let is_whole = |blob: &&Descriptor| {
            blob.digest.algorithm() == "sha256"
                && self
                    .layout
                    .blob_path(&blob.digest)
                    .symlink_metadata()
                    .is_ok_and(|found| found.is_file() && found.len() == blob.size)
        };
        let mut blobs: Vec<&Descriptor> = blobs.iter().copied().filter(is_whole).collect();
        // The largest first: no thread is left with it at the end.
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let files: Vec<ContextFile> = blobs
            .iter()
            .map(|blob| ContextFile {
                path: blob.digest.encoded().to_owned(),
                kind: ContextFileKind::File,
            })
            .collect();
        let found = index.digest_files(&folder, &files).unwrap_or_default();
        self.n_read += index.n_read();
        // Where that cannot be written, they are read again.
        if let Err(error) = index.write() {
            self.job.talk.warn(error);
        }
        found
            .into_iter()
            .filter(|input| input.digest.encoded() == input.path)
            .map(|input| input.digest)
            .collect()
    }
}
