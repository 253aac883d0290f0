//! Cache mounts (`RUN --mount=type=cache`), which no cache of a builder keeps: into the engine
//! before a build whose steps will mount them, and out of it after steps have.
//!
//! The engine gives their files to nothing but a step of a build. So a build of one step has all
//! mounts at once, and runs this very program, which reads or fills them. See
//! [`crate::cache_mount`] for what is stored.
//!
//! A mount that is not empty is left alone: an engine that keeps it knows better. Nothing here
//! fails a job, and no image is made.

mod carry;
mod helper;
mod kept;
mod program;
mod restore;
mod save;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image_layout::{EntryKind, ImageLayout, StoredEntry};
use crate::oci::Platform;
use crate::plan::MountRecord;

pub(crate) use carry::carry;
pub(super) use restore::restore;
pub(super) use save::save;

/// Annotation of a mount's entry: JSON, what is known of it.
const RECORD_ANNOTATION: &str = "dev.docker-layer-cache.mount-record";

/// What became of a kept mount before the build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RestoredMount {
    /// The mount, by its id and owner.
    pub(super) mount: String,
    /// What was done.
    pub(super) state: MountState,
    /// The size of its files in the store, in bytes.
    pub(super) bytes: u64,
}

/// What was done with a mount before the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MountState {
    /// It was filled.
    Filled,
    /// The engine had it.
    WasFilled,
    /// It would not pay.
    LeftOut,
    /// No step that mounts it will run.
    NotNeeded,
    /// It could not be filled, and is empty.
    Failed,
    /// The engine did not give it: another build may hold it.
    NotHad,
}

impl RestoredMount {
    /// Tells whether it was filled.
    pub(super) fn is_filled(&self) -> bool {
        self.state == MountState::Filled
    }
}

impl MountState {
    /// Tells whether the steps find the mount's files.
    fn is_filled(self) -> bool {
        matches!(self, Self::Filled | Self::WasFilled)
    }
}

/// Returns the entries of mounts for a platform, by mount.
fn entries(layout: &ImageLayout, platform: &Platform) -> BTreeMap<String, StoredEntry> {
    let entries = layout.entries().unwrap_or_default();
    entries
        .into_iter()
        .filter(|stored| stored.entry.kind == EntryKind::CacheMount)
        .filter(|stored| stored.entry.platform == *platform)
        .filter_map(|stored| Some((stored.entry.mount.clone()?, stored)))
        .collect()
}

/// Returns what is known of a mount; nothing where that cannot be read.
fn record(stored: &StoredEntry) -> MountRecord {
    let json = stored.entry.extra.get(RECORD_ANNOTATION);
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

fn record_json(record: &MountRecord) -> String {
    serde_json::to_string(record).expect("numbers are JSON")
}
