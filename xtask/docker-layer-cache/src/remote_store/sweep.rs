//! Garbage of an object store, among writers on other machines.
//!
//! ```text
//! writer                              garbage collection
//! 1. puts its lease: the digests      1. puts `sweep`
//! 2. looks for `sweep`: gives up      2. reads the leases, then the index
//! 3. has? put, name, drop the lease   3. removes what neither names and is old, then `sweep`
//! ```
//!
//! Whichever of the two first steps comes later, its second step sees the other: a writer never
//! relies on a blob that is being removed. Reads after writes are consistent at all three clouds. A
//! killed writer leaves a lease that counts for the grace period; a killed collection leaves `sweep`,
//! which counts for [`SWEEP_AGE`], by the store's clock and not by ours.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt as _, PutMode, PutPayload};

use super::object_store::{Objects, of_store};
use super::{Lease, RemoteError, RemoteErrorKind, Swept};
use crate::oci::{Digest, ImageIndex, ImageManifest};

/// A collection that takes longer ends by itself; one that is older was killed.
const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// Leases, and the collection that respects them.
pub(super) struct Janitor<'a>(pub(super) &'a Objects);

impl Janitor<'_> {
    pub(super) async fn lease(&self, blobs: &[Digest]) -> Result<Lease, RemoteError> {
        let path = self.0.path(&format!("leases/{}", unique()));
        let json = serde_json::to_vec(blobs).expect("digests are JSON");
        self.put(&path, json).await?;
        let Some(sweep) = self.head(&self.sweep_path()).await? else {
            return Ok(Lease(Some(path.to_string())));
        };
        let lease = self.head(&path).await?;
        let is_killed = lease.is_some_and(|lease| age(&sweep, &lease) > SWEEP_AGE);
        if is_killed {
            return Ok(Lease(Some(path.to_string())));
        }
        let _ = self.0.store.delete(&path).await;
        let message = "its garbage is being collected now";
        Err(RemoteError::new(RemoteErrorKind::Busy, message))
    }

    pub(super) async fn release(&self, lease: &Lease) {
        if let Some(path) = &lease.0 {
            // It ends by itself.
            let _ = self.0.store.delete(&Path::from(path.as_str())).await;
        }
    }

    pub(super) async fn sweep(&self, grace: Duration, dry_run: bool) -> Result<Swept, RemoteError> {
        let started = Instant::now();
        let now = self.begin(dry_run).await?;
        let swept = self.remove(grace, dry_run, &now, started).await;
        if !dry_run {
            let _ = self.0.store.delete(&self.sweep_path()).await;
        }
        swept
    }

    /// Puts `sweep`, unless another collection is under way, and returns it: its time is now.
    async fn begin(&self, dry_run: bool) -> Result<ObjectMeta, RemoteError> {
        let (path, other) = if dry_run {
            (self.0.path(&format!("leases/{}", unique())), None)
        } else {
            (self.sweep_path(), self.head(&self.sweep_path()).await?)
        };
        let busy = || {
            let message = "somebody else collects its garbage now";
            RemoteError::new(RemoteErrorKind::Busy, message)
        };
        if let Some(other) = other {
            // By the store's own clock: what it writes now has the time of now.
            let probe = self.0.path(&format!("leases/{}", unique()));
            self.put(&probe, b"[]".to_vec()).await?;
            let now = self.head(&probe).await?;
            let _ = self.0.store.delete(&probe).await;
            if now.is_none_or(|now| age(&other, &now) < SWEEP_AGE) {
                return Err(busy());
            }
            let _ = self.0.store.delete(&path).await;
        }
        let created = self
            .0
            .store
            .put_opts(
                &path,
                PutPayload::from_static(b"[]"),
                PutMode::Create.into(),
            )
            .await;
        match created {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Err(busy()),
            created => created.map_err(|error| of_store(&error))?,
        };
        let now = self.head(&path).await?.ok_or_else(busy)?;
        if dry_run {
            let _ = self.0.store.delete(&path).await;
        }
        Ok(now)
    }

    async fn remove(
        &self,
        grace: Duration,
        dry_run: bool,
        now: &ObjectMeta,
        started: Instant,
    ) -> Result<Swept, RemoteError> {
        // Leases first: what is named between the two is in the index, or still leased.
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for lease in self.list("leases").await? {
            if age(&lease, now) > grace {
                if !dry_run {
                    let _ = self.0.store.delete(&lease.location).await;
                }
                continue;
            }
            // One that is gone was released: its blobs are named.
            let Some(json) = self.0.read(&lease.location).await? else {
                continue;
            };
            let digests: Vec<Digest> = serde_json::from_slice(&json).map_err(unreadable)?;
            needed.extend(
                digests
                    .iter()
                    .map(|digest| self.0.blob_path(digest).to_string()),
            );
        }
        needed.extend(self.named().await?);
        let mut swept = Swept::default();
        for blob in self.list("blobs").await? {
            if needed.contains(blob.location.as_ref()) {
                continue;
            }
            if age(&blob, now) < grace {
                swept.spared_blobs += 1;
                continue;
            }
            if started.elapsed() > SWEEP_AGE / 2 {
                // Another may take this one for killed: the next one does the rest.
                break;
            }
            if !dry_run {
                let deleted = self.0.store.delete(&blob.location).await;
                deleted.map_err(|error| of_store(&error))?;
            }
            swept.blobs += 1;
            swept.freed_bytes += blob.size;
        }
        Ok(swept)
    }

    /// Returns the paths of all blobs that the index names, through the manifests.
    async fn named(&self) -> Result<BTreeSet<String>, RemoteError> {
        let (index, _) = self.0.index().await?;
        let mut named = BTreeSet::new();
        let mut open: Vec<Digest> = index.manifests.into_iter().map(|d| d.digest).collect();
        while let Some(digest) = open.pop() {
            let path = self.0.blob_path(&digest);
            if !named.insert(path.to_string()) {
                continue;
            }
            // One that is lost names nothing; one that cannot be read ends the collection.
            let Some(bytes) = self.0.read(&path).await? else {
                continue;
            };
            if let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) {
                let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
                named.extend(blobs.map(|blob| self.0.blob_path(&blob.digest).to_string()));
            } else {
                let index: ImageIndex = serde_json::from_slice(&bytes).map_err(unreadable)?;
                open.extend(index.manifests.into_iter().map(|d| d.digest));
            }
        }
        Ok(named)
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, RemoteError> {
        let prefix = self.0.path(folder);
        let mut stream = self.0.store.list(Some(&prefix));
        let mut found = Vec::new();
        while let Some(object) = stream.next().await {
            found.push(object.map_err(|error| of_store(&error))?);
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, RemoteError> {
        match self.0.store.head(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(&error)),
        }
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), RemoteError> {
        let put = self.0.store.put(path, bytes.into()).await;
        put.map(|_| ()).map_err(|error| of_store(&error))
    }

    fn sweep_path(&self) -> Path {
        self.0.path("sweep")
    }
}

/// Returns how much older one object is than another, by the store's clock.
fn age(object: &ObjectMeta, now: &ObjectMeta) -> Duration {
    let distance = now.last_modified - object.last_modified;
    distance.to_std().unwrap_or_default()
}

fn unreadable(error: impl std::fmt::Display) -> RemoteError {
    let message = format_args!("what it holds cannot be read, so nothing is removed: {error}");
    RemoteError::new(RemoteErrorKind::Failed, message)
}

/// Returns a name that no other process has.
fn unique() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{:016x}", now.as_nanos(), random())
}

/// Returns a number that nobody guesses: the standard library seeds its maps with it.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
