//! What the remote store names → the index of the store of this machine.

use std::sync::atomic::Ordering;

use super::super::job::Job;
use super::super::restore::of_store;
use super::Remote;
use crate::error::Error;
use crate::image_layout::{ImageLayout, remote_id, without_mark};
use crate::remote_store::{RemoteEntry, newest_by_name, patiently};

/// Names here what the remote store names. Once for a command.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn sync(job: &Job<'_>) -> Result<(), Error> {
    let Some(remote) = job.remote() else {
        return Ok(());
    };
    if remote.is_synced.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let merged = try_sync(job, remote);
    match merged {
        // A disk that cannot be written is no reason to go on without what it has.
        Err(error) if !job.args.strict => {
            job.talk
                .warn(format_args!("{error}; going on without the remote store"));
            remote.is_down.store(true, Ordering::Relaxed);
            Ok(())
        }
        merged => merged,
    }
}

fn try_sync(job: &Job<'_>, remote: &Remote) -> Result<(), Error> {
    let Some(store) = remote.store(job)? else {
        return Ok(());
    };
    let url = remote.url();
    let layout =
        ImageLayout::open_or_create(&job.workspace.store).map_err(|error| of_store(&error))?;
    let known = known(&layout, &url)?;
    let listed = patiently(remote.patience(None), move |_| store.list(&known));
    let listed = match listed {
        Ok(listed) => newest_by_name(listed),
        Err(error) => return remote.failed(job, "its entries cannot be listed", &error),
    };
    let entries: Vec<_> = listed
        .into_iter()
        .map(|entry| (entry.id, entry.descriptor))
        .collect();
    let writer = layout.writer().map_err(|error| of_store(&error))?;
    writer
        .merge_remote(&url, &entries)
        .map_err(|error| of_store(&error))
}

/// Returns the entries that are known to be at the remote store.
fn known(layout: &ImageLayout, url: &str) -> Result<Vec<RemoteEntry>, Error> {
    let index = layout.index().map_err(|error| of_store(&error))?.index;
    let known = index.manifests.iter().filter_map(|descriptor| {
        Some(RemoteEntry {
            id: remote_id(descriptor, url)?.to_owned(),
            descriptor: without_mark(descriptor),
        })
    });
    Ok(known.collect())
}
