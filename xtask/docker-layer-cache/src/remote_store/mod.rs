//! Remote stores: what the store holds, shared by many machines.
//!
//! ```text
//! oci://HOST/REPOSITORY                      s3://BUCKET/PREFIX (gs://, az://)
//! ├── blobs and manifests, as they are       ├── blobs/sha256/<digest>   an OCI image layout
//! ├── tag e-<id>: an index of one entry      ├── index.json              all entries
//! └── tag catalog: all entries, packed       ├── leases/<name>           saves under way
//!                                            └── sweep                   a garbage collection under way
//! ```
//!
//! **Invariant**: what is named is there: blobs go up first, the entry's name last.
//!
//! **Invariant**: writers lose nothing to one another. `index.json` is replaced by a conditional put
//! (`ETag`), and merged anew where that fails. Registries have no conditional put: there the tags are
//! the truth, and the catalog only spares requests. A tag holds the digest of what it names, so a
//! reader asks for nothing that it knows, and a catalog that another writer overwrote costs a few
//! requests more, never an entry.
//!
//! **Invariant**: nobody waits. Every call goes through [`patiently`], which gives up on whatever
//! does not answer, stalls or trickles.

mod location;
mod error;
mod entry;
mod parallel;
mod patience;
mod store;
mod registry;
#[cfg(feature = "remote")]
mod object_store;
#[cfg(feature = "remote")]
mod sweep;

pub use entry::{RemoteEntry, newest_by_name};
pub use error::{RemoteError, RemoteErrorKind};
pub use location::Location;
pub use parallel::in_parallel;
pub use patience::{Patience, Progress, patiently};
pub use store::{Lease, RemoteStore, Swept, open};
