//! Space: of the store's file system, and of the engine's where it is on this machine.

use std::fmt::Write as _;

use camino::Utf8Path;

use super::finding::Finding;
use crate::error::exit_code;
use crate::ui::bytes;

/// Below it the next save or build is as good as sure to fail.
const LEAST_BYTES: u64 = 256 << 20;
const LEAST_INODES: u64 = 1000;
/// Below it a build of some size fails.
const COMFORTABLE_BYTES: u64 = 2 << 30;
const COMFORTABLE_INODES: u64 = 20_000;

/// What is free on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// For users without privileges.
    pub(super) free_bytes: u64,
    /// None where the file system does not count them.
    pub(super) free_inodes: Option<u64>,
    /// Which file system it is, on this machine.
    pub(super) device: u64,
}

/// What is known of the disks.
pub(super) struct DiskFacts {
    /// The file system that the store is on, or will be.
    pub(super) store: Option<Space>,
    /// The file system of the key folder, where views are laid out and exports taken from.
    pub(super) key_dir: Option<Space>,
    /// The file system of the engine's folder, where that is on this machine.
    pub(super) engine: Option<Space>,
    /// The engine's folder.
    pub(super) data_root: String,
    /// The store's size now.
    pub(super) store_bytes: u64,
    /// How large it may grow.
    pub(super) max_bytes: Option<u64>,
}

impl Space {
    /// Asks the file system of `path`, or of the nearest folder above it that is there.
    #[cfg(unix)]
    pub(super) fn at(path: &Utf8Path) -> Option<Space> {
        use std::os::unix::fs::MetadataExt;
        let (there, metadata) = path
            .ancestors()
            .find_map(|path| Some((path, std::fs::metadata(path).ok()?)))?;
        let found = rustix::fs::statvfs(there.as_std_path()).ok()?;
        // Such as `/proc`: there is nothing to be free.
        if found.f_blocks == 0 {
            return None;
        }
        Some(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            // Some, such as btrfs, make them as they are needed and say 0.
            free_inodes: (found.f_files > 0).then_some(found.f_favail),
            device: metadata.dev(),
        })
    }

    /// Nobody is asked on this system.
    #[cfg(not(unix))]
    pub(super) fn at(_path: &Utf8Path) -> Option<Space> {
        None
    }
}

impl DiskFacts {
    /// Judges all of it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(space) = self.store {
            let (needed, reason) = self.growth();
            findings.push(judge_space(
                space,
                "the store's file system",
                exit_code::STORE,
                needed,
                &reason,
                "`cargo xtask docker-gc --max-size 1GB`, or lower `max-size` of `[store]` in docker/images.toml",
            ));
        }
        if let Some(space) = self.engine {
            // Loading unpacks twice: the archive, and then its layers.
            let needed = self.store_bytes.saturating_mul(2).max(COMFORTABLE_BYTES);
            findings.push(judge_space(
                space,
                &format!("the engine's file system ({})", self.data_root),
                exit_code::ENGINE,
                needed,
                "building and loading images needs room for them, unpacked",
                "`docker system prune`, which removes stopped containers, unused images and build cache",
            ));
        }
        if let (Some(store), Some(keys)) = (self.store, self.key_dir)
            && store.device != keys.device
        {
            findings.push(
                Finding::advice(
                    "disk",
                    "the store and the key folder are on different file systems",
                    "what BuildKit exports is then copied into the store instead of moved",
                )
                .mend("put both on one, with `--store` and `--key-dir`"),
            );
        }
        findings
    }

    /// Returns how many bytes the store needs besides what it has, and why.
    fn growth(&self) -> (u64, String) {
        let has = bytes(self.store_bytes);
        match self.max_bytes {
            Some(max) => (
                max.saturating_sub(self.store_bytes),
                format!("the store has {has}, and may grow to {}", bytes(max)),
            ),
            None => (
                self.store_bytes.max(COMFORTABLE_BYTES),
                format!("the store has {has}, and no `max-size`"),
            ),
        }
    }
}

fn judge_space(
    space: Space,
    place: &str,
    code: u8,
    needed: u64,
    reason: &str,
    mend: &str,
) -> Finding {
    let inodes = space.free_inodes;
    let mut what = format!("{place}: {} free", bytes(space.free_bytes));
    if let Some(inodes) = inodes.filter(|free| *free < COMFORTABLE_INODES) {
        let _ = write!(what, ", {inodes} inodes free");
    }
    let has_least = inodes.is_none_or(|free| free >= LEAST_INODES);
    let has_enough = inodes.is_none_or(|free| free >= COMFORTABLE_INODES);
    if space.free_bytes < LEAST_BYTES || !has_least {
        Finding::problem(code, "disk", what, reason).mend(mend)
    } else if space.free_bytes < needed || !has_enough {
        Finding::advice("disk", what, reason).mend(mend)
    } else {
        Finding::ok("disk", what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn levels(store: Space, max_bytes: Option<u64>, store_bytes: u64) -> Vec<Level> {
        let facts = DiskFacts {
            store: Some(store),
            key_dir: Some(Space { device: 1, ..store }),
            engine: Some(Space {
                free_bytes: u64::MAX,
                free_inodes: None,
                device: 2,
            }),
            data_root: "/var/lib/docker".into(),
            store_bytes,
            max_bytes,
        };
        facts.judge().iter().map(|one| one.level).collect()
    }

    #[test]
    fn space_against_what_the_store_may_grow_to() {
        use Level::{Advice, Ok, Problem};
        const GB: u64 = 1 << 30;
        for (free_bytes, free_inodes, max, size, expected) in [
            (50 * GB, Some(1_000_000), Some(10 * GB), GB, Ok),
            (50 * GB, None, None, GB, Ok),
            (5 * GB, None, Some(10 * GB), GB, Advice),
            (5 * GB, None, Some(10 * GB), 8 * GB, Ok),
            (5 * GB, None, None, 8 * GB, Advice),
            (50 * GB, Some(15_000), None, 0, Advice),
            (50 * GB, Some(10), None, 0, Problem),
            (GB / 10, Some(1_000_000), Some(GB / 5), GB / 5, Problem),
        ] {
            let space = Space {
                free_bytes,
                free_inodes,
                device: 1,
            };
            let found = levels(space, max, size);
            assert_eq!(found, [expected, Ok], "{space:?} {max:?} {size}");
        }
    }

    #[test]
    fn two_file_systems_are_told() {
        let space = Space {
            free_bytes: u64::MAX,
            free_inodes: None,
            device: 7,
        };
        assert_eq!(
            levels(space, None, 0),
            [Level::Ok, Level::Ok, Level::Advice]
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_nearest_folder_that_is_there_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let there = Space::at(path).expect("a file system");
        let below = Space::at(&path.join("not/there")).expect("a file system");
        assert_eq!(there.device, below.device);
        assert!(there.free_bytes > 0);
    }
}
