//! The inputs of a key: files by pattern, with their digests.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use super::globs::Globs;
use super::input_digest::{digest_files, in_parallel};
use super::{ContextError, ContextFile, ContextFileKind, DigestIndex};
use crate::oci::Digest;

/// The files that patterns take, and the patterns that take none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Sorted by path.
    pub files: Vec<Input>,
    /// The patterns that take no file, as they were given; exclusions are not counted.
    pub unmatched: Vec<String>,
}

/// A file that a key depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// Relative to the root, with forward slashes.
    pub path: String,
    /// Of the file's bytes, or of the link's target text.
    pub digest: Digest,
    /// The file's owner may execute it.
    pub executable: bool,
    /// What it is.
    pub kind: InputKind,
}

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputKind {
    /// A regular file.
    File,
    /// A symbolic link, not followed.
    Symlink,
}

/// Returns the files below `root` that `patterns` take, with their digests. Files that `known` knows
/// are not read again.
///
/// A pattern is a glob in which `*`, `?` and classes stay within a folder, and `**` crosses
/// folders; names that start with a dot are names as any other. A pattern without special
/// characters names one file, or a folder with all in it. `!` leaves out. Of the patterns that
/// match a path, the last decides. `.git` is never entered. Folders that no pattern can reach are
/// not read.
///
/// # Errors
/// When a pattern is malformed, leaves the root or goes through a symbolic link; when a file that
/// is taken cannot be read or its name is not UTF-8.
pub fn inputs(
    root: &Utf8Path,
    patterns: &[String],
    known: Option<&mut DigestIndex>,
) -> Result<Inputs, ContextError> {
    let globs = Globs::parse(patterns)?;
    let found = find(root, &globs, patterns)?;
    let takes: Vec<AtomicBool> = patterns.iter().map(|_| AtomicBool::new(false)).collect();
    let taken = in_parallel(&found, |found, _| {
        let Some(takers) = globs.takers(&found.path) else {
            return Ok(None);
        };
        if !found.is_utf8 {
            return Err(ContextError::name(root.as_std_path().join(&found.path)));
        }
        for pattern in takers {
            takes[pattern].store(true, Ordering::Relaxed);
        }
        Ok(Some(ContextFile {
            path: found.path.clone(),
            kind: found.kind,
        }))
    })?;
    let files = match known {
        Some(known) => known.digest_files(root, &taken),
        None => digest_files(root, &taken),
    }?;
    let unmatched = patterns
        .iter()
        .zip(takes)
        .filter(|(pattern, takes)| !pattern.starts_with('!') && !takes.load(Ordering::Relaxed))
        .map(|(pattern, _)| pattern.clone())
        .collect();
    Ok(Inputs { files, unmatched })
}

/// A file or link that the patterns may take.
struct Found {
    path: String,
    is_utf8: bool,
    kind: ContextFileKind,
}

/// Finds what the patterns may take, sorted by path, each once.
fn find(root: &Utf8Path, globs: &Globs, patterns: &[String]) -> Result<Vec<Found>, ContextError> {
    let mut found = Vec::new();
    let mut walked = globs.walked();
    for (index, path) in globs.literals() {
        match kind_of_literal(root, path, &patterns[index])? {
            Some(Literal::Leaf(kind)) => found.push(Found {
                path: path.to_owned(),
                is_utf8: true,
                kind,
            }),
            Some(Literal::Folder) => walked[index] = true,
            None => {}
        }
    }
    if walked.contains(&true) {
        walk(root.as_std_path(), "", true, globs, &walked, &mut found)?;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path && a.is_utf8 == b.is_utf8);
    Ok(found)
}

enum Literal {
    Leaf(ContextFileKind),
    Folder,
}

/// Looks up a path that a pattern names, without following links.
fn kind_of_literal(
    root: &Utf8Path,
    path: &str,
    pattern: &str,
) -> Result<Option<Literal>, ContextError> {
    let mut at = Utf8PathBuf::from(root);
    let mut kind = Some(Literal::Folder);
    for element in path.split('/').filter(|element| !element.is_empty()) {
        if element == ".git" {
            return Ok(None);
        }
        match kind {
            Some(Literal::Folder) => {}
            Some(Literal::Leaf(ContextFileKind::Symlink)) => {
                let link = at.strip_prefix(root).unwrap_or(&at);
                return Err(ContextError::through_symlink(pattern, link));
            }
            Some(Literal::Leaf(_)) | None => return Ok(None),
        }
        at.push(element);
        kind = match at.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => Some(Literal::Folder),
            Ok(metadata) => leaf_kind(metadata.file_type()).map(Literal::Leaf),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(ContextError::read(at, error)),
        };
    }
    Ok(kind)
}

/// Finds the files of a folder and of the folders in it that the patterns can reach.
fn walk(
    folder: &Path,
    prefix: &str,
    is_utf8: bool,
    globs: &Globs,
    walked: &[bool],
    found: &mut Vec<Found>,
) -> Result<(), ContextError> {
    let entries = folder
        .read_dir()
        .map_err(|error| ContextError::read(folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ContextError::read(folder, error))?;
        let name = entry.file_name();
        if name == ".git" {
            continue;
        }
        let is_utf8 = is_utf8 && name.to_str().is_some();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let file_type = entry
            .file_type()
            .map_err(|error| ContextError::read(entry.path(), error))?;
        if file_type.is_dir() {
            if globs.enter(&path, walked) {
                let inner = format!("{path}/");
                walk(&entry.path(), &inner, is_utf8, globs, walked, found)?;
            }
        } else if let Some(kind) = leaf_kind(file_type) {
            found.push(Found {
                path,
                is_utf8,
                kind,
            });
        }
    }
    Ok(())
}

/// Returns what an input at a path would be; devices, pipes and sockets are none.
fn leaf_kind(file_type: std::fs::FileType) -> Option<ContextFileKind> {
    if file_type.is_file() {
        Some(ContextFileKind::File)
    } else if file_type.is_symlink() {
        Some(ContextFileKind::Symlink)
    } else {
        None
    }
}
