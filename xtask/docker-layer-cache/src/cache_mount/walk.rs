//! What is in the folder of a mount, in an order that does not depend on the file system.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::MountError;
use super::import::UNFINISHED;
use super::listing::{Modified, Node, NodeKind};

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The folder itself, then all in it, a folder before what is in it. Files have no chunks yet.
    pub(super) nodes: Vec<Node>,
    /// The files: their places among the nodes, where they are, their sizes in bytes.
    pub(super) files: Vec<(usize, PathBuf, u64)>,
}

/// Walks through a folder; no link is followed.
pub(super) fn walk(folder: &Path) -> Result<Walked, MountError> {
    let metadata = fs::symlink_metadata(folder).map_err(MountError::io("read", folder))?;
    let mut walked = Walked::default();
    walked.nodes.push(node(b".", &metadata, NodeKind::Folder));
    let mut inodes: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    walked.folder(folder, b"", &mut inodes)?;
    Ok(walked)
}

impl Walked {
    fn folder(
        &mut self,
        folder: &Path,
        prefix: &[u8],
        inodes: &mut HashMap<(u64, u64), Vec<u8>>,
    ) -> Result<(), MountError> {
        let mut names: Vec<OsString> = Vec::new();
        for found in fs::read_dir(folder).map_err(MountError::io("read", folder))? {
            names.push(found.map_err(MountError::io("read", folder))?.file_name());
        }
        names.sort();
        for name in names {
            if prefix.is_empty() && name == UNFINISHED {
                continue;
            }
            let place = folder.join(&name);
            let metadata = fs::symlink_metadata(&place).map_err(MountError::io("read", &place))?;
            let path = [prefix, &name.into_vec()].concat();
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.nodes.push(node(&path, &metadata, NodeKind::Folder));
                self.folder(&place, &[&path, &b"/"[..]].concat(), inodes)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&place).map_err(MountError::io("read", &place))?;
                let target = target.into_os_string().into_vec();
                self.nodes
                    .push(node(&path, &metadata, NodeKind::Symlink(target)));
            } else if kind.is_file() {
                let inode = (metadata.dev(), metadata.ino());
                let first = inodes.get(&inode).filter(|_| metadata.nlink() > 1);
                if let Some(first) = first {
                    let link = NodeKind::HardLink(first.clone());
                    self.nodes.push(node(&path, &metadata, link));
                    continue;
                }
                inodes.insert(inode, path.clone());
                self.files.push((self.nodes.len(), place, metadata.len()));
                let file = NodeKind::File(Vec::new());
                self.nodes.push(node(&path, &metadata, file));
            }
        }
        Ok(())
    }
}

fn node(path: &[u8], metadata: &Metadata, kind: NodeKind) -> Node {
    Node {
        path: path.to_vec(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        modified: Modified {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        },
        kind,
    }
}
