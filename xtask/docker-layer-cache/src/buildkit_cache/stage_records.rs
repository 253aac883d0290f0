//! Which records are whose: a list that is kept beside an entry.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{CacheGraph, RecordId, Renamed};

/// The records of each stage of a Dockerfile.
///
/// The list of a stage is what its image's inline cache names: its own steps and all that they
/// stand on. A stage in which nothing ran needs no image: its part is carried over from the entry
/// before. A stage that is gone from the Dockerfile is not asked for and so goes from the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageRecords {
    stages: BTreeMap<String, BTreeSet<RecordId>>,
}

impl StageRecords {
    /// Remembers that `graph` is what the image of `stage` had.
    pub fn insert(&mut self, stage: &str, graph: &CacheGraph) {
        self.stages.insert(stage.to_owned(), graph.record_ids());
    }

    /// Remembers for `stage` what `older` remembers, and tells whether it knew the stage.
    pub fn carry_over(&mut self, stage: &str, older: &Self) -> bool {
        let ids = older.stages.get(stage);
        if let Some(ids) = ids {
            self.stages.insert(stage.to_owned(), ids.clone());
        }
        ids.is_some()
    }

    /// Calls every record what it is called now.
    pub fn rename(&mut self, renamed: &Renamed) {
        for ids in self.stages.values_mut() {
            *ids = ids.iter().map(|id| renamed.of(id).clone()).collect();
        }
    }

    /// Returns the part of `graph` that belongs to `stage`; `None` where the stage is not known.
    pub fn part_of(&self, graph: &CacheGraph, stage: &str) -> Option<CacheGraph> {
        self.stages.get(stage).map(|ids| graph.subgraph(ids))
    }

    /// Returns the names of the stages, sorted.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        self.stages.keys().map(String::as_str)
    }
}
