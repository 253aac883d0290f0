//! A base image under a tag that a `FROM` can name and a test can move.

use docker_layer_cache::oci::Digest;

use crate::{BaseImage, PushError, Registry};

/// A base image at a registry, under a tag of its own.
#[derive(Debug, Clone)]
pub struct Base {
    /// What a `FROM` names.
    pub reference: String,
    host: String,
    repository: String,
    image: BaseImage,
    current: BaseImage,
}

impl Base {
    /// Puts `image` at `registry` as `127.0.0.1:PORT/<name>:1`.
    ///
    /// # Errors
    /// Where the registry refuses.
    pub fn at_registry(
        registry: &Registry,
        name: &str,
        image: &BaseImage,
    ) -> Result<Self, PushError> {
        let host = registry.host();
        let reference = format!("{host}/{name}:1");
        Self::push(reference, host, name.to_owned(), image)
    }

    /// Puts `image` at a mirror of Docker Hub that takes writes, so that `FROM <name>:1` finds it.
    /// `host` is the mirror's host and port, without a scheme.
    ///
    /// # Errors
    /// Where the mirror refuses.
    pub fn at_mirror(host: &str, name: &str, image: &BaseImage) -> Result<Self, PushError> {
        let repository = format!("library/{name}");
        Self::push(format!("{name}:1"), host.to_owned(), repository, image)
    }

    fn push(
        reference: String,
        host: String,
        repository: String,
        image: &BaseImage,
    ) -> Result<Self, PushError> {
        image.push(&host, &repository, "1")?;
        Ok(Self {
            reference,
            host,
            repository,
            image: image.clone(),
            current: image.clone(),
        })
    }

    /// Lets the tag name another variant of the image: the base has moved.
    ///
    /// # Errors
    /// Where the registry refuses.
    pub fn move_to(&mut self, variant: u32) -> Result<(), PushError> {
        let moved = self.image.variant(variant);
        moved.push(&self.host, &self.repository, "1")?;
        self.current = moved;
        Ok(())
    }

    /// Returns the digest that the tag has now: that of the index.
    pub fn digest(&self) -> &Digest {
        &self.current.index().digest
    }

    /// Returns what `/etc/base-release` of the image under the tag says now.
    pub fn release(&self) -> String {
        self.current.release()
    }
}
