//! Image configs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DiffId;

/// What we read of an image config; the bytes themselves are kept as they are, since their
/// digest is the image ID.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// CPU architecture, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// CPU variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The layers' diff IDs, lowest first.
    pub rootfs: RootFs,
    /// How each layer came to be, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else: `config`, `created`, `moby.buildkit.cache.v0` and so on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The layers of an image, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Diff IDs, lowest first. An image without layers has none, or `null`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<DiffId>,
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The instruction that made the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<DiffId>, D::Error> {
    Ok(Option::<Vec<DiffId>>::deserialize(deserializer)?.unwrap_or_default())
}
