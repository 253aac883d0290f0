//! Which entries and blobs of the remote store a build cache needs on this machine.

use std::collections::BTreeSet;

use super::super::job::Job;
use super::super::key::Keyed;
use super::{fetch, fetch_entries};
use crate::buildkit_cache::CacheGraph;
use crate::error::Error;
use crate::image_layout::{ImageLayout, StoredEntry};
use crate::oci::{Descriptor, Digest};
use crate::plan::{Fit, RestorePlan};

/// What is not on this machine.
#[derive(Debug, Default)]
pub(in crate::task) struct Away {
    /// Blobs that the engine will not read: they stay where they are.
    pub(in crate::task) not_read: BTreeSet<Digest>,
    /// A blob that it would read could not be had.
    pub(in crate::task) is_any_lost: bool,
}

/// Returns the entries whose manifests are here or can be had. Of those that are not here, only such
/// as make more steps hit are asked for.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn entries_that_help(
    job: &Job<'_>,
    keyed: &Keyed,
    layout: &ImageLayout,
    chosen: &[(StoredEntry, Fit)],
) -> Result<Vec<(StoredEntry, Fit)>, Error> {
    if job.remote().is_none() {
        return Ok(chosen.to_vec());
    }
    let is_here = |stored: &StoredEntry| layout.has_blob(&stored.descriptor.digest);
    let mut helping: Vec<&(StoredEntry, Fit)> = Vec::new();
    let mut n_hits = 0;
    for one in chosen {
        helping.push(one);
        let Some(forecast) = keyed.forecast(job) else {
            continue;
        };
        let entries: Vec<&StoredEntry> = helping.iter().map(|(stored, _)| stored).collect();
        let with_it = forecast.n_sure_hits(&entries);
        if helping.len() > 1 && with_it <= n_hits && !is_here(&one.0) {
            helping.pop();
        } else {
            n_hits = with_it;
        }
    }
    fetch_entries(job, layout, helping.iter().map(|(stored, _)| stored))?;
    let had = helping.into_iter().filter(|(stored, _)| is_here(stored));
    Ok(had.cloned().collect())
}

/// Fetches the blobs that the engine is expected to read, and takes the others that are not here out
/// of the cache that it is offered: what takes files from them hits by definition.
///
/// # Errors
/// With `--strict`, where the remote store fails.
pub(in crate::task) fn fetch_what_is_read(
    job: &Job<'_>,
    keyed: &Keyed,
    layout: &ImageLayout,
    plan: Option<&RestorePlan<'_>>,
    graph: &mut CacheGraph,
) -> Result<Away, Error> {
    let mut away = Away::default();
    if job.remote().is_none() || job.dry_run {
        return Ok(away);
    }
    let stages = keyed
        .forecast(job)
        .map_or(&[][..], |forecast| forecast.stages());
    let to_read = plan.and_then(|plan| plan.blobs_to_read(stages));
    let to_read = to_read.map(|blobs| graph.with_what_is_below(&blobs));
    let is_read = |blob: &Descriptor| {
        to_read
            .as_ref()
            .is_none_or(|to_read| to_read.contains(&blob.digest))
    };
    let wanted: Vec<Descriptor> = graph
        .blobs()
        .filter(|blob| is_read(blob))
        .cloned()
        .collect();
    fetch(
        job,
        layout,
        wanted.iter(),
        plan.map(RestorePlan::spared_seconds),
    )?;
    for blob in graph.blobs().filter(|blob| !layout.has_blob(&blob.digest)) {
        if is_read(blob) {
            away.is_any_lost = true;
        } else {
            away.not_read.insert(blob.digest.clone());
        }
    }
    graph.prune(|digest| layout.has_blob(digest));
    Ok(away)
}
