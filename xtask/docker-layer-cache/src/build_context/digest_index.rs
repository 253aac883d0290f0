//! Digests of files that are known from an earlier run, so that unchanged files are not read again.
//!
//! As git's index: a file with the same size, inode, device and times as before has the same
//! bytes. That is not so where a file changes twice within one tick of the clock, so a file that
//! changed shortly before it was read is read again; nor where the clock was set back, so an index
//! from the future counts for nothing. An index that is missing or damaged costs time alone.

use std::fs::Metadata;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};

use super::index_file::{self, Known, Stamp};
use super::input_digest::{digest_input, in_parallel};
use super::{ContextError, ContextFile, ContextFileKind, Input, InputKind};
use crate::oci::Digest;

/// How long before the run a file must have changed last, for its digest to be kept: the coarsest
/// clock of a file system ticks every two seconds.
const TICK_NANOSECONDS: i128 = 2_000_000_000;

/// Digests of files by path and time stamps.
#[derive(Debug)]
pub struct DigestIndex {
    file: Utf8PathBuf,
    /// Sorted by path.
    known: Vec<(String, Known)>,
    written: u128,
    is_new: bool,
    n_read: usize,
}

impl DigestIndex {
    /// Reads the index in `file`, one for each context; an empty one where it cannot be used.
    pub fn open(file: &Utf8Path) -> Self {
        Self::open_at(file, now())
    }

    fn open_at(file: &Utf8Path, now: u128) -> Self {
        let (written, known) = std::fs::read(file)
            .ok()
            .and_then(|bytes| index_file::parse(&bytes))
            .filter(|(written, _)| *written <= now)
            .unwrap_or_default();
        Self {
            file: file.to_owned(),
            known,
            written,
            is_new: false,
            n_read: 0,
        }
    }

    /// Returns the digests of files and links, as [`super::digest_files`] does, and reads only
    /// those that are not known. Forgets files that are not asked for.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn digest_files(
        &mut self,
        context: &Utf8Path,
        files: &[ContextFile],
    ) -> Result<Vec<Input>, ContextError> {
        self.digest_files_at(context, files, now())
    }

    fn digest_files_at(
        &mut self,
        context: &Utf8Path,
        files: &[ContextFile],
        now: u128,
    ) -> Result<Vec<Input>, ContextError> {
        let files = self.with_known(files);
        let found = in_parallel(&files, |(file, same_path), buffer| {
            let kind = match file.kind {
                ContextFileKind::File => InputKind::File,
                ContextFileKind::Symlink => InputKind::Symlink,
                ContextFileKind::Folder | ContextFileKind::Other => return Ok(None),
            };
            let path = context.join(&file.path);
            let stamp = || path.symlink_metadata().ok().and_then(|it| stamp(&it));
            // A link is read as fast as it is looked up.
            let before = stamp().filter(|_| kind == InputKind::File);
            let same = same_path.filter(|known| before == Some(known.stamp));
            if let Some(same) = same {
                let input = Input {
                    path: file.path.clone(),
                    digest: Digest::from_sha256(&same.digest),
                    executable: same.executable,
                    kind,
                };
                return Ok(Some((input, Some(same.clone()), false)));
            }
            let (input, digest) = digest_input(context, &file.path, kind, buffer)?;
            let kept = before
                .filter(|before| is_settled(before, now) && Some(*before) == stamp())
                .map(|stamp| Known {
                    stamp,
                    executable: input.executable,
                    digest,
                });
            Ok(Some((input, kept, true)))
        })?;
        let n_before = self.known.len();
        let mut is_new = false;
        self.n_read = found.iter().filter(|(_, _, is_read)| *is_read).count();
        self.known.clear();
        let mut inputs = Vec::with_capacity(found.len());
        for (input, kept, is_read) in found {
            if let Some(kept) = kept {
                is_new |= is_read;
                self.known.push((input.path.clone(), kept));
            }
            inputs.push(input);
        }
        self.known.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.known.dedup_by(|(a, _), (b, _)| a == b);
        self.is_new = is_new || self.known.len() != n_before;
        self.written = now;
        Ok(inputs)
    }

    /// Returns how many files were read for the last digests.
    pub fn n_read(&self) -> usize {
        self.n_read
    }

    /// Returns the files, each with what is known of its path.
    fn with_known<'a>(
        &'a self,
        files: &'a [ContextFile],
    ) -> Vec<(&'a ContextFile, Option<&'a Known>)> {
        // Most often the same files in the same order as before.
        let mut next = 0;
        let found = files.iter().map(|file| {
            let is_next = |(path, _): &(String, Known)| *path == file.path;
            let at = if self.known.get(next).is_some_and(is_next) {
                Ok(next)
            } else {
                self.known
                    .binary_search_by(|(path, _)| path.as_str().cmp(&file.path))
            };
            next = at.map_or_else(|at| at, |at| at + 1);
            (file, at.ok().map(|at| &self.known[at].1))
        });
        found.collect()
    }

    /// Writes the index, all of it or nothing, where it has changed.
    ///
    /// # Errors
    /// When the file cannot be written; the next run then reads all files again.
    pub fn write(&self) -> Result<(), ContextError> {
        if !self.is_new {
            return Ok(());
        }
        let cannot = |error| ContextError::write(&self.file, error);
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_str().is_empty() => folder,
            _ => Utf8Path::new("."),
        };
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        let bytes = index_file::write(self.written, &self.known);
        file.write_all(&bytes).map_err(cannot)?;
        file.persist(&self.file)
            .map_err(|error| cannot(error.error))?;
        Ok(())
    }
}

/// Tells whether a file had its times long enough before `now` that a later change shows in them.
fn is_settled(stamp: &Stamp, now: u128) -> bool {
    let now = i128::try_from(now).unwrap_or(i128::MAX);
    stamp.modified.max(stamp.changed) < now - TICK_NANOSECONDS
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems have no such stamps"
)]
fn stamp(metadata: &Metadata) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(Stamp {
        size_bytes: metadata.size(),
        inode: metadata.ino(),
        device: metadata.dev(),
        modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Without inodes and times of change, a file with the time of another cannot be told from it.
#[cfg(not(unix))]
fn stamp(_: &Metadata) -> Option<Stamp> {
    None
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

#[cfg(all(test, unix))]
mod tests;
