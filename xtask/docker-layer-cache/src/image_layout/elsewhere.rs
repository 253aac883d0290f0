//! Entries of a remote store that are named here, though not all of their blobs are here.
//!
//! Their annotation [`AT_REMOTE`] says which store has them, and as what: `ID URL`, or `- URL` for
//! an entry that was not named there yet. So everything that looks at entries sees those of the
//! remote store as well, and only who needs a blob has to fetch it first.

use std::collections::BTreeSet;

use crate::oci::{Descriptor, Digest, ImageIndex};

use super::entry::ref_name;
use super::{Entry, ImageLayout, StoreError, Writer};

/// The annotation of an entry whose blobs may lie at a remote store.
pub const AT_REMOTE: &str = "dev.docker-layer-cache.at-remote";
/// The ID of what was not named there yet.
const NOT_YET: &str = "-";

/// Returns as what the remote store at `url` names the entry, where it does.
pub fn remote_id<'a>(descriptor: &'a Descriptor, url: &str) -> Option<&'a str> {
    let (id, at) = mark(descriptor)?;
    (at == url && id != NOT_YET).then_some(id)
}

/// Returns the descriptor as a remote store names it: without what is true for this store alone.
pub fn without_mark(descriptor: &Descriptor) -> Descriptor {
    let mut descriptor = descriptor.clone();
    descriptor.annotations.remove(AT_REMOTE);
    descriptor
}

pub(super) fn is_marked(descriptor: &Descriptor) -> bool {
    descriptor.annotations.contains_key(AT_REMOTE)
}

fn mark(descriptor: &Descriptor) -> Option<(&str, &str)> {
    descriptor.annotations.get(AT_REMOTE)?.split_once(' ')
}

fn set_mark(descriptor: &mut Descriptor, id: &str, url: &str) {
    let value = format!("{id} {url}");
    descriptor.annotations.insert(AT_REMOTE.to_owned(), value);
}

impl ImageLayout {
    /// Returns the blobs that entries named by the remote store at `url` need, as far as their
    /// manifests are here.
    ///
    /// # Errors
    /// Returns an error if the index cannot be read.
    pub fn blobs_at_remote(&self, url: &str) -> Result<BTreeSet<Digest>, StoreError> {
        let index = self.index()?.index;
        let there = index
            .manifests
            .iter()
            .filter(|descriptor| remote_id(descriptor, url).is_some());
        let manifests = there.filter_map(|descriptor| self.manifest(descriptor).ok());
        Ok(manifests
            .flat_map(|manifest| std::iter::once(manifest.config).chain(manifest.layers))
            .map(|blob| blob.digest)
            .collect())
    }

    /// Tells whether all blobs of an entry are here.
    pub fn is_complete(&self, descriptor: &Descriptor) -> bool {
        self.manifest(descriptor).is_ok_and(|manifest| {
            let mut blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
            blobs.all(|blob| self.has_blob(&blob.digest))
        })
    }
}

impl Writer {
    /// Returns the writer for a store of which these blobs are elsewhere: entries may name them.
    #[must_use]
    pub fn with_elsewhere(mut self, url: &str, blobs: BTreeSet<Digest>) -> Self {
        self.elsewhere = Some((url.to_owned(), blobs));
        self
    }

    /// Tells whether a blob is here or elsewhere.
    pub fn has(&self, digest: &Digest) -> bool {
        self.has_blob(digest) || self.is_elsewhere(digest)
    }

    pub(super) fn is_elsewhere(&self, digest: &Digest) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_some_and(|(_, blobs)| blobs.contains(digest))
    }

    /// Marks an entry of which a blob is not here.
    pub(super) fn mark_where_incomplete(&self, descriptor: &mut Descriptor) {
        if let Some((url, _)) = &self.elsewhere
            && !self.is_complete(descriptor)
        {
            set_mark(descriptor, NOT_YET, url);
        }
    }

    /// Names what the remote store at `url` names (ID, descriptor), and forgets what it no longer
    /// does, unless all of it is here.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced.
    pub fn merge_remote(
        &self,
        url: &str,
        entries: &[(String, Descriptor)],
    ) -> Result<(), StoreError> {
        let ids: BTreeSet<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
        self.update_index(|index| {
            index.manifests.retain(|descriptor| match mark(descriptor) {
                None | Some((NOT_YET, _)) => true,
                Some((id, at)) => (at == url && ids.contains(id)) || self.is_complete(descriptor),
            });
            for (id, descriptor) in entries {
                take(index, url, id, descriptor);
            }
            index
                .manifests
                .sort_by(|a, b| ref_name(a).cmp(&ref_name(b)));
        })
    }

    /// Notes that the remote store at `url` now names entries: their descriptors as it names them,
    /// and the IDs.
    ///
    /// # Errors
    /// Returns an error if the index cannot be replaced.
    pub fn note_named(&self, url: &str, named: &[(String, Descriptor)]) -> Result<(), StoreError> {
        self.update_index(|index| {
            for (id, descriptor) in named {
                let is_it = |own: &&mut Descriptor| {
                    own.digest == descriptor.digest && ref_name(own) == ref_name(descriptor)
                };
                if let Some(own) = index.manifests.iter_mut().find(is_it) {
                    set_mark(own, id, url);
                }
            }
        })
    }
}

/// Takes one entry of a remote store into the index.
fn take(index: &mut ImageIndex, url: &str, id: &str, descriptor: &Descriptor) {
    let (Some(entry), Some(name)) = (Entry::of(descriptor), ref_name(descriptor)) else {
        // Another tool's, or of a later version.
        return;
    };
    // A name is what the entry says: whoever names otherwise would replace other entries.
    if entry.name(&descriptor.digest) != name {
        return;
    }
    let mut new = without_mark(descriptor);
    set_mark(&mut new, id, url);
    let own = index
        .manifests
        .iter_mut()
        .find(|own| ref_name(own) == Some(name));
    match own {
        None => index.manifests.push(new),
        Some(own) if own.digest == new.digest => {
            for (name, value) in &new.annotations {
                own.annotations
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
            set_mark(own, id, url);
        }
        Some(own) => {
            let is_newer = Entry::of(own).is_none_or(|own| own.created < entry.created);
            if is_newer {
                *own = new;
            }
        }
    }
}
