//! The store that is shared with other machines, beside the store of this one.
//!
//! The local store is its copy: `sync` names here what the remote store names, `fetch` brings the
//! blobs that a plan needs, `upload` sends what a save added. A remote store that fails is a warning,
//! and is not asked again by the same command.

mod command;
mod fetch;
mod gc;
mod needed;
mod sync;
mod upload;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::images::Images;
use super::job::Job;
use crate::error::{Error, exit_code};
use crate::registry::ClientOptions;
use crate::remote_store::{self, Location, Patience, RemoteError, RemoteErrorKind, RemoteStore};

pub(super) use command::list;
pub(super) use fetch::{fetch, fetch_entries};
pub(super) use gc::gc;
pub(super) use needed::{entries_that_help, fetch_what_is_read};
pub(super) use sync::sync;
pub(super) use upload::upload;
pub(super) use verify::verify;

/// How many blobs move at once.
const THREADS: usize = 4;

/// A remote store, and how it did so far.
pub(crate) struct Remote {
    location: Location,
    timeout: Duration,
    store: OnceLock<Option<Arc<dyn RemoteStore>>>,
    is_down: AtomicBool,
    is_synced: AtomicBool,
}

impl Remote {
    /// Returns the remote store that the flag or else the configuration names; with `--offline` none.
    ///
    /// # Errors
    /// Where that names none.
    pub(super) fn of(
        flag: Option<&str>,
        images: &Images,
        offline: bool,
    ) -> Result<Option<Remote>, Error> {
        let text = flag.or(images.remote.as_deref());
        let Some(text) = text.filter(|text| !text.is_empty() && !offline) else {
            return Ok(None);
        };
        let location = text
            .parse()
            .map_err(|error| of_remote(exit_code::USAGE, &error))?;
        Ok(Some(Remote {
            location,
            timeout: images.remote_timeout,
            store: OnceLock::new(),
            is_down: AtomicBool::new(false),
            is_synced: AtomicBool::new(false),
        }))
    }

    /// Returns what people call it.
    pub(super) fn url(&self) -> String {
        self.location.to_string()
    }

    /// Returns how long to wait for a call that moves so many bytes.
    pub(super) fn patience(&self, expected_bytes: Option<u64>) -> Patience {
        Patience {
            timeout: self.timeout,
            expected_bytes,
            deadline: None,
        }
    }

    /// Returns how long to wait for a blob that spares so many seconds.
    fn patience_until(&self, bytes: u64, deadline: Option<Instant>) -> Patience {
        Patience {
            deadline,
            ..self.patience(Some(bytes))
        }
    }

    /// Returns how long to wait for an upload: bytes count when they are read here, which may be a few
    /// parts before they arrive there.
    fn patience_of_upload(&self, bytes: u64) -> Patience {
        Patience {
            timeout: self.timeout.saturating_mul(4),
            ..self.patience(Some(bytes))
        }
    }

    /// Opens it, with the registries that are insecure by the engine's word.
    ///
    /// # Errors
    /// Where the environment lacks what it takes.
    pub(super) fn open(&self, insecure: &[String]) -> Result<Arc<dyn RemoteStore>, RemoteError> {
        let options = ClientOptions {
            insecure: insecure.to_vec(),
            ..ClientOptions::from_environment()
        };
        remote_store::open(&self.location, options, self.timeout)
    }

    /// Returns the store, unless it failed before.
    fn store(&self, job: &Job<'_>) -> Result<Option<Arc<dyn RemoteStore>>, Error> {
        if self.is_down.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Some(store) = self.store.get() {
            return Ok(store.clone());
        }
        let opened = match self.open(&job.engine()?.insecure_registries) {
            Ok(store) => Some(store),
            Err(error) => {
                self.failed(job, "it cannot be used", &error)?;
                None
            }
        };
        Ok(self.store.get_or_init(|| opened).clone())
    }

    /// Warns, and does not ask again where that would most likely fail as well.
    ///
    /// # Errors
    /// With `--strict`.
    fn failed(&self, job: &Job<'_>, what: &str, error: &RemoteError) -> Result<(), Error> {
        if error.is_outage() || error.kind() == RemoteErrorKind::Url {
            self.is_down.store(true, Ordering::Relaxed);
        }
        let found = of_remote(exit_code::STORE, error);
        let found = found.during(format_args!("remote store `{}`: {what}", self.location));
        if job.args.strict {
            return Err(found);
        }
        job.talk.warn(format_args!("{found}; going on without it"));
        Ok(())
    }
}

/// Returns the error of a command that works on the remote store itself.
pub(super) fn of_remote(code: u8, error: &RemoteError) -> Error {
    let found = Error::new(code, error);
    match error.hint() {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}
