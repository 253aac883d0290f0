//! Out of a [`CacheGraph`]: the cache config and the manifest, byte for byte the same for the
//! same cache.

use std::collections::BTreeMap;

use crate::oci::{Descriptor, Digest, ImageManifest, media_type};

use super::graph::Record;
use super::{
    CacheConfig, CacheConfigError, CacheGraph, CacheInput, CacheLayer, CacheRecord, CacheResult,
    ChainKey, RecordId,
};

/// The most that `BuildKit` reads of a manifest or a cache config: 1 MiB. It leaves the whole
/// cache out when one is larger.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/import.go> (`readBlob`)
pub const MAX_BLOB_BYTES: u64 = 1 << 20;

/// A build cache as it is stored: two blobs and their descriptors, beside the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenCache {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The manifest's descriptor: what `index.json` names.
    pub manifest_descriptor: Descriptor,
    /// The cache config's bytes.
    pub config: Vec<u8>,
    /// The cache config's descriptor.
    pub config_descriptor: Descriptor,
}

impl CacheGraph {
    /// Returns the cache config, and the descriptors of its blobs sorted by digest.
    ///
    /// Layers come after the ones that they lie on, otherwise by blob; records by digest and
    /// identity; results oldest first, since old versions of `BuildKit` keep the last one.
    pub fn to_config(&self) -> (CacheConfig, Vec<Descriptor>) {
        let chains = self.chains_by_depth();
        let layer_of: BTreeMap<&ChainKey, i64> = chains.iter().copied().zip(0..).collect();
        let layers = chains
            .iter()
            .map(|&key| {
                let chain = &self.chains[key];
                CacheLayer {
                    blob: chain.blob.clone(),
                    parent: chain.parent.as_ref().map_or(-1, |parent| layer_of[parent]),
                    other: BTreeMap::new(),
                }
            })
            .collect();

        let mut records: Vec<(&RecordId, &Record)> = self.records.iter().collect();
        records.sort_by_key(|&(id, record)| (&record.digest, id));
        let record_of: BTreeMap<&RecordId, i64> =
            records.iter().map(|&(id, _)| id).zip(0..).collect();
        let records = records
            .into_iter()
            .map(|(_, record)| record.to_config(&record_of, &layer_of))
            .collect();

        let config = CacheConfig {
            layers,
            records,
            other: BTreeMap::new(),
        };
        (config, self.blobs.values().cloned().collect())
    }

    /// Returns the blobs of the build cache: its config and its manifest.
    ///
    /// # Errors
    /// When one of them is larger than [`MAX_BLOB_BYTES`]: `BuildKit` would not take it.
    pub fn write(&self) -> Result<WrittenCache, CacheConfigError> {
        let (config, layers) = self.to_config();
        let (config, config_descriptor) =
            blob("cache config", media_type::BUILDKIT_CACHE_CONFIG, &config)?;
        let manifest = ImageManifest::new(config_descriptor.clone(), layers);
        let (manifest, manifest_descriptor) =
            blob("cache manifest", media_type::OCI_MANIFEST, &manifest)?;
        Ok(WrittenCache {
            manifest,
            manifest_descriptor,
            config,
            config_descriptor,
        })
    }

    /// Returns all chains, lowest first, and by digests among those of one height.
    fn chains_by_depth(&self) -> Vec<&ChainKey> {
        let mut depths: BTreeMap<&ChainKey, usize> = BTreeMap::new();
        for top in self.chains.keys() {
            let mut open = Vec::new();
            let mut depth = 0;
            for (key, _) in self.layers(top) {
                if let Some(&known) = depths.get(key) {
                    depth = known;
                    break;
                }
                open.push(key);
            }
            for key in open.into_iter().rev() {
                depth += 1;
                depths.insert(key, depth);
            }
        }
        let mut keys: Vec<&ChainKey> = self.chains.keys().collect();
        keys.sort_by_key(|&key| (depths[key], &self.chains[key].blob, key));
        keys
    }
}

impl Record {
    fn to_config(
        &self,
        record_of: &BTreeMap<&RecordId, i64>,
        layer_of: &BTreeMap<&ChainKey, i64>,
    ) -> CacheRecord {
        let input = |link: &super::graph::Link| CacheInput {
            selector: link.selector.clone(),
            link: record_of[&link.record],
            other: BTreeMap::new(),
        };
        let inputs = self.inputs.iter().map(|links| {
            let mut links: Vec<CacheInput> = links.iter().map(input).collect();
            links.sort_by(|a, b| (a.link, &a.selector).cmp(&(b.link, &b.selector)));
            links
        });
        let mut results: Vec<CacheResult> = self
            .results
            .iter()
            .map(|(chain, &created_at)| CacheResult {
                layer: layer_of[chain],
                created_at,
                other: BTreeMap::new(),
            })
            .collect();
        results.sort_by_key(|result| (result.created_at, result.layer));
        CacheRecord {
            results,
            chained_results: Vec::new(),
            digest: self.digest.clone(),
            inputs: inputs.collect(),
            other: BTreeMap::new(),
        }
    }
}

fn blob(
    what: &'static str,
    media_type: &str,
    value: &impl serde::Serialize,
) -> Result<(Vec<u8>, Descriptor), CacheConfigError> {
    let bytes =
        serde_json::to_vec(value).map_err(|cause| CacheConfigError::Json { what, cause })?;
    let size_bytes = bytes.len() as u64;
    if size_bytes > MAX_BLOB_BYTES {
        return Err(CacheConfigError::TooLarge {
            what,
            size_bytes,
            max_bytes: MAX_BLOB_BYTES,
        });
    }
    let descriptor = Descriptor::new(media_type, Digest::of(&bytes), size_bytes);
    Ok((bytes, descriptor))
}
