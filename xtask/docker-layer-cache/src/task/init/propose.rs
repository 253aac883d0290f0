//! What is proposed: pure, from what was found and wished for to files.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::{cargo_files, ci_files, images_toml};
use crate::build_context::IgnoreRules;

/// What a repository has. Paths are relative to its folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The name of the folder.
    pub(super) name: String,
    /// The branch that others come back to.
    pub(super) branch: String,
    pub(super) dockerfiles: Vec<FoundDockerfile>,
    /// Files with a Dockerfile's name that cannot be read as one, and why.
    pub(super) not_dockerfiles: Vec<(Utf8PathBuf, String)>,
    /// Folders with a `Cargo.toml`, but for the repository's own, and whether it has a workspace.
    pub(super) packages: BTreeMap<Utf8PathBuf, bool>,
    /// All other files, but for those of folders that are fetched, built or hidden.
    pub(super) others: BTreeSet<Utf8PathBuf>,
    /// Which of the folders that a CI has are there.
    pub(super) folders: BTreeSet<String>,
    /// The texts of files that can be added to, or that tell what is there already.
    pub(super) texts: BTreeMap<Utf8PathBuf, String>,
}

/// A Dockerfile.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundDockerfile {
    pub(super) path: Utf8PathBuf,
    /// The name of each stage; the last is built by default.
    pub(super) stages: Vec<Option<String>>,
    /// What `COPY` and `ADD` take from the build context.
    pub(super) sources: Vec<String>,
    /// How many of them are there, with the repository as the context.
    pub(super) n_sources_in_root: usize,
    /// How many of them are there, with the Dockerfile's folder as the context.
    pub(super) n_sources_in_folder: usize,
    /// Why it cannot be built as it is, such as for an `ARG` without a value.
    pub(super) refusal: Option<String>,
}

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The CIs; those that the repository has where none is named.
    pub(super) ci: Option<Vec<Ci>>,
    /// CircleCI's remote docker, and not its machines.
    pub(super) remote_docker: bool,
    /// The library's folder; its repository where there is none.
    pub(super) library: Option<Utf8PathBuf>,
    /// Stages that were chosen, by Dockerfile.
    pub(super) targets: BTreeMap<Utf8PathBuf, String>,
}

/// A CI that files can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Ci {
    /// CircleCI
    Circleci,
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
    /// Buildkite
    Buildkite,
    /// No CI file
    None,
}

/// A file that is made, or added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Utf8PathBuf,
    /// Its text so far, where it is there.
    pub(super) before: Option<String>,
    pub(super) after: String,
}

/// All that is proposed.
#[derive(Debug, Clone, Default)]
pub(super) struct Proposal {
    /// The files, in the order in which they are read best.
    pub(super) changes: Vec<Change>,
    /// What is left to do by hand, or was left as it is.
    pub(super) notes: Vec<String>,
    /// How the tasks are called: `cargo <name> docker-ci`.
    pub(super) alias: &'static str,
}

/// An image that `docker/images.toml` is to name.
#[derive(Debug, Clone)]
pub(super) struct ProposedImage<'a> {
    pub(super) name: String,
    pub(super) dockerfile: &'a FoundDockerfile,
    /// The build context; nothing for the repository itself.
    pub(super) context: Utf8PathBuf,
    pub(super) target: Option<String>,
    pub(super) inputs: Vec<Utf8PathBuf>,
}

/// Returns what is to be made and added in the repository.
pub(super) fn propose(found: &Found, wishes: &Wishes) -> Proposal {
    let mut proposal = Proposal::default();
    for (path, why) in &found.not_dockerfiles {
        let note = format!("`{path}` is left out, since it is no Dockerfile: {why}");
        proposal.notes.push(note);
    }
    let images = images_toml::images(found, wishes);
    images_toml::propose(found, &images, &mut proposal);
    cargo_files::propose(found, wishes, &images, &mut proposal);
    ignore_lines(found, &images, &mut proposal);
    ci_files::propose(found, wishes, &mut proposal);
    proposal
}

impl Found {
    /// Returns the text of a file, where it is there.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(Utf8Path::new(path)).map(String::as_str)
    }
}

impl Proposal {
    /// Proposes a file where there is none.
    pub(super) fn create(&mut self, path: &str, text: String) {
        self.changes.push(Change {
            path: path.into(),
            before: None,
            after: text,
        });
    }

    /// Proposes an addition; what cannot be added becomes a note.
    pub(super) fn add(&mut self, path: &str, before: Option<&str>, added: Result<String, String>) {
        match added {
            Ok(after) if before == Some(&*after) => {}
            Ok(after) => self.changes.push(Change {
                path: path.into(),
                before: before.map(str::to_owned),
                after,
            }),
            Err(by_hand) => self.notes.push(format!("`{path}`: {by_hand}")),
        }
    }
}

/// Keeps the store out of git and out of the build contexts.
fn ignore_lines(found: &Found, images: &[ProposedImage<'_>], proposal: &mut Proposal) {
    let is_covered = |line: &str| {
        let line = line.trim().trim_start_matches("**/");
        matches!(line.trim_matches('/'), "target")
    };
    let git = found.text(".gitignore");
    if !git.unwrap_or_default().lines().any(is_covered) {
        proposal.add(".gitignore", git, Ok(with_line(git, "/target")));
    }
    let in_root = images
        .iter()
        .filter(|image| image.context.as_str().is_empty());
    let mut files: BTreeMap<String, bool> = BTreeMap::new();
    for image in in_root {
        let own = format!("{}.dockerignore", image.dockerfile.path);
        let path = if found.text(&own).is_some() {
            own
        } else {
            ".dockerignore".to_owned()
        };
        let takes_target = |source: &String| source.trim_start_matches('/').starts_with("target");
        *files.entry(path).or_default() |= image.dockerfile.sources.iter().any(takes_target);
    }
    for (path, takes_target) in files {
        let text = found.text(&path);
        // What cannot be read as rules keeps everything, as far as we know.
        let keeps = IgnoreRules::parse(text.unwrap_or_default().as_bytes())
            .and_then(|rules| rules.keeps("target/docker-layer-cache/index.json"))
            .unwrap_or(true);
        if keeps {
            let line = if takes_target {
                "target/docker-layer-cache*"
            } else {
                "target"
            };
            proposal.add(&path, text, Ok(with_line(text, line)));
        }
    }
}

fn with_line(text: Option<&str>, line: &str) -> String {
    match text {
        Some(text) if !text.is_empty() && !text.ends_with('\n') => format!("{text}\n{line}\n"),
        text => format!("{}{line}\n", text.unwrap_or_default()),
    }
}
