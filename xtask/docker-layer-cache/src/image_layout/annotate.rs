//! Notes on entries that are there.

use crate::oci::Digest;

use super::{ImageLayout, StoreError};

impl ImageLayout {
    /// Adds an annotation to the entries of these manifests.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced.
    pub fn annotate(
        &self,
        manifests: &[Digest],
        name: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        self.update_index(|index| {
            for descriptor in &mut index.manifests {
                if manifests.contains(&descriptor.digest) {
                    descriptor
                        .annotations
                        .insert(name.to_owned(), value.to_owned());
                }
            }
        })
    }
}
