//! What is asked of the program in the container, and what it reports: JSON files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Name of the file with the [`Order`].
pub const ORDER_FILE: &str = "order.json";
/// Name of the file with the [`Report`].
pub const REPORT_FILE: &str = "report.json";
/// Name of a listing's file: zstd.
pub const LISTING_FILE: &str = "listing.zst";

/// Returns the name of a new pack's file: zstd, named by the digest of its uncompressed bytes.
pub fn pack_file(digest: &Digest) -> String {
    format!("{}.zst", digest.encoded())
}

/// What to do with the mounts, all in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The direction.
    pub kind: OrderKind,
    /// The mounts.
    pub mounts: Vec<MountOrder>,
    /// Where the report is written, and for each mount, by its number, a folder with its listing
    /// and its new packs.
    pub out: PathBuf,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderKind {
    /// Out of the engine.
    Export,
    /// Into the engine.
    Import,
}

/// What to do with one mount. Paths other than `folder` are relative to the order's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOrder {
    /// Where it is mounted.
    pub folder: PathBuf,
    /// The listing that is stored of it, where one is.
    pub listing: Option<PathBuf>,
    /// For each pack of that listing, in order: the file to import, for an export whether the
    /// store has it.
    pub packs: Vec<Option<PathBuf>>,
    /// How large it may be to be exported: all its files, in bytes.
    pub max_bytes: u64,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The mounts, in the order's order.
    pub mounts: Vec<MountReport>,
}

/// What came of one mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountReport {
    /// What was done.
    pub outcome: MountOutcome,
    /// The size of its files, in bytes, where it was looked at.
    pub size_bytes: u64,
    /// How many files there are.
    pub n_files: usize,
}

/// What was done with a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountOutcome {
    /// It was filled from the listing.
    Filled,
    /// It was not empty, and left alone.
    WasFilled,
    /// It was written out.
    Written,
    /// There is nothing in it.
    Empty,
    /// It is larger than it may be.
    TooLarge,
    /// Neither.
    Failed(String),
}
