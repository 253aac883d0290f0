#![no_main]

use std::collections::BTreeMap;

use docker_layer_cache::buildkit_cache::{
    CacheConfig, CacheGraph, CacheInput, CacheLayer, CacheRecord, CacheResult, ChainedResult,
};
use docker_layer_cache::oci::{Descriptor, Digest, media_type};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// A cache out of a small alphabet: two of them have much in common.
#[derive(Arbitrary, Debug)]
struct Cache {
    /// Blob, and the layer below among those before.
    layers: Vec<(u8, Option<u8>)>,
    records: Vec<Record>,
}

#[derive(Arbitrary, Debug)]
struct Record {
    digest: u8,
    inputs: Vec<Vec<(u8, bool)>>,
    results: Vec<(u8, u8)>,
    chains: Vec<(Vec<u8>, u8)>,
}

fuzz_target!(|input: (Cache, Cache, u8)| {
    let (a, b, missing) = input;
    let available =
        |blob: &Digest| (0..BLOBS).any(|n| missing >> n & 1 == 0 && blob_of(n).digest == *blob);
    docker_layer_cache::fuzzing::cache_graph(&a.graph(), &b.graph(), &available);
});

const BLOBS: u8 = 5;

fn blob_of(n: u8) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::of(&[n % BLOBS]), 1)
}

impl Cache {
    fn graph(&self) -> CacheGraph {
        let layers: Vec<CacheLayer> = self.layers.iter().take(12).enumerate().map(layer).collect();
        let n_layers = layers.len();
        let records = self.records.iter().take(24).enumerate();
        let config = CacheConfig {
            records: records.map(|(n, record)| record.at(n, n_layers)).collect(),
            layers,
            other: BTreeMap::new(),
        };
        let blobs: Vec<Descriptor> = (0..BLOBS).map(blob_of).collect();
        CacheGraph::from_config(&config, &blobs).expect("every index names something before it")
    }
}

fn layer((n, (blob, parent)): (usize, &(u8, Option<u8>))) -> CacheLayer {
    CacheLayer {
        blob: blob_of(*blob).digest,
        parent: match parent {
            Some(parent) if n > 0 => below(*parent, n),
            _ => -1,
        },
        other: BTreeMap::new(),
    }
}

impl Record {
    fn at(&self, n: usize, n_layers: usize) -> CacheRecord {
        let link = |(link, selector): &(u8, bool)| CacheInput {
            selector: if *selector { "/s" } else { "" }.to_owned(),
            link: below(*link, n),
            other: BTreeMap::new(),
        };
        let at = |second: u8| {
            let text = format!("2026-01-01T00:00:{:02}Z", second % 4);
            text.parse().expect("a time")
        };
        CacheRecord {
            digest: format!("sha256:{}", self.digest % 6),
            inputs: match n {
                0 => Vec::new(),
                _ => {
                    let inputs = self.inputs.iter().take(3);
                    inputs
                        .map(|links| links.iter().take(3).map(link).collect())
                        .collect()
                }
            },
            results: match n_layers {
                0 => Vec::new(),
                _ => {
                    let results = self.results.iter().take(2);
                    results
                        .map(|(layer, second)| CacheResult {
                            layer: below(*layer, n_layers),
                            created_at: at(*second),
                            other: BTreeMap::new(),
                        })
                        .collect()
                }
            },
            chained_results: match n_layers {
                0 => Vec::new(),
                _ => {
                    let chains = self.chains.iter().take(1);
                    chains
                        .map(|(layers, second)| ChainedResult {
                            layers: layers.iter().take(3).map(|l| below(*l, n_layers)).collect(),
                            created_at: at(*second),
                            other: BTreeMap::new(),
                        })
                        .collect()
                }
            },
            other: BTreeMap::new(),
        }
    }
}

fn below(index: u8, n: usize) -> i64 {
    i64::try_from(usize::from(index) % n).expect("small")
}
