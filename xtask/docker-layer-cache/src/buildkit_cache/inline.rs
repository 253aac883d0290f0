//! The inline cache: records that `BuildKit` leaves in an image's config.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::record_order::inputs_first;
use super::{CacheConfigError, CacheRecord};

/// The records of an image that was built with `--cache-to type=inline`.
///
/// They are those of a cache config, but a result's `layer` counts the image's layers, lowest
/// first: the result is that layer on all the layers below it.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.13.2/cache/remotecache/inline/inline.go>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InlineCache {
    /// Cache keys and their results.
    pub records: Vec<CacheRecord>,
}

#[derive(Deserialize)]
struct ImageConfigWithCache {
    #[serde(default, rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
}

impl InlineCache {
    /// Returns the records in the bytes of an image config, or `None` where it has none.
    ///
    /// # Errors
    /// When the config is not JSON, or its records are not such as `BuildKit` takes.
    pub fn from_image_config(image_config: &[u8]) -> Result<Option<Self>, CacheConfigError> {
        let config: ImageConfigWithCache =
            serde_json::from_slice(image_config).map_err(|cause| CacheConfigError::Json {
                what: "image config",
                cause,
            })?;
        config.cache.as_deref().map(Self::from_base64).transpose()
    }

    fn from_base64(text: &str) -> Result<Self, CacheConfigError> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|cause| CacheConfigError::Base64 { cause })?;
        let records: Option<Vec<CacheRecord>> =
            serde_json::from_slice(&bytes).map_err(|cause| CacheConfigError::Json {
                what: "inline cache",
                cause,
            })?;
        let records = records.unwrap_or_default();
        inputs_first(&records)?;
        Ok(Self { records })
    }
}
