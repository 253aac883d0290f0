//! The folder of a cache mount (`RUN --mount=type=cache`) → a listing and packs, and back.
//!
//! ```text
//! folder ─▶ files, cut into chunks ─▶ chunks that no pack has ─▶ new packs (zstd)
//!                    │                                              │
//!                    └──────────▶ listing: what is where ◀──────────┘
//! ```
//!
//! A chunk is a file, or a piece of a large one, known by its digest. A pack is some chunks, one
//! behind the other, and never changes. The listing names the packs in use and says of every file
//! in which chunks it lies. So a mount that has changed a little costs a new listing and packs of
//! what is new: nothing else is compressed, moved or written. A pack of which little is still in
//! use is left behind, and what is in use of it goes into a new one.
//!
//! Kept are modes, owners, times (of folders and symbolic links too), symbolic and hard links.
//! Not kept are extended attributes, and what is no file: sockets, pipes, devices.
//!
//! Both directions run inside a container, as root: see [`Order`]. Neither ever follows a link.

mod error;
mod listing;
mod order;
mod pack;
mod parallel;
mod walk;
mod export;
mod import;

pub use error::{MountError, MountErrorKind};
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use listing::{Chunk, Listing, ListingError, Modified, Node, NodeKind, Pack};
pub use order::{
    LISTING_FILE, MountOrder, MountOutcome, MountReport, ORDER_FILE, Order, OrderKind, REPORT_FILE,
    Report, pack_file,
};

#[cfg(test)]
mod tests;
