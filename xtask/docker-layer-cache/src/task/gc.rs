//! `docker-gc`: the store → the store without what is not worth keeping.

use camino::Utf8Path;
use serde_json::json;
use xshell::Shell;

use super::remote;
use super::restore::of_store;
use super::store;
use crate::cli::GcArgs;
use crate::error::Error;
use crate::image_layout::{Collected, DropReason, Retention};
use crate::ui::{self, Table, Talk, age, bytes};

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &GcArgs) -> Result<(), Error> {
    if args.task.remote.is_some() {
        return remote::gc(sh, args);
    }
    let (workspace, layout) = store::open(sh, &args.task)?;
    let talk = Talk::default();
    let retention = Retention {
        max_size_bytes: args.max_size.or(workspace.images.max_size_bytes),
        max_age: args.max_age,
        keep: args.keep,
        dry_run: args.dry_run || args.task.read_only,
        ..Retention::default()
    };
    if args.task.read_only && !args.dry_run {
        talk.warn("the store is read-only for this job: nothing is removed");
    }
    let collected = layout
        .collect_garbage(&retention)
        .map_err(|error| of_store(&error))?;
    if collected.busy {
        talk.warn("another process is using the store: nothing was removed; try again later");
    }
    if collected.damaged_index {
        talk.warn(
            "the store's index is damaged, and tells of no entry: nothing was removed; \
             the next save begins a new one",
        );
    }
    if args.task.json {
        return ui::data(report(&workspace.store, &retention, &collected));
    }
    if collected.busy || collected.damaged_index {
        return Ok(());
    }
    ui::data(text(&retention, &collected))
}

fn report(store: &Utf8Path, retention: &Retention, collected: &Collected) -> serde_json::Value {
    let dropped: Vec<_> = collected
        .entries
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "reason": why(entry.reason, retention),
                "size_bytes": entry.size_bytes,
                "freed_bytes": entry.freed_bytes,
            })
        })
        .collect();
    let kept: Vec<_> = collected
        .kept
        .iter()
        .map(|entry| json!({ "name": entry.name, "size_bytes": entry.size_bytes }))
        .collect();
    json!({
        "store": store,
        "dry_run": retention.dry_run,
        "busy": collected.busy,
        "damaged_index": collected.damaged_index,
        "dropped": dropped,
        "kept": kept,
        "freed_blobs": collected.blobs,
        "freed_bytes": collected.freed_bytes,
        "kept_bytes": collected.kept_bytes,
    })
}

/// Returns what goes and why, what stays, and what that comes to.
pub(super) fn text(retention: &Retention, collected: &Collected) -> String {
    let goes = if retention.dry_run {
        "would go"
    } else {
        "goes"
    };
    let mut table = Table::new(&["entry", "result", ">size", ">freed", "why"]).uncut();
    for entry in &collected.entries {
        table.row([
            entry.name.clone(),
            goes.to_owned(),
            bytes(entry.size_bytes),
            bytes(entry.freed_bytes),
            why(entry.reason, retention),
        ]);
    }
    for entry in &collected.kept {
        table.row([entry.name.as_str(), "stays", &bytes(entry.size_bytes)]);
    }
    let of_entries: u64 = collected
        .entries
        .iter()
        .map(|entry| entry.freed_bytes)
        .sum();
    let of_garbage = match collected.freed_bytes - of_entries {
        0 => String::new(),
        n => format!(", {} of it no entry's", bytes(n)),
    };
    let total = format!(
        "{} entries and {} blobs {}: {}{of_garbage}; {} entries stay: {}",
        collected.entries.len(),
        collected.blobs,
        if retention.dry_run {
            "would go"
        } else {
            "went"
        },
        bytes(collected.freed_bytes),
        collected.kept.len(),
        bytes(collected.kept_bytes),
    );
    if table.is_empty() {
        total
    } else {
        format!("{table}\n{total}")
    }
}

fn why(reason: DropReason, retention: &Retention) -> String {
    match reason {
        DropReason::Named => "named".to_owned(),
        DropReason::Unreadable => "its manifest is missing or damaged".to_owned(),
        DropReason::TooMany => format!(
            "no more than {} of its image, platform, engine class and stage are kept",
            retention.keep.unwrap_or_default()
        ),
        DropReason::TooOld(unused) => format!("not used for {}", age(unused)),
        DropReason::TooLarge => format!(
            "with it the store is larger than {}",
            bytes(retention.max_size_bytes.unwrap_or_default())
        ),
    }
}
