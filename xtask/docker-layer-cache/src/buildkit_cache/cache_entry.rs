//! One entry of the store: the cache of one Dockerfile's stages after a build.

use std::collections::BTreeMap;

use super::{CacheGraph, StageRecords};

/// A build cache and whose its records are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheEntry {
    /// The records, those that mean the same made one.
    pub graph: CacheGraph,
    /// Which of them belong to which stage.
    pub stages: StageRecords,
}

impl CacheEntry {
    /// Returns the entry after a build.
    ///
    /// `images` are the stages in which a step ran, by name, each with what its image says
    /// ([`CacheGraph::from_inline`]). Every other stage of `stages` was wholly a hit and is carried
    /// over from `older`; where a new image lacks a result (its step was a hit, too), that of
    /// `older` stays. A stage that is not in `stages` goes.
    pub fn after_build<'a>(
        images: &BTreeMap<String, CacheGraph>,
        stages: impl IntoIterator<Item = &'a str>,
        older: Option<&Self>,
    ) -> Self {
        let mut entry = Self::default();
        let mut carried_over = CacheGraph::default();
        for stage in stages {
            if let Some(image) = images.get(stage) {
                entry.graph.merge(image);
                entry.stages.insert(stage, image);
            } else if let Some(older) = older
                && let Some(part) = older.stages.part_of(&older.graph, stage)
            {
                carried_over.merge(&part);
                entry.stages.carry_over(stage, &older.stages);
            }
        }
        let renamed = entry.graph.fill(&carried_over);
        entry.stages.rename(&renamed);
        if let Some(older) = older {
            entry.graph.take_results(&older.graph);
        }
        entry
    }
}

impl CacheGraph {
    /// Returns several caches as one, for an engine: it takes one cache well, several given side
    /// by side less well.
    ///
    /// They come newest first; those with which the whole would be more than `BuildKit` reads
    /// ([`MAX_BLOB_BYTES`](super::MAX_BLOB_BYTES)) are left out, the first one never.
    #[must_use]
    pub fn view<'a>(newest_first: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut view = Self::default();
        for graph in newest_first {
            let mut larger = view.clone();
            larger.merge(graph);
            larger.unify();
            let mut joined = larger.clone();
            joined.join_leaves();
            if view.is_empty() || joined.write().is_ok() {
                view = larger;
            }
        }
        view
    }

    /// Takes from `older` results for the records that have none, and no records: its links to
    /// what was before would pile up from entry to entry.
    pub fn take_results(&mut self, older: &Self) {
        let mut both = self.clone();
        both.merge(older);
        let renamed = both.unify();
        for (id, record) in &mut self.records {
            if record.results.is_empty()
                && let Some(known) = both.records.get(renamed.of(id))
            {
                record.results.clone_from(&known.results);
            }
        }
        self.chains = both.chains;
        self.blobs = both.blobs;
        self.sweep_layers();
    }
}
