//! Which layers the stages of a Dockerfile end with, read off a cache alone.
//!
//! `BuildKit` makes a layer for every step, so the layers at the top of a stage's chain are those
//! of its steps. The target's chain is the one that no other record stands on; a step that takes
//! files from another stage names that stage's last record among its inputs.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::Descriptor;

use super::{CacheGraph, ChainKey, RecordId};

/// The steps of a stage, with those of the stages that it starts from, lowest first: for each, the
/// stages that it takes files from.
pub type StageSources = Vec<Vec<usize>>;

impl CacheGraph {
    /// Returns the layers of the stages, lowest first, as far as they can be told: of `target`, and
    /// of those that steps of known ones take files from.
    pub fn stage_layers(
        &self,
        stages: &[StageSources],
        target: usize,
    ) -> BTreeMap<usize, Vec<&Descriptor>> {
        let mut tops: BTreeMap<usize, &ChainKey> = BTreeMap::new();
        let mut open: Vec<(usize, &ChainKey)> = Vec::new();
        if let Some(steps) = stages.get(target)
            && let Some(top) = self.only_root(steps.len())
        {
            open.push((target, top));
        }
        while let Some((stage, top)) = open.pop() {
            if tops.insert(stage, top).is_some() {
                continue;
            }
            let steps = stages[stage].iter().rev();
            for ((chain, _), sources) in self.layers(top).zip(steps) {
                let [source] = sources.as_slice() else {
                    continue;
                };
                if let Some(steps) = stages.get(*source)
                    && let Some(top) = self.source_of(chain, steps.len())
                {
                    open.push((*source, top));
                }
            }
        }
        let descriptors = |top| {
            let mut layers: Vec<&Descriptor> = self
                .layers(top)
                .filter_map(|(_, chain)| self.blobs.get(&chain.blob))
                .collect();
            layers.reverse();
            layers
        };
        tops.into_iter()
            .map(|(stage, top)| (stage, descriptors(top)))
            .collect()
    }

    /// Returns the only chain of at least so many layers among the results that nothing stands on.
    fn only_root(&self, n_layers: usize) -> Option<&ChainKey> {
        let used: BTreeSet<&RecordId> = self
            .records
            .values()
            .flat_map(|record| record.links().map(|link| &link.record))
            .collect();
        let roots = self.records.iter().filter(|(id, _)| !used.contains(id));
        only(
            roots
                .flat_map(|(_, record)| record.results.keys())
                .filter(|chain| self.layers(chain).count() >= n_layers),
        )
    }

    /// Returns the only chain of at least so many layers that the step which made `chain` takes
    /// files from.
    fn source_of(&self, chain: &ChainKey, n_layers: usize) -> Option<&ChainKey> {
        let below = self.chains.get(chain)?.parent.as_ref();
        let blob = &self.chains.get(chain)?.blob;
        let records = self.records.values();
        let makers = records.filter(|record| record.results.contains_key(chain));
        // Without a layer below, the first input can be what files are taken from.
        let mut open: Vec<&RecordId> = makers
            .flat_map(|record| record.inputs.iter().skip(usize::from(below.is_some())))
            .flatten()
            .map(|link| &link.record)
            .collect();
        let mut seen: BTreeSet<&RecordId> = BTreeSet::new();
        let mut found: BTreeSet<&ChainKey> = BTreeSet::new();
        while let Some(id) = open.pop() {
            let Some(record) = self.records.get(id).filter(|_| seen.insert(id)) else {
                continue;
            };
            // A linked copy is made by itself first, and then laid over the others.
            let is_itself = |key: &&ChainKey| {
                let chain = &self.chains[*key];
                chain.parent.is_none() && chain.blob == *blob
            };
            let results: Vec<&ChainKey> = record.results.keys().collect();
            if results.is_empty() || results.iter().all(is_itself) {
                open.extend(record.links().map(|link| &link.record));
            } else {
                found.extend(results);
            }
        }
        only(
            found
                .into_iter()
                .filter(|chain| self.layers(chain).count() >= n_layers),
        )
    }
}

fn only<'a>(chains: impl Iterator<Item = &'a ChainKey>) -> Option<&'a ChainKey> {
    let chains: BTreeSet<&ChainKey> = chains.collect();
    (chains.len() == 1).then(|| chains.into_iter().next())?
}
