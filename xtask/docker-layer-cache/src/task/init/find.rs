//! What a repository has: Dockerfiles, lock files, packages, and the files that could be added to.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use walkdir::{DirEntry, WalkDir};

use super::propose::{Found, FoundDockerfile};
use crate::dockerfile::{Action, Dockerfile, EvaluateOptions, Evaluation};
use crate::error::Error;

/// Folders of what is fetched or built; hidden ones are left out as well, but for `.docker`.
const LEFT_OUT: &[&str] = &[
    "target",
    "node_modules",
    "vendor",
    "dist",
    "venv",
    "__pycache__",
];

/// Files whose text decides what is proposed, besides the ignore files of Dockerfiles.
const READ: &[&str] = &[
    "Cargo.toml",
    "xtask/Cargo.toml",
    "docker-xtask/Cargo.toml",
    "xtask/src/main.rs",
    "docker-xtask/src/main.rs",
    ".cargo/config.toml",
    ".gitignore",
    ".dockerignore",
    "docker/images.toml",
    ".circleci/config.yml",
    ".gitlab-ci.yml",
    ".github/workflows/docker-layer-cache.yml",
    ".buildkite/pipeline.yml",
    "docker/ci/circleci.yml",
    "docker/ci/gitlab.yml",
    "docker/ci/buildkite.yml",
];

/// Folders whose presence tells which CI there is.
const CI_FOLDERS: &[&str] = &[".circleci", ".github", ".github/workflows", ".buildkite"];

/// Looks through the repository at `root`.
///
/// # Errors
/// Where a folder or a file cannot be read.
pub(super) fn find(root: &Utf8Path) -> Result<Found, Error> {
    let cannot = |path: &dyn std::fmt::Display, error: &dyn std::fmt::Display| {
        Error::usage(format_args!("cannot read `{path}`: {error}"))
    };
    let mut found = Found {
        name: root.file_name().unwrap_or("app").to_owned(),
        branch: default_branch(root),
        ..Found::default()
    };
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || is_looked_into(entry)) {
        let entry = entry.map_err(|error| cannot(&root, &error))?;
        let Some(path) = Utf8Path::from_path(entry.path()) else {
            continue;
        };
        let (Ok(path), true) = (path.strip_prefix(root), entry.file_type().is_file()) else {
            continue;
        };
        let name = path.file_name().unwrap_or_default();
        if is_dockerfile(name) {
            let bytes = std::fs::read(entry.path()).map_err(|error| cannot(&path, &error))?;
            match dockerfile(root, path, &bytes) {
                Ok(dockerfile) => found.dockerfiles.push(dockerfile),
                Err(why) => found.not_dockerfiles.push((path.to_owned(), why)),
            }
        } else if name == "Cargo.toml" && path != "Cargo.toml" {
            let folder = path.parent().unwrap_or(path).to_owned();
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            found.packages.insert(folder, text.contains("[workspace]"));
        } else {
            found.others.insert(path.to_owned());
        }
    }
    found.folders = CI_FOLDERS
        .iter()
        .filter(|folder| root.join(folder).is_dir())
        .map(|&folder| folder.to_owned())
        .collect();
    let ignore_files = found
        .dockerfiles
        .iter()
        .map(|dockerfile| format!("{}.dockerignore", dockerfile.path));
    let paths: BTreeSet<String> = READ
        .iter()
        .map(|&path| path.to_owned())
        .chain(ignore_files)
        .collect();
    found.texts = texts(root, paths)?;
    Ok(found)
}

fn texts(root: &Utf8Path, paths: BTreeSet<String>) -> Result<BTreeMap<Utf8PathBuf, String>, Error> {
    let mut texts = BTreeMap::new();
    for path in paths {
        match std::fs::read_to_string(root.join(&path)) {
            Ok(text) => {
                texts.insert(path.into(), text);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(Error::usage(format_args!("cannot read `{path}`: {error}"))),
        }
    }
    Ok(texts)
}

fn is_looked_into(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    !entry.file_type().is_dir()
        || name == ".docker"
        || !(name.starts_with('.') || LEFT_OUT.contains(&&*name))
}

/// Tells whether a file is named as Dockerfiles are: `Dockerfile`, `Dockerfile.web`,
/// `web.Dockerfile`; `Containerfile` likewise. Not `dockerfile.rs`.
fn is_dockerfile(name: &str) -> bool {
    let is_named = |stem: &str| {
        let lower = stem.to_ascii_lowercase();
        name == lower
            || name == stem
            || name.starts_with(&format!("{stem}."))
            || name.ends_with(&format!(".{stem}"))
            || name.ends_with(&format!(".{lower}"))
    };
    (is_named("Dockerfile") || is_named("Containerfile")) && !name.ends_with(".dockerignore")
}

fn dockerfile(root: &Utf8Path, path: &Utf8Path, bytes: &[u8]) -> Result<FoundDockerfile, String> {
    let parsed = Dockerfile::parse(bytes).map_err(|error| error.to_string())?;
    let evaluation = parsed.evaluate(&EvaluateOptions::new());
    let folder = path.parent().unwrap_or(Utf8Path::new(""));
    let sources = evaluation.as_ref().map(sources).unwrap_or_default();
    let n_there = |folder: &Utf8Path| {
        let is_there = |source: &&String| folder.join(source.trim_start_matches('/')).exists();
        sources.iter().filter(is_there).count()
    };
    Ok(FoundDockerfile {
        path: path.to_owned(),
        stages: stages(&parsed, evaluation.as_ref().ok()),
        n_sources_in_root: n_there(root),
        n_sources_in_folder: n_there(&root.join(folder)),
        sources,
        refusal: evaluation.err().map(|error| error.to_string()),
    })
}

/// Returns the name of each stage.
fn stages(parsed: &Dockerfile, evaluation: Option<&Evaluation>) -> Vec<Option<String>> {
    match evaluation {
        Some(evaluation) => evaluation
            .stages
            .iter()
            .map(|stage| stage.name.clone())
            .collect(),
        None => vec![None; parsed.stage_count()],
    }
}

/// Returns what `COPY` and `ADD` of the stages that are built take from the build context.
fn sources(evaluation: &Evaluation) -> Vec<String> {
    let instructions = evaluation
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let copies = instructions.filter_map(|instruction| match &instruction.action {
        Action::Copy(copy) if copy.from.is_none() => Some(copy),
        _ => None,
    });
    copies
        .flat_map(|copy| copy.sources.iter().cloned())
        .filter(|source| !source.contains("://"))
        .collect()
}

/// Returns the branch that the remote `origin` has as its own; `main` where nobody knows.
fn default_branch(root: &Utf8Path) -> String {
    let read = |path: &str| std::fs::read_to_string(root.join(".git").join(path)).ok();
    let of = |text: String, prefix: &str| text.trim().strip_prefix(prefix).map(str::to_owned);
    read("refs/remotes/origin/HEAD")
        .and_then(|text| of(text, "ref: refs/remotes/origin/"))
        .or_else(|| read("HEAD").and_then(|text| of(text, "ref: refs/heads/")))
        .unwrap_or_else(|| "main".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dockerfiles() {
        for name in [
            "Dockerfile",
            "dockerfile",
            "Dockerfile.web",
            "web.Dockerfile",
            "web.dockerfile",
            "Containerfile",
        ] {
            assert!(is_dockerfile(name), "{name}");
        }
        for name in [
            "Dockerfile.dockerignore",
            "web.dockerfile.md",
            "Dockerfiles",
            "dockerfile.rs",
            "README.md",
        ] {
            assert!(!is_dockerfile(name), "{name}");
        }
    }
}
