//! `docker-gc --remote`: names that are no longer wanted, then blobs that nothing needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use xshell::Shell;

use super::command::Opened;
use super::of_remote;
use crate::cli::GcArgs;
use crate::error::{Error, exit_code};
use crate::image_layout::Entry;
use crate::remote_store::{Patience, RemoteEntry, patiently};
use crate::ui::{self, Table, Talk, age, bytes};

/// How long blobs that nothing names are left alone.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Many objects are listed, and removed one by one: it may be silent for long.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Runs the command.
///
/// # Errors
/// Where there is no remote store, or it fails.
pub(in crate::task) fn gc(sh: &Shell, args: &GcArgs) -> Result<(), Error> {
    if args.max_size.is_some() {
        return Err(Error::usage("--max-size is for the store of this machine")
            .with_hint("use --keep or --max-age, or a lifecycle rule of the bucket or registry"));
    }
    let opened = Opened::open(sh, &args.task)?;
    let dry_run = args.dry_run || args.task.read_only;
    if args.task.read_only && !args.dry_run {
        Talk::default().warn("the store is read-only for this job: nothing is removed");
    }
    let dropped = dropped(&opened.entries, args, SystemTime::now());
    let failed = |error| of_remote(exit_code::STORE, &error);
    let (remote, store) = (&opened.remote, &opened.store);
    if !dry_run && !dropped.is_empty() {
        let (store, gone) = (Arc::clone(store), dropped.clone());
        let gone = gone.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>();
        let patience = Patience {
            timeout: SWEEP_TIMEOUT,
            ..remote.patience(None)
        };
        patiently(patience, move |_| store.name(&[], &gone)).map_err(failed)?;
    }
    let patience = Patience {
        timeout: SWEEP_TIMEOUT,
        ..remote.patience(None)
    };
    let (store, grace) = (Arc::clone(store), args.grace.unwrap_or(GRACE));
    let swept = patiently(patience, move |_| store.sweep(grace, dry_run)).map_err(failed)?;
    let n_kept = opened.entries.len() - dropped.len();
    if args.task.json {
        let dropped: Vec<_> = dropped
            .iter()
            .map(|(entry, why)| json!({ "name": entry.name(), "reason": why }))
            .collect();
        return ui::data(json!({
            "store": remote.url(),
            "dry_run": dry_run,
            "dropped": dropped,
            "kept": n_kept,
            "freed_blobs": swept.map(|swept| swept.blobs),
            "freed_bytes": swept.map(|swept| swept.freed_bytes),
            "young_blobs": swept.map(|swept| swept.spared_blobs),
        }));
    }
    let mut table = Table::new(&["entry", "result", "why"]).uncut();
    let goes = if dry_run { "would go" } else { "goes" };
    for (entry, why) in &dropped {
        table.row([entry.name(), goes, why]);
    }
    if !table.is_empty() {
        ui::data(&table)?;
    }
    let blobs = match swept {
        None => "its registry removes the blobs that no tag needs".to_owned(),
        Some(swept) => format!(
            "{} blobs {goes}: {}; {} are too young or in use",
            swept.blobs,
            bytes(swept.freed_bytes),
            swept.spared_blobs
        ),
    };
    ui::data(format_args!(
        "{} entries {goes}, {n_kept} stay; {blobs}",
        dropped.len()
    ))
}

/// Returns the entries that are not to be kept, and why. Those of other tools stay. Ages count from
/// the save: a remote store does not tell when an entry was used.
fn dropped(entries: &[RemoteEntry], args: &GcArgs, now: SystemTime) -> Vec<(RemoteEntry, String)> {
    let ours = entries.iter();
    let mut ours: Vec<(&RemoteEntry, Entry)> = ours
        .filter_map(|one| Some((one, Entry::of(&one.descriptor)?)))
        .collect();
    ours.sort_by(|(a, of_a), (b, of_b)| of_b.created.cmp(&of_a.created).then(a.id.cmp(&b.id)));
    let mut per_group: BTreeMap<_, usize> = BTreeMap::new();
    let mut dropped = Vec::new();
    for (one, entry) in ours {
        let group = (
            entry.kind,
            entry.image,
            entry.platform.to_string(),
            entry.engine_class,
            entry.stage,
            entry.mount,
        );
        let earlier = per_group.entry(group).or_default();
        let old = now
            .duration_since(SystemTime::from(entry.created))
            .unwrap_or_default();
        if args.keep.is_some_and(|keep| *earlier >= keep) {
            dropped.push((one.clone(), format!("{earlier} newer ones are kept")));
        } else if args.max_age.is_some_and(|max| old > max) {
            dropped.push((one.clone(), format!("saved {} ago", age(old))));
        } else {
            *earlier += 1;
        }
    }
    dropped
}
