//! Records that mean the same become one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::circles::{break_circles, classes_inputs_first};
use super::graph::{Link, Record};
use super::record_order::lowest_first;
use super::{CacheGraph, RecordId};

/// Which record each record became.
///
/// A list of identities that was made before must be renamed with it
/// ([`StageRecords::rename`](super::StageRecords::rename)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renamed(BTreeMap<RecordId, RecordId>);

impl Renamed {
    /// Returns what `id` is called now.
    pub fn of<'a>(&'a self, id: &'a RecordId) -> &'a RecordId {
        self.0.get(id).unwrap_or(id)
    }
}

impl CacheGraph {
    /// Makes one record of those that mean the same: the same digest, and for every input at
    /// least one link in common.
    ///
    /// An input lists several records that mean the same (a base image by its digest and by its
    /// content), and what is listed varies from build to build: a base that was itself a hit
    /// lacks its content. Without this a cache over several builds holds the same step several
    /// times, and its results lie scattered. `BuildKit` does the same when it reads a cache, in an
    /// order that differs from run to run.
    ///
    /// Where records would then stand on each other in a circle, the links that close it go.
    ///
    /// Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/v1/utils.go>
    /// (`normalizeItem`, `removeLoops`)
    pub fn unify(&mut self) -> Renamed {
        let nodes = Nodes::of(self);
        let class_of = nodes.classes();
        let mut classes = nodes.merged(&class_of);
        break_circles(&mut classes);

        let mut unified = Self {
            records: BTreeMap::new(),
            chains: self.chains.clone(),
            blobs: self.blobs.clone(),
        };
        let mut new_ids: BTreeMap<usize, RecordId> = BTreeMap::new();
        for class in classes_inputs_first(&classes) {
            let merged = &classes[&class];
            let to_link = |(record, selector): &(usize, &str)| Link {
                record: new_ids[record].clone(),
                selector: (*selector).to_owned(),
            };
            let inputs = merged
                .inputs
                .iter()
                .map(|links| links.iter().map(to_link).collect());
            let mut record = Record {
                digest: nodes.records[class].digest.clone(),
                inputs: inputs.collect(),
                results: BTreeMap::new(),
            };
            for &member in &merged.members {
                for (chain, &created_at) in &nodes.records[member].results {
                    record.add_result(chain.clone(), created_at);
                }
            }
            new_ids.insert(class, unified.add_record(record));
        }
        let old_ids = nodes.ids.iter().map(|&id| id.clone());
        let renamed = old_ids
            .zip(&class_of)
            .map(|(old, class)| (old, new_ids[class].clone()))
            .filter(|(old, new)| old != new)
            .collect();
        *self = unified;
        Renamed(renamed)
    }
}

pub(super) type Links<'a> = BTreeSet<(usize, &'a str)>;
/// Digest, number of inputs, one input's place, and one link of it: class and selector.
type Key<'a> = (&'a str, usize, usize, usize, &'a str);

/// The records of a graph by number.
struct Nodes<'a> {
    ids: Vec<&'a RecordId>,
    records: Vec<&'a Record>,
    inputs: Vec<Vec<Links<'a>>>,
}

/// Records that became one.
pub(super) struct Class<'a> {
    members: Vec<usize>,
    pub(super) inputs: Vec<Links<'a>>,
}

impl<'a> Nodes<'a> {
    fn of(graph: &'a CacheGraph) -> Self {
        let (ids, records): (Vec<&RecordId>, Vec<&Record>) = graph.records.iter().unzip();
        let number_of: HashMap<&RecordId, usize> =
            ids.iter().enumerate().map(|(n, &id)| (id, n)).collect();
        let links = |links: &'a BTreeSet<Link>| {
            links
                .iter()
                .map(|link| (number_of[&link.record], link.selector.as_str()))
                .collect()
        };
        let inputs = records.iter().map(|r| r.inputs.iter().map(links).collect());
        Self {
            inputs: inputs.collect(),
            ids,
            records,
        }
    }

    /// Returns for each record the least number among those that mean the same.
    fn classes(&self) -> Vec<usize> {
        let order = lowest_first(self.inputs.len(), |n| {
            self.inputs[n].iter().flatten().map(|&(link, _)| link)
        });
        let mut classes = UnionFind::new(self.inputs.len());
        // What any of a class has for an input counts for all of it.
        let mut inputs = self.inputs.clone();
        // One pass in this order finds nearly all; a union can make earlier ones alike, so again,
        // until a pass over what is left changes nothing.
        loop {
            let mut changed = false;
            let mut seen: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
            for &n in &order {
                if classes.find(n) != n {
                    continue;
                }
                let keys = keys(self.records[n].digest.as_str(), &inputs[n], &mut classes);
                // All inputs must be shared: the input that the fewest share decides the soonest.
                let n_alike = |keys: &Vec<Key<'_>>| -> usize {
                    keys.iter()
                        .filter_map(|key| seen.get(key))
                        .map(Vec::len)
                        .sum()
                };
                if let Some(fewest) = keys.iter().min_by_key(|&keys| n_alike(keys)) {
                    let alike = fewest.iter().filter_map(|key| seen.get(key)).flatten();
                    changed |= join_alike(n, alike, &mut classes, &mut inputs);
                }
                for key in keys.into_iter().flatten() {
                    seen.entry(key).or_default().push(n);
                }
            }
            if !changed {
                return (0..self.inputs.len()).map(|n| classes.find(n)).collect();
            }
        }
    }

    fn merged(&self, class_of: &[usize]) -> BTreeMap<usize, Class<'a>> {
        let mut merged: BTreeMap<usize, Class<'a>> = BTreeMap::new();
        for (n, &class) in class_of.iter().enumerate() {
            let class = merged.entry(class).or_insert_with(|| Class {
                members: Vec::new(),
                inputs: vec![BTreeSet::new(); self.inputs[n].len()],
            });
            class.members.push(n);
            for (links, more) in class.inputs.iter_mut().zip(&self.inputs[n]) {
                links.extend(
                    more.iter()
                        .map(|&(link, selector)| (class_of[link], selector)),
                );
            }
        }
        merged
    }
}

/// Returns under what a record is found, for each of its inputs.
fn keys<'a>(digest: &'a str, inputs: &[Links<'a>], classes: &mut UnionFind) -> Vec<Vec<Key<'a>>> {
    let keys = inputs.iter().enumerate().map(|(input, links)| {
        let key = |&(link, selector): &(usize, &'a str)| {
            (digest, inputs.len(), input, classes.find(link), selector)
        };
        links.iter().map(key).collect()
    });
    keys.collect()
}

/// Joins record `n` with those of `alike`, which share one input, that share all inputs.
fn join_alike<'s>(
    n: usize,
    alike: impl Iterator<Item = &'s usize>,
    classes: &mut UnionFind,
    inputs: &mut [Vec<Links<'_>>],
) -> bool {
    let mut changed = false;
    for &other in alike {
        let (a, b) = (classes.find(n), classes.find(other));
        if a != b && share_every_input(&inputs[a], &inputs[b], classes) {
            classes.union(a, b);
            for (input, more) in std::mem::take(&mut inputs[a.max(b)])
                .into_iter()
                .enumerate()
            {
                inputs[a.min(b)][input].extend(more);
            }
            changed = true;
        }
    }
    changed
}

fn share_every_input(a: &[Links<'_>], b: &[Links<'_>], classes: &mut UnionFind) -> bool {
    a.iter().zip(b).all(|(a, b)| {
        let b: BTreeSet<(usize, &str)> = b
            .iter()
            .map(|&(link, selector)| (classes.find(link), selector))
            .collect();
        a.iter()
            .any(|&(link, selector)| b.contains(&(classes.find(link), selector)))
    })
}

struct UnionFind(Vec<usize>);

impl UnionFind {
    fn new(length: usize) -> Self {
        Self((0..length).collect())
    }

    fn find(&mut self, mut n: usize) -> usize {
        while self.0[n] != n {
            self.0[n] = self.0[self.0[n]];
            n = self.0[n];
        }
        n
    }

    /// Joins two classes under the lesser number.
    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}
