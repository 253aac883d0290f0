//! The files that a `COPY`, `ADD` or bind mount takes from the build context.
//!
//! As `BuildKit` compares them: a source's own name does not count (its last component is part of
//! the step), names below it do. Of a file, its bytes and its permission bits count; of a link, its
//! target; of a folder, that it is there. Times and owners do not count. The classic builder also
//! compares whole names, and permission bits of folders.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.25.0/cache/contenthash/checksum.go>

use std::collections::BTreeSet;

use super::context_pattern::{components, is_pattern, matches_any, matches_component};
use super::context_tree::{ContextContent, ContextEntry, ContextTree, join};
use super::fields::Fields;
use super::step_digest::Builder;
use crate::oci::Digest;

/// What one source takes.
#[derive(Debug, Clone)]
pub(super) struct Selection<'a> {
    builder: Builder,
    matches: Vec<Match<'a>>,
}

/// What one path that a source matches takes.
#[derive(Debug, Clone)]
struct Match<'a> {
    /// The name that `BuildKit` compares.
    name: String,
    /// Path below the match, and entry; `""` is the match itself.
    entries: Vec<(String, &'a ContextEntry)>,
}

/// Which files a source leaves out, and whether it keeps the folders above those it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelectOptions<'a> {
    pub(super) exclude: &'a [String],
    pub(super) parents: bool,
    pub(super) builder: Builder,
}

/// Returns what `source` takes.
pub(super) fn select<'a>(
    tree: &'a ContextTree,
    source: &str,
    options: SelectOptions<'_>,
) -> Selection<'a> {
    if options.parents {
        let (root, pattern) = source.split_once("/./").unwrap_or(("", source));
        let pattern = components(pattern).join("/");
        return select_parents(tree, root, &[pattern], options.exclude);
    }
    let wanted = components(source);
    let mut found = Vec::new();
    find(tree, String::new(), &wanted, &mut found);
    found.sort();
    let matches = found.into_iter().filter_map(|path| {
        let name = match options.builder {
            Builder::BuildKit => path.rsplit('/').next().unwrap_or_default().to_owned(),
            Builder::Classic => path.clone(),
        };
        let resolved = tree.resolve(&path)?;
        let own = tree.get(&resolved);
        let mut entries: Vec<(String, &ContextEntry)> = Vec::new();
        entries.extend(own.map(|own| (String::new(), own)));
        if own.is_none_or(|own| own.content == ContextContent::Folder) {
            let n_prefix = if resolved.is_empty() {
                0
            } else {
                resolved.len() + 1
            };
            entries.extend(
                tree.below(&resolved)
                    .map(|entry| (entry.path[n_prefix..].to_owned(), entry))
                    .filter(|(path, _)| !matches_any(options.exclude, path)),
            );
        }
        if options.builder == Builder::Classic {
            add_link_targets(tree, &path, &mut entries);
        }
        Some(Match { name, entries })
    });
    Selection {
        builder: options.builder,
        matches: matches.collect(),
    }
}

/// `COPY --parents`: files by pattern, with the folders above them.
fn select_parents<'a>(
    tree: &'a ContextTree,
    root: &str,
    patterns: &[String],
    exclude: &[String],
) -> Selection<'a> {
    let mut roots = Vec::new();
    find(tree, String::new(), &components(root), &mut roots);
    let matches = roots.into_iter().filter_map(|root| {
        let resolved = tree.resolve(&root)?;
        let n_prefix = if resolved.is_empty() {
            0
        } else {
            resolved.len() + 1
        };
        let below: Vec<(&str, &ContextEntry)> = tree
            .below(&resolved)
            .map(|entry| (&entry.path[n_prefix..], entry))
            .collect();
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        for (path, _) in &below {
            if matches_any(patterns, path) && !matches_any(exclude, path) {
                taken.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
                taken.insert(path);
            }
        }
        let entries: Vec<_> = below
            .into_iter()
            .filter(|(path, _)| taken.contains(path))
            .map(|(path, entry)| (path.to_owned(), entry))
            .collect();
        (!entries.is_empty()).then_some(Match {
            name: String::new(),
            entries,
        })
    });
    Selection {
        builder: Builder::BuildKit,
        matches: matches.collect(),
    }
}

/// The classic builder compares a link, and the file behind it.
fn add_link_targets<'a>(
    tree: &'a ContextTree,
    matched: &str,
    entries: &mut Vec<(String, &'a ContextEntry)>,
) {
    let is_link = |entry: &&ContextEntry| matches!(entry.content, ContextContent::Symlink(_));
    let mut links: Vec<&ContextEntry> = tree.get(matched).into_iter().filter(is_link).collect();
    links.extend(entries.iter().map(|(_, entry)| *entry).filter(is_link));
    for link in links {
        entries.push((link.path.clone(), link));
        let target = tree.resolve(&link.path).and_then(|path| tree.get(&path));
        entries.extend(target.map(|target| (link.path.clone(), target)));
    }
}

/// Finds the paths that match, component by component; links on the way are followed.
fn find(tree: &ContextTree, at: String, wanted: &[&str], found: &mut Vec<String>) {
    let Some((first, rest)) = wanted.split_first() else {
        found.push(at);
        return;
    };
    let Some(folder) = tree.resolve(&at) else {
        return;
    };
    if is_pattern(first) {
        for (name, path) in tree.children(&folder) {
            if matches_component(first, name) {
                find(tree, path.to_owned(), rest, found);
            }
        }
    } else {
        let path = join(&folder, first);
        if tree.get(&path).is_some() {
            find(tree, path, rest, found);
        }
    }
}

impl SelectOptions<'_> {
    /// Leaves out nothing.
    pub(super) fn everything(builder: Builder) -> Self {
        Self {
            exclude: &[],
            parents: false,
            builder,
        }
    }
}

impl<'a> Selection<'a> {
    /// Tells whether nothing matches.
    pub(super) fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }

    /// Returns the entries, in the order of the matches.
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a ContextEntry> {
        self.matches
            .iter()
            .flat_map(|found| found.entries.iter().map(|(_, entry)| *entry))
    }

    /// Returns the digest of what is taken. `by_name`: the source is a pattern, and names of what
    /// it matches count.
    pub(super) fn digest(&self, by_name: bool) -> Digest {
        let mut fields = Fields::new("selection");
        for found in &self.matches {
            fields = fields.with("match");
            if by_name || self.builder == Builder::Classic {
                fields = fields.with(&found.name);
            }
            for (path, entry) in &found.entries {
                fields = fields.with(path);
                fields = match &entry.content {
                    ContextContent::File(digest) => fields
                        .with("file")
                        .with(entry.mode.to_le_bytes())
                        .with(digest.as_ref().map_or("", Digest::as_str)),
                    ContextContent::Symlink(target) => fields.with("link").with(target),
                    ContextContent::Folder if self.builder == Builder::Classic => {
                        fields.with("folder").with(entry.mode.to_le_bytes())
                    }
                    ContextContent::Folder => fields.with("folder"),
                    ContextContent::Other => fields.with("other"),
                };
            }
        }
        fields.digest()
    }
}
