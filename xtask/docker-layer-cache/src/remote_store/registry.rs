//! A repository of a registry as a remote store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::entry::{index_bytes, name_of};
use super::{RemoteEntry, RemoteError, RemoteErrorKind, RemoteStore, in_parallel};
use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest, Reference, media_type};
use crate::registry::{Client, ClientOptions};

/// What the tags of entries begin with.
const ENTRY_PREFIX: &str = "e-";
/// The tag of the catalog.
const CATALOG: &str = "catalog";
/// The media type of the catalog: an image index, zstd.
const CATALOG_TYPE: &str = "application/vnd.docker-layer-cache.catalog.v1.index+json+zstd";
/// Up to so many entries are asked for by themselves: the catalog takes two requests.
const FEW: usize = 2;
/// How many are asked for at once.
const THREADS: usize = 8;
/// More than any catalog: 10,000 entries.
const MAX_CATALOG_BYTES: u64 = 64 << 20;
/// More than any manifest.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// A repository of a registry.
pub(super) struct RegistryStore {
    client: Client,
    repository: Reference,
    /// What was listed last, for the next catalog.
    listed: Mutex<Vec<RemoteEntry>>,
}

impl RegistryStore {
    pub(super) fn new(
        repository: &Reference,
        options: ClientOptions,
        timeout: Duration,
    ) -> Result<Self, RemoteError> {
        let client = Client::new(ClientOptions {
            timeout,
            // Whoever waits longer than the timeout gives up by himself.
            total_timeout: timeout,
            retries: 2,
            ..options
        })?;
        Ok(Self {
            client,
            repository: repository.clone(),
            listed: Mutex::default(),
        })
    }

    fn tagged(&self, tag: &str) -> Reference {
        format!("{}:{tag}", self.base())
            .parse()
            .expect("a repository and a tag are a reference")
    }

    fn at(&self, digest: &Digest) -> Reference {
        format!("{}@{digest}", self.base())
            .parse()
            .expect("a repository and a digest are a reference")
    }

    fn base(&self) -> String {
        format!("{}/{}", self.repository.domain(), self.repository.path())
    }

    /// Returns the entry that a tag names; nothing where the tag is gone.
    fn entry(&self, id: &str) -> Result<Option<RemoteEntry>, RemoteError> {
        let digest: Digest = format!("sha256:{id}")
            .parse()
            .map_err(|_| wrong("a tag is not what we write"))?;
        let fetched = match self
            .client
            .manifest(&self.at(&digest))
            .map_err(RemoteError::from)
        {
            Err(error) if error.kind() == RemoteErrorKind::Missing => return Ok(None),
            fetched => fetched?,
        };
        let index: ImageIndex = serde_json::from_slice(&fetched.bytes).map_err(wrong)?;
        let [descriptor] = index.manifests.as_slice() else {
            return Err(wrong(format_args!("the entry `{id}` is not one manifest")));
        };
        Ok(Some(RemoteEntry {
            id: id.to_owned(),
            descriptor: descriptor.clone(),
        }))
    }

    /// Returns the entries that the catalog lists. One that is not there or not to be read is empty.
    fn catalog(&self) -> Result<Vec<RemoteEntry>, RemoteError> {
        let fetched = match self
            .client
            .manifest(&self.tagged(CATALOG))
            .map_err(RemoteError::from)
        {
            Err(error) if error.is_outage() => return Err(error),
            Err(_) => return Ok(Vec::new()),
            Ok(fetched) => fetched,
        };
        let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&fetched.bytes) else {
            return Ok(Vec::new());
        };
        if manifest.config.size > MAX_CATALOG_BYTES {
            return Ok(Vec::new());
        }
        let mut packed = Vec::new();
        self.get(&manifest.config)?
            .take(MAX_CATALOG_BYTES)
            .read_to_end(&mut packed)
            .map_err(|error| wrong(format_args!("catalog: {error}")))?;
        let mut bytes = Vec::new();
        let unpacked = zstd::stream::read::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(MAX_CATALOG_BYTES).read_to_end(&mut bytes));
        let index = unpacked
            .ok()
            .and_then(|_| serde_json::from_slice::<ImageIndex>(&bytes).ok());
        let manifests = index.map(|index| index.manifests).unwrap_or_default();
        Ok(manifests.into_iter().map(RemoteEntry::new).collect())
    }

    fn put_catalog(&self, entries: &[RemoteEntry]) -> Result<(), RemoteError> {
        let manifests = entries
            .iter()
            .map(|entry| entry.descriptor.clone())
            .collect();
        let json = serde_json::to_vec(&ImageIndex::new(manifests)).expect("an index is JSON");
        let packed = zstd::encode_all(json.as_slice(), 3).map_err(wrong)?;
        let blob = Descriptor::new(CATALOG_TYPE, Digest::of(&packed), packed.len() as u64);
        self.client
            .put_blob(&self.repository, &blob, packed.as_slice())?;
        // Some registries refuse a manifest without layers: the catalog is config and layer in one.
        let manifest = ImageManifest::new(blob.clone(), vec![blob]);
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        self.client
            .put_manifest(&self.tagged(CATALOG), media_type::OCI_MANIFEST, &bytes)?;
        Ok(())
    }

    fn unname(&self, entry: &RemoteEntry) -> Result<(), RemoteError> {
        let digest: Digest = format!("sha256:{}", entry.id).parse().map_err(wrong)?;
        Ok(self.client.delete_manifest(&self.at(&digest))?)
    }
}

impl RemoteStore for RegistryStore {
    fn has(&self, blob: &Descriptor) -> Result<bool, RemoteError> {
        if !is_manifest(blob) {
            return Ok(self.client.has_blob(&self.repository, &blob.digest)?);
        }
        match self
            .client
            .manifest(&self.at(&blob.digest))
            .map_err(RemoteError::from)
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == RemoteErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn get(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, RemoteError> {
        if is_manifest(blob) {
            let fetched = self.client.manifest(&self.at(&blob.digest))?;
            return Ok(Box::new(Cursor::new(fetched.bytes)));
        }
        Ok(Box::new(self.client.blob(&self.repository, blob)?))
    }

    fn put(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), RemoteError> {
        if !is_manifest(blob) {
            return Ok(self.client.put_blob(&self.repository, blob, content)?);
        }
        let mut bytes = Vec::new();
        content
            .take(MAX_MANIFEST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| RemoteError::new(RemoteErrorKind::Local, error))?;
        self.client
            .put_manifest(&self.at(&blob.digest), &blob.media_type, &bytes)?;
        Ok(())
    }

    /// One request where nothing is new; two more for the catalog where more than a few entries are;
    /// one for each entry that it lacks.
    fn list(&self, known: &[RemoteEntry]) -> Result<Vec<RemoteEntry>, RemoteError> {
        let tags = self.client.tags(&self.repository)?;
        let has_catalog = tags.iter().any(|tag| tag == CATALOG);
        let is_id = |id: &&str| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let ids: BTreeSet<&str> = tags
            .iter()
            .filter_map(|tag| tag.strip_prefix(ENTRY_PREFIX))
            .filter(is_id)
            .collect();
        let mut found: BTreeMap<&str, RemoteEntry> = BTreeMap::new();
        let mut take = |entry: &RemoteEntry| {
            if let Some(id) = ids.get(entry.id.as_str()) {
                found.insert(id, entry.clone());
            }
            found.len()
        };
        let mut n_found = 0;
        for entry in known {
            n_found = take(entry);
        }
        if has_catalog && ids.len() > n_found + FEW {
            for entry in &self.catalog()? {
                take(entry);
            }
        }
        let missing: Vec<&str> = ids
            .iter()
            .copied()
            .filter(|id| !found.contains_key(id))
            .collect();
        for entry in in_parallel(&missing, THREADS, |id| self.entry(id))? {
            if let Some((id, entry)) = entry.and_then(|e| Some((*ids.get(e.id.as_str())?, e))) {
                found.insert(id, entry);
            }
        }
        let entries: Vec<RemoteEntry> = found.into_values().collect();
        self.listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&entries);
        Ok(entries)
    }

    fn name(&self, add: &[Descriptor], remove: &[RemoteEntry]) -> Result<(), RemoteError> {
        for descriptor in add {
            let entry = RemoteEntry::new(descriptor.clone());
            let tag = self.tagged(&format!("{ENTRY_PREFIX}{}", entry.id));
            self.client
                .put_manifest(&tag, media_type::OCI_INDEX, &index_bytes(descriptor))?;
        }
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced: Vec<RemoteEntry> = listed
            .iter()
            .filter(|old| {
                add.iter()
                    .any(|new| name_of(new) == old.name() && *new != old.descriptor)
            })
            .cloned()
            .collect();
        let mut refused = None;
        for entry in remove {
            refused = refused.or(self.unname(entry).err());
        }
        for entry in &replaced {
            // Readers take the newer one: it is only in the way.
            let _ = self.unname(entry);
        }
        if refused.is_none() {
            listed.retain(|entry| !remove.contains(entry) && !replaced.contains(entry));
        }
        for descriptor in add {
            let entry = RemoteEntry::new(descriptor.clone());
            if !listed.contains(&entry) {
                listed.push(entry);
            }
        }
        if listed.len() > FEW {
            self.put_catalog(&listed)?;
        }
        refused.map_or(Ok(()), Err)
    }
}

fn is_manifest(blob: &Descriptor) -> bool {
    matches!(
        blob.media_type.as_str(),
        media_type::OCI_MANIFEST
            | media_type::OCI_INDEX
            | media_type::DOCKER_MANIFEST
            | media_type::DOCKER_MANIFEST_LIST
    )
}

fn wrong(cause: impl std::fmt::Display) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Wrong, cause)
}
