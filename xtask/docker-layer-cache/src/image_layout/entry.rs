//! Entries: what a descriptor of the index says beyond the image layout.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::oci::{Descriptor, Digest, ImageManifest, Platform};

use super::{ImageLayout, StoreError, Timestamp};

/// The version of the annotations below.
pub const ENTRY_FORMAT: u32 = 1;

/// Names of the annotations of an entry.
pub mod annotation {
    /// The entry's unique name: what follows the colon in `oci:STORE:NAME`.
    ///
    /// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// `build-cache`, `stage-image` or `cache-mount`.
    pub const KIND: &str = "dev.docker-layer-cache.kind";
    /// The image's name in the configuration.
    pub const IMAGE: &str = "dev.docker-layer-cache.image";
    /// The platform, such as `linux/amd64`.
    pub const PLATFORM: &str = "dev.docker-layer-cache.platform";
    /// Which engines can use the entry.
    pub const ENGINE_CLASS: &str = "dev.docker-layer-cache.engine-class";
    /// The base key.
    pub const KEY_BASE: &str = "dev.docker-layer-cache.key.base";
    /// The full key.
    pub const KEY_FULL: &str = "dev.docker-layer-cache.key.full";
    /// The stage, for a stage image.
    pub const STAGE: &str = "dev.docker-layer-cache.stage";
    /// The cache, for a cache mount: its id, with its owner where it has one.
    pub const MOUNT: &str = "dev.docker-layer-cache.mount";
    /// When it was saved, RFC 3339.
    pub const CREATED: &str = "dev.docker-layer-cache.created";
    /// JSON: the steps, with digests, seconds and bytes.
    pub const STEPS: &str = "dev.docker-layer-cache.steps";
    /// [`super::ENTRY_FORMAT`].
    pub const FORMAT: &str = "dev.docker-layer-cache.format";
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A `BuildKit` cache: every step of every stage.
    BuildCache,
    /// The image of one stage, for the classic builder.
    StageImage,
    /// The files of a cache mount. Its manifest names no layers but a listing and packs; of each
    /// mount and platform there is one entry, whichever image saved it.
    CacheMount,
}

/// An entry of the store, as written into the annotations of its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub kind: EntryKind,
    /// The image's name in the configuration.
    pub image: String,
    /// The platform.
    pub platform: Platform,
    /// Which engines can use the entry.
    pub engine_class: String,
    /// The base key.
    pub key_base: String,
    /// The full key.
    pub key_full: String,
    /// The stage, for a stage image.
    pub stage: Option<String>,
    /// The cache, for a cache mount: its id, with its owner where it has one.
    pub mount: Option<String>,
    /// When it was saved.
    pub created: Timestamp,
    /// The steps, with digests, seconds and bytes: JSON that the store does not look into.
    pub steps: serde_json::Value,
    /// Further annotations, such as a signature.
    pub extra: BTreeMap<String, String>,
}

/// An entry that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The entry's unique name.
    pub name: String,
    /// What its annotations say.
    pub entry: Entry,
    /// The descriptor of its manifest.
    pub descriptor: Descriptor,
    /// When it was last used, if the file system tells.
    pub last_use: Option<SystemTime>,
}

impl EntryKind {
    /// Returns the annotation's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuildCache => "build-cache",
            Self::StageImage => "stage-image",
            Self::CacheMount => "cache-mount",
        }
    }
}

impl Entry {
    /// Returns the name under which the entry is stored: readable, valid for every OCI tool, and
    /// different for entries that differ in kind, image, platform, engine class, stage, full key or
    /// content: a source that goes back to what it was finds its older entry. An entry replaces the
    /// one with the same name, and so a cache mount what was saved of it before, by whatever image.
    pub fn name(&self, manifest: &Digest) -> String {
        let platform = self.platform.to_string();
        if let Some(mount) = &self.mount {
            let kind = self.kind.as_str();
            let identity = serde_json::json!([kind, platform, mount]).to_string();
            let digest = Digest::of(identity.as_bytes());
            return [kind, &platform, mount, &digest.encoded()[..16]]
                .map(name_component)
                .join("/");
        }
        let identity = serde_json::json!([
            self.kind.as_str(),
            self.image,
            platform,
            self.engine_class,
            self.stage,
            self.key_full,
            manifest.as_str(),
        ]);
        let digest = Digest::of(identity.to_string().as_bytes());
        let what = self.stage.as_deref().unwrap_or(self.kind.as_str());
        [
            self.image.as_str(),
            &platform,
            what,
            &digest.encoded()[..16],
        ]
        .map(name_component)
        .join("/")
    }

    /// Returns the entry that a descriptor's annotations describe, or nothing if it is not ours or
    /// of a later format: such a descriptor is left alone.
    pub fn of(descriptor: &Descriptor) -> Option<Self> {
        let mut extra = descriptor.annotations.clone();
        let mut take = |name: &str| extra.remove(name);
        let format: u32 = take(annotation::FORMAT)?.parse().ok()?;
        if format > ENTRY_FORMAT {
            return None;
        }
        take(annotation::REF_NAME);
        Some(Self {
            kind: match take(annotation::KIND)?.as_str() {
                "build-cache" => EntryKind::BuildCache,
                "stage-image" => EntryKind::StageImage,
                "cache-mount" => EntryKind::CacheMount,
                _ => return None,
            },
            image: take(annotation::IMAGE)?,
            platform: take(annotation::PLATFORM)?.parse().ok()?,
            engine_class: take(annotation::ENGINE_CLASS)?,
            key_base: take(annotation::KEY_BASE)?,
            key_full: take(annotation::KEY_FULL)?,
            stage: take(annotation::STAGE),
            mount: take(annotation::MOUNT),
            created: take(annotation::CREATED)?.parse().ok()?,
            steps: serde_json::from_str(&take(annotation::STEPS)?).ok()?,
            extra,
        })
    }

    /// Returns the annotations of the entry's descriptor, its name included.
    pub fn annotations(&self, manifest: &Digest) -> BTreeMap<String, String> {
        let mut annotations = self.extra.clone();
        let mut put = |name: &str, value: String| annotations.insert(name.to_owned(), value);
        put(annotation::REF_NAME, self.name(manifest));
        put(annotation::KIND, self.kind.as_str().to_owned());
        put(annotation::IMAGE, self.image.clone());
        put(annotation::PLATFORM, self.platform.to_string());
        put(annotation::ENGINE_CLASS, self.engine_class.clone());
        put(annotation::KEY_BASE, self.key_base.clone());
        put(annotation::KEY_FULL, self.key_full.clone());
        let of_some = [
            (annotation::STAGE, &self.stage),
            (annotation::MOUNT, &self.mount),
        ];
        for (name, value) in of_some {
            if let Some(value) = value {
                put(name, value.clone());
            }
        }
        put(annotation::CREATED, self.created.to_string());
        put(annotation::STEPS, self.steps.to_string());
        put(annotation::FORMAT, ENTRY_FORMAT.to_string());
        annotations
    }
}

impl ImageLayout {
    /// Returns the entries that we understand, in the order of their names. A damaged index has
    /// none: see [`ImageLayout::index`] for the warning.
    ///
    /// # Errors
    /// Returns an error if the index is there and cannot be read.
    pub fn entries(&self) -> Result<Vec<StoredEntry>, StoreError> {
        let index = self.index()?.index;
        let mut entries: Vec<StoredEntry> = index
            .manifests
            .into_iter()
            .filter_map(|descriptor| self.stored_entry(descriptor))
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Reads an entry's manifest.
    ///
    /// # Errors
    /// Returns an error if the blob is missing, damaged, or not a manifest.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<ImageManifest, StoreError> {
        self.read_json(descriptor)
    }

    /// Removes the entry `name` from the index (one without a name: by the digest of its manifest)
    /// and tells whether it was there. Its blobs stay until garbage is collected.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced.
    pub fn remove_entry(&self, name: &str) -> Result<bool, StoreError> {
        self.update_index(|index| {
            let before = index.manifests.len();
            index
                .manifests
                .retain(|descriptor| name_or_digest(descriptor) != name);
            index.manifests.len() < before
        })
    }

    /// Notes that an entry was used now, as far as the file system lets us.
    pub fn touch(&self, entry: &StoredEntry) {
        let path = self.blob_path(&entry.descriptor.digest);
        // Which entry is dropped first may then be wrong, nothing else.
        let _ = std::fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }

    pub(super) fn stored_entry(&self, descriptor: Descriptor) -> Option<StoredEntry> {
        let entry = Entry::of(&descriptor)?;
        let name = ref_name(&descriptor)?.to_owned();
        let last_use = std::fs::symlink_metadata(self.blob_path(&descriptor.digest))
            .and_then(|metadata| metadata.modified())
            .ok();
        Some(StoredEntry {
            name,
            entry,
            descriptor,
            last_use,
        })
    }
}

pub(super) fn ref_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor
        .annotations
        .get(annotation::REF_NAME)
        .map(String::as_str)
}

/// Returns what a person calls it: an image layout may hold manifests without a name.
pub(super) fn name_or_digest(descriptor: &Descriptor) -> &str {
    ref_name(descriptor).unwrap_or(descriptor.digest.as_str())
}

/// Returns letters and digits with single dashes between them.
fn name_component(text: &str) -> String {
    let mut component = String::new();
    for part in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        if !part.is_empty() {
            if !component.is_empty() {
                component.push('-');
            }
            component.push_str(part);
        }
    }
    if component.is_empty() {
        component.push('x');
    }
    component
}
