//! The image: layers, config, manifest, index.

use std::sync::Arc;

use docker_layer_cache::oci::{Descriptor, Digest, ImageIndex, ImageManifest, media_type};

use super::layer::{Entry, Layer};
use super::tools::{self, BaseImageError};
use crate::push::{PushError, push_blob, push_manifest};

/// A file of an image, as a registry stores it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// What the blob is.
    pub media_type: &'static str,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// A base image in memory.
#[derive(Debug, Clone)]
pub struct BaseImage {
    name: Arc<str>,
    variant: u32,
    on_build: Arc<[String]>,
    tools: Layer,
    index: Blob,
    manifest: Blob,
    config: Blob,
    layers: Vec<Blob>,
}

impl BaseImage {
    /// Makes the image from a static busybox where the machine has one, otherwise from its shell
    /// and commands with the shared libraries that they need.
    ///
    /// # Errors
    /// Where the machine has no Linux shell to take, or a file cannot be read.
    pub fn make() -> Result<Self, BaseImageError> {
        let entries = match tools::static_busybox() {
            Some(path) => tools::busybox_entries(&path)?,
            None => tools::command_entries()?,
        };
        Ok(Self::from_entries(&entries))
    }

    /// Makes the image from the machine's shell and commands, even where there is a busybox.
    ///
    /// # Errors
    /// Where the machine has no Linux shell to take, or a file cannot be read.
    pub fn from_commands() -> Result<Self, BaseImageError> {
        Ok(Self::from_entries(&tools::command_entries()?))
    }

    /// Returns the same image with another `/etc/base-release`.
    #[must_use]
    pub fn variant(&self, n: u32) -> Self {
        Self::assemble(self.tools.clone(), &self.name, n, &self.on_build)
    }

    /// Returns the same image with this name in its `/etc/base-release`: nothing that was built on
    /// another one, and that an engine may still hold, is taken for built on this one.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self::assemble(self.tools.clone(), name, self.variant, &self.on_build)
    }

    /// Returns the same image with these `ONBUILD` instructions.
    #[must_use]
    pub fn on_build(&self, instructions: &[&str]) -> Self {
        let on_build: Vec<String> = instructions.iter().map(|&text| text.to_owned()).collect();
        Self::assemble(
            self.tools.clone(),
            &self.name,
            self.variant,
            &on_build.into(),
        )
    }

    /// Returns what `/etc/base-release` says, with its newline.
    pub fn release(&self) -> String {
        release(&self.name, self.variant)
    }

    /// Returns the index, whose digest a tag has.
    pub fn index(&self) -> &Blob {
        &self.index
    }

    /// Returns the manifest of this machine's platform.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// Returns the diff ID of the lowest layer: every image that stands on any variant has it.
    pub fn lowest_diff_id(&self) -> &Digest {
        &self.tools.diff_id
    }

    /// Returns the layers, lowest first.
    pub fn layers(&self) -> &[Blob] {
        &self.layers
    }

    /// Puts the image under `repository:tag` at the registry on `host`.
    ///
    /// # Errors
    /// Where the registry refuses.
    pub fn push(&self, host: &str, repository: &str, tag: &str) -> Result<(), PushError> {
        for blob in self.layers.iter().chain([&self.config]) {
            push_blob(host, repository, &blob.digest, &blob.bytes)?;
        }
        for (blob, reference) in [
            (&self.manifest, self.manifest.digest.as_str()),
            (&self.index, tag),
        ] {
            push_manifest(host, repository, reference, blob.media_type, &blob.bytes)?;
        }
        Ok(())
    }

    fn from_entries(entries: &[Entry]) -> Self {
        Self::assemble(Layer::new(entries), "base", 0, &Arc::default())
    }

    fn assemble(tools: Layer, name: &str, variant: u32, on_build: &Arc<[String]>) -> Self {
        let marker = Layer::new(&[Entry::file(
            "etc/base-release",
            release(name, variant).into_bytes(),
            0o644,
        )]);
        let (architecture, os) = (tools::architecture(), "linux");
        let config = Blob::json(
            media_type::OCI_CONFIG,
            &serde_json::json!({
                "created": "2024-01-01T00:00:00Z",
                "architecture": architecture,
                "os": os,
                "config": {
                    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                    "Cmd": ["sh"],
                    "OnBuild": **on_build,
                },
                "rootfs": { "type": "layers", "diff_ids": [tools.diff_id, marker.diff_id] },
                "history": [
                    { "created": "2024-01-01T00:00:00Z", "created_by": "commands of this machine" },
                    { "created": "2024-01-01T00:00:00Z", "created_by": "variant of the base" },
                ],
            }),
        );
        let layers: Vec<Blob> = [&tools, &marker]
            .map(|layer| Blob {
                media_type: media_type::OCI_LAYER_GZIP,
                digest: Digest::of(&layer.gzip),
                bytes: Arc::clone(&layer.gzip),
            })
            .into();
        let manifest = Blob::json(
            media_type::OCI_MANIFEST,
            &ImageManifest::new(
                config.descriptor(),
                layers.iter().map(Blob::descriptor).collect(),
            ),
        );
        let mut entry = manifest.descriptor();
        entry.platform =
            serde_json::from_value(serde_json::json!({ "architecture": architecture, "os": os }))
                .ok();
        let index = Blob::json(media_type::OCI_INDEX, &ImageIndex::new(vec![entry]));
        Self {
            name: name.into(),
            variant,
            on_build: Arc::clone(on_build),
            tools,
            index,
            manifest,
            config,
            layers,
        }
    }
}

impl Blob {
    fn json(media_type: &'static str, value: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("our own types become JSON");
        Self {
            media_type,
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        }
    }

    /// Returns the descriptor that names this blob.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type,
            self.digest.clone(),
            self.bytes.len() as u64,
        )
    }
}

fn release(name: &str, variant: u32) -> String {
    format!("{name} variant {variant}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_makes_the_same_bytes() {
        let (one, other) = (
            BaseImage::from_commands().expect("this machine has a shell"),
            BaseImage::from_commands().expect("this machine has a shell"),
        );
        assert_eq!(one.index().digest, other.index().digest);
    }

    #[test]
    fn a_variant_shares_the_commands_and_differs_in_one_layer() {
        let base = BaseImage::make().expect("this machine has a shell");
        let moved = base.variant(1);
        assert_ne!(base.index().digest, moved.index().digest);
        assert_eq!(base.layers()[0].digest, moved.layers()[0].digest);
        assert_ne!(base.layers()[1].digest, moved.layers()[1].digest);
        assert_eq!(base.index().digest, moved.variant(0).index().digest);
    }
}
