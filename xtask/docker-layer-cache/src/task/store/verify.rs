//! `docker-store verify`: every blob, byte for byte.

use std::time::Instant;

use serde_json::json;

use super::inventory;
use crate::cli::StoreTaskArgs;
use crate::error::{Error, exit_code};
use crate::image_layout::{BlobState, ImageLayout};
use crate::ui::{self, Table, Talk, bytes, seconds};

/// Runs the command.
pub(super) fn run(layout: &ImageLayout, args: &StoreTaskArgs) -> Result<(), Error> {
    let started = Instant::now();
    let inventory = inventory(layout)?;
    let verified = layout.verify_all(&inventory);
    if args.json {
        let damaged: Vec<_> = verified
            .damaged
            .iter()
            .map(|blob| {
                json!({
                    "digest": blob.digest,
                    "problem": problem(blob.state),
                    "entries": blob.entries,
                })
            })
            .collect();
        ui::data(json!({
            "store": layout.root(),
            "good_blobs": verified.good_blobs,
            "good_bytes": verified.good_bytes,
            "damaged": damaged,
            "index_damage": inventory.damage.as_ref().map(ToString::to_string),
        }))?;
    } else if !verified.damaged.is_empty() {
        let mut table = Table::new(&["blob", "problem", "entry"]).uncut();
        for blob in &verified.damaged {
            let mut row = [blob.digest.to_string(), problem(blob.state).to_owned()];
            if blob.entries.is_empty() {
                table.row(row.iter().map(String::as_str).chain(["(no entry's)"]));
            }
            for entry in &blob.entries {
                table.row(row.iter().chain([entry]).map(String::as_str));
                row = [String::new(), String::new()];
            }
        }
        ui::data(table)?;
    }
    Talk::default().say(format_args!(
        "{} entries: {} blobs are good, {} in {}",
        inventory.items.len(),
        verified.good_blobs,
        bytes(verified.good_bytes),
        seconds(started.elapsed().as_secs_f64())
    ));
    if verified.damaged.is_empty() && inventory.damage.is_none() {
        return Ok(());
    }
    let mut what: Vec<String> = Vec::new();
    if inventory.damage.is_some() {
        what.push("its index".to_owned());
    }
    if !verified.damaged.is_empty() {
        what.push(format!("{} blobs", verified.damaged.len()));
    }
    Err(Error::new(
        exit_code::STORE,
        format_args!(
            "store `{}` is damaged: {}",
            layout.root().display(),
            what.join(" and ")
        ),
    )
    .with_hint(
        "builds leave out what is damaged, and the next `docker-restore` and `docker-save` store it \
         anew; `docker-store rm ENTRY` removes an entry at once, `docker-gc` what is no entry's",
    ))
}

fn problem(state: BlobState) -> &'static str {
    match state {
        BlobState::Good => "good",
        BlobState::Missing => "it is missing",
        BlobState::Damaged(reason) => reason,
    }
}
