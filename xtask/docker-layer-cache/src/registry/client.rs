//! The client: one for all registries and all threads of a run.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::blob::BlobReader;
use super::exchange::Exchange;
use super::manifest::{self, FetchedManifest};
use super::options::ClientOptions;
use super::platform_manifest::platform_digest;
use super::resolve::{self, ResolveRequest, Resolved};
use super::token::Access;
use super::{ErrorKind, Login, RateLimit, RegistryError, blob};
use crate::oci::{Descriptor, Digest, ImageManifest, Platform, Reference};

/// More than any image config; labels and histories make some of them long.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Asks registries.
///
/// Connections, tokens and credentials are kept for as long as the client lives. It can be
/// shared by threads.
pub struct Client {
    /// Shared with downloads, which take broken connections up again.
    pub(super) exchange: Arc<Exchange>,
    /// Manifests by repository and digest: they never change, and what one repository shows is
    /// not for the readers of another.
    manifests: Mutex<HashMap<Reference, FetchedManifest>>,
}

impl Client {
    /// Returns a client. Nothing is sent, no helper is run and no certificate is loaded before a
    /// request needs it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] where a mirror or a proxy is not a URL.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        Ok(Self {
            exchange: Arc::new(Exchange::new(options)?),
            manifests: Mutex::default(),
        })
    }

    /// Returns the digest of each request's reference, in the order of the requests.
    ///
    /// Each reference is asked for once, however many platforms are wanted of it, and all of
    /// them at the same time. A reference with a digest needs no network, unless a platform is
    /// asked for.
    pub fn resolve(&self, requests: &[ResolveRequest]) -> Vec<Result<Resolved, RegistryError>> {
        resolve::resolve(self, requests)
    }

    /// Returns the manifest or index that a reference names. Its digest is checked.
    ///
    /// # Errors
    ///
    /// When no mirror and not the registry itself has it, or what they have is something else.
    pub fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, RegistryError> {
        if let Some(known) = self.known(reference) {
            return Ok(known);
        }
        let task = self.exchange.task(reference, Access::Pull);
        let fetched = self.exchange.read(&task, |endpoint| {
            manifest::get(&self.exchange, &task, endpoint)
        })?;
        self.keep(reference, &fetched);
        Ok(fetched)
    }

    /// Returns a blob's bytes as they arrive. The last read fails when they are not what the
    /// descriptor says.
    ///
    /// # Errors
    ///
    /// When no mirror and not the registry itself has it.
    pub fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, RegistryError> {
        let task = self.exchange.task(reference, Access::Pull);
        self.exchange.read(&task, |endpoint| {
            blob::get(&self.exchange, &task, endpoint, descriptor)
        })
    }

    /// Returns the image config of a reference's image for a platform, with the config's digest,
    /// which is the image ID.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoPlatform`] where the image does not exist for the platform, and as
    /// [`Client::manifest`] and [`Client::blob`].
    pub fn image_config(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(Digest, Vec<u8>), RegistryError> {
        let fetched = self.manifest(reference)?;
        let fetched = match platform_digest(reference, &fetched, platform)? {
            digest if digest == fetched.digest => fetched,
            digest => self.manifest(&reference.at_digest(&digest))?,
        };
        let unreadable = |cause: String| {
            RegistryError::new(ErrorKind::Protocol, reference.domain())
                .with_cause(cause)
                .for_reference(reference)
        };
        let manifest: ImageManifest = serde_json::from_slice(&fetched.bytes)
            .map_err(|error| unreadable(format!("manifest `{}`: {error}", fetched.digest)))?;
        let config = manifest.config;
        if config.size > MAX_CONFIG_BYTES {
            let cause = format!(
                "image config `{}` is {} bytes long",
                config.digest, config.size
            );
            return Err(unreadable(cause));
        }
        let task = self.exchange.task(reference, Access::Pull);
        let bytes = self.exchange.read(&task, |endpoint| {
            let reader = blob::get(&self.exchange, &task, endpoint, &config)?;
            reader.read_whole(task.deadline)
        })?;
        Ok((config.digest, bytes))
    }

    /// Returns what kind of login is stored for a registry, `docker.io` for Docker Hub. Nothing is
    /// sent; a credential helper that the configuration names is asked.
    pub fn login(&self, registry: &str) -> Login {
        self.exchange.login(registry)
    }

    /// Returns what registries said about how many pulls are left, by host.
    pub fn rate_limits(&self) -> Vec<(String, RateLimit)> {
        self.exchange.rate_limits.all()
    }

    /// Returns what a person should know, one sentence each: limits that are near.
    pub fn notes(&self) -> Vec<String> {
        self.rate_limits()
            .into_iter()
            .filter(|(_, limit)| limit.is_near())
            .map(|(host, limit)| {
                format!(
                    "`{host}` allows {} more of {} pulls: `docker login` or a mirror raises the limit",
                    limit.remaining, limit.limit
                )
            })
            .collect()
    }

    pub(super) fn keep(&self, reference: &Reference, fetched: &FetchedManifest) {
        self.manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(reference.at_digest(&fetched.digest), fetched.clone());
    }

    fn known(&self, reference: &Reference) -> Option<FetchedManifest> {
        let pinned = reference.at_digest(reference.digest()?);
        self.manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&pinned)
            .cloned()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials and tokens are inside.
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
