//! Properties that hold for any cache.

use std::collections::BTreeSet;

use super::super::RecordId;
use super::super::graph::Record;
use super::*;

/// Caches from a small alphabet, so that they have records in common.
fn graph() -> impl Strategy<Value = CacheGraph> {
    let link = (any::<prop::sample::Index>(), 0..2_u8);
    let input = prop::collection::vec(link, 1..3);
    let result = (any::<prop::sample::Index>(), 0..3_u8);
    let record = (
        0..4_u8,
        prop::collection::vec(input, 0..3),
        prop::collection::vec(result, 0..2),
    );
    let layer = (0..4_u8, any::<Option<prop::sample::Index>>());
    (
        prop::collection::vec(layer, 1..6),
        prop::collection::vec(record, 0..9),
    )
        .prop_map(|(layers, records)| {
            let below = |index: &prop::sample::Index, n: usize| {
                i64::try_from(index.index(n)).expect("small")
            };
            let config = CacheConfig {
                layers: layers
                    .iter()
                    .enumerate()
                    .map(|(n, (blob, parent))| CacheLayer {
                        blob: digest(&blob.to_string()),
                        parent: match parent {
                            Some(parent) if n > 0 => below(parent, n),
                            _ => -1,
                        },
                        other: BTreeMap::new(),
                    })
                    .collect(),
                records: records
                    .iter()
                    .enumerate()
                    .map(|(n, (name, inputs, results))| CacheRecord {
                        digest: format!("sha256:{name}"),
                        inputs: inputs
                            .iter()
                            .filter(|_| n > 0)
                            .map(|links| {
                                let links = links.iter().map(|(link, selector)| CacheInput {
                                    selector: "s".repeat(usize::from(*selector)),
                                    link: below(link, n),
                                    other: BTreeMap::new(),
                                });
                                links.collect()
                            })
                            .collect(),
                        results: results
                            .iter()
                            .map(|(layer, second)| CacheResult {
                                layer: below(layer, layers.len()),
                                created_at: format!("2026-01-01T00:00:0{second}Z")
                                    .parse()
                                    .expect("valid"),
                                other: BTreeMap::new(),
                            })
                            .collect(),
                        ..CacheRecord::default()
                    })
                    .collect(),
                other: BTreeMap::new(),
            };
            let blobs: Vec<Descriptor> = (0..4).map(layer_of).collect();
            CacheGraph::from_config(&config, &blobs).expect("valid")
        })
}

fn layer_of(n: u8) -> Descriptor {
    layer(&n.to_string())
}

fn merged(graphs: &[&CacheGraph]) -> CacheGraph {
    let mut merged = CacheGraph::default();
    for graph in graphs {
        merged.merge(graph);
    }
    merged
}

fn unified(mut graph: CacheGraph) -> CacheGraph {
    graph.unify();
    graph
}

fn rewritten(graph: &CacheGraph) -> CacheGraph {
    let (config, blobs) = graph.to_config();
    let bytes = serde_json::to_vec(&config).expect("json");
    let config = CacheConfig::parse(&bytes).expect("what we write, we read");
    CacheGraph::from_config(&config, &blobs).expect("what we write, we read")
}

proptest! {
    #[test]
    fn joined_leaves_are_one_and_change_nothing_else(graph in graph()) {
        let mut joined = graph.clone();
        joined.join_leaves();
        let below: BTreeSet<&RecordId> =
            joined.records.values().flat_map(Record::links).map(|link| &link.record).collect();
        let n_leaves = joined.records.keys().filter(|id| !below.contains(id)).count();
        prop_assert_eq!(n_leaves, usize::from(!graph.is_empty()));
        prop_assert!(joined.record_ids().is_superset(&graph.record_ids()));
        prop_assert!(joined.records.len() <= graph.records.len() + 1);
        let mut again = joined.clone();
        again.join_leaves();
        prop_assert_eq!(&again, &joined);
        joined.prune(|_| true);
        let mut pruned = graph;
        pruned.prune(|_| true);
        prop_assert_eq!(joined, pruned);
    }

    #[test]
    fn merging_is_union(a in graph(), b in graph(), c in graph()) {
        prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
        prop_assert_eq!(merged(&[&merged(&[&a, &b]), &c]), merged(&[&a, &merged(&[&b, &c])]));
        prop_assert_eq!(&merged(&[&a, &a]), &a);
    }

    #[test]
    fn written_and_read_is_the_same(a in graph(), b in graph()) {
        let graph = merged(&[&a, &b]);
        prop_assert_eq!(&rewritten(&graph), &graph);
        let written = graph.write().expect("small");
        prop_assert_eq!(&written, &merged(&[&b, &a]).write().expect("small"));
        prop_assert_eq!(&written.config_descriptor.digest, &Digest::of(&written.config));
    }

    #[test]
    fn unifying_loses_nothing_and_settles(a in graph(), b in graph()) {
        let graph = merged(&[&a, &b]);
        let once = unified(graph.clone());
        prop_assert_eq!(&rewritten(&once), &once);
        prop_assert_eq!(&unified(once.clone()), &once);
        prop_assert!(once.stats().records <= graph.stats().records);
        prop_assert_eq!(once.stats().blobs, graph.stats().blobs);
        prop_assert_eq!(&unified(merged(&[&b, &a])), &once);
    }

    #[test]
    fn renamed_identities_are_there(a in graph(), b in graph()) {
        let mut graph = merged(&[&a, &b]);
        let renamed = graph.unify();
        let ids = graph.record_ids();
        for id in a.record_ids() {
            prop_assert!(ids.contains(renamed.of(&id)));
        }
    }

    #[test]
    fn pruning_leaves_nothing_dangling(graph in graph(), missing in 0..16_u8) {
        let available = |blob: &Digest| (0..4).any(|n| missing >> n & 1 == 0 && *blob == digest(&n.to_string()));
        let mut pruned = graph.clone();
        let report = pruned.prune(available);
        prop_assert!(pruned.blobs().all(|blob| available(&blob.digest)));
        prop_assert_eq!(&rewritten(&pruned), &pruned);
        prop_assert_eq!(pruned.stats().records + report.records, graph.stats().records);
        let (config, _) = pruned.to_config();
        let mut needed = vec![false; config.records.len()];
        for record in &config.records {
            for input in record.inputs.iter().flatten() {
                needed[usize::try_from(input.link).expect("in range")] = true;
            }
        }
        for (record, needed) in config.records.iter().zip(needed) {
            prop_assert!(needed || !record.results.is_empty());
        }
        prop_assert_eq!(pruned.prune(available), Pruned::default());
    }

    #[test]
    fn filling_keeps_what_is_there(new in graph(), old in graph()) {
        let mut filled = new.clone();
        let renamed = filled.fill(&old);
        prop_assert_eq!(&rewritten(&filled), &filled);
        for id in new.record_ids().iter().chain(&old.record_ids()) {
            prop_assert!(filled.record_ids().contains(renamed.of(id)));
        }
        let mut again = filled.clone();
        again.fill(&old);
        prop_assert_eq!(again, filled);
    }

    #[test]
    fn arbitrary_bytes_are_refused_not_feared(bytes: Vec<u8>) {
        let _ = CacheConfig::parse(&bytes);
        let _ = InlineCache::from_image_config(&bytes);
    }

    #[test]
    fn arbitrary_indexes_are_refused_not_feared(
        layers in prop::collection::vec((0..3_u8, -2..5_i64), 0..5),
        records in prop::collection::vec((prop::collection::vec(-1..5_i64, 0..3), -1..5_i64), 0..5),
    ) {
        let value = json!({
            "layers": layers.iter().map(|(blob, parent)| json!({"blob": digest(&blob.to_string()), "parent": parent})).collect::<Vec<_>>(),
            "records": records.iter().map(|(links, layer)| json!({
                "digest": "sha256:a",
                "inputs": links.iter().map(|link| json!([{"link": link}])).collect::<Vec<_>>(),
                "layers": [{"layer": layer}], "chains": [{"layers": [layer, 0]}],
            })).collect::<Vec<_>>(),
        });
        let blobs: Vec<Descriptor> = (0..2).map(layer_of).collect();
        let unchecked: CacheConfig = serde_json::from_value(value.clone()).expect("a config");
        let read = CacheGraph::from_config(&unchecked, &blobs);
        prop_assert_eq!(config(&value).is_ok(), read.is_ok());
        if let Ok(mut graph) = read {
            graph.unify();
            prop_assert_eq!(&rewritten(&graph), &graph);
        }
        let _ = CacheGraph::from_inline(&InlineCache { records: unchecked.records }, &blobs);
    }
}
