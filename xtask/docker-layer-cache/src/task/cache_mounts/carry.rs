//! `docker-carry-mounts`: what runs in the container: an order → mounts read or filled, a report.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;

use super::helper::read_listing;
use crate::cache_mount::{
    Exported, Imported, Listing, MountOrder, MountOutcome, MountReport, ORDER_FILE, Order,
    OrderKind, REPORT_FILE, Report, export, import,
};
use crate::error::Error;
use crate::oci::Digest;

/// A listing may become so large in memory, in bytes: some millions of files.
pub(super) const LISTING_BYTES_MAX: u64 = 1 << 30;

/// Runs the command.
pub(crate) fn carry(folder: &Path) -> Result<(), Error> {
    let path = folder.join(ORDER_FILE);
    let order = fs::read(&path).map_err(|error| cannot("read", &path, &error))?;
    let order: Order =
        serde_json::from_slice(&order).map_err(|error| cannot("understand", &path, &error))?;
    fs::create_dir_all(&order.out).map_err(|error| cannot("create", &order.out, &error))?;
    let report = |(number, mount): (usize, &MountOrder)| {
        let reported = match order.kind {
            OrderKind::Export => export_one(folder, mount, &order.out.join(number.to_string())),
            OrderKind::Import => import_one(folder, mount),
        };
        // One mount that fails does not keep the others.
        reported.unwrap_or_else(|error| MountReport {
            outcome: MountOutcome::Failed(error),
            size_bytes: 0,
            n_files: 0,
        })
    };
    let report = Report {
        mounts: order.mounts.iter().enumerate().map(report).collect(),
    };
    let path = order.out.join(REPORT_FILE);
    let report = serde_json::to_vec(&report).expect("a report is JSON");
    fs::write(&path, report).map_err(|error| cannot("write", &path, &error))
}

fn cannot(action: &str, path: &Path, error: &dyn fmt::Display) -> Error {
    Error::usage(format_args!(
        "cannot {action} `{}`: {error}",
        path.display()
    ))
}

fn export_one(folder: &Path, mount: &MountOrder, out: &Path) -> Result<MountReport, String> {
    fs::create_dir_all(out).map_err(|error| error.to_string())?;
    // One that cannot be read is no reason not to write a new one.
    let before = listing(folder, mount).ok().flatten();
    let packs = before.iter().flat_map(|listing| &listing.packs);
    let there: HashSet<&Digest> = packs
        .zip(&mount.packs)
        .filter(|(_, file)| file.is_some())
        .map(|(pack, _)| &pack.digest)
        .collect();
    let exported = export(
        &mount.folder,
        out,
        before.as_ref(),
        |digest| there.contains(digest),
        mount.max_bytes,
    );
    let (outcome, size_bytes, n_files) = match exported.map_err(|error| error.to_string())? {
        Exported::Empty => (MountOutcome::Empty, 0, 0),
        Exported::TooLarge { size_bytes } => (MountOutcome::TooLarge, size_bytes, 0),
        Exported::Written {
            size_bytes,
            n_files,
        } => (MountOutcome::Written, size_bytes, n_files),
    };
    Ok(MountReport {
        outcome,
        size_bytes,
        n_files,
    })
}

fn import_one(folder: &Path, mount: &MountOrder) -> Result<MountReport, String> {
    let listing = listing(folder, mount)?.ok_or("no listing was given")?;
    if mount.packs.len() != listing.packs.len() {
        return Err("its packs are not those of its listing".to_owned());
    }
    let pack = |at: usize| {
        let file = mount.packs[at].as_deref().unwrap_or(Path::new("missing"));
        folder.join(file)
    };
    let imported = import(&mount.folder, &listing, pack);
    let outcome = match imported.map_err(|error| error.to_string())? {
        Imported::WasFilled => MountOutcome::WasFilled,
        Imported::Filled => MountOutcome::Filled,
    };
    Ok(MountReport {
        outcome,
        size_bytes: listing.size_bytes(),
        n_files: listing.nodes.len(),
    })
}

fn listing(folder: &Path, mount: &MountOrder) -> Result<Option<Listing>, String> {
    let listing = mount.listing.as_ref();
    listing
        .map(|file| read_listing(&folder.join(file)))
        .transpose()
}
