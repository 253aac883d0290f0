//! `manifest.json`: which images an archive holds.

use serde::{Deserialize, Serialize};

/// One image of `manifest.json`. Paths are inside the archive.
///
/// Source: <https://github.com/moby/moby/blob/v28.5.2/image/tarexport/tarexport.go>
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestItem {
    pub(super) config: String,
    /// `null` for an image that was saved by ID.
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    /// Lowest layer first; `null` for an image without layers.
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}
