//! A listing and its packs → the mount's folder.
//!
//! All is laid out in a folder within the mount, and moved to its place at the end: a step never
//! finds half of it, whatever ends us in between.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, chown, fchown, lchown, symlink,
};
use std::path::{Path, PathBuf};

use filetime::FileTime;

use super::listing::{Chunk, Listing, Modified, Node, NodeKind};
use super::parallel::for_each;
use super::{MountError, MountErrorKind};
use crate::oci::Digest;

/// Where it is laid out before it is moved.
pub(super) const UNFINISHED: &str = ".docker-layer-cache-unfinished";

/// What came of filling a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// There was something in it already: it was left alone.
    WasFilled,
    /// It is as it was stored.
    Filled,
}

/// Fills the mount at `folder`, if it is empty. `pack` tells where a pack of the listing is, by its
/// place: zstd, read with its digest checked.
///
/// # Errors
/// Returns an error if a pack is damaged or the mount cannot be written; it is then empty, or has
/// whole files and folders and no others.
pub fn import(
    folder: &Path,
    listing: &Listing,
    pack: impl Fn(usize) -> PathBuf + Sync,
) -> Result<Imported, MountError> {
    let unfinished = folder.join(UNFINISHED);
    for found in fs::read_dir(folder).map_err(MountError::io("read", folder))? {
        let found = found.map_err(MountError::io("read", folder))?;
        if found.file_name() != UNFINISHED {
            return Ok(Imported::WasFilled);
        }
    }
    clear(&unfinished)?;
    let filled = lay_out(folder, &unfinished, listing, pack);
    if filled.is_err() {
        // What has been moved already is whole.
        clear(&unfinished)?;
    }
    filled.map(|()| Imported::Filled)
}

fn lay_out(
    folder: &Path,
    unfinished: &Path,
    listing: &Listing,
    pack: impl Fn(usize) -> PathBuf + Sync,
) -> Result<(), MountError> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    let place = |path: &[u8]| unfinished.join(OsStr::from_bytes(path));
    let (mount, nodes) = listing
        .nodes
        .split_first()
        .expect("a listing has the mount");
    builder
        .create(unfinished)
        .map_err(MountError::io("create", unfinished))?;
    let mut contents: Vec<Vec<(usize, u64, &Chunk)>> = vec![Vec::new(); listing.packs.len()];
    // Files that lie in several packs, or in none.
    let mut in_pieces: HashSet<usize> = HashSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let path = place(&node.path);
        match &node.kind {
            NodeKind::Folder => builder
                .create(&path)
                .map_err(MountError::io("create", &path))?,
            NodeKind::File(chunks) => {
                if let [chunk] = chunks.as_slice() {
                    contents[chunk.pack].push((at, 0, chunk));
                    continue;
                }
                create(&path).map_err(MountError::io("create", &path))?;
                in_pieces.insert(at);
                let mut offset = 0;
                for chunk in chunks {
                    contents[chunk.pack].push((at, offset, chunk));
                    offset += chunk.size;
                }
            }
            NodeKind::Symlink(_) | NodeKind::HardLink(_) => {}
        }
    }
    for_each(contents.len(), |number| {
        let bytes = read_pack(&pack(number), &listing.packs[number])?;
        for (at, offset, chunk) in &contents[number] {
            let path = place(&nodes[*at].path);
            let piece = slice(&bytes, chunk);
            let written = if in_pieces.contains(at) {
                let file = OpenOptions::new().write(true).open(&path);
                file.and_then(|file| file.write_all_at(piece, *offset))
            } else {
                create(&path).and_then(|mut file| {
                    file.write_all(piece)?;
                    finish_file(&file, &nodes[*at])
                })
            };
            written.map_err(MountError::io("write", &path))?;
        }
        Ok(())
    })?;
    for at in in_pieces {
        let path = place(&nodes[at].path);
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file| finish_file(&file, &nodes[at]))
            .map_err(MountError::io("write", &path))?;
    }
    for node in nodes {
        let path = place(&node.path);
        let made = match &node.kind {
            NodeKind::Symlink(target) => make_symlink(target, &path, node),
            NodeKind::HardLink(file) => fs::hard_link(place(file), &path),
            NodeKind::Folder | NodeKind::File(_) => Ok(()),
        };
        made.map_err(MountError::io("create", &path))?;
    }
    // What is in a folder comes behind it: so all is in it before its time is set.
    for node in nodes
        .iter()
        .rev()
        .filter(|node| node.kind == NodeKind::Folder)
    {
        let path = place(&node.path);
        finish_folder(&path, node).map_err(MountError::io("write", &path))?;
    }
    move_up(unfinished, folder, mount).map_err(MountError::io("write", folder))
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a pack, and no more than its size.
fn read_pack(path: &Path, pack: &super::Pack) -> Result<Vec<u8>, MountError> {
    let packed = fs::read(path).map_err(MountError::io("read", path))?;
    let damaged = || MountError::new(path, MountErrorKind::DamagedPack);
    let size = usize::try_from(pack.size).map_err(|_| damaged())?;
    let bytes = zstd::bulk::decompress(&packed, size).map_err(|_| damaged())?;
    if bytes.len() != size || Digest::of(&bytes) != pack.digest {
        return Err(damaged());
    }
    Ok(bytes)
}

/// Returns the bytes of a chunk. The listing has made sure that it is within its pack.
fn slice<'b>(pack: &'b [u8], chunk: &Chunk) -> &'b [u8] {
    let number = |n: u64| usize::try_from(n).expect("a place in a pack that is in memory");
    &pack[number(chunk.offset)..number(chunk.offset + chunk.size)]
}

/// The owner first: changing it takes set-user-ID away.
fn finish_file(file: &File, node: &Node) -> io::Result<()> {
    fchown(file, Some(node.uid), Some(node.gid))?;
    file.set_permissions(Permissions::from_mode(node.mode))?;
    filetime::set_file_handle_times(file, None, Some(time(node.modified)))
}

fn finish_folder(path: &Path, node: &Node) -> io::Result<()> {
    chown(path, Some(node.uid), Some(node.gid))?;
    fs::set_permissions(path, Permissions::from_mode(node.mode))?;
    filetime::set_file_mtime(path, time(node.modified))
}

fn make_symlink(target: &[u8], path: &Path, node: &Node) -> io::Result<()> {
    symlink(OsStr::from_bytes(target), path)?;
    lchown(path, Some(node.uid), Some(node.gid))?;
    let time = time(node.modified);
    filetime::set_symlink_file_times(path, time, time)
}

fn time(modified: Modified) -> FileTime {
    FileTime::from_unix_time(modified.seconds, modified.nanoseconds)
}

/// Moves all to its place, and makes the mount itself what it was.
fn move_up(unfinished: &Path, folder: &Path, mount: &Node) -> io::Result<()> {
    for found in fs::read_dir(unfinished)? {
        let found = found?;
        fs::rename(found.path(), folder.join(found.file_name()))?;
    }
    fs::remove_dir(unfinished)?;
    finish_folder(folder, mount)
}

fn clear(unfinished: &Path) -> Result<(), MountError> {
    match fs::remove_dir_all(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(MountError::io("remove", unfinished)(error))
        }
        _ => Ok(()),
    }
}
