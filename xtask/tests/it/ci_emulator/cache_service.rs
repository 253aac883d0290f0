//! What a CI keeps from one job to the next: folders under keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use super::job_log::Event;
use super::machine::Machine;

/// All that was saved.
#[derive(Debug)]
pub(crate) struct CacheService {
    folder: TempDir,
    /// The oldest first.
    saved: Vec<Saved>,
    count: usize,
}

#[derive(Debug)]
struct Saved {
    key: String,
    folder: PathBuf,
    /// As they stand in the CI file, with the folder's name in `folder`.
    paths: Vec<(String, String)>,
}

impl CacheService {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self {
            folder: TempDir::with_prefix("dlc-ci-cache-")?,
            saved: Vec::new(),
            count: 0,
        })
    }

    /// Restores the newest cache whose key begins with the first of `keys` for which there is any.
    ///
    /// Source: <https://circleci.com/docs/caching/#restoring-cache>
    pub(super) fn restore_by_prefix(
        &self,
        keys: &[String],
        machine: &Machine<'_>,
    ) -> Result<Event, Failed> {
        let found = keys
            .iter()
            .find_map(|key| self.newest(|saved| saved.starts_with(key.as_str())));
        restore(found, keys, machine)
    }

    /// Restores the cache of the first of `keys` that is there.
    pub(super) fn restore_exactly(
        &self,
        keys: &[String],
        machine: &Machine<'_>,
    ) -> Result<Event, Failed> {
        let found = keys
            .iter()
            .find_map(|key| self.newest(|saved| saved == key));
        restore(found, keys, machine)
    }

    /// Saves what is at `paths`, unless there is a cache of that very key.
    pub(super) fn save_once(
        &mut self,
        key: &str,
        paths: &[String],
        machine: &Machine<'_>,
    ) -> Result<Event, Failed> {
        if self.saved.iter().any(|saved| saved.key == key) {
            return Ok(Event::Kept {
                key: key.to_owned(),
            });
        }
        self.save(key, paths, machine)
    }

    /// Saves what is at `paths` in the place of what had that key.
    pub(super) fn save_over(
        &mut self,
        key: &str,
        paths: &[String],
        machine: &Machine<'_>,
    ) -> Result<Event, Failed> {
        self.saved.retain(|saved| saved.key != key);
        self.save(key, paths, machine)
    }

    fn newest(&self, is_meant: impl Fn(&str) -> bool) -> Option<&Saved> {
        self.saved.iter().rev().find(|saved| is_meant(&saved.key))
    }

    /// A path that is not there is left out, as all three services do with a warning.
    fn save(
        &mut self,
        key: &str,
        paths: &[String],
        machine: &Machine<'_>,
    ) -> Result<Event, Failed> {
        self.count += 1;
        let folder = self.folder.path().join(self.count.to_string());
        fs::create_dir(&folder)?;
        let mut saved = Vec::new();
        for (n, path) in paths.iter().enumerate() {
            let place = machine.place(path);
            if place.is_dir() {
                let name = n.to_string();
                copy(&place, &folder.join(&name))?;
                saved.push((path.clone(), name));
            }
        }
        let bytes = size(&folder)?;
        self.saved.push(Saved {
            key: key.to_owned(),
            folder,
            paths: saved,
        });
        Ok(Event::Saved {
            key: key.to_owned(),
            bytes,
        })
    }
}

fn restore(found: Option<&Saved>, keys: &[String], machine: &Machine<'_>) -> Result<Event, Failed> {
    let first = keys.first().ok_or("a cache without a key")?;
    let Some(saved) = found else {
        return Ok(Event::Missed { key: first.clone() });
    };
    for (path, name) in &saved.paths {
        copy(&saved.folder.join(name), &machine.place(path))?;
    }
    Ok(Event::Restored {
        key: saved.key.clone(),
        exact: saved.key == *first,
    })
}

/// Copies what is in a folder, with its times, links and permissions.
fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir_all(to)?;
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`cp -a {} {}` failed", from.display(), to.display()).into())
    }
}

/// Returns how many bytes the files of a folder have.
fn size(folder: &Path) -> Result<u64, Failed> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
