//! The build context as the engine gets it: paths, kinds, modes and digests, as values.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::oci::Digest;

/// A file, link or folder of the build context, below the context's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// Relative to the context, with forward slashes.
    pub path: String,
    /// What it is.
    pub content: ContextContent,
    /// The permission bits, such as `0o644`.
    pub mode: u32,
}

/// What stands at a path of the build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextContent {
    /// A regular file, and the digest of its bytes where it is known.
    File(Option<Digest>),
    /// A symbolic link, and its target as it is written.
    Symlink(String),
    /// A folder.
    Folder,
    /// A device, pipe or socket.
    Other,
}

/// The build context, after the ignore rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextTree {
    entries: BTreeMap<String, ContextEntry>,
}

/// Links that are followed for one path, as in `BuildKit`.
const MAX_LINKS: usize = 255;

/// The mode of a folder that was not listed, but has something in it.
const FOLDER_MODE: u32 = 0o755;

impl ContextTree {
    /// Builds the tree. A folder that is missing above an entry is added, with the mode `0o755`.
    pub fn new(entries: impl IntoIterator<Item = ContextEntry>) -> Self {
        let mut tree = Self::default();
        for entry in entries {
            let above = entry
                .path
                .match_indices('/')
                .map(|(at, _)| &entry.path[..at]);
            for folder in above {
                tree.entries
                    .entry(folder.to_owned())
                    .or_insert_with(|| ContextEntry {
                        path: folder.to_owned(),
                        content: ContextContent::Folder,
                        mode: FOLDER_MODE,
                    });
            }
            tree.entries.insert(entry.path.clone(), entry);
        }
        tree
    }

    /// Sets the digest of a file; paths that are not files of the tree are passed over.
    pub fn set_digest(&mut self, path: &str, digest: Digest) {
        if let Some(entry) = self.entries.get_mut(path)
            && let ContextContent::File(known) = &mut entry.content
        {
            *known = Some(digest);
        }
    }

    /// Returns the entry at `path`.
    pub fn get(&self, path: &str) -> Option<&ContextEntry> {
        self.entries.get(path)
    }

    /// Returns all that is below `folder` (`""`: the root), at any depth, sorted by path.
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = &ContextEntry> {
        let start = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        self.entries
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.path.starts_with(&start))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns what is in `folder` itself: name and path.
    pub(super) fn children(&self, folder: &str) -> Vec<(&str, &str)> {
        let n_prefix = if folder.is_empty() {
            0
        } else {
            folder.len() + 1
        };
        self.below(folder)
            .map(|entry| (&entry.path[n_prefix..], entry.path.as_str()))
            .filter(|(name, _)| !name.contains('/'))
            .collect()
    }

    /// Follows the links of `path`, all of them, within the context: `..` stops at its root.
    /// Returns the path that is no link and has none above it; `""` is the root.
    pub(super) fn resolve(&self, path: &str) -> Option<String> {
        let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut at = String::new();
        let mut n_links = 0;
        while let Some(component) = rest.pop() {
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &component);
            match &self.entries.get(&next)?.content {
                ContextContent::Symlink(target) => {
                    n_links += 1;
                    if n_links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    rest.extend(target.rsplit('/').map(str::to_owned));
                }
                _ => at = next,
            }
        }
        Some(at)
    }
}

/// Joins a folder (`""`: the root) and a name.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
