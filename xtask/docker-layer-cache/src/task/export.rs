//! The folder that `BuildKit` exports its cache to: made ready, and filled along with the build
//! where a save will want it.

use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::symlink;

use camino::{Utf8Path, Utf8PathBuf};

use super::job::Job;
use super::key::Keyed;
use super::notes::Restored;
use crate::engine::Strategy;
use crate::image_layout::ImageLayout;
use crate::oci::{Descriptor, Digest};
use crate::plan::Outcome;

/// Makes the folder anew, with links to the layers that the store has, which `BuildKit` then does
/// not send; without those in `damaged`.
///
/// # Errors
/// Where it cannot be made.
pub(super) fn prepare(
    folder: &Utf8Path,
    layout: &ImageLayout,
    damaged: &[Digest],
) -> Result<(), IoError> {
    remove(folder)?;
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let layers = layout.layers().map_err(IoError::other)?;
    let whole = layers.by_diff_id.values();
    let is_here =
        |blob: &&Descriptor| !damaged.contains(&blob.digest) && layout.has_blob(&blob.digest);
    for blob in whole.filter(is_here) {
        let path = std::fs::canonicalize(layout.blob_path(&blob.digest))?;
        symlink(path, blobs.join(blob.digest.encoded()))?;
    }
    Ok(())
}

/// Returns a folder to export to in the very build, where a save will come and has something to
/// store: the export then overlaps the build, and the builder solves once and not twice.
pub(super) fn along(
    job: &Job<'_>,
    keyed: &Keyed,
    strategy: Strategy,
    restored: &Restored,
) -> Option<Utf8PathBuf> {
    let folder = job.workspace.work_file(&keyed.image, "export");
    // Of a build that was not saved; what cannot be removed is replaced, or fails then.
    let _ = remove(&folder);
    let is_saved_then = restored.strategy.is_some() && !job.args.read_only;
    if strategy != Strategy::ExportedBuildCache || !is_saved_then || !adds_something(restored) {
        return None;
    }
    let layout = ImageLayout::open_or_create(&job.workspace.store).ok()?;
    prepare(&folder, &layout, &restored.damaged).ok()?;
    Some(folder)
}

/// Tells whether an export to the folder came to its end.
pub(super) fn is_whole(folder: &Utf8Path) -> bool {
    folder.join("index.json").is_file()
}

/// Tells whether a step is sure to run whose result is worth being stored.
fn adds_something(restored: &Restored) -> bool {
    let Some(plan) = &restored.plan else {
        return restored.entries.is_empty();
    };
    let is_left_out = |digest: &Digest| plan.left_out.iter().any(|step| step.digest == *digest);
    let mut expected = plan.expected.iter();
    expected.any(|step| step.outcome == Outcome::Run && !is_left_out(&step.digest))
}

fn remove(folder: &Utf8Path) -> Result<(), IoError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
