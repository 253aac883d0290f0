//! Commands on the remote store itself: opened, and listed.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use xshell::Shell;

use super::super::Workspace;
use super::{Remote, of_remote};
use crate::cli::StoreTaskArgs;
use crate::engine::{Docker, Engine};
use crate::error::{Error, exit_code};
use crate::image_layout::Entry;
use crate::remote_store::{RemoteEntry, RemoteStore, patiently};
use crate::ui::{self, Table, age};

/// A remote store that a command works on, and what it names.
pub(super) struct Opened {
    pub(super) remote: Remote,
    pub(super) store: Arc<dyn RemoteStore>,
    pub(super) entries: Vec<RemoteEntry>,
}

impl Opened {
    /// Opens the remote store that flag, environment or configuration name, and lists it.
    pub(super) fn open(sh: &Shell, args: &StoreTaskArgs) -> Result<Opened, Error> {
        let workspace = Workspace::open(&sh.current_dir(), &args.place, None)?;
        let of_environment = sh.var("DOCKER_LAYER_CACHE_REMOTE").ok();
        let flag = args.remote.as_deref().filter(|url| !url.is_empty());
        let flag = flag.or(of_environment.as_deref());
        let Some(remote) = Remote::of(flag, &workspace.images, false)? else {
            return Err(Error::usage("no remote store is configured").with_hint(
                "name one with --remote=URL, or `remote` under `[store]` in `docker/images.toml`",
            ));
        };
        // Without an engine, only loopback is insecure.
        let docker = Docker::new().in_directory(workspace.root.as_std_path());
        let engine = Engine::detect(&docker, None);
        let insecure = engine.map_or_else(|_| Vec::new(), |engine| engine.insecure_registries);
        let failed = |error| of_remote(exit_code::STORE, &error);
        let store = remote.open(&insecure).map_err(failed)?;
        let of_thread = Arc::clone(&store);
        let entries = patiently(remote.patience(None), move |_| of_thread.list(&[]))
            .map_err(failed)
            .map_err(|error| error.during(format_args!("remote store `{}`", remote.url())))?;
        Ok(Opened {
            remote,
            store,
            entries,
        })
    }
}

/// `docker-store ls --remote`: the entries.
///
/// # Errors
/// Where there is no remote store, or it cannot be asked.
pub(in crate::task) fn list(sh: &Shell, args: &StoreTaskArgs) -> Result<(), Error> {
    let opened = Opened::open(sh, args)?;
    let entries = opened.entries.iter();
    let entries: Vec<_> = entries
        .map(|one| (one, Entry::of(&one.descriptor)))
        .collect();
    if args.json {
        let entries: Vec<_> = entries
            .iter()
            .map(|(one, entry)| {
                let entry = entry.as_ref();
                json!({
                    "name": one.name(),
                    "manifest": one.descriptor.digest,
                    "kind": entry.map_or("other", |entry| entry.kind.as_str()),
                    "image": entry.map(|entry| &entry.image),
                    "platform": entry.map(|entry| entry.platform.to_string()),
                    "stage": entry.and_then(|entry| entry.stage.as_ref()),
                    "mount": entry.and_then(|entry| entry.mount.as_ref()),
                    "created": entry.map(|entry| entry.created.to_string()),
                })
            })
            .collect();
        return ui::data(json!({ "store": opened.remote.url(), "entries": entries }));
    }
    let now = SystemTime::now();
    let mut table = Table::new(&["name", "image", "platform", "kind", ">age"]).uncut();
    for (one, entry) in &entries {
        let Some(entry) = entry else {
            table.row([one.name(), "", "", "other", "-"]);
            continue;
        };
        let made = now.duration_since(SystemTime::from(entry.created));
        table.row([
            one.name().to_owned(),
            entry.image.clone(),
            entry.platform.to_string(),
            entry.kind.as_str().to_owned(),
            made.map_or_else(|_| "-".to_owned(), age),
        ]);
    }
    if !table.is_empty() {
        ui::data(&table)?;
    }
    let url = opened.remote.url();
    ui::data(format_args!("{} entries at {url}", entries.len()))
}
