//! The bytes of a [`super::DigestIndex`].
//!
//! ```text
//! "docker-layer-cache digest index 1\n"
//! written: nanoseconds since 1970           u128
//! per file, sorted by path:
//!           size, inode, device             u64 each
//!           modified, changed               i128 each, nanoseconds since 1970
//!           executable                      u8
//!           digest                          32 bytes
//!           length of the path, the path    u32, bytes
//! SHA-256 of all before                     32 bytes
//! ```
//! Numbers are little-endian. A file that does not look like this is no index.

use sha2::{Digest as _, Sha256};

const MAGIC: &[u8] = b"docker-layer-cache digest index 1\n";
const N_DIGEST: usize = 32;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size_bytes: u64,
    pub(super) inode: u64,
    pub(super) device: u64,
    pub(super) modified: i128,
    pub(super) changed: i128,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) executable: bool,
    pub(super) digest: [u8; N_DIGEST],
}

/// Returns the files, sorted by path, and when they were written.
pub(super) fn parse(bytes: &[u8]) -> Option<(u128, Vec<(String, Known)>)> {
    let (body, sum) = bytes.split_last_chunk::<N_DIGEST>()?;
    if Sha256::digest(body)[..] != sum[..] {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let written = u128::from_le_bytes(take(&mut rest)?);
    let mut files: Vec<(String, Known)> = Vec::new();
    while !rest.is_empty() {
        let stamp = Stamp {
            size_bytes: u64::from_le_bytes(take(&mut rest)?),
            inode: u64::from_le_bytes(take(&mut rest)?),
            device: u64::from_le_bytes(take(&mut rest)?),
            modified: i128::from_le_bytes(take(&mut rest)?),
            changed: i128::from_le_bytes(take(&mut rest)?),
        };
        let [executable] = take(&mut rest)?;
        let digest = take(&mut rest)?;
        let n_path = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (path, behind) = rest.split_at_checked(n_path)?;
        rest = behind;
        let known = Known {
            stamp,
            executable: executable != 0,
            digest,
        };
        files.push((std::str::from_utf8(path).ok()?.to_owned(), known));
    }
    if !files.is_sorted_by(|(a, _), (b, _)| a < b) {
        return None;
    }
    Some((written, files))
}

/// Returns the bytes of an index, whose files are sorted by path.
pub(super) fn write(written: u128, files: &[(String, Known)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&written.to_le_bytes());
    for (path, known) in files {
        // No path of any system is that long.
        let Ok(n_path) = u32::try_from(path.len()) else {
            continue;
        };
        let stamp = known.stamp;
        bytes.extend_from_slice(&stamp.size_bytes.to_le_bytes());
        bytes.extend_from_slice(&stamp.inode.to_le_bytes());
        bytes.extend_from_slice(&stamp.device.to_le_bytes());
        bytes.extend_from_slice(&stamp.modified.to_le_bytes());
        bytes.extend_from_slice(&stamp.changed.to_le_bytes());
        bytes.push(u8::from(known.executable));
        bytes.extend_from_slice(&known.digest);
        bytes.extend_from_slice(&n_path.to_le_bytes());
        bytes.extend_from_slice(path.as_bytes());
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum[..]);
    bytes
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
