//! Leaving out what cannot be used.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::oci::Digest;

use super::{CacheGraph, ChainKey, RecordId};

/// What a [`CacheGraph::prune`] left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Results that lacked a blob.
    pub results: usize,
    /// Records that nothing with a result stands on.
    pub records: usize,
    /// The blobs that were missing.
    pub missing_blobs: BTreeSet<Digest>,
}

impl CacheGraph {
    /// Leaves out results that need a blob that is not `available`, then records that neither
    /// have a result nor lead to one, then layers that no result needs.
    ///
    /// What stays can be named to an engine: every blob of it is there.
    pub fn prune(&mut self, available: impl Fn(&Digest) -> bool) -> Pruned {
        let missing_blobs: BTreeSet<Digest> = self
            .blobs
            .keys()
            .filter(|digest| !available(digest))
            .cloned()
            .collect();
        let broken = self.chains_with(&missing_blobs);
        let mut pruned = Pruned {
            missing_blobs,
            ..Pruned::default()
        };
        for record in self.records.values_mut() {
            let n_results = record.results.len();
            record.results.retain(|chain, _| !broken.contains(chain));
            pruned.results += n_results - record.results.len();
        }
        let with_results: Vec<RecordId> = self
            .records
            .iter()
            .filter(|(_, record)| !record.results.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        let useful = self.subgraph(&with_results);
        pruned.records = self.records.len() - useful.records.len();
        *self = useful;
        pruned
    }

    /// Returns these blobs, and those that lie below one of them in some chain: what has to be there
    /// to read them.
    pub fn with_what_is_below(&self, blobs: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let mut all = blobs.clone();
        for (top, chain) in &self.chains {
            if blobs.contains(&chain.blob) {
                all.extend(self.layers(top).map(|(_, chain)| chain.blob.clone()));
            }
        }
        all
    }

    /// Returns the chains that have one of `blobs` in them.
    fn chains_with(&self, blobs: &BTreeSet<Digest>) -> BTreeSet<ChainKey> {
        let mut with: BTreeSet<ChainKey> = BTreeSet::new();
        let mut without: BTreeSet<ChainKey> = BTreeSet::new();
        for top in self.chains.keys() {
            // Down to a layer that decides, then the answer holds for all on the way.
            let mut walked: Vec<&ChainKey> = Vec::new();
            let mut found = false;
            for (key, chain) in self.layers(top) {
                if without.contains(key) {
                    break;
                }
                walked.push(key);
                if with.contains(key) || blobs.contains(&chain.blob) {
                    found = true;
                    break;
                }
            }
            let answer = if found { &mut with } else { &mut without };
            answer.extend(walked.into_iter().cloned());
        }
        with
    }
}
