//! `docker-store rm`: entries, and the blobs that only they need.

use std::collections::BTreeSet;

use serde_json::json;

use super::{find, inventory};
use crate::cli::StoreTaskArgs;
use crate::error::{Error, exit_code};
use crate::image_layout::{ImageLayout, Retention};
use crate::task::restore::of_store;
use crate::ui::{self, Talk, bytes};

/// Runs the command.
pub(super) fn run(
    layout: &ImageLayout,
    args: &StoreTaskArgs,
    entries: &[String],
) -> Result<(), Error> {
    if args.read_only {
        return Err(Error::new(
            exit_code::STORE,
            "the store is read-only for this job: nothing was removed",
        ));
    }
    let inventory = inventory(layout)?;
    let names: BTreeSet<String> = entries
        .iter()
        .map(|entry| Ok(find(&inventory, entry)?.name.clone()))
        .collect::<Result<_, Error>>()?;
    let retention = Retention {
        remove: names.clone(),
        ..Retention::default()
    };
    let mut collected = layout
        .collect_garbage(&retention)
        .map_err(|error| of_store(&error))?;
    if collected.busy {
        // Unnamed they can be at any time; their blobs may be in use.
        for name in &names {
            layout
                .remove_entry(name)
                .map_err(|error| of_store(&error))?;
        }
        Talk::default().warn(
            "another process is using the store: the entries are gone, \
             `docker-gc` removes their blobs later",
        );
        collected.kept_bytes = inventory.size_bytes();
    }
    if args.json {
        return ui::data(json!({
            "store": layout.root(),
            "removed": names,
            "busy": collected.busy,
            "freed_bytes": collected.freed_bytes,
            "kept_bytes": collected.kept_bytes,
        }));
    }
    for name in &names {
        ui::data(format_args!("removed {name}"))?;
    }
    ui::data(format_args!(
        "{} freed, {} left",
        bytes(collected.freed_bytes),
        bytes(collected.kept_bytes)
    ))
}
