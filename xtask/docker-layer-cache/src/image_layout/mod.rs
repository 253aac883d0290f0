//! The store: an OCI image layout on disk that many processes may use at once.
//!
//! ```text
//! store/
//! ├── oci-layout             {"imageLayoutVersion":"1.0.0"}
//! ├── format                 the version of what we add to an image layout
//! ├── index.json             the entries: one descriptor each, described by annotations
//! ├── history.jsonl          what became of the last jobs, for reports
//! ├── pushed.jsonl           what was pushed, by all that it was made of
//! ├── blobs/sha256/<digest>  manifests, configs, and layers (zstd), each stored once
//! ├── tmp/                   blobs being written
//! ├── index.lock             held while index.json is replaced
//! └── use.lock               shared by those who add or use blobs, exclusive for garbage collection
//! ```
//!
//! **Invariant**: what `index.json` names is there, or at the remote store that the entry names
//! (`elsewhere.rs`). A blob is written to `tmp/`, renamed into
//! `blobs/`, and only then named; `index.json` is replaced in one step. A process killed anywhere
//! in between leaves nothing but garbage, which [`ImageLayout::collect_garbage`] removes.
//!
//! **Invariant**: what is read is checked. A blob may have been damaged by a CI cache, a full disk
//! or a loss of power; [`ImageLayout::verify`], [`ImageLayout::read_blob`] and
//! [`ImageLayout::open_layer`] find out. Therefore blobs are not synced to disk one by one.
//!
//! Readers need no lock and work on a read-only disk. The engine never sees the store but a
//! [`View`] of one entry.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

mod error;
mod layout;
mod lock;
mod index;
mod annotate;
mod entry;
mod timestamp;
mod blob;
mod layer;
mod open_layer;
mod stored_layers;
mod verify;
mod inventory;
mod history;
mod pushed;
mod retention;
mod garbage;
mod view;
mod writer;
mod elsewhere;

pub use elsewhere::{AT_REMOTE, remote_id, without_mark};
pub use entry::{ENTRY_FORMAT, Entry, EntryKind, StoredEntry, annotation};
pub use error::{StoreError, StoreErrorKind};
pub use garbage::{Collected, DroppedEntry, KeptEntry};
pub use history::HISTORY_MAX;
pub use index::{IndexDamage, StoredIndex};
pub use inventory::{Inventory, InventoryItem};
pub use layer::{KNOWN_AS, StoredLayer, UNCOMPRESSED, UNCOMPRESSED_SIZE};
pub use layout::{FORMAT, ImageLayout};
pub use lock::Hold;
pub use open_layer::LayerReader;
pub use pushed::{PUSHED_MAX, PushedRecord};
pub use retention::{DropReason, Retention};
pub use stored_layers::StoredLayers;
pub use timestamp::Timestamp;
pub use verify::{BlobState, DamagedBlob, Verified};
pub use view::View;
pub use writer::Writer;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod process_tests;
