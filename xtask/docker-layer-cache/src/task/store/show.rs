//! `docker-store show`: all that is known of one entry.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::list::report;
use super::{find, inventory, kind, last_part};
use crate::cli::StoreTaskArgs;
use crate::error::Error;
use crate::image_layout::{
    ImageLayout, Inventory, InventoryItem, StoredEntry, Timestamp, UNCOMPRESSED, UNCOMPRESSED_SIZE,
};
use crate::oci::Descriptor;
use crate::task::forecast::recorded_steps;
use crate::ui::{self, Table, Talk, age, bytes, seconds};

/// A step of the build that made the entry.
struct ShownStep {
    stage: String,
    step: String,
    instruction: String,
    result: String,
    /// How long it took when it last ran, where that is known.
    seconds: Option<f64>,
}

/// Runs the command.
pub(super) fn run(layout: &ImageLayout, args: &StoreTaskArgs, entry: &str) -> Result<(), Error> {
    let inventory = inventory(layout)?;
    let item = find(&inventory, entry)?;
    let layers = match layout.manifest(&item.descriptor) {
        Ok(manifest) => manifest.layers,
        Err(error) => {
            Talk::default().warn(format_args!("its layers are not known: {error}"));
            Vec::new()
        }
    };
    let steps = item.stored.as_ref().map(steps).unwrap_or_default();
    if args.json {
        let mut report = report(&inventory, item);
        report["steps"] = steps.iter().map(step_report).collect();
        report["layers"] = layers
            .iter()
            .map(|layer| {
                json!({
                    "digest": layer.digest,
                    "size_bytes": layer.size,
                    "diff_id": layer.annotations.get(UNCOMPRESSED),
                    "uncompressed_bytes": uncompressed_bytes(layer),
                    "shared_with": shared_with(&inventory, item, layer),
                })
            })
            .collect();
        return ui::data(report);
    }
    ui::data(facts(&inventory, item))?;
    if !steps.is_empty() {
        ui::data(format_args!("\n{}", step_table(&steps)))?;
    }
    if !layers.is_empty() {
        ui::data(format_args!("\n{}", layer_table(&inventory, item, &layers)))?;
    }
    Ok(())
}

fn facts(inventory: &Inventory, item: &InventoryItem) -> Table {
    let (own, shared) = inventory.own_and_shared_bytes(item);
    let mut table = Table::new(&["name", &item.name]).uncut();
    table.row(["kind", &kind(item)]);
    if let Some(stored) = &item.stored {
        let entry = &stored.entry;
        table.row(["image", &entry.image]);
        table.row(["platform", &entry.platform.to_string()]);
        table.row(["engine class", &entry.engine_class]);
        table.row(["base key", &entry.key_base]);
        table.row(["full key", &entry.key_full]);
        table.row(["created", &at(entry.created)]);
        if let Some(used) = stored.last_use {
            table.row(["last use", &at(Timestamp::from(used))]);
        }
    }
    table.row(["manifest", item.descriptor.digest.as_str()]);
    table.row([
        "size",
        &format!("{} of its own, {} shared", bytes(own), bytes(shared)),
    ]);
    table
}

/// Returns the time, and how long ago it is.
fn at(time: Timestamp) -> String {
    match SystemTime::now().duration_since(SystemTime::from(time)) {
        Ok(since) => format!("{time} ({} ago)", age(since)),
        Err(_) => format!("{time} (ahead of this machine's clock)"),
    }
}

fn steps(stored: &StoredEntry) -> Vec<ShownStep> {
    let recorded = recorded_steps(stored);
    let Some(steps) = stored.entry.steps.as_array() else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A stage image's entry may know of the whole build.
    let is_of_it = |stage: &str| stored.entry.stage.as_deref().is_none_or(|of| of == stage);
    let is_any_of_it = steps.iter().any(|step| is_of_it(&text(&step["stage"])));
    steps
        .iter()
        .filter(|step| !is_any_of_it || is_of_it(&text(&step["stage"])))
        .map(|step| {
            let (stage, result) = (text(&step["stage"]), text(&step["result"]));
            let number = text(&step["step"]);
            let ordinal: Option<usize> = number
                .split('/')
                .next()
                .and_then(|ordinal| ordinal.parse().ok());
            // A hit's own time is not what it would cost to run it again.
            let recorded = recorded
                .iter()
                .find(|known| known.stage == stage && Some(known.ordinal) == ordinal)
                .and_then(|known| known.seconds);
            let ran = (result != "hit")
                .then(|| step["seconds"].as_f64())
                .flatten();
            ShownStep {
                seconds: ran.or(recorded),
                stage,
                step: number,
                instruction: text(&step["instruction"]),
                result,
            }
        })
        .collect()
}

fn step_report(step: &ShownStep) -> Value {
    json!({
        "stage": step.stage,
        "step": step.step,
        "instruction": step.instruction,
        "result": step.result,
        "seconds": step.seconds,
    })
}

fn step_table(steps: &[ShownStep]) -> Table {
    let mut table = Table::new(&["stage", "step", "instruction", "then", ">seconds"]);
    for step in steps {
        table.row([
            step.stage.clone(),
            step.step.clone(),
            step.instruction.clone(),
            step.result.clone(),
            step.seconds.map_or_else(String::new, seconds),
        ]);
    }
    table
}

fn layer_table(inventory: &Inventory, item: &InventoryItem, layers: &[Descriptor]) -> Table {
    let mut table = Table::new(&["layer", ">size", ">uncompressed", "shared with"]).uncut();
    for layer in layers {
        let shared: Vec<&str> = shared_with(inventory, item, layer)
            .into_iter()
            .map(last_part)
            .collect();
        table.row([
            layer.digest.to_string(),
            bytes(layer.size),
            uncompressed_bytes(layer).map_or_else(String::new, bytes),
            shared.join(" "),
        ]);
    }
    table
}

fn shared_with<'a>(
    inventory: &'a Inventory,
    item: &InventoryItem,
    layer: &'a Descriptor,
) -> Vec<&'a str> {
    inventory
        .users(&layer.digest)
        .map(|user| user.name.as_str())
        .filter(|name| *name != item.name)
        .collect()
}

fn uncompressed_bytes(layer: &Descriptor) -> Option<u64> {
    layer.annotations.get(UNCOMPRESSED_SIZE)?.parse().ok()
}
