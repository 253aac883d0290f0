//! Into a [`CacheGraph`]: from an image's inline cache, from a cache config.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::{Descriptor, Digest};

use super::graph::{ChainKey, Link, Record};
use super::record_order::{inputs_first, parents_first};
use super::{
    CREATED_AT_ANNOTATION, CacheConfig, CacheConfigError, CacheGraph, CacheRecord, CreatedAt,
    InlineCache, RecordId,
};

impl CacheGraph {
    /// Returns the records of one image.
    ///
    /// `layers` are the image's layers as the store has them, lowest first, with their annotations
    /// (the diff ID is what lets an engine recognise layers that it has).
    ///
    /// `BuildKit` gives a result of another stage the index that its chain would have *here*, when
    /// all its blobs happen to be in this image: a claim on a layer that is not its own. Where
    /// records made at different times claim one layer, the one that was made right after the
    /// layer ([`CREATED_AT_ANNOTATION`](super::CREATED_AT_ANNOTATION)) has it; where that cannot
    /// be told, none.
    ///
    /// # Errors
    /// When an index names nothing, or records stand on themselves.
    pub fn from_inline(
        inline: &InlineCache,
        layers: &[Descriptor],
    ) -> Result<Self, CacheConfigError> {
        let mut graph = Self::default();
        let mut chains: Vec<ChainKey> = Vec::with_capacity(layers.len());
        for layer in layers {
            let chain = graph.add_layer(chains.last(), layer);
            chains.push(chain);
        }
        let owners = layer_owners(&inline.records, layers);
        graph.add_records(&inline.records, |graph, index, record| {
            let mut results = Vec::new();
            for result in &record.results {
                let layer = layer_index(index, result.layer, layers.len())?;
                if owners.get(&layer) == Some(&result.created_at) {
                    results.push((chains[layer].clone(), result.created_at));
                }
            }
            for result in &record.chained_results {
                let mut chain = None;
                for &layer in &result.layers {
                    let layer = layer_index(index, layer, layers.len())?;
                    chain = Some(graph.add_layer(chain.as_ref(), &layers[layer]));
                }
                results.extend(chain.map(|chain| (chain, result.created_at)));
            }
            Ok(results)
        })?;
        graph.sweep_layers();
        Ok(graph)
    }

    /// Returns the records of a build cache: its config and the layers of its manifest.
    ///
    /// A result with a blob that `descriptors` do not name is left out, as `BuildKit` does.
    ///
    /// # Errors
    /// When an index names nothing, or records or layers stand on themselves.
    pub fn from_config(
        config: &CacheConfig,
        descriptors: &[Descriptor],
    ) -> Result<Self, CacheConfigError> {
        let by_digest: BTreeMap<&Digest, &Descriptor> =
            descriptors.iter().map(|d| (&d.digest, d)).collect();
        let mut graph = Self::default();
        let mut chains: Vec<Option<ChainKey>> = vec![None; config.layers.len()];
        for index in parents_first(&config.layers)? {
            let layer = &config.layers[index];
            let parent = match usize::try_from(layer.parent) {
                Err(_) => None,
                Ok(parent) => match &chains[parent] {
                    Some(parent) => Some(parent.clone()),
                    None => continue,
                },
            };
            if let Some(blob) = by_digest.get(&layer.blob) {
                chains[index] = Some(graph.add_layer(parent.as_ref(), blob));
            }
        }
        graph.add_records(&config.records, |graph, index, record| {
            let mut results = Vec::new();
            for result in &record.results {
                let layer = layer_index(index, result.layer, chains.len())?;
                results.extend(
                    chains[layer]
                        .clone()
                        .map(|chain| (chain, result.created_at)),
                );
            }
            for result in &record.chained_results {
                let mut blobs = Vec::with_capacity(result.layers.len());
                for &layer in &result.layers {
                    let layer = layer_index(index, layer, chains.len())?;
                    blobs.push(by_digest.get(&config.layers[layer].blob).copied());
                }
                let Some(blobs) = blobs.into_iter().collect::<Option<Vec<_>>>() else {
                    continue;
                };
                let mut chain = None;
                for blob in blobs {
                    chain = Some(graph.add_layer(chain.as_ref(), blob));
                }
                results.extend(chain.map(|chain| (chain, result.created_at)));
            }
            Ok(results)
        })?;
        graph.sweep_layers();
        Ok(graph)
    }

    /// Adds records, inputs first. One that nothing can hit is left out, and what stands on it
    /// loses this input: a `random:` digest, an input that can be nothing.
    fn add_records(
        &mut self,
        records: &[CacheRecord],
        mut results_of: impl FnMut(
            &mut Self,
            usize,
            &CacheRecord,
        ) -> Result<Vec<(ChainKey, CreatedAt)>, CacheConfigError>,
    ) -> Result<(), CacheConfigError> {
        let mut ids: Vec<Option<RecordId>> = vec![None; records.len()];
        for index in inputs_first(records)? {
            let record = &records[index];
            let results = results_of(self, index, record)?;
            let link_of = |input: &super::CacheInput| {
                let index = usize::try_from(input.link).expect("links were checked");
                ids[index].clone().map(|record| Link {
                    record,
                    selector: input.selector.clone(),
                })
            };
            let inputs: Vec<BTreeSet<Link>> = record
                .inputs
                .iter()
                .map(|input| input.iter().filter_map(link_of).collect())
                .collect();
            if record.digest.starts_with("random:") || inputs.iter().any(BTreeSet::is_empty) {
                continue;
            }
            let mut added = Record {
                digest: record.digest.clone(),
                inputs,
                results: BTreeMap::new(),
            };
            for (chain, created_at) in results {
                added.add_result(chain, created_at);
            }
            ids[index] = Some(self.add_record(added));
        }
        Ok(())
    }
}

fn layer_index(record: usize, layer: i64, n_layers: usize) -> Result<usize, CacheConfigError> {
    usize::try_from(layer)
        .ok()
        .filter(|&index| index < n_layers)
        .ok_or(CacheConfigError::LayerOutOfRange {
            named_by: record,
            layer,
        })
}

/// Returns for each claimed layer of an image the time of the results that may claim it.
fn layer_owners(records: &[CacheRecord], layers: &[Descriptor]) -> BTreeMap<usize, CreatedAt> {
    let mut claims: BTreeMap<usize, BTreeSet<CreatedAt>> = BTreeMap::new();
    for result in records.iter().flat_map(|record| &record.results) {
        if let Ok(layer) = usize::try_from(result.layer) {
            claims.entry(layer).or_default().insert(result.created_at);
        }
    }
    let owner = |layer: usize, times: BTreeSet<CreatedAt>| {
        if times.len() == 1 {
            return times.first().copied();
        }
        let made_at = layers.get(layer)?.annotations.get(CREATED_AT_ANNOTATION)?;
        let made_at: CreatedAt = made_at.parse().ok()?;
        times.into_iter().min_by_key(|time| time.distance(made_at))
    };
    claims
        .into_iter()
        .filter_map(|(layer, times)| Some((layer, owner(layer, times)?)))
        .collect()
}
