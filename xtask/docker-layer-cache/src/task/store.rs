//! `docker-store`: the store, for people: `ls`, `show`, `verify`, `rm`.

mod list;
mod remove;
mod show;
mod verify;

use xshell::Shell;

use super::Workspace;
use super::images::nearest;
use super::remote;
use super::restore::of_store;
use crate::cli::{StoreAction, StoreArgs, StoreTaskArgs};
use crate::error::Error;
use crate::image_layout::{EntryKind, ImageLayout, Inventory, InventoryItem};
use crate::ui::Talk;

/// Shorter starts of a name are more likely a slip.
const SHORTEST_START: usize = 4;

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &StoreArgs) -> Result<(), Error> {
    if args.task.remote.is_some() {
        return match &args.action {
            StoreAction::Ls => remote::list(sh, &args.task),
            StoreAction::Verify => remote::verify(sh, &args.task),
            StoreAction::Show { .. } | StoreAction::Rm { .. } => Err(Error::usage(
                "--remote is for `ls` and `verify`, and for `docker-gc`",
            )),
        };
    }
    let (_, layout) = open(sh, &args.task)?;
    match &args.action {
        StoreAction::Ls => list::run(&layout, &args.task),
        StoreAction::Show { entry } => show::run(&layout, &args.task, entry),
        StoreAction::Verify => verify::run(&layout, &args.task),
        StoreAction::Rm { entries } => remove::run(&layout, &args.task, entries),
    }
}

/// Opens the store that the flags name, without laying one out.
pub(super) fn open(sh: &Shell, args: &StoreTaskArgs) -> Result<(Workspace, ImageLayout), Error> {
    let workspace = Workspace::open(&sh.current_dir(), &args.place, None)?;
    let layout = ImageLayout::open_read_only(&workspace.store).map_err(|error| of_store(&error))?;
    if !workspace.store.exists() {
        Talk::default().say(format_args!("there is no store at `{}`", workspace.store));
    }
    Ok((workspace, layout))
}

/// Looks at the store, and says what is wrong with its index.
fn inventory(layout: &ImageLayout) -> Result<Inventory, Error> {
    let inventory = layout.inventory().map_err(|error| of_store(&error))?;
    if let Some(damage) = &inventory.damage {
        Talk::default().warn(damage);
    }
    Ok(inventory)
}

/// Returns the item that `text` names: by its name, or by the start of its name's last part.
fn find<'a>(inventory: &'a Inventory, text: &str) -> Result<&'a InventoryItem, Error> {
    let items = &inventory.items;
    if let Some(item) = items.iter().find(|item| item.name == text) {
        return Ok(item);
    }
    let found: Vec<&InventoryItem> = items
        .iter()
        .filter(|item| text.len() >= SHORTEST_START && last_part(&item.name).starts_with(text))
        .collect();
    match found.as_slice() {
        [item] => Ok(item),
        [] => {
            let error = Error::usage(format_args!("the store has no entry `{text}`"));
            let names = items.iter().map(|item| item.name.as_str());
            Err(match nearest(text, names) {
                Some(near) => error.with_hint(format_args!("did you mean `{near}`?")),
                None => error.with_hint("`cargo xtask docker-store ls` lists them"),
            })
        }
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|item| format!("`{}`", item.name))
                .collect();
            Err(
                Error::usage(format_args!("`{text}` is the start of several entries"))
                    .with_hint(format_args!("there is {}", names.join(", "))),
            )
        }
    }
}

/// Returns what tells the entry from others of its image, platform and stage.
fn last_part(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

/// Returns the item's kind in a word; `other` where it is not ours.
fn kind(item: &InventoryItem) -> String {
    match &item.stored {
        None => "other".to_owned(),
        Some(stored) => match (stored.entry.kind, &stored.entry.stage) {
            (EntryKind::BuildCache, _) => "build-cache".to_owned(),
            (EntryKind::StageImage, None) => "stage-image".to_owned(),
            (EntryKind::StageImage, Some(stage)) => format!("stage-image {stage}"),
            (EntryKind::CacheMount, _) => {
                let mount = stored.entry.mount.as_deref().unwrap_or_default();
                format!("cache-mount {mount}")
            }
        },
    }
}
