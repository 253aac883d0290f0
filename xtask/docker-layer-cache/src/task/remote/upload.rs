//! What a save added → the remote store: blobs first, manifests, and names last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::super::job::Job;
use super::super::key::Keyed;
use super::super::restore::of_store;
use super::fetch::Watched;
use super::{Remote, THREADS, sync};
use crate::error::Error;
use crate::image_layout::{Entry, ImageLayout, Writer, remote_id, without_mark};
use crate::oci::{Descriptor, Digest};
use crate::remote_store::{RemoteEntry, RemoteError, RemoteErrorKind, RemoteStore, patiently};
use crate::ui::{bytes, seconds};

/// An entry to be named, and what it needs.
struct Pending {
    entry: RemoteEntry,
    blobs: Vec<Descriptor>,
}

/// Uploads the entries of an image that the remote store does not name.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn upload(job: &Job<'_>, keyed: &Keyed) -> Result<(), Error> {
    let Some(remote) = job.remote().filter(|_| !job.args.read_only) else {
        return Ok(());
    };
    let Ok(layout) = ImageLayout::open_read_only(&job.workspace.store) else {
        // Told already.
        return Ok(());
    };
    let url = remote.url();
    if pending(&layout, &url, keyed).is_empty() {
        return Ok(());
    }
    // What another machine named in the meantime need not go up.
    sync(job)?;
    let Some(store) = remote.store(job)? else {
        return Ok(());
    };
    let writer = layout.writer().map_err(|error| of_store(&error))?;
    let pending = pending(&layout, &url, keyed);
    if pending.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    let upload = Upload {
        remote,
        store,
        layout: layout.clone(),
        there: layout.blobs_at_remote(&url).unwrap_or_default(),
    };
    match upload.all(&pending) {
        Ok((named, sent)) => {
            note(&writer, &url, &named)?;
            job.talk.say(format_args!(
                "{}: uploaded {} blobs, {} in {}, to {url}",
                keyed.image.label(),
                sent.0,
                bytes(sent.1),
                seconds(started.elapsed().as_secs_f64()),
            ));
            Ok(())
        }
        Err(error) => remote.failed(job, "nothing is named there that was saved now", &error),
    }
}

/// Returns the entries of the image that the remote store does not name as they are here.
fn pending(layout: &ImageLayout, url: &str, keyed: &Keyed) -> Vec<Pending> {
    let index = layout.index().map(|stored| stored.index.manifests);
    let of_image = |descriptor: &Descriptor| {
        let entry = Entry::of(descriptor)?;
        (entry.image == keyed.image.name && entry.platform == keyed.platform).then_some(())
    };
    index
        .unwrap_or_default()
        .iter()
        .filter(|descriptor| of_image(descriptor).is_some())
        .filter_map(|descriptor| {
            let entry = RemoteEntry::new(without_mark(descriptor));
            if remote_id(descriptor, url) == Some(entry.id.as_str()) {
                return None;
            }
            let manifest = layout.manifest(descriptor).ok()?;
            let mut blobs = vec![manifest.config];
            blobs.extend(manifest.layers);
            Some(Pending { entry, blobs })
        })
        .collect()
}

fn note(writer: &Writer, url: &str, named: &[RemoteEntry]) -> Result<(), Error> {
    let named: Vec<_> = named
        .iter()
        .map(|entry| (entry.id.clone(), entry.descriptor.clone()))
        .collect();
    writer
        .note_named(url, &named)
        .map_err(|error| of_store(&error))
}

/// An upload under way.
struct Upload<'a> {
    remote: &'a Remote,
    store: Arc<dyn RemoteStore>,
    layout: ImageLayout,
    /// Blobs that entries of the remote store need: they are there.
    there: BTreeSet<Digest>,
}

impl Upload<'_> {
    /// Uploads and names the entries, and returns those that were named, and how many blobs of how
    /// many bytes went up.
    fn all(&self, pending: &[Pending]) -> Result<(Vec<RemoteEntry>, (usize, u64)), RemoteError> {
        let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for pending in pending {
            for blob in &pending.blobs {
                blobs.insert(blob.digest.clone(), blob.clone());
            }
        }
        let mut leased: Vec<Digest> = blobs.keys().cloned().collect();
        leased.extend(pending.iter().map(|p| p.entry.descriptor.digest.clone()));
        let store = Arc::clone(&self.store);
        let lease = patiently(self.remote.patience(None), move |_| store.lease(&leased))?;
        let new: Vec<Descriptor> = blobs
            .into_values()
            .filter(|blob| !self.there.contains(&blob.digest))
            .collect();
        let named = self.put_all(new).and_then(|(sent, lost)| {
            let is_whole = |pending: &Pending| {
                let mut blobs = pending.blobs.iter();
                blobs.all(|blob| !lost.contains(&blob.digest))
            };
            let whole: Vec<RemoteEntry> = pending
                .iter()
                .filter(|pending| is_whole(pending))
                .map(|pending| pending.entry.clone())
                .collect();
            let manifests: Vec<Descriptor> = whole
                .iter()
                .map(|entry| {
                    let of = &entry.descriptor;
                    Descriptor::new(&of.media_type, of.digest.clone(), of.size)
                })
                .collect();
            let (sent_too, lost) = self.put_all(manifests)?;
            let whole: Vec<RemoteEntry> = whole
                .into_iter()
                .filter(|entry| !lost.contains(&entry.descriptor.digest))
                .collect();
            let add: Vec<Descriptor> = whole.iter().map(|e| e.descriptor.clone()).collect();
            let store = Arc::clone(&self.store);
            patiently(self.remote.patience(None), move |_| store.name(&add, &[]))?;
            Ok((whole, (sent.0 + sent_too.0, sent.1 + sent_too.1)))
        });
        let store = Arc::clone(&self.store);
        // What is not released ends by itself.
        let _ = patiently(self.remote.patience(None), move |_| {
            store.release(&lease);
            Ok(())
        });
        named
    }

    /// Uploads the blobs that are not there, the largest first. Returns how many of how many bytes,
    /// and which are neither there nor here.
    fn put_all(
        &self,
        mut blobs: Vec<Descriptor>,
    ) -> Result<((usize, u64), BTreeSet<Digest>), RemoteError> {
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let next = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        let done = Mutex::new(((0, 0), BTreeSet::new(), None));
        let patience: Vec<_> = blobs
            .iter()
            .map(|blob| self.remote.patience_of_upload(blob.size))
            .collect();
        let (store, layout) = (&self.store, &self.layout);
        thread::scope(|scope| {
            for _ in 0..THREADS.min(blobs.len()) {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(blob) = blobs.get(at) else { return };
                        let (store, path) = (Arc::clone(store), layout.blob_path(&blob.digest));
                        let of_thread = blob.clone();
                        let result = patiently(patience[at], move |progress| {
                            if store.has(&of_thread)? {
                                return Ok(false);
                            }
                            let content = File::open(path).map_err(|error| {
                                RemoteError::new(RemoteErrorKind::Missing, error)
                            })?;
                            let mut content = Watched { content, progress };
                            store.put(&of_thread, &mut content).map(|()| true)
                        });
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        match result {
                            Ok(false) => {}
                            Ok(true) => {
                                done.0.0 += 1;
                                done.0.1 += blob.size;
                            }
                            // Damaged or gone here: the entries that need it stay here.
                            Err(error)
                                if matches!(
                                    error.kind(),
                                    RemoteErrorKind::Missing | RemoteErrorKind::Wrong
                                ) =>
                            {
                                done.1.insert(blob.digest.clone());
                            }
                            Err(error) => {
                                is_over.store(true, Ordering::Relaxed);
                                done.2 = Some(error);
                            }
                        }
                    }
                });
            }
        });
        let (sent, lost, failure) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok((sent, lost)), Err)
    }
}
