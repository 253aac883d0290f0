//! The store: whether it can be written, and whether what it holds is whole.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::finding::Finding;
use crate::error::exit_code;
use crate::image_layout::{ImageLayout, Inventory, StoreError, Verified};
use crate::ui::bytes;

const CHECK: &str = "store";

/// What is known of the store.
pub(super) struct StoreFacts {
    path: Utf8PathBuf,
    exists: bool,
    /// The place is not this version's to use: its format, or what else is there.
    refused: Option<Refusal>,
    /// Why nothing can be written; not tried where the job is not to write.
    unwritable: Option<io::Error>,
    is_read_only: bool,
    content: Option<Content>,
}

struct Refusal {
    message: String,
    hint: Option<&'static str>,
}

struct Content {
    n_entries: usize,
    size_bytes: u64,
    garbage_bytes: u64,
    index_damage: Option<String>,
    /// What is missing or damaged: the digests, shortened, and what is wrong.
    damaged: Vec<String>,
    n_entries_hurt: usize,
    /// All bytes were read.
    is_deep: bool,
    /// Entries on which builds failed, or that the builder did not take.
    n_refused: usize,
}

impl StoreFacts {
    /// Looks at the store. Nothing is laid out: a file is written and removed, where it may be.
    pub(super) fn gather(path: &Utf8Path, is_read_only: bool, deep: bool) -> Self {
        let (content, refused) = match content(path, deep) {
            Ok(content) => (Some(content), None),
            Err(error) => (None, Some(Refusal::of(&error))),
        };
        StoreFacts {
            path: path.to_owned(),
            exists: path.join("index.json").exists() || path.join("blobs").exists(),
            refused,
            unwritable: (!is_read_only).then(|| try_write(path).err()).flatten(),
            is_read_only,
            content,
        }
    }

    /// Returns the size of what it holds, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.content
            .as_ref()
            .map_or(0, |content| content.size_bytes)
    }

    /// Judges all of it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let path = &self.path;
        let mut findings = Vec::new();
        if let Some(error) = &self.unwritable {
            findings.push(
                Finding::problem(
                    exit_code::STORE,
                    CHECK,
                    format!("`{path}` cannot be written: {error}"),
                    "nothing is saved, so that every job starts cold",
                )
                .mend(mend_unwritable(path, error)),
            );
        }
        if let Some(refusal) = &self.refused {
            let finding = Finding::problem(
                exit_code::STORE,
                CHECK,
                &refusal.message,
                "builds go on without the store, and start cold",
            );
            let hint = refusal
                .hint
                .unwrap_or("choose another folder with `--store`");
            // What stands in the way of writing stands in the way of reading, too.
            if findings.is_empty() {
                findings.push(finding.mend(hint));
            }
        }
        if !findings.is_empty() {
            return findings;
        }
        let Some(content) = &self.content else {
            return findings;
        };
        if !self.exists {
            findings.push(Finding::ok(
                CHECK,
                format!("`{path}` is not there yet: the first `docker-save` makes it"),
            ));
            return findings;
        }
        findings.extend(content.judge());
        if findings.is_empty() {
            let how = if content.is_deep {
                "every byte was read"
            } else {
                "by their sizes; `--deep` reads them"
            };
            let may = if self.is_read_only {
                ", never written (--read-only)"
            } else {
                ""
            };
            findings.push(Finding::ok(
                CHECK,
                format!(
                    "`{path}`: {} entries, {}, all blobs are there ({how}){may}",
                    content.n_entries,
                    bytes(content.size_bytes)
                ),
            ));
        }
        // Less than a tenth is what the next save removes by itself.
        if content.garbage_bytes > content.size_bytes / 10 && content.garbage_bytes > 100_000_000 {
            findings.push(
                Finding::advice(
                    CHECK,
                    format!("{} are no entry's", bytes(content.garbage_bytes)),
                    "your CI carries them to and fro with each job",
                )
                .mend("`cargo xtask docker-gc`"),
            );
        }
        findings
    }
}

impl Content {
    fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(damage) = &self.index_damage {
            findings.push(
                Finding::problem(
                    exit_code::STORE,
                    CHECK,
                    damage,
                    "no entry is found without the index",
                )
                .mend("`cargo xtask docker-save` begins it anew, `docker-gc` removes what is left"),
            );
        }
        if let Some(first) = self.damaged.first() {
            let n = self.damaged.len();
            findings.push(
                Finding::problem(
                    exit_code::STORE,
                    CHECK,
                    format!(
                        "{n} blobs of {} entries are missing or damaged, such as {first}",
                        self.n_entries_hurt
                    ),
                    "builds leave them out, so that their steps run again",
                )
                .mend("`cargo xtask docker-store verify` lists them; the next `docker-ci` stores them anew, `docker-store rm ENTRY` removes an entry"),
            );
        }
        if self.n_refused > 0 {
            findings.push(
                Finding::advice(
                    CHECK,
                    format!("{} entries were refused by a builder", self.n_refused),
                    "builds on them failed, or nothing of them hit although it should have: they are not offered again",
                )
                .mend("`cargo xtask docker-store ls`, then `docker-store rm ENTRY`"),
            );
        }
        findings
    }
}

impl Refusal {
    fn of(error: &StoreError) -> Self {
        Refusal {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

fn content(path: &Utf8Path, deep: bool) -> Result<Content, StoreError> {
    let layout = ImageLayout::open_read_only(path)?;
    layout.check_ours()?;
    let inventory = layout.inventory()?;
    let verified = if deep {
        layout.verify_all(&inventory)
    } else {
        layout.check_sizes(&inventory)
    };
    Ok(content_of(&inventory, &verified, deep))
}

fn content_of(inventory: &Inventory, verified: &Verified, is_deep: bool) -> Content {
    let refused = |annotation: &str| {
        let items = inventory.items.iter();
        let extras = items.filter_map(|item| Some(&item.stored.as_ref()?.entry.extra));
        extras
            .filter(|extra| extra.contains_key(annotation))
            .count()
    };
    let mut hurt: Vec<&String> = verified
        .damaged
        .iter()
        .flat_map(|blob| &blob.entries)
        .collect();
    hurt.sort();
    hurt.dedup();
    Content {
        n_entries: inventory.items.len(),
        size_bytes: inventory.size_bytes(),
        garbage_bytes: inventory.unnamed_bytes(),
        index_damage: inventory.damage.as_ref().map(ToString::to_string),
        damaged: verified
            .damaged
            .iter()
            .map(|blob| {
                let digest: String = blob.digest.encoded().chars().take(12).collect();
                format!("`sha256:{digest}…` ({})", state(blob.state))
            })
            .collect(),
        n_entries_hurt: hurt.len(),
        is_deep,
        n_refused: refused(super::super::FAILED_ANNOTATION)
            + refused(super::super::NOT_TAKEN_ANNOTATION),
    }
}

fn state(state: crate::image_layout::BlobState) -> &'static str {
    use crate::image_layout::BlobState;
    match state {
        BlobState::Good => "good",
        BlobState::Missing => "missing",
        BlobState::Damaged(reason) => reason,
    }
}

/// Writes a file where blobs are written first, and removes it; a folder that is not there yet is
/// tried where it would be made.
fn try_write(path: &Utf8Path) -> io::Result<()> {
    let blobs_first = path.join("tmp");
    let folder = std::iter::once(blobs_first.as_path())
        .chain(path.ancestors())
        .find(|folder| folder.as_str().is_empty() || folder.symlink_metadata().is_ok())
        .unwrap_or(path);
    if !folder.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("`{folder}` is no folder"),
        ));
    }
    tempfile::Builder::new()
        .prefix(".doctor-")
        .tempfile_in(folder)?
        .close()
}

fn mend_unwritable(path: &Utf8Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotADirectory => {
            format!(
                "move what is in the way, or choose another folder with `--store` or `path` of `[store]` (`ls -ld {path}`)"
            )
        }
        io::ErrorKind::PermissionDenied => {
            let there = path.ancestors().find(|folder| folder.exists());
            let path = there.unwrap_or(path);
            format!("`sudo chown -R \"$(id -u)\" {path}`, or choose another folder with `--store`")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free disk space: `cargo xtask docker-gc --max-size 1GB`".to_owned()
        }
        _ => "choose another folder with `--store`, or say `--read-only`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Level, exit_code_of};
    use super::*;

    fn good() -> Content {
        Content {
            n_entries: 3,
            size_bytes: 1_000_000_000,
            garbage_bytes: 0,
            index_damage: None,
            damaged: Vec::new(),
            n_entries_hurt: 0,
            is_deep: false,
            n_refused: 0,
        }
    }

    fn judged(content: Content) -> Vec<Finding> {
        StoreFacts {
            path: "/store".into(),
            exists: true,
            refused: None,
            unwritable: None,
            is_read_only: false,
            content: Some(content),
        }
        .judge()
    }

    #[test]
    fn content_is_judged() {
        for (content, level, part) in [
            (good(), Level::Ok, "3 entries, 1.0 GB"),
            (
                Content {
                    is_deep: true,
                    ..good()
                },
                Level::Ok,
                "every byte",
            ),
            (
                Content {
                    damaged: vec!["`sha256:ab…` (missing)".into()],
                    n_entries_hurt: 2,
                    ..good()
                },
                Level::Problem,
                "1 blobs of 2 entries",
            ),
            (
                Content {
                    index_damage: Some("the index is cut".into()),
                    ..good()
                },
                Level::Problem,
                "the index is cut",
            ),
            (
                Content {
                    n_refused: 1,
                    ..good()
                },
                Level::Advice,
                "1 entries were refused",
            ),
            (
                Content {
                    garbage_bytes: 500_000_000,
                    ..good()
                },
                Level::Advice,
                "500.0 MB are no entry's",
            ),
        ] {
            let findings = judged(content);
            let found = findings.iter().find(|one| one.what.contains(part));
            assert_eq!(found.map(|one| one.level), Some(level), "{findings:?}");
        }
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Utf8Path::from_path(folder.path()).expect("UTF-8").join("f");
        std::fs::write(&file, "x").expect("a file");
        for path in [file.clone(), file.join("store")] {
            let findings = StoreFacts::gather(&path, false, false).judge();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(exit_code_of(&findings), exit_code::STORE);
            assert!(findings[0].what.contains("is no folder"), "{findings:?}");
        }
    }

    #[test]
    fn a_store_that_is_not_there_yet_is_fine_and_stays_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path())
            .expect("UTF-8")
            .join("a/b");
        let findings = StoreFacts::gather(&path, false, false).judge();
        assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    }

    #[test]
    fn a_later_format_and_a_foreign_folder_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        std::fs::create_dir(path.join("tmp")).expect("a folder");
        let findings = StoreFacts::gather(path, false, false).judge();
        assert!(findings[0].what.contains("something else"), "{findings:?}");
        std::fs::write(path.join("format"), "99\n").expect("a file");
        let findings = StoreFacts::gather(path, false, false).judge();
        assert!(findings[0].what.contains("format 99"), "{findings:?}");
        assert_eq!(exit_code_of(&findings), exit_code::STORE);
    }
}
