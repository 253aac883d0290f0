//! Identities of layers: diff ID (one layer, uncompressed) and chain ID (a layer on its parents).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Digest;

/// The digest of one layer's uncompressed tar.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-diffid>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The identity of a layer together with all layers below it.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Returns the chain ID after each layer, lowest first.
    pub fn of_each(diff_ids: &[DiffId]) -> Vec<ChainId> {
        let mut chain_ids: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            let chain_id = match chain_ids.last() {
                None => diff_id.0.clone(),
                Some(parent) => Digest::of(format!("{} {}", parent.0, diff_id.0).as_bytes()),
            };
            chain_ids.push(ChainId(chain_id));
        }
        chain_ids
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
