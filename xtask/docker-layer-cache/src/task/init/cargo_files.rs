//! The Rust side: the shim, its place in the workspace, the alias, the profile.

use camino::{Utf8Path, Utf8PathBuf};
use toml::{Table, Value};

use super::propose::{Found, Proposal, ProposedImage, Wishes};
use super::render::fill;
use super::toml_text;

const SHIM: &str = include_str!("templates/main.rs");
const PACKAGE: &str = include_str!("templates/xtask.toml");
const WORKSPACE: &str = include_str!("templates/workspace.toml");
const CONFIG: &str = ".cargo/config.toml";

/// The crates of ours that are slow without optimisation.
const OPTIMIZED: &[&str] = &["sha2", "zstd-sys", "zlib-rs", "flate2"];

/// Tells whether the repository is a Rust package or workspace of its own: not one that was made
/// for the tasks alone.
pub(super) fn is_rust(found: &Found) -> bool {
    found
        .text("Cargo.toml")
        .is_some_and(|text| !text.starts_with(WORKSPACE.lines().next().unwrap_or_default()))
}

/// Proposes all that makes `cargo xtask docker-*` work.
pub(super) fn propose(
    found: &Found,
    wishes: &Wishes,
    images: &[ProposedImage<'_>],
    proposal: &mut Proposal,
) {
    let package = package(found);
    proposal.alias = package;
    let command = format!("run --quiet --package {package} --");
    let config = found.text(CONFIG);
    if alias(config, package).is_none() {
        let added = toml_text::with_alias(config.unwrap_or_default(), package, &command);
        proposal.add(CONFIG, config, added);
    }
    if package != "xtask" && found.text("docker-xtask/Cargo.toml").is_none() {
        proposal.notes.push(
            "`cargo xtask` is yours already, so the tasks are `cargo docker-xtask docker-*`; to have them \
             below your own, put `docker_layer_cache::Task` among your subcommands with `#[command(flatten)]`"
                .to_owned(),
        );
    }
    let manifest = format!("{package}/Cargo.toml");
    if found.text(&manifest).is_none() {
        let values = [("package", package), ("library", &library(wishes, package))];
        proposal.create(&manifest, fill(PACKAGE, &values));
    }
    let main = format!("{package}/src/main.rs");
    if found.text(&main).is_none() {
        proposal.create(&main, SHIM.to_owned());
    }
    workspace(found, package, images, proposal);
}

fn workspace(found: &Found, package: &str, images: &[ProposedImage<'_>], proposal: &mut Proposal) {
    let others = || {
        let others = found.packages.iter();
        others.filter(|(folder, is_root)| !**is_root && *folder != package)
    };
    let Some(text) = found.text("Cargo.toml") else {
        // Without this a package below would take itself for a member that was forgotten.
        let folders: Vec<String> = others()
            .map(|(folder, _)| format!("\"{folder}\""))
            .collect();
        let exclude = if folders.is_empty() {
            String::new()
        } else {
            format!("exclude = [{}]\n", folders.join(", "))
        };
        let values = [("package", package), ("exclude", &exclude)];
        proposal.create("Cargo.toml", fill(WORKSPACE, &values));
        return;
    };
    let table: Table = toml::from_str(text).unwrap_or_default();
    let mut added = Ok(text.to_owned());
    if !is_member(&table, package) {
        added = added.and_then(|text| toml_text::with_member(&text, package));
        let is_new = !table.contains_key("workspace");
        if is_new && others().next().is_some() {
            proposal.notes.push(
                "`Cargo.toml` becomes a workspace: put packages below it that are none of its dependencies, and are to \
                 stay by themselves, into `workspace.exclude`"
                    .to_owned(),
            );
        }
        note_of_images(package, images, proposal);
    }
    if is_rust(found) {
        added = added.and_then(|text| toml_text::with_optimized(&text, OPTIMIZED));
    }
    proposal.add("Cargo.toml", Some(text), added);
}

/// Says which images copy the workspace's manifest without its new member: cargo then refuses it.
fn note_of_images(package: &str, images: &[ProposedImage<'_>], proposal: &mut Proposal) {
    for image in images {
        let sources: Vec<&str> = image
            .dockerfile
            .sources
            .iter()
            .map(|source| source.trim_start_matches('/').trim_start_matches("./"))
            .map(|source| source.trim_end_matches('/'))
            .collect();
        let takes = |name: &str| sources.contains(&name);
        let copies_all = sources.iter().any(|source| matches!(*source, "" | "."));
        if image.context.as_str().is_empty()
            && (takes("Cargo.toml") || takes("Cargo.*"))
            && !copies_all
            && !takes(package)
        {
            proposal.notes.push(format!(
                "`{}` copies `Cargo.toml`, but not `{package}`, which is a member of the workspace now: \
                 add `COPY {package} {package}` there",
                image.dockerfile.path
            ));
        }
    }
}

/// Returns the package of the tasks: `xtask`, unless the team has one of its own without ours in it.
fn package(found: &Found) -> &'static str {
    let ours = "docker-layer-cache";
    let is_theirs = match found.text("xtask/Cargo.toml") {
        Some(manifest) => !manifest.contains(ours),
        None => alias(found.text(CONFIG), "xtask").is_some(),
    };
    if is_theirs { "docker-xtask" } else { "xtask" }
}

fn alias(config: Option<&str>, name: &str) -> Option<Value> {
    let table: Table = toml::from_str(config?).ok()?;
    toml_text::at(&table, &["alias"])?.get(name).cloned()
}

fn is_member(table: &Table, package: &str) -> bool {
    let members = toml_text::at(table, &["workspace"]).and_then(|table| table.get("members"));
    let members = members.and_then(Value::as_array);
    members.into_iter().flatten().any(|member| {
        let member = member.as_str().unwrap_or_default();
        member.trim_end_matches('/').trim_start_matches("./") == package || member == "*"
    })
}

/// Returns where the library comes from, as a dependency's value.
fn library(wishes: &Wishes, package: &str) -> String {
    match &wishes.library {
        Some(path) => {
            let up = Utf8Path::new(package).components().map(|_| "..");
            let up: Utf8PathBuf = up.collect();
            // Relative to the package; an absolute path stays one.
            format!("{{ path = \"{}\" }}", up.join(path))
        }
        None => format!(
            "{{ git = \"{}\", version = \"{}\" }}",
            env!("CARGO_PKG_REPOSITORY"),
            env!("CARGO_PKG_VERSION")
        ),
    }
}
