//! A layer: a tar of entries with fixed times and owners, gzipped.

use std::collections::BTreeSet;
use std::sync::Arc;

use docker_layer_cache::oci::Digest;
use flate2::{Compression, GzBuilder};

/// 2024-01-01, so that the bytes do not depend on the day.
const MTIME: u64 = 1_704_067_200;

/// Something in the image's file system. Paths are relative to its root.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Directory {
        path: String,
        mode: u32,
    },
    File {
        path: String,
        bytes: Vec<u8>,
        mode: u32,
    },
    Link {
        path: String,
        target: String,
    },
}

/// A layer, compressed, with the digest of what it is uncompressed.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) diff_id: Digest,
    pub(super) gzip: Arc<[u8]>,
}

impl Layer {
    /// Makes a layer; folders above the entries are added.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let tar = archive(entries);
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar).expect("a Vec takes all");
        Self {
            diff_id: Digest::of(&tar),
            gzip: gzip.finish().expect("a Vec takes all").into(),
        }
    }
}

impl Entry {
    pub(super) fn file(path: &str, bytes: Vec<u8>, mode: u32) -> Self {
        Self::File {
            path: path.to_owned(),
            bytes,
            mode,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Directory { path, .. } | Self::File { path, .. } | Self::Link { path, .. } => {
                path
            }
        }
    }
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut folders = BTreeSet::new();
    for entry in entries {
        let mut path = entry.path();
        while let Some((parent, _)) = path.rsplit_once('/') {
            folders.insert(parent.to_owned());
            path = parent;
        }
    }
    for entry in entries {
        folders.remove(entry.path());
    }
    let parents = folders
        .into_iter()
        .map(|path| Entry::Directory { path, mode: 0o755 });
    let mut all: Vec<Entry> = parents.chain(entries.iter().cloned()).collect();
    all.sort_by(|a, b| a.path().cmp(b.path()));

    let mut tar = tar::Builder::new(Vec::new());
    for entry in &all {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(MTIME);
        header.set_uid(0);
        header.set_gid(0);
        let done = match entry {
            Entry::Directory { path, mode } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                header.set_size(0);
                tar.append_data(&mut header, format!("{path}/"), &[][..])
            }
            Entry::File { path, bytes, mode } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, path, bytes.as_slice())
            }
            Entry::Link { path, target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, path, target)
            }
        };
        done.expect("a Vec takes all, and our paths are relative");
    }
    tar.into_inner().expect("a Vec takes all")
}
