//! A mount's folder → a listing, and packs of what no earlier pack has.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::listing::{Chunk, Listing, NodeKind, PACK_BYTES_MAX, Pack};
use super::pack::{FoundChunk, Part, pack};
use super::parallel::for_each;
use super::walk::{Walked, walk};
use super::{LISTING_FILE, MountError, pack_file};
use crate::oci::Digest;

/// The level of the store's layers.
const LEVEL: i32 = 3;

/// What came of reading a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// There is nothing in it.
    Empty,
    /// It is larger than it may be.
    TooLarge {
        /// The size of its files.
        size_bytes: u64,
    },
    /// A listing was written, and the packs that are new.
    Written {
        /// The size of its files.
        size_bytes: u64,
        /// How many files there are.
        n_files: usize,
    },
}

/// Reads the mount at `folder`, where its files are at most `max_bytes`, and writes its listing
/// into the folder `out`, which must be there, with the packs that are not among those of `before`
/// that `is_there` knows, by the digests of their uncompressed bytes.
///
/// # Errors
/// Returns an error if something cannot be read or written.
pub fn export(
    folder: &Path,
    out: &Path,
    before: Option<&Listing>,
    is_there: impl Fn(&Digest) -> bool,
    max_bytes: u64,
) -> Result<Exported, MountError> {
    let Walked { mut nodes, files } = walk(folder)?;
    if nodes.len() == 1 {
        return Ok(Exported::Empty);
    }
    let size_bytes: u64 = files.iter().map(|(_, _, size)| size).sum();
    if size_bytes > max_bytes {
        return Ok(Exported::TooLarge { size_bytes });
    }
    let chunks = for_each(files.len(), |at| {
        let place = &files[at].1;
        chunks(place).map_err(MountError::io("read", place))
    })?;
    let packing = pack(&chunks, before, is_there);
    let new = for_each(packing.new.len(), |at| {
        let mut bytes = Vec::new();
        for part in &packing.new[at] {
            let place = &files[part.file].1;
            read_part(place, part, &mut bytes).map_err(MountError::io("read", place))?;
        }
        let digest = Digest::of(&bytes);
        let path = out.join(pack_file(&digest));
        let cannot = || MountError::io("write", &path);
        let packed = zstd::bulk::compress(&bytes, LEVEL).map_err(cannot())?;
        fs::write(&path, packed).map_err(cannot())?;
        let size = bytes.len() as u64;
        Ok(Pack { digest, size })
    })?;
    for ((node, _, _), chunks) in files.iter().zip(chunks) {
        let place = |FoundChunk { digest, size }| {
            let (pack, offset) = packing.places[&digest];
            Chunk {
                pack,
                offset,
                size,
                digest,
            }
        };
        nodes[*node].kind = NodeKind::File(chunks.into_iter().map(place).collect());
    }
    let listing = Listing {
        packs: packing.kept.into_iter().chain(new).collect(),
        nodes,
    };
    let path = out.join(LISTING_FILE);
    let cannot = || MountError::io("write", &path);
    let text = listing.to_text();
    let packed = zstd::bulk::compress(text.as_bytes(), LEVEL).map_err(cannot())?;
    fs::write(&path, packed).map_err(cannot())?;
    Ok(Exported::Written {
        size_bytes: listing.size_bytes(),
        n_files: files.len(),
    })
}

/// Cuts a file into chunks.
fn chunks(place: &Path) -> io::Result<Vec<FoundChunk>> {
    let mut file = File::open(place)?;
    let mut chunks = Vec::new();
    loop {
        let mut bytes = Vec::new();
        file.by_ref().take(PACK_BYTES_MAX).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(chunks);
        }
        chunks.push(FoundChunk {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        });
    }
}

fn read_part(place: &Path, part: &Part, bytes: &mut Vec<u8>) -> io::Result<()> {
    let start = bytes.len();
    let size = usize::try_from(part.size).map_err(io::Error::other)?;
    bytes.resize(start + size, 0);
    File::open(place)?.read_exact_at(&mut bytes[start..], part.offset)
}
