//! Which layers the store has.

use std::collections::BTreeMap;

use crate::oci::{Descriptor, DiffId, ImageConfig, ImageManifest};

use super::{ImageLayout, KNOWN_AS, StoreError, UNCOMPRESSED, Writer};

/// The layers that the entries of a store name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredLayers {
    /// The layers by diff ID.
    pub by_diff_id: BTreeMap<DiffId, Descriptor>,
    /// Diff IDs by what an engine may call the layer: the digest of our own blob, which it was
    /// given once, and the names in [`KNOWN_AS`].
    pub by_name: BTreeMap<String, DiffId>,
}

impl ImageLayout {
    /// Returns the layers that the entries name and that are there with their size. Their bytes
    /// are not checked; entries that cannot be read are passed over.
    ///
    /// # Errors
    /// Returns an error if the index is there and cannot be read.
    pub fn layers(&self) -> Result<StoredLayers, StoreError> {
        self.layers_where(|layer| self.open_blob(layer).is_ok())
    }

    /// As [`ImageLayout::layers`], of the layers that are wherever `is_there` says.
    fn layers_where(
        &self,
        is_there: impl Fn(&Descriptor) -> bool,
    ) -> Result<StoredLayers, StoreError> {
        let mut layers = StoredLayers::default();
        for descriptor in self.index()?.index.manifests {
            let Ok(manifest) = self.manifest(&descriptor) else {
                continue;
            };
            let diff_ids = self.diff_ids(&manifest);
            for (at, layer) in manifest.layers.into_iter().enumerate() {
                if let Some(diff_id) = diff_id(&layer).or_else(|| diff_ids.get(at).cloned())
                    && is_there(&layer)
                {
                    layers.add(diff_id, layer);
                }
            }
        }
        Ok(layers)
    }

    /// Returns the diff IDs of an image's config, where its layers do not all state theirs.
    fn diff_ids(&self, manifest: &ImageManifest) -> Vec<DiffId> {
        if manifest.layers.iter().all(|layer| diff_id(layer).is_some()) {
            return Vec::new();
        }
        match self.read_json::<ImageConfig>(&manifest.config) {
            Ok(config) if config.rootfs.diff_ids.len() == manifest.layers.len() => {
                config.rootfs.diff_ids
            }
            _ => Vec::new(),
        }
    }
}

impl Writer {
    /// Returns the layers that the entries name and that are here or elsewhere.
    ///
    /// # Errors
    /// Returns an error if the index is there and cannot be read.
    pub fn all_layers(&self) -> Result<StoredLayers, StoreError> {
        self.layers_where(|layer| self.open_blob(layer).is_ok() || self.is_elsewhere(&layer.digest))
    }
}

impl StoredLayers {
    fn add(&mut self, diff_id: DiffId, layer: Descriptor) {
        let known_as = layer.annotations.get(KNOWN_AS);
        let names = known_as.into_iter().flat_map(|names| names.split(' '));
        for name in names.chain([layer.digest.as_str()]) {
            self.by_name.insert(name.to_owned(), diff_id.clone());
        }
        let layer = self.by_diff_id.entry(diff_id).or_insert(layer);
        // Only what describes the layer itself: an entry's own annotations are its own.
        layer.annotations.retain(|name, _| {
            [UNCOMPRESSED, super::UNCOMPRESSED_SIZE, KNOWN_AS].contains(&name.as_str())
        });
    }
}

fn diff_id(layer: &Descriptor) -> Option<DiffId> {
    let diff_id = layer.annotations.get(UNCOMPRESSED)?.parse().ok()?;
    Some(DiffId(diff_id))
}
