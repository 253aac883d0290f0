//! Records and layers by identity, so that caches can be laid over one another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, Digest};

use super::{CreatedAt, Renamed};

/// What a record is: the digest over its own digest and, by their identities, its inputs.
///
/// The same in every cache, on every machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(Digest);

/// A chain of layers: the digest over the uppermost layer's blob and the chain below it.
///
/// Other than a chain ID it speaks of blobs as they are stored, not of diff IDs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey(Digest);

/// A build cache, each record and each chain of layers once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheGraph {
    pub(super) records: BTreeMap<RecordId, Record>,
    pub(super) chains: BTreeMap<ChainKey, Chain>,
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
}

/// Sizes of a [`CacheGraph`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GraphStats {
    /// Records, with and without results.
    pub records: usize,
    /// Records that have a result: steps that can be hit.
    pub records_with_results: usize,
    /// Blobs, each once.
    pub blobs: usize,
    /// Bytes of these blobs, as stored.
    pub size_bytes: u64,
}

/// One cache key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) digest: String,
    pub(super) inputs: Vec<BTreeSet<Link>>,
    pub(super) results: BTreeMap<ChainKey, CreatedAt>,
}

/// What an input of a record can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) record: RecordId,
    pub(super) selector: String,
}

/// A layer on the chain below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) blob: Digest,
    pub(super) parent: Option<ChainKey>,
}

impl CacheGraph {
    /// Returns the identities of all records.
    pub fn record_ids(&self) -> BTreeSet<RecordId> {
        self.records.keys().cloned().collect()
    }

    /// Returns the descriptors of all blobs that results need, by digest.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs.values()
    }

    /// Tells whether there is no record at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the sizes.
    pub fn stats(&self) -> GraphStats {
        GraphStats {
            records: self.records.len(),
            records_with_results: self
                .records
                .values()
                .filter(|r| !r.results.is_empty())
                .count(),
            blobs: self.blobs.len(),
            size_bytes: self
                .blobs
                .values()
                .map(|blob| blob.size)
                .fold(0, u64::saturating_add),
        }
    }

    /// Lays `other` over this one: all records of both, each with all results of both. For views,
    /// where an engine takes whichever result is there.
    ///
    /// The order in which caches are merged does not matter, nor does merging one twice.
    pub fn merge(&mut self, other: &Self) {
        self.take_chains(other);
        for (id, record) in &other.records {
            match self.records.get_mut(id) {
                None => {
                    self.records.insert(id.clone(), record.clone());
                }
                Some(mine) => {
                    for (chain, &created_at) in &record.results {
                        mine.add_result(chain.clone(), created_at);
                    }
                }
            }
        }
    }

    /// Takes from `older` the records that are not here, and results for those that have none
    /// here. For entries, where a second result of a step would only keep old layers alive.
    ///
    /// Records that mean the same are made one ([`unify`](Self::unify)), since what an image says
    /// of a step varies from build to build.
    pub fn fill(&mut self, older: &Self) -> Renamed {
        let mut mine = std::mem::take(self);
        self.merge(&mine);
        self.merge(older);
        let renamed = self.unify();
        let mut results: BTreeMap<&RecordId, BTreeMap<ChainKey, CreatedAt>> = BTreeMap::new();
        for (id, record) in &mut mine.records {
            let results = results.entry(renamed.of(id)).or_default();
            results.append(&mut record.results);
        }
        for (id, results) in results {
            if let Some(record) = self.records.get_mut(id)
                && !results.is_empty()
            {
                record.results = results;
            }
        }
        self.sweep_layers();
        renamed
    }

    /// Returns the part of the cache that `ids` are, with all that they stand on. Identities that
    /// are not here are passed over.
    #[must_use]
    pub fn subgraph<'a>(&self, ids: impl IntoIterator<Item = &'a RecordId>) -> Self {
        let mut kept: BTreeMap<RecordId, Record> = BTreeMap::new();
        let mut open: Vec<&RecordId> = ids.into_iter().collect();
        while let Some(id) = open.pop() {
            if kept.contains_key(id) {
                continue;
            }
            if let Some((id, record)) = self.records.get_key_value(id) {
                kept.insert(id.clone(), record.clone());
                open.extend(record.links().map(|link| &link.record));
            }
        }
        let mut part = Self {
            records: kept,
            chains: self.chains.clone(),
            blobs: self.blobs.clone(),
        };
        part.sweep_layers();
        part
    }

    /// Keeps of each record only its newest result.
    pub fn keep_newest_results(&mut self) {
        for record in self.records.values_mut() {
            let newest = record
                .results
                .iter()
                .max_by_key(|&(chain, &created_at)| (created_at, chain))
                .map(|(chain, &created_at)| (chain.clone(), created_at));
            record.results = newest.into_iter().collect();
        }
        self.sweep_layers();
    }

    /// Adds a record under its identity and returns that.
    pub(super) fn add_record(&mut self, record: Record) -> RecordId {
        let id = RecordId::of(&record);
        match self.records.get_mut(&id) {
            None => {
                self.records.insert(id.clone(), record);
            }
            Some(mine) => {
                for (chain, created_at) in record.results {
                    mine.add_result(chain, created_at);
                }
            }
        }
        id
    }

    /// Adds a layer on `parent` and returns the chain.
    pub(super) fn add_layer(&mut self, parent: Option<&ChainKey>, blob: &Descriptor) -> ChainKey {
        let key = ChainKey::of(parent, &blob.digest);
        self.add_blob(blob);
        self.chains.entry(key.clone()).or_insert_with(|| Chain {
            blob: blob.digest.clone(),
            parent: parent.cloned(),
        });
        key
    }

    /// Returns the layers of a chain, uppermost first.
    pub(super) fn layers<'a>(
        &'a self,
        chain: &'a ChainKey,
    ) -> impl Iterator<Item = (&'a ChainKey, &'a Chain)> {
        let entry = |key: &'a ChainKey| self.chains.get_key_value(key);
        std::iter::successors(entry(chain), move |(_, chain)| {
            chain.parent.as_ref().and_then(entry)
        })
    }

    /// Drops chains that no result needs, and blobs that no chain needs.
    pub(super) fn sweep_layers(&mut self) {
        let mut needed: BTreeSet<ChainKey> = BTreeSet::new();
        for top in self
            .records
            .values()
            .flat_map(|record| record.results.keys())
        {
            for (key, _) in self.layers(top) {
                if !needed.insert(key.clone()) {
                    break;
                }
            }
        }
        self.chains.retain(|key, _| needed.contains(key));
        let blobs: BTreeSet<&Digest> = self.chains.values().map(|chain| &chain.blob).collect();
        self.blobs.retain(|digest, _| blobs.contains(digest));
    }

    fn take_chains(&mut self, other: &Self) {
        for (key, chain) in &other.chains {
            self.chains
                .entry(key.clone())
                .or_insert_with(|| chain.clone());
        }
        for blob in other.blobs.values() {
            self.add_blob(blob);
        }
    }

    /// Two caches can describe a blob differently (its time). The smaller description stays, so
    /// that the order of merging does not show.
    fn add_blob(&mut self, blob: &Descriptor) {
        let rank =
            |blob: &Descriptor| (blob.annotations.clone(), blob.media_type.clone(), blob.size);
        match self.blobs.get_mut(&blob.digest) {
            Some(mine) if rank(mine) <= rank(blob) => {}
            Some(mine) => *mine = blob.clone(),
            None => {
                self.blobs.insert(blob.digest.clone(), blob.clone());
            }
        }
    }
}

impl Record {
    /// Returns the links of all inputs.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.inputs.iter().flatten()
    }

    pub(super) fn add_result(&mut self, chain: ChainKey, created_at: CreatedAt) {
        let mine = self.results.entry(chain).or_insert(created_at);
        *mine = created_at.max(*mine);
    }
}

impl RecordId {
    fn of(record: &Record) -> Self {
        // Lengths go before texts, so that no two records read the same.
        let mut text = format!("record {} {}\n", record.digest.len(), record.digest);
        for input in &record.inputs {
            text.push_str("input\n");
            for link in input {
                let selector = &link.selector;
                writeln!(text, "{} {} {selector}", link.record, selector.len())
                    .expect("a String takes all");
            }
        }
        Self(Digest::of(text.as_bytes()))
    }
}

impl ChainKey {
    fn of(parent: Option<&Self>, blob: &Digest) -> Self {
        Self(match parent {
            None => Digest::of(blob.as_str().as_bytes()),
            Some(parent) => Digest::of(format!("{} {blob}", parent.0).as_bytes()),
        })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
