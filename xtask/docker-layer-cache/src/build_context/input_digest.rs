//! Digests of files, on all cores.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use camino::Utf8Path;
use sha2::{Digest as _, Sha256};

use super::{ContextError, ContextFile, ContextFileKind, Input, InputKind};
use crate::oci::Digest;

/// A finished SHA-256.
pub(super) type Sha256Bytes = [u8; 32];

/// Returns the digests of files and links of a build context, in the order given; folders and
/// devices have none and are passed over.
///
/// # Errors
/// When a file cannot be read.
pub fn digest_files(context: &Utf8Path, files: &[ContextFile]) -> Result<Vec<Input>, ContextError> {
    in_parallel(files, |file, buffer| {
        let kind = match file.kind {
            ContextFileKind::File => InputKind::File,
            ContextFileKind::Symlink => InputKind::Symlink,
            ContextFileKind::Folder | ContextFileKind::Other => return Ok(None),
        };
        digest_input(context, &file.path, kind, buffer).map(|(input, _)| Some(input))
    })
}

/// Reads one file, or one link's target, and returns it with its digest, twice.
pub(super) fn digest_input(
    root: &Utf8Path,
    path: &str,
    kind: InputKind,
    buffer: &mut [u8],
) -> Result<(Input, Sha256Bytes), ContextError> {
    let full_path = root.join(path);
    let read = match kind {
        InputKind::File => digest_file(&full_path, buffer),
        InputKind::Symlink => full_path.as_std_path().read_link().map(|target| {
            let digest = Sha256::digest(target.as_os_str().as_encoded_bytes());
            (digest.into(), false)
        }),
    };
    let (bytes, executable) = read.map_err(|error| ContextError::read(&full_path, error))?;
    let input = Input {
        path: path.to_owned(),
        digest: Digest::from_sha256(&bytes),
        executable,
        kind,
    };
    Ok((input, bytes))
}

/// Applies `digest` to every item, on all cores, each with a buffer of its own. Returns the
/// results in the order of the items, or the error of the first item that has one.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    digest: impl Fn(&T, &mut [u8]) -> Result<Option<R>, ContextError> + Sync,
) -> Result<Vec<R>, ContextError> {
    const BUFFER_BYTES: usize = 128 * 1024;
    const ITEMS_PER_TURN_MAX: usize = 64;
    let n_cores = thread::available_parallelism().map_or(1, usize::from);
    // Few items can be large ones: one at a time.
    let per_turn = (items.len() / (4 * n_cores)).clamp(1, ITEMS_PER_TURN_MAX);
    let n_threads = n_cores.min(items.len());
    let turns = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut results = Vec::new();
        loop {
            let start = turns.fetch_add(1, Ordering::Relaxed) * per_turn;
            let Some(rest) = items.get(start..) else {
                return results;
            };
            if rest.is_empty() {
                return results;
            }
            for (index, item) in (start..).zip(rest.iter().take(per_turn)) {
                if let Some(result) = digest(item, &mut buffer).transpose() {
                    results.push((index, result));
                }
            }
        }
    };
    let mut results = if n_threads <= 1 {
        work()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("digesting a file does not panic"))
                .collect()
        })
    };
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn digest_file(path: &Utf8Path, buffer: &mut [u8]) -> io::Result<(Sha256Bytes, bool)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut hasher = Sha256::new();
    let mut size_bytes = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size_bytes += n as u64;
                // Spares most files the second call, which would only find the end.
                if size_bytes == metadata.len() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((hasher.finalize().into(), is_executable(&metadata)))
}

/// The owner's bit alone, as git has it: the others depend on the umask.
#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}
