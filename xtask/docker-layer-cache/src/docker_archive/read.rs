//! Reads a `docker save` stream in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Cursor, Read};

use serde::de::IgnoredAny;

use crate::oci::{DiffId, Digest, ImageConfig};

use super::entry_path::{EntryRole, normalize, resolve_link, role};
use super::layer_stream::{
    Announced, BUFFER_BYTES, Compression, DigestReader, Watched, begins_a_tar, drain, peek,
};
use super::manifest_json::ManifestItem;
use super::{ArchiveError, ArchiveErrorKind};

/// A blob up to this size that is a JSON object is a config or a manifest.
const JSON_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// All JSON of an archive together: thousands of images fit.
const ALL_JSON_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What an archive calls a layer before its bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerName<'a> {
    /// The digest of the layer as it is in the archive. With a graph driver this is the diff ID.
    Blob(&'a Digest),
    /// Any other name. Engines before 25 use an ID that depends on the layer, all layers below it,
    /// and, for an image's last layer, its config: equal IDs mean equal layers.
    Legacy(&'a str),
}

/// Where the layers of an archive go.
pub trait LayerSink {
    /// Returns the diff ID if the layer of this name need not be read again.
    fn known(&mut self, name: LayerName<'_>) -> Option<DiffId>;

    /// Takes one layer, uncompressed, and returns the digest of what it read.
    ///
    /// The layer must not be used before [`read`] has returned `Ok`.
    ///
    /// # Errors
    /// An error ends the reading. Errors of `tar` itself are to be returned as they are.
    fn layer(&mut self, name: LayerName<'_>, tar: &mut dyn Read) -> io::Result<DiffId>;
}

/// An image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedImage {
    /// The tags, such as `app:latest`; none for an image saved by ID.
    pub repo_tags: Vec<String>,
    /// The config's bytes as they are: their digest is the image ID.
    pub config: Vec<u8>,
    /// The layers, lowest first. Each was known to the sink or read by it.
    pub diff_ids: Vec<DiffId>,
}

/// Reads a `docker save` stream of either generation to its end.
///
/// # Errors
/// Returns an error, and no image at all, if the stream ends early or is not such an archive, if
/// any bytes are not what their name or the image's config says, if a path leaves the archive, or
/// if the sink fails.
pub fn read(
    archive: impl Read,
    sink: &mut impl LayerSink,
) -> Result<Vec<SavedImage>, ArchiveError> {
    let reading = |error| ArchiveError::new(ArchiveErrorKind::Read(error));
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER_BYTES, archive));
    let mut contents = Contents::default();
    for entry in archive.entries().map_err(reading)? {
        contents.add(entry.map_err(reading)?, sink)?;
    }
    // A writer that is not read to its end dies of a broken pipe.
    drain(&mut archive.into_inner()).map_err(reading)?;
    contents.images()
}

impl SavedImage {
    /// Returns the digest of the config: the image ID on engines with a graph driver.
    pub fn image_id(&self) -> Digest {
        Digest::of(&self.config)
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Contents {
    paths: BTreeSet<String>,
    manifest: Option<Vec<ManifestItem>>,
    json: BTreeMap<String, Vec<u8>>,
    json_bytes: u64,
    layers: BTreeMap<String, DiffId>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn add<R: Read>(
        &mut self,
        mut entry: tar::Entry<'_, R>,
        sink: &mut impl LayerSink,
    ) -> Result<(), ArchiveError> {
        let raw_path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let unsafe_path = || ArchiveError::at(&raw_path, ArchiveErrorKind::UnsafePath);
        let path = str::from_utf8(&entry.path_bytes())
            .ok()
            .and_then(normalize)
            .ok_or_else(unsafe_path)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            return Ok(());
        }
        if !self.paths.insert(path.clone()) {
            return Err(ArchiveError::at(&path, ArchiveErrorKind::Duplicate));
        }
        if kind.is_symlink() {
            let target = entry
                .link_name_bytes()
                .and_then(|target| resolve_link(&path, str::from_utf8(&target).ok()?))
                .ok_or_else(unsafe_path)?;
            self.links.insert(path, target);
            return Ok(());
        }
        if !kind.is_file() {
            return Err(ArchiveError::at(&path, ArchiveErrorKind::UnexpectedType));
        }

        let size_bytes = entry.size();
        let bytes = Announced::new(&mut entry, size_bytes);
        match role(&path) {
            EntryRole::Manifest => {
                let json = self.read_json(&path, bytes, size_bytes)?;
                let manifest = serde_json::from_slice(&json)
                    .map_err(|error| ArchiveError::at(&path, ArchiveErrorKind::Json(error)))?;
                self.manifest = Some(manifest);
            }
            EntryRole::Config(digest) => {
                let json = self.read_json(&path, bytes, size_bytes)?;
                self.keep_json(path, digest.as_ref(), json)?;
            }
            EntryRole::Layer(name) => {
                let name = LayerName::Legacy(&name);
                if let Some(diff_id) = sink.known(name) {
                    self.layers.insert(path, diff_id);
                } else {
                    self.add_layer(path, name, bytes, sink)?;
                }
            }
            EntryRole::Blob(digest) => self.add_blob(path, &digest, bytes, size_bytes, sink)?,
            EntryRole::Other => {}
        }
        Ok(())
    }

    /// Adds a blob, of which only its own bytes tell whether it is JSON or a layer.
    fn add_blob(
        &mut self,
        path: String,
        digest: &Digest,
        bytes: impl Read,
        size_bytes: u64,
        sink: &mut impl LayerSink,
    ) -> Result<(), ArchiveError> {
        let name = LayerName::Blob(digest);
        if let Some(diff_id) = sink.known(name) {
            self.layers.insert(path, diff_id);
            return Ok(());
        }
        let (head, bytes) = peek(bytes).map_err(|error| reading(&path, error))?;
        let may_be_json = head.trim_ascii_start().first() == Some(&b'{');
        if !may_be_json || size_bytes > JSON_BYTES_MAX {
            return self.add_layer(path, name, bytes, sink);
        }
        let json = self.read_json(&path, bytes, size_bytes)?;
        if serde_json::from_slice::<IgnoredAny>(&json).is_ok() {
            return self.keep_json(path, Some(digest), json);
        }
        // A tar whose first file's name begins with `{`: a tar has zero bytes, JSON has none.
        self.add_layer(path, name, Cursor::new(json), sink)
    }

    fn add_layer(
        &mut self,
        path: String,
        name: LayerName<'_>,
        bytes: impl Read,
        sink: &mut impl LayerSink,
    ) -> Result<(), ArchiveError> {
        let failed = |error| reading(&path, error);
        let (head, bytes) = peek(bytes).map_err(failed)?;
        let compression = Compression::of(&head);
        let mut blob = DigestReader::new(bytes);
        let diff_id = {
            // The digest of an uncompressed layer is its diff ID, which the sink computes.
            let tar = match compression {
                Compression::None => compression.decode(blob.inner_mut()),
                _ => compression.decode(&mut blob),
            };
            let (head, tar) = tar.and_then(peek).map_err(failed)?;
            if !begins_a_tar(&head) {
                // Something that no image's layer is made of. If manifest.json names it all the
                // same, it will be found missing.
                return Ok(());
            }
            let mut tar = Watched::new(tar);
            let taken = sink.layer(name, &mut tar);
            match (tar.failure(), taken) {
                (Some(error), _) => return Err(failed(error)),
                (None, Err(error)) => {
                    return Err(ArchiveError::at(&path, ArchiveErrorKind::Layer(error)));
                }
                (None, Ok(diff_id)) => {
                    drain(&mut tar).map_err(failed)?;
                    diff_id
                }
            }
        };
        if let LayerName::Blob(expected) = name {
            let actual = match compression {
                Compression::None => diff_id.0.clone(),
                _ => blob.finish().map_err(failed)?,
            };
            expect_digest(&path, expected, actual)?;
        }
        self.layers.insert(path, diff_id);
        Ok(())
    }

    fn read_json(
        &mut self,
        path: &str,
        bytes: impl Read,
        size_bytes: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        self.json_bytes = self.json_bytes.saturating_add(size_bytes);
        if self.json_bytes > ALL_JSON_BYTES_MAX {
            let kind = ArchiveErrorKind::TooLarge {
                limit_bytes: ALL_JSON_BYTES_MAX,
            };
            return Err(ArchiveError::at(path, kind));
        }
        let mut json = Vec::new();
        let mut bytes = bytes;
        bytes
            .read_to_end(&mut json)
            .map_err(|error| reading(path, error))?;
        Ok(json)
    }

    fn keep_json(
        &mut self,
        path: String,
        digest: Option<&Digest>,
        json: Vec<u8>,
    ) -> Result<(), ArchiveError> {
        if let Some(expected) = digest {
            expect_digest(&path, expected, Digest::of(&json))?;
        }
        self.json.insert(path, json);
        Ok(())
    }

    fn images(mut self) -> Result<Vec<SavedImage>, ArchiveError> {
        let items = self
            .manifest
            .take()
            .ok_or_else(|| ArchiveError::new(ArchiveErrorKind::NoManifest))?;
        items.into_iter().map(|item| self.image(item)).collect()
    }

    fn image(&self, item: ManifestItem) -> Result<SavedImage, ArchiveError> {
        let missing = |path: &str| ArchiveError::at(path, ArchiveErrorKind::Missing);
        let config = normalize(&item.config)
            .and_then(|path| self.json.get(&path))
            .ok_or_else(|| missing(&item.config))?;
        let parsed: ImageConfig = serde_json::from_slice(config)
            .map_err(|error| ArchiveError::at(&item.config, ArchiveErrorKind::Json(error)))?;
        let layers = item.layers.unwrap_or_default();
        let diff_ids = parsed.rootfs.diff_ids;
        if layers.len() != diff_ids.len() {
            let kind = ArchiveErrorKind::LayerCount {
                config: diff_ids.len(),
                manifest: layers.len(),
            };
            return Err(ArchiveError::at(&item.config, kind));
        }
        for (path, expected) in layers.iter().zip(&diff_ids) {
            let diff_id = self.layer(path).ok_or_else(|| missing(path))?;
            expect_digest(path, &expected.0, diff_id.0.clone())?;
        }
        Ok(SavedImage {
            repo_tags: item.repo_tags.unwrap_or_default(),
            config: config.clone(),
            diff_ids,
        })
    }

    /// Returns the layer at `path`, through one symlink where the layer is a repeated one.
    fn layer(&self, path: &str) -> Option<&DiffId> {
        let path = normalize(path)?;
        self.layers
            .get(&path)
            .or_else(|| self.layers.get(self.links.get(&path)?))
    }
}

fn expect_digest(path: &str, expected: &Digest, actual: Digest) -> Result<(), ArchiveError> {
    if *expected == actual {
        return Ok(());
    }
    let kind = ArchiveErrorKind::DigestMismatch {
        expected: expected.clone(),
        actual,
    };
    Err(ArchiveError::at(path, kind))
}

fn reading(path: &str, error: io::Error) -> ArchiveError {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveErrorKind::Truncated,
        _ => ArchiveErrorKind::Read(error),
    };
    ArchiveError::at(path, kind)
}
