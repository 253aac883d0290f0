//! Notes from one command to the next: what the key was made of, what was restored, what was built.
//!
//! They lie in the key folder, not in the store: they are true for this machine and this job only.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::cache_mounts::RestoredMount;
use super::offer::Planned;
use crate::cache_key::{CacheKey, Recipe};
use crate::engine::{Step, Strategy};
use crate::error::Error;
use crate::oci::Digest;
use crate::plan::{Disagreement, RecordedStep};

/// How long the base digests of a key may serve the commands behind it.
const MAX_AGE: Duration = Duration::from_secs(6 * 60 * 60);

/// The notes about one image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Notes {
    /// When the key was made, in seconds since 1970.
    pub made: u64,
    /// The recipe as JSON, without the inputs.
    pub recipe: String,
    /// What was restored for it.
    pub restored: Option<Restored>,
    /// What was built on it.
    pub built: Option<Built>,
    /// The steps of a build that failed.
    #[serde(default)]
    pub failed_steps: Vec<Step>,
}

/// What docker-restore laid out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Restored {
    /// How it is to be built.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// The folder that `BuildKit` imports.
    pub view: Option<Utf8PathBuf>,
    /// Manifests of the entries that were offered.
    pub entries: Vec<Digest>,
    /// An entry with the very same full key was among them.
    pub exact: bool,
    /// Images that were loaded: stage, tag.
    pub loaded: Vec<(String, String)>,
    /// What was verified or loaded, in bytes.
    pub bytes: u64,
    /// Why it was offered, and what the steps will do.
    #[serde(default)]
    pub plan: Option<Planned>,
    /// How many blobs were read to check them; the others were known to be good.
    #[serde(default)]
    pub n_verified: usize,
    /// Blobs that were found missing or damaged: the next save stores them anew.
    pub damaged: Vec<Digest>,
    /// What became of the cache mounts that are kept.
    #[serde(default)]
    pub cache_mounts: Vec<RestoredMount>,
}

/// What docker-build made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Built {
    /// How it was built.
    pub strategy: Strategy,
    /// The keys.
    pub base_key: CacheKey,
    /// See `base_key`.
    pub full_key: CacheKey,
    /// The steps.
    pub steps: Vec<Step>,
    /// The steps with their digests, for the next forecast.
    #[serde(default)]
    pub recorded: Vec<RecordedStep>,
    /// Of all that the image was made of, where that can be told; see `reuse`.
    #[serde(default)]
    pub reuse: Option<Digest>,
    /// Steps that turned out otherwise than predicted.
    #[serde(default)]
    pub disagreements: Vec<Disagreement>,
    /// Stages that ran and that it would not pay to bring in.
    #[serde(default)]
    pub not_worth_saving: BTreeSet<String>,
    /// No step hit although the forecast was sure of some: this builder does not take our cache.
    #[serde(default)]
    pub cache_is_not_taken: bool,
    /// A save before it failed or was not made.
    #[serde(default)]
    pub unsaved_before: bool,
    /// It was built without what was restored.
    #[serde(default)]
    pub without_cache: bool,
    /// The folder to which the build exported its cache, where it did.
    #[serde(default)]
    pub export: Option<Utf8PathBuf>,
    /// The images of the stages, where the build made them: stage, and the tag or the start of the
    /// image ID.
    pub stage_images: Vec<(String, String)>,
}

impl Restored {
    /// Tells whether the store could have helped, and nothing was offered because it did not pay.
    pub(super) fn is_all_left_out(&self) -> bool {
        let is_left_out = |plan: &Planned| !plan.left_out.is_empty();
        self.view.is_none() && self.loaded.is_empty() && self.plan.as_ref().is_some_and(is_left_out)
    }
}

impl Notes {
    /// Returns notes with nothing but a recipe.
    pub(super) fn new(recipe: &Recipe) -> Notes {
        Notes {
            made: now(),
            recipe: recipe.base_part().to_json(),
            restored: None,
            built: None,
            failed_steps: Vec::new(),
        }
    }

    /// Reads the notes at `path`. Notes that are absent, unreadable or of another version are none.
    pub(super) fn read(path: &Utf8Path) -> Option<Notes> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Tells whether the base digests may serve another command: no build has used them, and they
    /// are not old. A clock that was set back makes them old.
    pub(super) fn is_fresh(&self) -> bool {
        let now = now();
        self.built.is_none() && self.made <= now && now - self.made <= MAX_AGE.as_secs()
    }

    /// Writes the notes to `path`, all of them or nothing.
    pub(super) fn write(&self, path: &Utf8Path) -> Result<(), Error> {
        write_file(
            path,
            &serde_json::to_vec_pretty(self).expect("notes are text and numbers"),
        )
    }
}

/// Writes a file beside its place and moves it there.
pub(super) fn write_file(path: &Utf8Path, bytes: &[u8]) -> Result<(), Error> {
    let cannot = |error: std::io::Error| {
        Error::usage(format_args!("cannot write `{path}`: {error}"))
            .with_hint("name a folder that can be written with --key-dir")
    };
    let dir = path.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(cannot)?;
    std::io::Write::write_all(&mut file, bytes).map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
