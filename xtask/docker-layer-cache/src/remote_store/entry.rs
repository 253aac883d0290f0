//! Entries as a remote store names them.

use std::collections::BTreeMap;

use crate::oci::{Descriptor, Digest, ImageIndex};

/// The annotation with an entry's name, as in an image layout.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the time of the save, RFC 3339 in UTC: it sorts as text.
const CREATED: &str = "dev.docker-layer-cache.created";

/// An entry of a remote store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// What tells it from every other entry: 64 hex digits, of its descriptor with all annotations.
    pub id: String,
    /// The descriptor of its manifest.
    pub descriptor: Descriptor,
}

impl RemoteEntry {
    /// Returns the entry that a descriptor makes.
    pub fn new(descriptor: Descriptor) -> Self {
        Self {
            id: Digest::of(&index_bytes(&descriptor)).encoded().to_owned(),
            descriptor,
        }
    }

    /// Returns its name; the digest of its manifest where it has none.
    pub fn name(&self) -> &str {
        name_of(&self.descriptor)
    }
}

/// Returns the index of one entry: what a registry's tag names.
pub(super) fn index_bytes(descriptor: &Descriptor) -> Vec<u8> {
    let index = ImageIndex::new(vec![descriptor.clone()]);
    serde_json::to_vec(&index).expect("strings and numbers are JSON")
}

pub(super) fn name_of(descriptor: &Descriptor) -> &str {
    let name = descriptor.annotations.get(REF_NAME);
    name.map_or(descriptor.digest.as_str(), String::as_str)
}

/// Returns one entry of each name, in the order of the names: two writers can name the same entry
/// with other annotations, and a cache mount anew. The newest counts, then the one of which more is
/// known.
pub fn newest_by_name(entries: Vec<RemoteEntry>) -> Vec<RemoteEntry> {
    let rank = |entry: &RemoteEntry| {
        let annotations = &entry.descriptor.annotations;
        (
            annotations.get(CREATED).cloned(),
            annotations.len(),
            entry.id.clone(),
        )
    };
    let mut newest: BTreeMap<String, RemoteEntry> = BTreeMap::new();
    for entry in entries {
        match newest.get(entry.name()) {
            Some(known) if rank(known) >= rank(&entry) => {}
            _ => {
                newest.insert(entry.name().to_owned(), entry);
            }
        }
    }
    newest.into_values().collect()
}

#[cfg(any(test, feature = "remote"))]
/// Returns the entries with these removed and those added; what is added replaces what has its
/// name. In the order of the names, so that the same entries are the same bytes.
pub(super) fn merged(
    entries: Vec<Descriptor>,
    add: &[Descriptor],
    remove: &[RemoteEntry],
) -> Vec<Descriptor> {
    let is_replaced = |old: &Descriptor| add.iter().any(|new| name_of(new) == name_of(old));
    let is_removed = |old: &Descriptor| remove.iter().any(|gone| gone.descriptor == *old);
    let mut merged: Vec<Descriptor> = entries
        .into_iter()
        .filter(|old| !is_replaced(old) && !is_removed(old))
        .chain(add.iter().cloned())
        .collect();
    merged.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, created: &str, more: &[&str]) -> Descriptor {
        let digest = Digest::of(format!("{name}{created}").as_bytes());
        let mut entry = Descriptor::new("manifest", digest, 7)
            .with_annotation(REF_NAME, name)
            .with_annotation(CREATED, created);
        for more in more {
            entry = entry.with_annotation(more, "x");
        }
        entry
    }

    #[test]
    fn of_one_name_the_newest_and_best_known_counts() {
        let old = RemoteEntry::new(entry("a", "2026-01-01T00:00:00Z", &["more", "most"]));
        let new = RemoteEntry::new(entry("a", "2026-01-02T00:00:00Z", &[]));
        let known = RemoteEntry::new(entry("a", "2026-01-02T00:00:00Z", &["more"]));
        let other = RemoteEntry::new(entry("b", "2026-01-01T00:00:00Z", &[]));
        for order in [[&old, &new, &known, &other], [&other, &known, &new, &old]] {
            let entries = order.into_iter().cloned().collect();
            assert_eq!(newest_by_name(entries), [known.clone(), other.clone()]);
        }
        assert_ne!(new.id, known.id);
    }

    #[test]
    fn merging_replaces_by_name_and_removes_by_content() {
        let a = entry("a", "1", &[]);
        let a2 = entry("a", "2", &[]);
        let b = entry("b", "1", &[]);
        let c = entry("c", "1", &[]);
        let all = merged(vec![c.clone(), a.clone()], &[b.clone(), a2.clone()], &[]);
        assert_eq!(all, [a2.clone(), b.clone(), c.clone()]);
        // Somebody named it anew in the meantime: that one stays.
        let left = merged(all, &[], &[RemoteEntry::new(a), RemoteEntry::new(b)]);
        assert_eq!(left, [a2, c]);
    }
}
