//! What became of the last jobs: lines of JSON beside the index, for reports.
//!
//! The file is no part of an image layout, so other tools pass it over, and it names no blob, so
//! garbage collection does. It travels with the store through CI's cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ImageLayout, StoreError};

/// How many jobs are remembered; the oldest go first.
pub const HISTORY_MAX: usize = 200;

impl ImageLayout {
    /// Returns what was noted of the last jobs, the oldest first: JSON that the store does not look
    /// into. Lines that are none, such as a damaged file has, are passed over.
    ///
    /// # Errors
    /// Returns an error if the file is there and cannot be read.
    pub fn history(&self) -> Result<Vec<serde_json::Value>, StoreError> {
        lines_of(&self.history_path())
    }

    /// Notes one job, and forgets the oldest where there are more than [`HISTORY_MAX`]. A folder
    /// that is no store yet stays as it is.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or replaced.
    pub fn note_history(&self, job: &serde_json::Value) -> Result<(), StoreError> {
        if !self.is_marked() {
            return Ok(());
        }
        let _lock = self.lock_index()?;
        let mut jobs = self.history()?;
        jobs.push(job.clone());
        let first = jobs.len().saturating_sub(HISTORY_MAX);
        self.replace(&self.history_path(), text_of(&jobs[first..]).as_bytes())
    }

    fn history_path(&self) -> PathBuf {
        self.root().join("history.jsonl")
    }
}

/// Reads lines of JSON; none where there is no file. Lines that are none are passed over.
pub(super) fn lines_of(path: &Path) -> Result<Vec<serde_json::Value>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// Returns a line of JSON for each of `values`.
pub(super) fn text_of(values: &[serde_json::Value]) -> String {
    let mut text = String::new();
    for value in values {
        text.push_str(&value.to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Retention;
    use super::*;

    #[test]
    fn the_last_jobs_are_remembered_and_damage_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = ImageLayout::open_or_create(folder.path()).expect("a store");
        assert_eq!(
            layout.history().expect("none"),
            Vec::<serde_json::Value>::new()
        );
        for n in 0..HISTORY_MAX + 2 {
            layout.note_history(&json!({ "n": n })).expect("noted");
        }
        let jobs = layout.history().expect("jobs");
        assert_eq!(jobs.len(), HISTORY_MAX);
        assert_eq!(jobs[0], json!({ "n": 2 }));
        fs::write(layout.history_path(), b"{\"n\":1}\n\xff{\n").expect("damage");
        layout.note_history(&json!({ "n": 2 })).expect("noted");
        let expected = [json!({ "n": 1 }), json!({ "n": 2 })];
        assert_eq!(layout.history().expect("jobs"), expected);
        layout
            .collect_garbage(&Retention::default())
            .expect("collected");
        assert_eq!(layout.history().expect("jobs"), expected);
    }

    #[test]
    fn a_folder_that_is_no_store_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = ImageLayout::open_read_only(folder.path()).expect("a folder");
        layout.note_history(&json!({})).expect("nothing to do");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
