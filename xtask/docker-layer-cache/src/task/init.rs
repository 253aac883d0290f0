//! `docker-init`: a repository → the same repository with all that `cargo xtask docker-ci` needs.
//!
//! ```text
//! folder ──find──▶ Found ──propose──▶ Proposal ──render──▶ diff ──ask──▶ write
//! ```
//!
//! Files that are there are added to, never replaced; what cannot be added is said. A second run
//! finds nothing to do.

mod cargo_files;
mod ci_files;
mod find;
mod images_toml;
mod propose;
mod render;
#[cfg(test)]
mod tests;
mod toml_text;
mod write;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use xshell::Shell;

use crate::cli::InitArgs;
use crate::error::Error;
use crate::ui::{self, Talk};

pub(crate) use propose::Ci;
use propose::{Found, Wishes};

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &InitArgs) -> Result<(), Error> {
    let talk = Talk::default();
    let root = root(sh, args.root.as_deref())?;
    let found = find::find(&root)?;
    if found.dockerfiles.is_empty() {
        return Err(
            Error::usage(format_args!("there is no Dockerfile below `{root}`"))
                .with_hint("name the repository with --root"),
        );
    }
    let mut wishes = Wishes {
        ci: (!args.ci.is_empty()).then(|| args.ci.clone()),
        remote_docker: args.remote_docker,
        library: args
            .library
            .as_deref()
            .map(|path| library(sh, &root, path))
            .transpose()?,
        ..Wishes::default()
    };
    let asks = !args.yes && !args.dry_run && write::can_ask();
    if asks && found.text("docker/images.toml").is_none() {
        ask_for_targets(&found, &mut wishes);
    }
    let proposal = propose::propose(&found, &wishes);
    if args.json {
        let files: Vec<_> = proposal
            .changes
            .iter()
            .map(|change| {
                let action = change.before.as_ref().map_or("create", |_| "add");
                json!({ "path": change.path, "action": action, "text": change.after })
            })
            .collect();
        ui::data(json!({ "root": root, "files": files, "notes": proposal.notes }))?;
    } else if !proposal.changes.is_empty() {
        ui::data(render::diff(&proposal.changes).trim_end())?;
    }
    for note in &proposal.notes {
        talk.say(format_args!("note: {note}"));
    }
    if proposal.changes.is_empty() {
        talk.say("nothing to do: the repository is set up");
        return Ok(());
    }
    if args.dry_run {
        return Ok(());
    }
    let n = proposal.changes.len();
    if asks {
        let answer = write::ask(&format!("write these {n} files? [y/N]"));
        if !matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            talk.say("nothing was written");
            return Ok(());
        }
    } else if !args.yes {
        return Err(
            Error::usage("nothing was written: there is no terminal to ask on")
                .with_hint("say --yes to write these files, or --dry-run to look at them alone"),
        );
    }
    write::write(&root, &proposal.changes)?;
    let alias = proposal.alias;
    talk.say(format_args!(
        "{n} files written; next: `cargo {alias} docker-ci` in `{root}`, then commit them with Cargo.lock"
    ));
    Ok(())
}

/// Returns the repository's folder: the one that is named, or the nearest upwards with a `.git`.
fn root(sh: &Shell, named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Error> {
    let current = Utf8PathBuf::from_path_buf(sh.current_dir())
        .map_err(|path| Error::usage(format_args!("the path `{}` is not UTF-8", path.display())))?;
    match named {
        Some(root) => folder(&current.join(root), "--root", root),
        None => Ok(current
            .ancestors()
            .find(|folder| folder.join(".git").exists())
            .unwrap_or(&current)
            .to_owned()),
    }
}

/// Returns the library's folder: relative to the repository where it lies in it.
fn library(sh: &Shell, root: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    let current = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
    let whole = folder(&current.join(path), "--library", path)?;
    if !whole.join("Cargo.toml").is_file() {
        return Err(
            Error::usage(format_args!("`--library {path}` has no Cargo.toml"))
                .with_hint("name the folder of the package `docker-layer-cache`"),
        );
    }
    Ok(whole
        .strip_prefix(root)
        .map(Utf8Path::to_owned)
        .unwrap_or(whole))
}

fn folder(whole: &Utf8Path, flag: &str, said: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    whole.canonicalize_utf8().map_err(|error| {
        Error::usage(format_args!(
            "`{flag} {said}` is no folder that can be opened: {error}"
        ))
    })
}

/// Asks which stage is built, where a Dockerfile has several with names.
fn ask_for_targets(found: &Found, wishes: &mut Wishes) {
    for dockerfile in &found.dockerfiles {
        let names: Vec<&str> = dockerfile
            .stages
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let (Some(Some(last)), true) = (dockerfile.stages.last(), names.len() > 1) else {
            continue;
        };
        let path = &dockerfile.path;
        let others = names.join(", ");
        let answer = write::ask(&format!(
            "the stage of `{path}` to build, of {others}? [{last}]"
        ));
        if names.contains(&answer.as_str()) {
            wishes.targets.insert(path.clone(), answer);
        }
    }
}
