//! What was pushed, by all that it was made of: lines of JSON beside the index.
//!
//! As with the history, the file is no part of an image layout, names no blob, and travels with the
//! store through CI's cache; versions that do not know it pass it over.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::history::{lines_of, text_of};
use super::{ImageLayout, StoreError, Timestamp};
use crate::oci::Digest;

/// How many pushes are remembered; the oldest go first.
pub const PUSHED_MAX: usize = 500;

/// One push of one image for one platform to one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedRecord {
    /// The image's name in the configuration.
    pub image: String,
    /// The platform, such as `linux/amd64`.
    pub platform: String,
    /// Host and path, without a tag, such as `docker.io/team/app`.
    pub repository: String,
    /// Of all that the image was made of.
    pub made_of: Digest,
    /// Of the manifest at the registry.
    pub digest: Digest,
    /// When, RFC 3339.
    pub time: String,
}

impl PushedRecord {
    /// Returns a record of a push that was made now.
    pub fn now(
        image: &str,
        platform: &str,
        repository: &str,
        made_of: &Digest,
        digest: &Digest,
    ) -> Self {
        Self {
            image: image.to_owned(),
            platform: platform.to_owned(),
            repository: repository.to_owned(),
            made_of: made_of.clone(),
            digest: digest.clone(),
            time: Timestamp::from(std::time::SystemTime::now()).to_string(),
        }
    }

    fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.image, &self.platform, &self.repository, &self.made_of)
            == (
                &other.image,
                &other.platform,
                &other.repository,
                &other.made_of,
            )
    }
}

impl ImageLayout {
    /// Returns what was pushed, the oldest first. Lines that say something else are passed over.
    ///
    /// # Errors
    /// Returns an error if the file is there and cannot be read.
    pub fn pushed(&self) -> Result<Vec<PushedRecord>, StoreError> {
        let lines = lines_of(&self.pushed_path())?.into_iter();
        Ok(lines
            .filter_map(|line| serde_json::from_value(line).ok())
            .collect())
    }

    /// Notes pushes, each in the place of an earlier one of the same, and forgets the oldest where
    /// there are more than [`PUSHED_MAX`]. A folder that is no store yet stays as it is.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or replaced.
    pub fn note_pushed(&self, new: &[PushedRecord]) -> Result<(), StoreError> {
        if !self.is_marked() || new.is_empty() {
            return Ok(());
        }
        let _lock = self.lock_index()?;
        let mut records = self.pushed()?;
        records.retain(|record| !new.iter().any(|new| new.is_of_the_same(record)));
        records.extend(new.iter().cloned());
        let first = records.len().saturating_sub(PUSHED_MAX);
        let lines: Vec<serde_json::Value> = records[first..]
            .iter()
            .map(|record| serde_json::to_value(record).expect("a record is JSON"))
            .collect();
        self.replace(&self.pushed_path(), text_of(&lines).as_bytes())
    }

    fn pushed_path(&self) -> PathBuf {
        self.root().join("pushed.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Retention;
    use super::*;

    fn record(made_of: usize, digest: &str) -> PushedRecord {
        let made_of = Digest::of(made_of.to_string().as_bytes());
        let digest = Digest::of(digest.as_bytes());
        PushedRecord::now("app", "linux/amd64", "h/app", &made_of, &digest)
    }

    #[test]
    fn the_last_push_of_the_same_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = ImageLayout::open_or_create(folder.path()).expect("a store");
        assert_eq!(layout.pushed().expect("none"), []);
        layout
            .note_pushed(&[record(1, "a"), record(2, "b")])
            .expect("noted");
        layout.note_pushed(&[record(1, "c")]).expect("noted");
        let digests = |layout: &ImageLayout| {
            let pushed = layout.pushed().expect("pushed");
            pushed.into_iter().map(|one| one.digest).collect::<Vec<_>>()
        };
        let expected = [Digest::of(b"b"), Digest::of(b"c")];
        assert_eq!(digests(&layout), expected);
        layout
            .collect_garbage(&Retention::default())
            .expect("collected");
        assert_eq!(digests(&layout), expected);
        let many: Vec<_> = (0..PUSHED_MAX).map(|n| record(n + 9, "d")).collect();
        layout.note_pushed(&many).expect("noted");
        assert_eq!(digests(&layout).len(), PUSHED_MAX);
    }

    #[test]
    fn what_another_version_noted_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = ImageLayout::open_or_create(folder.path()).expect("a store");
        std::fs::write(layout.pushed_path(), b"{\"image\":\"app\"}\n\xff\n").expect("written");
        assert_eq!(layout.pushed().expect("nothing of ours"), []);
        layout.note_pushed(&[record(1, "a")]).expect("noted");
        assert_eq!(layout.pushed().expect("one").len(), 1);
    }

    #[test]
    fn a_folder_that_is_no_store_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = ImageLayout::open_read_only(folder.path()).expect("a folder");
        layout
            .note_pushed(&[record(1, "a")])
            .expect("nothing to do");
        assert_eq!(std::fs::read_dir(folder.path()).expect("it").count(), 0);
    }
}
