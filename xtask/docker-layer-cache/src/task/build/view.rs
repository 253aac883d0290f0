//! The view that a build is given, as it lies there when the build begins and ends.

use camino::Utf8PathBuf;

use super::super::notes::Restored;
use crate::oci::Digest;

/// Returns the blobs of the view that was offered.
pub(super) fn view_blobs(restored: &Restored) -> Vec<Digest> {
    let folder = restored.view.as_ref().map(|view| view.join("blobs/sha256"));
    let names = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let digest = |entry: std::fs::DirEntry| {
        format!("sha256:{}", entry.file_name().to_str()?)
            .parse()
            .ok()
    };
    names
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(digest)
        .collect()
}

/// Tells whether every blob of a view is still there.
pub(super) fn is_whole(view: &Utf8PathBuf) -> bool {
    let Ok(blobs) = std::fs::read_dir(view.join("blobs/sha256")) else {
        return false;
    };
    view.join("index.json").is_file()
        && blobs
            .flatten()
            .all(|blob| std::fs::metadata(blob.path()).is_ok_and(|data| data.is_file()))
}
