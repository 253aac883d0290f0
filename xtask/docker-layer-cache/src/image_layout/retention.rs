//! Which entries are worth keeping.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::oci::Digest;

use super::inventory::{Inventory, InventoryItem, union};
use super::{Entry, StoredEntry, Timestamp};

/// What to keep. Entries of other tools and of later formats are always kept, unless they are
/// named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Drop the least recently used entries until all blobs together are not larger.
    pub max_size_bytes: Option<u64>,
    /// Drop entries that were not used for longer.
    pub max_age: Option<Duration>,
    /// Of the entries that differ in nothing but their key, keep this many: those used last.
    pub keep: Option<usize>,
    /// Drop the entries of these names, whatever else is said.
    pub remove: BTreeSet<String>,
    /// Keep blobs without an entry for this long: another tool may be about to name them.
    pub grace: Duration,
    /// Only tell what would be removed.
    pub dry_run: bool,
}

/// Why an entry is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It was named for removal.
    Named,
    /// Its manifest is missing or damaged.
    Unreadable,
    /// There are enough others, used later, that differ only in their key.
    TooMany,
    /// It was not used for so long.
    TooOld(Duration),
    /// The store would be larger than it may.
    TooLarge,
}

/// Times that lie further ahead are those of a clock that was set back; less is what the clocks of
/// two machines differ.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

impl Default for Retention {
    /// Keeps all entries.
    fn default() -> Self {
        Self {
            max_size_bytes: None,
            max_age: None,
            keep: None,
            remove: BTreeSet::new(),
            grace: Duration::from_secs(600),
            dry_run: false,
        }
    }
}

impl Retention {
    /// Returns the items that are not to be kept, with the reason, least recently used first.
    /// `is_readable` tells whether an entry's manifest is whole.
    pub(super) fn dropped<'a>(
        &self,
        inventory: &'a Inventory,
        is_readable: impl Fn(&StoredEntry) -> bool,
        now: SystemTime,
    ) -> Vec<(&'a InventoryItem, DropReason)> {
        let (named, others): (Vec<&InventoryItem>, Vec<&InventoryItem>) = inventory
            .items
            .iter()
            .partition(|item| self.remove.contains(&item.name));
        let foreign = others.iter().filter(|item| item.stored.is_none());
        let mut needed: BTreeSet<Digest> = union(foreign.map(|item| &item.digests));
        let mut ours: Vec<(&InventoryItem, &StoredEntry)> = others
            .iter()
            .filter_map(|item| Some((*item, item.stored.as_ref()?)))
            .collect();
        // Most recently used first.
        ours.sort_by(|(_, a), (_, b)| {
            (order(b, now).cmp(&order(a, now))).then_with(|| a.name.cmp(&b.name))
        });

        let mut per_group: BTreeMap<_, usize> = BTreeMap::new();
        let mut full = false;
        let mut dropped = Vec::new();
        for (item, stored) in ours {
            let earlier = per_group.entry(group(&stored.entry)).or_default();
            let age = age(stored, now);
            let reason = if !is_readable(stored) {
                Some(DropReason::Unreadable)
            } else if self.keep.is_some_and(|keep| *earlier >= keep) {
                Some(DropReason::TooMany)
            } else if let Some(age) = age.filter(|age| self.max_age.is_some_and(|max| *age > max)) {
                Some(DropReason::TooOld(age))
            } else if let Some(max_size_bytes) = self.max_size_bytes {
                let with_it: BTreeSet<Digest> = needed.union(&item.digests).cloned().collect();
                // The least recently used go first: after one that does not fit, none does.
                full |= inventory.size_of(&with_it) > max_size_bytes;
                full.then_some(DropReason::TooLarge)
            } else {
                None
            };
            if let Some(reason) = reason {
                dropped.push((item, reason));
            } else {
                *earlier += 1;
                needed.extend(item.digests.iter().cloned());
            }
        }
        dropped.extend(named.into_iter().map(|item| (item, DropReason::Named)));
        dropped.reverse();
        dropped
    }
}

/// Returns how long an entry was not used; nothing where that is not known.
pub(super) fn age(stored: &StoredEntry, now: SystemTime) -> Option<Duration> {
    now.duration_since(stored.last_use?).ok()
}

/// Returns what is greater for entries that were used later.
///
/// In seconds: a restore uses several entries at once, and then the newest is worth most. A time in
/// the future is no time: that entry was not used since the clock was set back, less recently than
/// any that was.
fn order(stored: &StoredEntry, now: SystemTime) -> impl Ord + use<> {
    let latest = now + CLOCK_TOLERANCE;
    let last_use = stored.last_use.map(Timestamp::from);
    let is_credible = stored.last_use.is_some_and(|used| used <= latest);
    let created = Some(stored.entry.created).filter(|created| SystemTime::from(*created) <= latest);
    (is_credible, last_use, created, stored.last_use)
}

/// Returns what entries have in common that are generations of the same thing.
fn group(entry: &Entry) -> impl Ord + use<> {
    (
        entry.kind,
        entry.image.clone(),
        entry.platform.clone(),
        entry.engine_class.clone(),
        entry.stage.clone(),
        entry.mount.clone(),
    )
}

#[cfg(test)]
mod tests;
