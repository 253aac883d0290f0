//! What a file is to the engine besides its bytes: permission bits, a link's target.

use std::fs::Metadata;

use camino::Utf8Path;

use super::input_digest::in_parallel;
use super::{ContextError, ContextFile, ContextFileKind};

/// A file of the build context, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Path and kind.
    pub file: ContextFile,
    /// The permission bits, such as `0o644`.
    pub mode: u32,
    /// Where a symbolic link points, as it is written; nothing for other kinds.
    pub target: Option<String>,
}

/// Returns the permission bits and link targets of `files`, in the order given.
///
/// # Errors
/// When a file is gone, or a link's target is not UTF-8.
pub fn stat_files(
    context: &Utf8Path,
    files: &[ContextFile],
) -> Result<Vec<FileStat>, ContextError> {
    in_parallel(files, |file, _| {
        let path = context.join(&file.path);
        let cannot = |error| ContextError::read(&path, error);
        let metadata = path.symlink_metadata().map_err(cannot)?;
        let target = match file.kind {
            ContextFileKind::Symlink => {
                let target = path.as_std_path().read_link().map_err(cannot)?;
                let text = target.into_os_string().into_string();
                Some(text.map_err(|_| ContextError::name(&path))?)
            }
            _ => None,
        };
        Ok(Some(FileStat {
            file: file.clone(),
            mode: mode(&metadata),
            target,
        }))
    })
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// What the client sends of a file where there are no such bits.
#[cfg(not(unix))]
fn mode(_: &Metadata) -> u32 {
    0o755
}
