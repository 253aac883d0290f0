//! The build context as the engine's client sends it.
//!
//! Source: <https://github.com/tonistiigi/fsutil>, `filter.go`

use std::fs;
use std::io;
use std::path::Path;

use camino::Utf8Path;

use super::ignore_rules::FolderMatches;
use super::{ContextError, IgnoreRules};

/// A file, link or folder of the build context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextFile {
    /// Relative to the context, with forward slashes.
    pub path: String,
    /// What it is.
    pub kind: ContextFileKind,
}

/// What stands at a path of the build context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContextFileKind {
    /// A regular file.
    File,
    /// A symbolic link, never followed.
    Symlink,
    /// A folder. It is sent if it is kept, or if something in it is.
    Folder,
    /// A device, pipe or socket.
    Other,
}

/// Returns what the client sends of a context: files, links and folders, sorted by path.
///
/// # Errors
/// When a file that is not left out cannot be read, a name is not UTF-8, or a pattern turns out
/// to be malformed.
pub fn sent_files(
    context: &Utf8Path,
    rules: &IgnoreRules,
) -> Result<Vec<ContextFile>, ContextError> {
    let mut walk = Walk {
        rules,
        sent: Vec::new(),
    };
    walk.folder(context.as_std_path(), "", None, true)?;
    walk.sent.sort();
    Ok(walk.sent)
}

struct Walk<'a> {
    rules: &'a IgnoreRules,
    sent: Vec<ContextFile>,
}

impl Walk<'_> {
    /// Walks a folder; returns whether it sent something.
    fn folder(
        &mut self,
        folder: &Path,
        prefix: &str,
        matches: Option<&FolderMatches>,
        kept: bool,
    ) -> Result<bool, ContextError> {
        let n_sent = self.sent.len();
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) if !kept && error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(false);
            }
            Err(error) => return Err(ContextError::read(folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| ContextError::read(folder, error))?;
            let name = entry.file_name();
            let path = format!("{prefix}{}", name.to_string_lossy());
            let kind = match entry.file_type() {
                Ok(file_type) => ContextFileKind::from(file_type),
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(ContextError::read(entry.path(), error)),
            };
            let (left_out, matches) = self.rules.leave_out(&path, matches)?;
            let mut send = !left_out;
            if kind == ContextFileKind::Folder && (!left_out || self.rules.enters_left_out(&path)) {
                let inner = format!("{path}/");
                send |= self.folder(&entry.path(), &inner, Some(&matches), !left_out)?;
            }
            if send {
                if name.to_str().is_none() {
                    return Err(ContextError::name(entry.path()));
                }
                self.sent.push(ContextFile { path, kind });
            }
        }
        Ok(self.sent.len() > n_sent)
    }
}

/// A path that vanished during the walk is as one that never was.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl From<fs::FileType> for ContextFileKind {
    fn from(file_type: fs::FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_symlink() {
            Self::Symlink
        } else if file_type.is_dir() {
            Self::Folder
        } else {
            Self::Other
        }
    }
}
