//! What a registry holds: blobs, manifests, tags, and uploads under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use docker_layer_cache::oci::Digest;

/// A manifest as it was put: its bytes are its identity.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) bytes: Arc<[u8]>,
}

/// The content of all repositories.
#[derive(Debug, Default)]
pub(super) struct Content {
    blobs: BTreeMap<String, Arc<[u8]>>,
    /// By repository and digest.
    manifests: BTreeMap<(String, String), Manifest>,
    /// Digest by repository and tag.
    tags: BTreeMap<(String, String), String>,
    uploads: BTreeMap<String, Vec<u8>>,
    n_uploads: u64,
}

impl Content {
    pub(super) fn blob(&self, digest: &str) -> Option<Arc<[u8]>> {
        self.blobs.get(digest).cloned()
    }

    pub(super) fn put_blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs
            .entry(digest.to_string())
            .or_insert_with(|| bytes.into());
        digest
    }

    pub(super) fn delete_blob(&mut self, digest: &str) -> bool {
        self.blobs.remove(digest).is_some()
    }

    /// Returns the manifest that a tag or digest names.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let name = repository.to_owned();
        let digest = match self.tags.get(&(name.clone(), reference.to_owned())) {
            Some(digest) => digest.clone(),
            None => reference.to_owned(),
        };
        self.manifests.get(&(name, digest)).cloned()
    }

    /// Stores a manifest under its digest and, where `reference` is a tag, under the tag.
    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::of(bytes);
        self.manifests.insert(
            (repository.to_owned(), digest.to_string()),
            Manifest {
                media_type: media_type.to_owned(),
                digest: digest.clone(),
                bytes: bytes.into(),
            },
        );
        if !reference.contains(':') {
            self.tags.insert(
                (repository.to_owned(), reference.to_owned()),
                digest.to_string(),
            );
        }
        digest
    }

    /// Deletes a tag, or a manifest with all its tags.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &str) -> bool {
        let key = (repository.to_owned(), reference.to_owned());
        if self.tags.remove(&key).is_some() {
            return true;
        }
        self.tags
            .retain(|(name, _), digest| name != repository || digest != reference);
        self.manifests.remove(&key).is_some()
    }

    /// Returns the tags of a repository, sorted; `None` where the repository is not known.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<&str>> {
        let known = self.manifests.keys().any(|(name, _)| name == repository);
        known.then(|| {
            self.tags
                .keys()
                .filter(|(name, _)| name == repository)
                .map(|(_, tag)| tag.as_str())
                .collect()
        })
    }

    pub(super) fn start_upload(&mut self) -> String {
        self.n_uploads += 1;
        let id = format!("upload-{}", self.n_uploads);
        self.uploads.insert(id.clone(), Vec::new());
        id
    }

    /// Appends to an upload and returns its size in bytes; `None` where it is not known.
    pub(super) fn append_upload(&mut self, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.uploads.get_mut(id)?;
        upload.extend_from_slice(bytes);
        Some(upload.len())
    }

    pub(super) fn finish_upload(&mut self, id: &str) -> Option<Vec<u8>> {
        self.uploads.remove(id)
    }
}
