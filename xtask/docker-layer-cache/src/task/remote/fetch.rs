//! Blobs of the remote store → the store of this machine, checked on the way.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::job::Job;
use super::super::restore::of_store;
use super::{Remote, THREADS};
use crate::error::Error;
use crate::image_layout::{ImageLayout, StoreError, StoreErrorKind, StoredEntry, Writer};
use crate::oci::{Descriptor, Digest};
use crate::registry::RegistryError;
use crate::remote_store::{
    Patience, Progress, RemoteError, RemoteErrorKind, RemoteStore, patiently,
};
use crate::ui::{bytes, seconds};

/// Manifests and configs: too small to be told of.
const SMALL_BYTES: u64 = 1 << 20;

/// What was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::task) struct Fetched {
    blobs: usize,
    bytes: u64,
}

/// Brings the manifests and configs of entries here.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn fetch_entries<'a>(
    job: &Job<'_>,
    layout: &ImageLayout,
    entries: impl Iterator<Item = &'a StoredEntry> + Clone,
) -> Result<(), Error> {
    if job.remote().is_none() {
        return Ok(());
    }
    let manifests = entries.clone().map(|stored| &stored.descriptor);
    fetch(job, layout, manifests, None)?;
    let configs: Vec<Descriptor> = entries
        .filter_map(|stored| Some(layout.manifest(&stored.descriptor).ok()?.config))
        .collect();
    fetch(job, layout, configs.iter(), None)?;
    Ok(())
}

/// Brings the blobs here that are not, for as long as that takes less than the seconds that they
/// spare. What cannot be had is not here afterwards.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn fetch<'a>(
    job: &Job<'_>,
    layout: &ImageLayout,
    blobs: impl Iterator<Item = &'a Descriptor>,
    spared_seconds: Option<f64>,
) -> Result<Fetched, Error> {
    let Some(remote) = job.remote() else {
        return Ok(Fetched::default());
    };
    let missing: BTreeMap<&Digest, &Descriptor> = blobs
        .filter(|blob| blob.digest.algorithm() == "sha256" && !layout.has_blob(&blob.digest))
        .map(|blob| (&blob.digest, blob))
        .collect();
    if missing.is_empty() {
        return Ok(Fetched::default());
    }
    let Some(store) = remote.store(job)? else {
        return Ok(Fetched::default());
    };
    let mut blobs: Vec<Descriptor> = missing.into_values().cloned().collect();
    // The largest first: no thread is left with it at the end.
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    let started = Instant::now();
    let writer = ImageLayout::open_or_create(layout.root())
        .and_then(|layout| layout.writer())
        .map_err(|error| of_store(&error))?;
    let spared = spared_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let deadline = spared.and_then(|spared| started.checked_add(spared.max(remote.timeout)));
    let fetching = Fetching {
        store,
        writer: Arc::new(writer),
    };
    let (fetched, failures) = fetching.all(remote, &blobs, deadline);
    if fetched.bytes > SMALL_BYTES {
        job.talk.say(format_args!(
            "fetched {} blobs, {} in {}, from {}",
            fetched.blobs,
            bytes(fetched.bytes),
            seconds(started.elapsed().as_secs_f64()),
            remote.url()
        ));
    }
    // One warning: where one blob fails, the others often do.
    if let Some((blob, error)) = failures.first() {
        let what = match failures.len() {
            1 => format!("blob {} cannot be had", blob.digest),
            n => format!("{n} blobs cannot be had, such as {}", blob.digest),
        };
        remote.failed(job, &what, error)?;
    }
    Ok(fetched)
}

/// Some blobs under way.
struct Fetching {
    store: Arc<dyn RemoteStore>,
    writer: Arc<Writer>,
}

impl Fetching {
    /// Fetches blobs, several at a time, and stops where the store is down.
    fn all(
        &self,
        remote: &Remote,
        blobs: &[Descriptor],
        deadline: Option<Instant>,
    ) -> (Fetched, Vec<(Descriptor, RemoteError)>) {
        let next = AtomicUsize::new(0);
        let is_down = AtomicBool::new(false);
        let done = Mutex::new((Fetched::default(), Vec::new()));
        let patience: Vec<Patience> = blobs
            .iter()
            .map(|blob| remote.patience_until(blob.size, deadline))
            .collect();
        thread::scope(|scope| {
            for _ in 0..THREADS.min(blobs.len()) {
                scope.spawn(|| {
                    while !is_down.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(blob) = blobs.get(at) else { return };
                        let result = self.one(patience[at], blob.clone());
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        match result {
                            Ok(()) => {
                                done.0.blobs += 1;
                                done.0.bytes += blob.size;
                            }
                            Err(error) => {
                                is_down.fetch_or(error.is_outage(), Ordering::Relaxed);
                                done.1.push((blob.clone(), error));
                            }
                        }
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, patience: Patience, blob: Descriptor) -> Result<(), RemoteError> {
        let (store, writer) = (Arc::clone(&self.store), Arc::clone(&self.writer));
        patiently(patience, move |progress| {
            let content = store.get(&blob)?;
            let mut content = Watched { content, progress };
            writer
                .put_checked(&blob, &mut content)
                .map_err(|error| of_content(&error))
        })
    }
}

/// Returns what a failure to store a blob says of the remote store.
fn of_content(error: &StoreError) -> RemoteError {
    let kind = match error.kind() {
        StoreErrorKind::Damaged { .. } => RemoteErrorKind::Wrong,
        StoreErrorKind::Source(cause) => {
            let of_registry = cause
                .get_ref()
                .and_then(|e| e.downcast_ref::<RegistryError>());
            if let Some(error) = of_registry {
                return error.clone().into();
            }
            let of_remote = cause
                .get_ref()
                .and_then(|e| e.downcast_ref::<RemoteError>());
            return of_remote
                .cloned()
                .unwrap_or_else(|| RemoteError::new(RemoteErrorKind::Failed, cause));
        }
        _ => RemoteErrorKind::Local,
    };
    RemoteError::new(kind, error)
}

/// A reader whose bytes are counted.
pub(super) struct Watched<'a, R> {
    pub(super) content: R,
    pub(super) progress: &'a Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.content.read(buf)?;
        self.progress.add(n);
        Ok(n)
    }
}
