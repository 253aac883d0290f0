//! The cache config: the JSON in which `BuildKit` keeps its records.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::oci::Digest;

use super::record_order::{inputs_first, parents_first};
use super::{CacheConfigError, CreatedAt, MAX_BLOB_BYTES};

/// A cache config, the config blob of a build cache.
///
/// ```text
/// {
///   "layers":  [ {"blob": "sha256:…", "parent": -1}, … ],      one per chain of layers
///   "records": [ {"digest": "sha256:…",                        one per cache key
///                 "inputs": [ [ {"link": 0, "selector": "…"} ] ],
///                 "layers": [ {"layer": 1, "createdAt": "…"} ]} ]
/// }
/// ```
///
/// Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/v1/spec.go>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheConfig {
    /// Layers, each with the layer that it lies on.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub layers: Vec<CacheLayer>,
    /// Cache keys and their results.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub records: Vec<CacheRecord>,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A layer on its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLayer {
    /// Digest of the layer's blob, as stored.
    pub blob: Digest,
    /// Index of the layer below; -1 where there is none. Go leaves 0 out.
    #[serde(default)]
    pub parent: i64,
    /// Fields that we do not know, and `annotations`, which stores without manifest use.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One cache key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The results, each a chain of layers that is named by its uppermost one.
    #[serde(
        default,
        rename = "layers",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub results: Vec<CacheResult>,
    /// Results whose layers are listed one by one, lowest first.
    #[serde(
        default,
        rename = "chains",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub chained_results: Vec<ChainedResult>,
    /// What was done: the digest of the operation, or of a source.
    #[serde(default)]
    pub digest: String,
    /// For each input, the records that it can be; several mean the same.
    #[serde(
        default,
        deserialize_with = "null_lists_are_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub inputs: Vec<Vec<CacheInput>>,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A result: a chain of layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheResult {
    /// Index of the uppermost layer.
    #[serde(default)]
    pub layer: i64,
    /// When it was made.
    #[serde(default, rename = "createdAt")]
    pub created_at: CreatedAt,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A result whose layers are listed one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainedResult {
    /// Indexes of the layers, lowest first; their own parents do not count.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<i64>,
    /// When it was made.
    #[serde(default, rename = "createdAt")]
    pub created_at: CreatedAt,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One record that an input can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheInput {
    /// What part of the input counts; empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Index of the record.
    #[serde(default)]
    pub link: i64,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl CacheConfig {
    /// Parses a cache config and checks what `BuildKit` checks: every index names something, and
    /// neither records nor layers stand on themselves.
    ///
    /// # Errors
    /// When the bytes are more than `BuildKit` reads, are not such JSON, or an index is wrong.
    ///
    /// Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/v1/parse.go>
    pub fn parse(bytes: &[u8]) -> Result<Self, CacheConfigError> {
        let size_bytes = bytes.len() as u64;
        if size_bytes > MAX_BLOB_BYTES {
            return Err(CacheConfigError::TooLarge {
                what: "cache config",
                size_bytes,
                max_bytes: MAX_BLOB_BYTES,
            });
        }
        let config: Self =
            serde_json::from_slice(bytes).map_err(|cause| CacheConfigError::Json {
                what: "cache config",
                cause,
            })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every index.
    fn check(&self) -> Result<(), CacheConfigError> {
        inputs_first(&self.records)?;
        parents_first(&self.layers)?;
        for (index, record) in self.records.iter().enumerate() {
            let chained = record.chained_results.iter().flat_map(|r| &r.layers);
            for &layer in record.results.iter().map(|r| &r.layer).chain(chained) {
                if !usize::try_from(layer).is_ok_and(|layer| layer < self.layers.len()) {
                    return Err(CacheConfigError::LayerOutOfRange {
                        named_by: index,
                        layer,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Go writes an empty list as `null` now and then.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn null_lists_are_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Vec<CacheInput>>, D::Error> {
    let lists = Option::<Vec<Option<Vec<CacheInput>>>>::deserialize(deserializer)?;
    Ok(lists
        .unwrap_or_default()
        .into_iter()
        .map(Option::unwrap_or_default)
        .collect())
}
