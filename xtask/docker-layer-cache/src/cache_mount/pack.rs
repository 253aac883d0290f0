//! Which chunks stay in their packs, and which make up new ones: pure.

use std::collections::{HashMap, HashSet};

use super::listing::{Chunk, Listing, PACK_BYTES_MAX, Pack};
use crate::oci::Digest;

/// A pack that is smaller than this, in bytes, is small.
const SMALL_BYTES: u64 = PACK_BYTES_MAX / 4;
/// More small packs than this become one: each save leaves one more.
const SMALL_MAX: usize = 16;

/// A chunk that was found in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundChunk {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Where the bytes of a new pack come from: a part of a file, by the file's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What is to be done, so that every chunk is in a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packing {
    /// The packs of before that stay in use.
    pub(super) kept: Vec<Pack>,
    /// What the new packs are made of. Their numbers follow those of `kept`.
    pub(super) new: Vec<Vec<Part>>,
    /// For each digest the pack, by number, and the place in it.
    pub(super) places: HashMap<Digest, (usize, u64)>,
}

/// Finds a pack for every chunk. `files` are the chunks of each file, in order; `before` is an
/// earlier listing, of whose packs those count that are there.
pub(super) fn pack(
    files: &[Vec<FoundChunk>],
    before: Option<&Listing>,
    is_there: impl Fn(&Digest) -> bool,
) -> Packing {
    let mut packing = Packing::default();
    if let Some(before) = before {
        packing.keep(files, before, is_there);
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut filled = 0;
    for (file, chunks) in files.iter().enumerate() {
        let mut offset = 0;
        for FoundChunk { digest, size } in chunks {
            let part = Part {
                file,
                offset,
                size: *size,
            };
            offset += size;
            if packing.places.contains_key(digest) {
                continue;
            }
            if filled + size > PACK_BYTES_MAX {
                packing.new.push(std::mem::take(&mut parts));
                filled = 0;
            }
            let number = packing.kept.len() + packing.new.len();
            packing.places.insert(digest.clone(), (number, filled));
            filled += size;
            parts.push(part);
        }
    }
    if !parts.is_empty() {
        packing.new.push(parts);
    }
    packing
}

impl Packing {
    /// Keeps the packs of before that are worth it, and notes the chunks that lie in them.
    fn keep(
        &mut self,
        files: &[Vec<FoundChunk>],
        before: &Listing,
        is_there: impl Fn(&Digest) -> bool,
    ) {
        let found: HashSet<&Digest> = files.iter().flatten().map(|chunk| &chunk.digest).collect();
        let mut in_use: HashMap<&Digest, &Chunk> = HashMap::new();
        for chunk in chunks(before) {
            if found.contains(&chunk.digest) {
                in_use.entry(&chunk.digest).or_insert(chunk);
            }
        }
        let mut live = vec![0; before.packs.len()];
        for chunk in in_use.values() {
            live[chunk.pack] += chunk.size;
        }
        let is_used = |at: &usize| {
            let pack = &before.packs[*at];
            live[*at] * 2 >= pack.size.max(1) && is_there(&pack.digest)
        };
        let mut used: Vec<usize> = (0..before.packs.len()).filter(is_used).collect();
        let is_small = |at: &usize| before.packs[*at].size < SMALL_BYTES;
        if used.iter().filter(|at| is_small(at)).count() > SMALL_MAX {
            used.retain(|at| !is_small(at));
        }
        self.kept = used.iter().map(|at| before.packs[*at].clone()).collect();
        let numbers: HashMap<usize, usize> = used
            .into_iter()
            .enumerate()
            .map(|(to, at)| (at, to))
            .collect();
        for (digest, chunk) in in_use {
            if let Some(number) = numbers.get(&chunk.pack) {
                self.places.insert(digest.clone(), (*number, chunk.offset));
            }
        }
    }
}

fn chunks(listing: &Listing) -> impl Iterator<Item = &Chunk> {
    use super::listing::NodeKind;
    listing.nodes.iter().flat_map(|node| match &node.kind {
        NodeKind::File(chunks) => chunks.as_slice(),
        _ => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_mount::listing::{Modified, Node, NodeKind};

    fn found(text: &str, size: u64) -> FoundChunk {
        FoundChunk {
            digest: Digest::of(text.as_bytes()),
            size,
        }
    }

    /// A listing of what `packing` makes of `files`, each with the digest of its number.
    fn listing(files: &[Vec<FoundChunk>], packing: &Packing) -> Listing {
        let size = |parts: &Vec<Part>| parts.iter().map(|part| part.size).sum();
        let new = packing.new.iter().map(|parts| Pack {
            digest: Digest::of(format!("{parts:?}").as_bytes()),
            size: size(parts),
        });
        let node = |chunks: &Vec<FoundChunk>| Node {
            path: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            modified: Modified::default(),
            kind: NodeKind::File(
                chunks
                    .iter()
                    .map(|chunk| {
                        let (pack, offset) = packing.places[&chunk.digest];
                        Chunk {
                            pack,
                            offset,
                            size: chunk.size,
                            digest: chunk.digest.clone(),
                        }
                    })
                    .collect(),
            ),
        };
        Listing {
            packs: packing.kept.iter().cloned().chain(new).collect(),
            nodes: files.iter().map(node).collect(),
        }
    }

    #[test]
    fn only_what_is_new_makes_a_new_pack() {
        let mut files: Vec<Vec<FoundChunk>> = (0..100)
            .map(|n| vec![found(&format!("file {n}"), 100_000)])
            .collect();
        let first = pack(&files, None, |_| true);
        // Of 4 MiB, and of 100 kB each 41 files.
        assert_eq!(
            first.new.iter().map(Vec::len).collect::<Vec<_>>(),
            [41, 41, 18]
        );
        let before = listing(&files, &first);

        let same = pack(&files, Some(&before), |_| true);
        assert_eq!((same.kept.len(), same.new.len()), (3, 0));

        files[50] = vec![found("changed", 7)];
        files.push(vec![found("file 3", 100_000)]);
        let second = pack(&files, Some(&before), |_| true);
        let part = |file, size| Part {
            file,
            offset: 0,
            size,
        };
        assert_eq!(second.kept, before.packs);
        assert_eq!(second.new, [vec![part(50, 7)]], "file 3 is there already");

        let lost = before.packs[0].digest.clone();
        let third = pack(&files, Some(&before), |digest| *digest != lost);
        assert_eq!(third.kept, before.packs[1..]);
        assert_eq!(third.new.iter().map(Vec::len).sum::<usize>(), 42);
    }

    #[test]
    fn packs_of_which_little_is_in_use_are_left_behind() {
        let files: Vec<Vec<FoundChunk>> = (0..41)
            .map(|n| vec![found(&format!("file {n}"), 100_000)])
            .collect();
        let before = listing(&files, &pack(&files, None, |_| true));
        for (n_left, n_kept, n_new) in [(41, 1, 0), (21, 1, 0), (20, 0, 1), (0, 0, 0)] {
            let packing = pack(&files[..n_left], Some(&before), |_| true);
            assert_eq!(
                (packing.kept.len(), packing.new.len()),
                (n_kept, n_new),
                "{n_left} files are left"
            );
        }
    }

    #[test]
    fn small_packs_do_not_pile_up() {
        let mut files: Vec<Vec<FoundChunk>> = Vec::new();
        let mut before: Option<Listing> = None;
        let mut most = 0;
        for n in 0..100 {
            files.push(vec![found(&format!("file {n}"), 10)]);
            let packing = pack(&files, before.as_ref(), |_| true);
            let listing = listing(&files, &packing);
            most = most.max(listing.packs.len());
            before = Some(listing);
        }
        assert_eq!(most, SMALL_MAX + 1);
    }

    #[test]
    fn large_files_lie_in_several_packs() {
        let pieces = |n| (0..n).map(|n| found(&format!("piece {n}"), PACK_BYTES_MAX));
        let files = [pieces(3).chain([found("end", 5)]).collect::<Vec<_>>()];
        let packing = pack(&files, None, |_| true);
        assert_eq!(packing.new.len(), 4);
        let last = &packing.new[3][0];
        assert_eq!((last.offset, last.size), (3 * PACK_BYTES_MAX, 5));
    }
}
