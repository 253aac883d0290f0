//! One record above all others, so that `BuildKit` reads a cache in one pass.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::Digest;

use super::graph::{Link, Record};
use super::{CacheGraph, RecordId};

impl CacheGraph {
    /// Adds a record without a result that stands on every record on which none stands yet.
    ///
    /// `BuildKit` 0.23 and later reads a cache once from each such record, in an order that differs
    /// from run to run, and loses every second link to what an earlier pass has read: of a cache
    /// over several builds a step then hits in one run and misses in the next. With one record
    /// above all there is one pass, and nothing is lost. No build ever asks for that record.
    ///
    /// Source: <https://github.com/moby/buildkit/pull/7053>
    pub fn join_leaves(&mut self) {
        let below: BTreeSet<&RecordId> = self
            .records
            .values()
            .flat_map(Record::links)
            .map(|link| &link.record)
            .collect();
        let leaves = self.records.keys().filter(|id| !below.contains(id));
        let links: BTreeSet<Link> = leaves
            .map(|leaf| Link {
                record: leaf.clone(),
                selector: String::new(),
            })
            .collect();
        if links.len() < 2 {
            return;
        }
        self.add_record(Record {
            digest: Digest::of(b"docker-layer-cache: above all leaves").to_string(),
            inputs: vec![links],
            results: BTreeMap::new(),
        });
    }
}
