//! Image manifests and indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest, Platform, media_type};

/// One image: its config and its layers, lowest layer first.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_MANIFEST`] or [`media_type::DOCKER_MANIFEST`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that we do not know: kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Several manifests: one per platform at a registry, one per entry in an image layout.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_INDEX`] or [`media_type::DOCKER_MANIFEST_LIST`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What the index names.
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that we do not know: kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl ImageManifest {
    /// Returns an OCI manifest without annotations.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }
}

/// Why manifests make no index of an image for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformIndexError {
    /// There is none.
    Empty,
    /// One has no platform.
    NoPlatform(Digest),
    /// Two are for the same platform.
    SamePlatform(Platform),
}

impl fmt::Display for PlatformIndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no manifest for any platform"),
            Self::NoPlatform(digest) => write!(f, "the manifest `{digest}` has no platform"),
            Self::SamePlatform(platform) => write!(f, "two manifests are for `{platform}`"),
        }
    }
}

impl std::error::Error for PlatformIndexError {}

impl ImageIndex {
    /// Returns the index of an image for several platforms: digest, size, media type and platform of
    /// each manifest, in any order. It is a Docker manifest list where all are Docker's manifests,
    /// which every registry takes, and otherwise an OCI index. The same manifests make the same
    /// bytes.
    ///
    /// # Errors
    /// Where there is no manifest, one has no platform, or two have the same.
    pub fn of_platforms(mut manifests: Vec<Descriptor>) -> Result<Self, PlatformIndexError> {
        let mut seen = BTreeSet::new();
        for manifest in &manifests {
            let Some(platform) = &manifest.platform else {
                return Err(PlatformIndexError::NoPlatform(manifest.digest.clone()));
            };
            if !seen.insert(platform.normalized().to_string()) {
                return Err(PlatformIndexError::SamePlatform(platform.clone()));
            }
        }
        if manifests.is_empty() {
            return Err(PlatformIndexError::Empty);
        }
        manifests.sort_by_key(|manifest| manifest.platform.as_ref().map(ToString::to_string));
        let is_docker = |manifest: &Descriptor| manifest.media_type == media_type::DOCKER_MANIFEST;
        let media_type = if manifests.iter().all(is_docker) {
            media_type::DOCKER_MANIFEST_LIST
        } else {
            media_type::OCI_INDEX
        };
        Ok(Self {
            media_type: Some(media_type.to_owned()),
            ..Self::new(manifests)
        })
    }

    /// Returns the index as a registry takes it: media type and bytes.
    pub fn to_media_type_and_bytes(&self) -> (String, Vec<u8>) {
        let media_type = self.media_type.as_deref().unwrap_or(media_type::OCI_INDEX);
        let bytes = serde_json::to_vec(self).expect("an index is JSON");
        (media_type.to_owned(), bytes)
    }

    /// Returns an OCI index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(media_type: &str, platform: &str) -> Descriptor {
        let mut manifest = Descriptor::new(media_type, Digest::of(platform.as_bytes()), 7);
        manifest.platform = Some(platform.parse().expect("a platform"));
        manifest
    }

    #[test]
    fn an_index_of_platforms_has_the_type_of_its_manifests_and_one_order() {
        for (types, expected) in [
            ([media_type::OCI_MANIFEST; 2], media_type::OCI_INDEX),
            (
                [media_type::DOCKER_MANIFEST; 2],
                media_type::DOCKER_MANIFEST_LIST,
            ),
            (
                [media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST],
                media_type::OCI_INDEX,
            ),
        ] {
            let mut manifests = vec![
                manifest(types[0], "linux/arm64"),
                manifest(types[1], "linux/amd64"),
            ];
            let index = ImageIndex::of_platforms(manifests.clone()).expect("two platforms");
            manifests.reverse();
            assert_eq!(ImageIndex::of_platforms(manifests).as_ref(), Ok(&index));
            let (found, bytes) = index.to_media_type_and_bytes();
            assert_eq!(found, expected);
            assert_eq!(
                serde_json::from_slice::<ImageIndex>(&bytes).expect("JSON"),
                index
            );
        }
    }

    #[test]
    fn what_no_platform_can_be_chosen_from_is_refused() {
        let arm = |text| manifest(media_type::OCI_MANIFEST, text);
        let mut nameless = arm("linux/arm64");
        nameless.platform = None;
        let digest = nameless.digest.clone();
        for (manifests, expected) in [
            (vec![], PlatformIndexError::Empty),
            (vec![nameless], PlatformIndexError::NoPlatform(digest)),
            (
                vec![arm("linux/arm"), arm("linux/arm/v7")],
                PlatformIndexError::SamePlatform("linux/arm/v7".parse().expect("a platform")),
            ),
        ] {
            assert_eq!(ImageIndex::of_platforms(manifests), Err(expected));
        }
    }
}
