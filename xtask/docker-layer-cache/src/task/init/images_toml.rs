//! `docker/images.toml`: which images there are, by the Dockerfiles and the lock files.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::propose::{Found, FoundDockerfile, Proposal, ProposedImage, Wishes};

const PATH: &str = "docker/images.toml";

/// What package managers lock, by the file's name.
const LOCK_FILES: &[&str] = &[
    "Cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "Gemfile.lock",
    "gems.locked",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pixi.lock",
    "requirements.txt",
    "go.sum",
    "composer.lock",
    "mix.lock",
    "rebar.lock",
    "gradle.lockfile",
    "packages.lock.json",
    "pubspec.lock",
    "Package.resolved",
    "stack.yaml.lock",
    "cabal.project.freeze",
    "flake.lock",
];

/// Folders that a Dockerfile lies in while its context is the repository.
const OF_DOCKER: &[&str] = &[
    "docker",
    ".docker",
    "dockerfiles",
    "build",
    "ci",
    "deploy",
    "deployment",
    "infra",
    "ops",
];

/// Returns the images that the Dockerfiles make.
pub(super) fn images<'a>(found: &'a Found, wishes: &Wishes) -> Vec<ProposedImage<'a>> {
    let mut taken = BTreeSet::new();
    found
        .dockerfiles
        .iter()
        .map(|dockerfile| {
            let context = context(dockerfile);
            let last = dockerfile.stages.last().cloned().flatten();
            ProposedImage {
                name: free_name(&name(found, dockerfile), &mut taken),
                dockerfile,
                inputs: inputs(found, dockerfile, &context),
                context,
                target: wishes.targets.get(&dockerfile.path).cloned().or(last),
            }
        })
        .collect()
}

/// Proposes the file, or says what the one that is there does not name.
pub(super) fn propose(found: &Found, images: &[ProposedImage<'_>], proposal: &mut Proposal) {
    for image in images {
        if let Some(refusal) = &image.dockerfile.refusal {
            proposal.notes.push(format!(
                "`{}` cannot be built without more: {refusal}; give it `build-args` in `{PATH}`",
                image.dockerfile.path
            ));
        }
    }
    let Some(text) = found.text(PATH) else {
        proposal.create(PATH, text(images));
        return;
    };
    let is_defined_elsewhere = ["bake", "compose"].iter().any(|name| {
        let table: Option<toml::Table> = toml::from_str(text).ok();
        table.is_some_and(|table| table.contains_key(*name))
    });
    let unnamed = images
        .iter()
        .map(|image| &image.dockerfile.path)
        .filter(|path| !is_defined_elsewhere && !text.contains(path.as_str()));
    for path in unnamed {
        proposal.notes.push(format!(
            "`{PATH}` is left as it is; it names no image of `{path}`"
        ));
    }
}

fn text(images: &[ProposedImage<'_>]) -> String {
    let mut text = "# The images that are built and cached by `cargo xtask docker-*`.\n\n[store]\nmax-size = \"2 GiB\"\n".to_owned();
    for image in images {
        let _ = write!(text, "\n[image.{}]\n", image.name);
        let _ = writeln!(text, "dockerfile = {}", quoted(&image.dockerfile.path));
        if !image.context.as_str().is_empty() {
            let _ = writeln!(text, "context = {}", quoted(&image.context));
        }
        if let Some(target) = &image.target {
            let others: Vec<&str> = image
                .dockerfile
                .stages
                .iter()
                .flatten()
                .filter(|stage| *stage != target)
                .map(String::as_str)
                .collect();
            let _ = write!(text, "target = {}", quoted(target));
            let _ = match others.as_slice() {
                [] => writeln!(text),
                others => writeln!(text, " # or: {}", others.join(", ")),
            };
        }
        let _ = writeln!(text, "tags = [\"{}:latest\"]", image.name);
        let inputs: Vec<String> = image.inputs.iter().map(quoted).collect();
        let _ = match inputs.as_slice() {
            [] => writeln!(
                text,
                "# What else belongs to the key, such as lock files.\ninputs = []"
            ),
            inputs => writeln!(text, "inputs = [{}]", inputs.join(", ")),
        };
    }
    text
}

/// Returns the build context: the folder that has more of what the Dockerfile copies; where both
/// have as much, the folder's name tells.
fn context(dockerfile: &FoundDockerfile) -> Utf8PathBuf {
    let folder = folder_of(&dockerfile.path);
    let (in_root, in_folder) = (dockerfile.n_sources_in_root, dockerfile.n_sources_in_folder);
    if in_root > in_folder || (in_root == in_folder && is_of_docker(folder)) {
        Utf8PathBuf::new()
    } else {
        folder.to_owned()
    }
}

/// Returns the lock files that the image depends on: in its context or beside its Dockerfile, and
/// those that it copies or that lie in a folder that it copies.
fn inputs(found: &Found, dockerfile: &FoundDockerfile, context: &Utf8Path) -> Vec<Utf8PathBuf> {
    let is_taken = |path: &Utf8Path| {
        dockerfile.sources.iter().any(|source| {
            let source = source.trim_matches('/').trim_start_matches("./");
            matches!(source, "" | ".") || path.starts_with(source)
        })
    };
    // In a repository that is not Rust, `Cargo.lock` is that of the tasks.
    let is_ours = |path: &Utf8Path| path == "Cargo.lock" && !super::cargo_files::is_rust(found);
    let is_input = |path: &&Utf8PathBuf| {
        let name = path.file_name().unwrap_or_default();
        let (Some(folder), Ok(within)) = (path.parent(), path.strip_prefix(context)) else {
            return false;
        };
        LOCK_FILES.contains(&name)
            && !is_ours(path)
            && (folder == context || folder == folder_of(&dockerfile.path) || is_taken(within))
    };
    found.others.iter().filter(is_input).cloned().collect()
}

/// Returns the image's name: that of the folder, with what the Dockerfile's own name adds.
fn name(found: &Found, dockerfile: &FoundDockerfile) -> String {
    let folder = folder_of(&dockerfile.path);
    let of_folder = if is_of_docker(folder) {
        None
    } else {
        folder.file_name()
    };
    let file = dockerfile.path.file_name().unwrap_or_default();
    let lower = file.to_ascii_lowercase();
    let parts = ["dockerfile", "containerfile"].iter().find_map(|stem| {
        let behind = lower.strip_prefix(&format!("{stem}."));
        behind.or_else(|| lower.strip_suffix(&format!(".{stem}")))
    });
    match (of_folder, parts) {
        (None, None) => slug(&found.name),
        (Some(folder), None) => slug(folder),
        (None, Some(part)) => slug(part),
        (Some(folder), Some(part)) => slug(&format!("{folder}-{part}")),
    }
}

fn is_of_docker(folder: &Utf8Path) -> bool {
    folder
        .file_name()
        .is_none_or(|name| OF_DOCKER.contains(&name.to_ascii_lowercase().as_str()))
}

fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(Utf8Path::new(""))
}

/// Returns a name that tags and TOML take as it is: lower-case letters, digits and `-` between them.
fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        "app".to_owned()
    } else {
        words.join("-")
    }
}

fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.to_owned();
    let mut n = 2;
    while !taken.insert(free.clone()) {
        free = format!("{name}-{n}");
        n += 1;
    }
    free
}

/// Returns a string as TOML writes it: all that JSON escapes, TOML escapes the same way.
fn quoted(text: impl AsRef<str>) -> String {
    serde_json::to_string(text.as_ref()).expect("a string is JSON")
}
