//! What every remote store can do.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::registry::RegistryStore;
use super::{Location, RemoteEntry, RemoteError};
use crate::oci::{Descriptor, Digest};
use crate::registry::ClientOptions;

/// A remote store. Calls may block for as long as they like: see [`super::patiently`].
pub trait RemoteStore: Send + Sync {
    /// Tells whether the blob or manifest is there.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    fn has(&self, blob: &Descriptor) -> Result<bool, RemoteError>;

    /// Returns the bytes of a blob or manifest. The reader checks them: whoever stores what he reads
    /// knows its digest.
    ///
    /// # Errors
    /// [`super::RemoteErrorKind::Missing`] where it is not there, and whatever the store refuses.
    fn get(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, RemoteError>;

    /// Stores a blob or manifest, or nothing of it. Content that is not what the descriptor says is
    /// refused.
    ///
    /// # Errors
    /// Where the content is wrong, and whatever the store refuses.
    fn put(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), RemoteError>;

    /// Returns all entries. Those that are `known` may be taken from there.
    ///
    /// # Errors
    /// Where the store cannot be asked; that nothing was ever stored is not an error.
    fn list(&self, known: &[RemoteEntry]) -> Result<Vec<RemoteEntry>, RemoteError>;

    /// Names entries whose blobs are there, and takes names away.
    ///
    /// # Errors
    /// Whatever the store refuses. What was named before stays named.
    fn name(&self, add: &[Descriptor], remove: &[RemoteEntry]) -> Result<(), RemoteError>;

    /// Tells garbage collection that these blobs are about to be named. To be called before the
    /// store is asked whether it has them.
    ///
    /// # Errors
    /// [`super::RemoteErrorKind::Busy`] while garbage is collected.
    fn lease(&self, _blobs: &[Digest]) -> Result<Lease, RemoteError> {
        Ok(Lease(None))
    }

    /// Ends a lease, after its blobs were named.
    fn release(&self, _lease: &Lease) {}

    /// Removes the blobs that no entry names, no lease holds and that are older than `grace`. None
    /// where the store does that by itself.
    ///
    /// # Errors
    /// [`super::RemoteErrorKind::Busy`] while somebody else does so, and whatever the store refuses.
    fn sweep(&self, _grace: Duration, _dry_run: bool) -> Result<Option<Swept>, RemoteError> {
        Ok(None)
    }
}

/// A lease on blobs; nothing where the store needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease(pub(super) Option<String>);

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many blobs.
    pub blobs: usize,
    /// Their size.
    pub freed_bytes: u64,
    /// How many blobs are too young to be removed, or leased.
    pub spared_blobs: usize,
}

/// Opens a remote store; nothing is asked of it.
///
/// # Errors
/// Where this program was built without what it takes, or where the environment lacks it.
pub fn open(
    location: &Location,
    options: ClientOptions,
    timeout: Duration,
) -> Result<Arc<dyn RemoteStore>, RemoteError> {
    match location {
        Location::Registry(repository) => {
            Ok(Arc::new(RegistryStore::new(repository, options, timeout)?))
        }
        #[cfg(feature = "remote")]
        Location::Objects(url) => Ok(Arc::new(super::object_store::Objects::new(url, timeout)?)),
        #[cfg(not(feature = "remote"))]
        Location::Objects(url) => Err(RemoteError::new(
            super::RemoteErrorKind::Url,
            format_args!(
                "remote store `{url}`: this xtask was built without the feature `remote` of docker-layer-cache"
            ),
        )),
    }
}
