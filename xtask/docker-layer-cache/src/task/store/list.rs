//! `docker-store ls`: the entries, with who shares how much.

use std::time::SystemTime;

use serde_json::json;

use super::{inventory, kind};
use crate::cli::StoreTaskArgs;
use crate::error::Error;
use crate::image_layout::{ImageLayout, Inventory, InventoryItem};
use crate::ui::{self, Table, age, bytes};

/// Runs the command.
pub(super) fn run(layout: &ImageLayout, args: &StoreTaskArgs) -> Result<(), Error> {
    let inventory = inventory(layout)?;
    if args.json {
        let entries: Vec<_> = inventory
            .items
            .iter()
            .map(|item| report(&inventory, item))
            .collect();
        return ui::data(json!({
            "store": layout.root(),
            "entries": entries,
            "size_bytes": inventory.size_bytes(),
            "unnamed_bytes": inventory.unnamed_bytes(),
            "index_damage": inventory.damage.as_ref().map(ToString::to_string),
        }));
    }
    let now = SystemTime::now();
    let mut table = Table::new(&[
        "name", "image", "platform", "kind", ">age", ">own", ">shared",
    ])
    .uncut();
    for item in &inventory.items {
        let (own, shared) = inventory.own_and_shared_bytes(item);
        let entry = item.stored.as_ref().map(|stored| &stored.entry);
        let made = entry.and_then(|entry| {
            let created = SystemTime::from(entry.created);
            now.duration_since(created).ok()
        });
        table.row([
            item.name.clone(),
            entry.map_or_else(String::new, |entry| entry.image.clone()),
            entry.map_or_else(String::new, |entry| entry.platform.to_string()),
            kind(item),
            made.map_or_else(|| "-".to_owned(), age),
            bytes(own),
            bytes(shared),
        ]);
    }
    if !table.is_empty() {
        ui::data(&table)?;
    }
    let garbage = match inventory.unnamed_bytes() {
        0 => String::new(),
        n => format!(", {} of it no entry's: `docker-gc` removes it", bytes(n)),
    };
    ui::data(format_args!(
        "{} entries, {} in all{garbage}",
        inventory.items.len(),
        bytes(inventory.size_bytes())
    ))
}

/// Returns what is known of an item without reading its blobs.
pub(super) fn report(inventory: &Inventory, item: &InventoryItem) -> serde_json::Value {
    let (own_bytes, shared_bytes) = inventory.own_and_shared_bytes(item);
    let entry = item.stored.as_ref().map(|stored| &stored.entry);
    json!({
        "name": item.name,
        "manifest": item.descriptor.digest,
        "kind": entry.map_or("other", |entry| entry.kind.as_str()),
        "image": entry.map(|entry| &entry.image),
        "platform": entry.map(|entry| entry.platform.to_string()),
        "stage": entry.and_then(|entry| entry.stage.as_ref()),
        "mount": entry.and_then(|entry| entry.mount.as_ref()),
        "engine_class": entry.map(|entry| &entry.engine_class),
        "key": entry.map(|entry| json!({ "base": entry.key_base, "full": entry.key_full })),
        "created": entry.map(|entry| entry.created.to_string()),
        "last_use": item
            .stored
            .as_ref()
            .and_then(|stored| stored.last_use)
            .map(|used| crate::image_layout::Timestamp::from(used).to_string()),
        "own_bytes": own_bytes,
        "shared_bytes": shared_bytes,
    })
}
