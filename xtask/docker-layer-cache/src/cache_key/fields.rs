//! Digests over fields: no two lists of fields feed the same bytes.

use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// Takes fields, each with its length, and returns their digest.
#[derive(Debug, Clone)]
pub(super) struct Fields(Sha256);

impl Fields {
    /// Starts with the name of what the fields say.
    pub(super) fn new(what: &str) -> Self {
        Self(Sha256::new()).with(what)
    }

    /// Adds a field.
    #[must_use]
    pub(super) fn with(mut self, field: impl AsRef<[u8]>) -> Self {
        let bytes = field.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a list of fields, and how many there are.
    #[must_use]
    pub(super) fn with_all<T: AsRef<[u8]>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        let fields: Vec<T> = fields.into_iter().collect();
        let counted = self.with((fields.len() as u64).to_le_bytes());
        fields.into_iter().fold(counted, Self::with)
    }

    /// Adds a digest.
    #[must_use]
    pub(super) fn with_digest(self, digest: &Digest) -> Self {
        self.with(digest.as_str())
    }

    /// Returns the digest of all fields.
    pub(super) fn digest(self) -> Digest {
        Digest::from_sha256(&self.0.finalize().into())
    }
}
