//! Writes a `docker load` archive as a stream.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use serde::Serialize;

use crate::oci::{Descriptor, DiffId, Digest, ImageIndex, ImageManifest, Reference, media_type};

use super::layer_stream::BUFFER_BYTES;
use super::manifest_json::ManifestItem;
use super::{ArchiveError, ArchiveErrorKind};

/// Which layout to write; engines of every version take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveLayout {
    /// `<diff ID>/layer.tar` and `manifest.json`.
    Legacy,
    /// An OCI image layout with `manifest.json`. Engines with containerd's image store need it
    /// where layers are left out.
    Oci,
}

/// An image to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// The tags that the engine is to give, such as `app:latest`.
    pub repo_tags: Vec<String>,
    /// The config's bytes: their digest becomes the image ID.
    pub config: Vec<u8>,
    /// The layers, lowest first: one for each diff ID of the config.
    pub layers: Vec<ArchiveLayer>,
}

/// A layer of an image to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLayer {
    /// The layer's diff ID.
    pub diff_id: DiffId,
    /// The bytes that will be written: media type, digest and exact size.
    pub blob: Descriptor,
    /// The engine has the layer: it is named and its bytes are left out. Sound only for the lowest
    /// layers that some image of the engine has in the same order.
    pub left_out: bool,
}

/// What went into an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the whole archive.
    pub archive_bytes: u64,
    /// Layers whose bytes are in it.
    pub layers: usize,
    /// Different layers that were left out.
    pub left_out: usize,
}

/// Writes an archive of `images`, opening each layer once by `open`, which must give the bytes that
/// the layer's `blob` describes.
///
/// # Errors
/// Returns an error if writing fails, a layer cannot be opened or read, or does not have the
/// announced size. The engine then sees a truncated archive, and loads nothing.
pub fn write<R: Read>(
    archive: impl Write,
    layout: ArchiveLayout,
    images: &[ArchiveImage],
    mut open: impl FnMut(&ArchiveLayer) -> io::Result<R>,
) -> Result<Written, ArchiveError> {
    let mut writer = Writer {
        archive,
        paths: BTreeSet::new(),
        written: Written::default(),
    };
    for layer in needed(images) {
        let path = layout.layer_path(layer);
        if writer.is_new(&path) {
            let bytes = open(layer)
                .map_err(|error| ArchiveError::at(&path, ArchiveErrorKind::Layer(error)))?;
            writer.layer(&path, layer, bytes)?;
        }
    }
    writer.written.left_out = images
        .iter()
        .flat_map(|image| &image.layers)
        .map(|layer| layout.layer_path(layer))
        .filter(|path| !writer.paths.contains(path))
        .collect::<BTreeSet<_>>()
        .len();

    let mut items = Vec::new();
    let mut index = ImageIndex::new(Vec::new());
    for image in images {
        let config = Descriptor::new(
            media_type::OCI_CONFIG,
            Digest::of(&image.config),
            image.config.len() as u64,
        );
        let config_path = match layout {
            ArchiveLayout::Legacy => format!("{}.json", config.digest.encoded()),
            ArchiveLayout::Oci => blob_path(&config.digest),
        };
        writer.file(&config_path, &image.config)?;
        items.push(ManifestItem {
            config: config_path,
            repo_tags: Some(image.repo_tags.clone()),
            layers: Some(image.layers.iter().map(|l| layout.layer_path(l)).collect()),
        });
        if layout == ArchiveLayout::Oci {
            let layers = image.layers.iter().map(|l| l.blob.clone()).collect();
            let manifest = json(&ImageManifest::new(config, layers));
            let digest = Digest::of(&manifest);
            writer.file(&blob_path(&digest), &manifest)?;
            let descriptor =
                Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
            index
                .manifests
                .extend(tagged(&descriptor, &image.repo_tags));
        }
    }
    if layout == ArchiveLayout::Oci {
        writer.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        writer.file("index.json", &json(&index))?;
    }
    writer.file("manifest.json", &json(&items))?;
    writer.end()
}

impl ArchiveLayer {
    /// Returns a layer that is written uncompressed, as every engine takes it.
    pub fn uncompressed(diff_id: DiffId, size_bytes: u64) -> Self {
        let blob = Descriptor::new(media_type::OCI_LAYER, diff_id.0.clone(), size_bytes);
        Self {
            diff_id,
            blob,
            left_out: false,
        }
    }

    /// Returns a layer that is written as it is stored. Engines before 23 refuse zstd.
    pub fn as_stored(diff_id: DiffId, blob: Descriptor) -> Self {
        Self {
            diff_id,
            blob,
            left_out: false,
        }
    }
}

impl ArchiveLayout {
    fn layer_path(self, layer: &ArchiveLayer) -> String {
        match self {
            Self::Legacy => format!("{}/layer.tar", layer.diff_id.0.encoded()),
            Self::Oci => blob_path(&layer.blob.digest),
        }
    }
}

struct Writer<W> {
    archive: W,
    paths: BTreeSet<String>,
    written: Written,
}

impl<W: Write> Writer<W> {
    /// Tells whether nothing was written at `path` yet, and takes it.
    fn is_new(&mut self, path: &str) -> bool {
        self.paths.insert(path.to_owned())
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        if !self.is_new(path) {
            return Ok(());
        }
        self.header(path, bytes.len() as u64)
            .and_then(|()| self.put(bytes))
            .and_then(|()| self.padding(bytes.len() as u64))
            .map_err(|error| ArchiveError::at(path, ArchiveErrorKind::Write(error)))
    }

    fn layer(
        &mut self,
        path: &str,
        layer: &ArchiveLayer,
        mut bytes: impl Read,
    ) -> Result<(), ArchiveError> {
        let writing = |error| ArchiveError::at(path, ArchiveErrorKind::Write(error));
        let size_bytes = layer.blob.size;
        let wrong_size = || {
            let kind = ArchiveErrorKind::LayerSize {
                diff_id: layer.diff_id.clone(),
                expected: size_bytes,
            };
            ArchiveError::at(path, kind)
        };
        self.header(path, size_bytes).map_err(writing)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut missing_bytes = size_bytes;
        // Until the reader itself says that it is at its end: only there does it check digests.
        loop {
            let n = match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::at(path, ArchiveErrorKind::Layer(error))),
            };
            missing_bytes = missing_bytes.checked_sub(n as u64).ok_or_else(wrong_size)?;
            self.put(&buffer[..n]).map_err(writing)?;
        }
        if missing_bytes > 0 {
            return Err(wrong_size());
        }
        self.padding(size_bytes).map_err(writing)?;
        self.written.layers += 1;
        Ok(())
    }

    fn header(&mut self, path: &str, size_bytes: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(path)?;
        header.set_size(size_bytes);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.put(header.as_bytes())
    }

    /// Fills up to a whole block.
    fn padding(&mut self, size_bytes: u64) -> io::Result<()> {
        let used = usize::try_from(size_bytes % 512).expect("less than 512");
        self.put(&[0; 512][..(512 - used) % 512])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.archive.write_all(bytes)?;
        self.written.archive_bytes += bytes.len() as u64;
        Ok(())
    }

    fn end(mut self) -> Result<Written, ArchiveError> {
        self.put(&[0; 1024])
            .and_then(|()| self.archive.flush())
            .map_err(|error| ArchiveError::new(ArchiveErrorKind::Write(error)))?;
        Ok(self.written)
    }
}

/// Returns the layers whose bytes some image needs.
fn needed(images: &[ArchiveImage]) -> impl Iterator<Item = &ArchiveLayer> {
    images
        .iter()
        .flat_map(|image| &image.layers)
        .filter(|layer| !layer.left_out)
}

/// Returns one descriptor for each tag, named as containerd's import expects it.
///
/// Source: <https://github.com/containerd/containerd/blob/v2.1.0/core/images/archive/reference.go>
fn tagged(descriptor: &Descriptor, repo_tags: &[String]) -> Vec<Descriptor> {
    if repo_tags.is_empty() {
        return vec![descriptor.clone()];
    }
    repo_tags
        .iter()
        .map(|tag| match tag.parse::<Reference>() {
            Ok(reference) => descriptor
                .clone()
                .with_annotation("io.containerd.image.name", reference.to_string())
                .with_annotation(
                    "org.opencontainers.image.ref.name",
                    reference.tag().unwrap_or("latest"),
                ),
            Err(_) => descriptor.clone(),
        })
        .collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.encoded())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, numbers and lists are JSON")
}
