//! Conventions of this repository as tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::support::{Outcome, Run, xtask};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("imports_are_read_also_from_groups", imports_are_read),
    ("imports_point_the_right_way", imports_point_the_right_way),
    ("pure_modules_name_no_world", pure_modules_name_no_world),
    ("only_engine_runs_docker", only_engine_runs_docker),
    ("changelog_has_the_version", changelog_has_the_version),
    ("readme_names_every_task", readme_names_every_task),
    ("alias_runs_xtask", alias_runs_xtask),
    ("shim_is_five_lines", shim_is_five_lines),
    ("no_trailing_spaces", no_trailing_spaces),
    ("files_stay_small", files_stay_small),
];

/// What each module may import of ours. What stands here for `task`, `cli` and the like is left
/// out: there the modules meet.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("dockerfile", &["oci"]),
    ("registry", &["oci"]),
    ("build_context", &["oci"]),
    ("cache_mount", &["oci"]),
    ("cache_key", &["oci", "dockerfile"]),
    ("plan", &["oci", "cache_key"]),
    ("buildkit_cache", &["oci"]),
    ("image_layout", &["oci"]),
    ("docker_archive", &["oci"]),
    ("engine", &["oci"]),
    ("remote_store", &["oci", "registry"]),
    ("ui", &["oci", "error"]),
];

const PURE: &[&str] = &[
    "oci",
    "dockerfile",
    "cache_key",
    "plan",
    "buildkit_cache",
    "docker_archive",
];

/// What a pure module never names: files, processes, environment, clock, network.
const WORLD: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "SystemTime",
    "Instant",
    "reqwest",
    "xshell",
];

fn imports_are_read() -> Outcome {
    let modules = ["oci", "engine", "plan"].map(str::to_owned).into();
    for (text, expected) in [
        ("use crate::oci::Digest;", vec!["oci"]),
        (
            "use crate::{oci::{Digest, engine}, plan};",
            vec!["oci", "plan"],
        ),
        (
            "use crate::{\n    oci::Digest,\n    engine::Docker,\n};",
            vec!["oci", "engine"],
        ),
        (
            "let x = crate::plan::Plan::new(crate::engine::Engine);",
            vec!["plan", "engine"],
        ),
        ("// crate::engine", vec![]),
        ("use crate::other;\n#[cfg(test)]\nuse crate::plan;", vec![]),
    ] {
        let found = imports(text, &modules);
        let found: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        if found != expected {
            return Err(format!("{text}: found {found:?}, not {expected:?}").into());
        }
    }
    Ok(())
}

fn imports_point_the_right_way() -> Outcome {
    let modules = modules()?;
    let mut wrong = Vec::new();
    for (module, allowed) in ARROWS {
        for (path, text) in sources_of(module)? {
            for (n, other) in imports(&text, &modules) {
                if other != *module && !allowed.contains(&other.as_str()) {
                    wrong.push(format!("{}:{n}: {module} imports {other}", path.display()));
                }
            }
        }
    }
    none(&wrong)
}

fn pure_modules_name_no_world() -> Outcome {
    let mut wrong = Vec::new();
    for module in PURE {
        for (path, text) in sources_of(module)? {
            for (n, line) in code_lines(&text) {
                for name in WORLD {
                    if names(line, name) {
                        wrong.push(format!("{}:{n}: {module} names {name}", path.display()));
                    }
                }
            }
        }
    }
    none(&wrong)
}

fn only_engine_runs_docker() -> Outcome {
    let mut wrong = Vec::new();
    for module in modules()?.iter().filter(|module| *module != "engine") {
        for (path, text) in sources_of(module)? {
            for (n, line) in code_lines(&text) {
                if line.contains("cmd!(") && line.contains("\"docker ")
                    || line.contains("Command::new(\"docker\")")
                {
                    wrong.push(format!("{}:{n}: runs docker", path.display()));
                }
            }
        }
    }
    none(&wrong)
}

fn changelog_has_the_version() -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md")?;
    let headings = changelog.lines().filter(|line| line.starts_with("## "));
    let mut found = headings.filter(|line| {
        line.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'))
            .any(|word| word == version)
    });
    match found.next() {
        Some(_) => Ok(()),
        None => Err(format!("CHANGELOG.md has no heading for {version}").into()),
    }
}

fn readme_names_every_task() -> Outcome {
    let help = Run::of(xtask().arg("--help"))?.success()?;
    let readme = read("README.md")?;
    let tasks: Vec<&str> = help
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with("docker-"))
        .collect();
    for task in [
        "docker-key",
        "docker-restore",
        "docker-build",
        "docker-save",
        "docker-ci",
    ] {
        assert!(
            tasks.contains(&task),
            "--help lists {task}\n{}",
            help.stdout
        );
    }
    let missing: Vec<String> = tasks
        .iter()
        .filter(|task| {
            !readme.contains(&format!("`{task}"))
                && !readme.contains(&format!("cargo xtask {task}"))
        })
        .map(|task| format!("README.md does not name {task}"))
        .collect();
    none(&missing)
}

fn alias_runs_xtask() -> Outcome {
    let config = read(".cargo/config.toml")?;
    let alias = "xtask = \"run --quiet --package xtask --\"";
    assert!(config.lines().any(|line| line == alias), "{config}");
    Ok(())
}

fn shim_is_five_lines() -> Outcome {
    let shim = read("xtask/src/main.rs")?;
    assert!(shim.lines().count() <= 5, "{shim}");
    Ok(())
}

fn no_trailing_spaces() -> Outcome {
    let mut wrong = Vec::new();
    for path in texts(&root())? {
        let text = fs::read_to_string(&path)?;
        for (n, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                wrong.push(format!("{}:{}: trailing space", path.display(), n + 1));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            wrong.push(format!("{}: no newline at the end", path.display()));
        }
    }
    none(&wrong)
}

fn files_stay_small() -> Outcome {
    let mut wrong = Vec::new();
    for path in texts(&root().join("xtask"))? {
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        let length = fs::read_to_string(&path)?.lines().count();
        if is_source && !is_test && length > 500 {
            wrong.push(format!("{}: {length} lines", path.display()));
        }
    }
    none(&wrong)
}

/// Returns the modules of the library.
fn modules() -> Result<BTreeSet<String>, Failed> {
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(library())? {
        let path = entry?.path();
        if let Some(name) = path.file_stem()
            && name != "lib"
        {
            modules.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(modules)
}

/// Returns the sources of a module; none where it does not exist.
fn sources_of(module: &str) -> Result<Vec<(PathBuf, String)>, Failed> {
    let file = library().join(format!("{module}.rs"));
    let folder = library().join(module);
    let mut paths = Vec::new();
    if file.is_file() {
        paths.push(file);
    }
    if folder.is_dir() {
        paths.extend(texts(&folder)?);
    }
    paths
        .into_iter()
        // Tests may read fixtures and look across.
        .filter(|path| {
            !path.ends_with("tests.rs")
                && !path.components().any(|part| part.as_os_str() == "tests")
        })
        .map(|path| Ok((path.clone(), fs::read_to_string(path)?)))
        .collect()
}

/// Returns the lines of code with their numbers: no comments, nothing behind `#[cfg(test)]`.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Returns the modules of ours that code names by `crate::`, with the line of each; the group of
/// `use crate::{…}` may go over several lines.
fn imports(text: &str, modules: &BTreeSet<String>) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = code_lines(text).collect();
    let mut found = Vec::new();
    for (place, (n, line)) in lines.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let mut rest = line[at + "crate::".len()..].to_owned();
            if rest.starts_with('{') {
                for (_, more) in &lines[place + 1..] {
                    if rest.contains(';') {
                        break;
                    }
                    rest.push_str(more);
                }
            }
            for path in top_of_paths(&rest) {
                if modules.contains(&path) {
                    found.push((*n, path));
                }
            }
        }
    }
    found
}

/// Returns the first names of `a::b` or of `{a::{b, c}, d}`: here `a`; `a` and `d`.
fn top_of_paths(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_word).collect()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![name(text)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// Tells whether `name` stands in `line` as a whole word.
fn names(line: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        !line[..at].ends_with(is_word) && !line[at + name.len()..].starts_with(is_word)
    })
}

/// Returns the text files below `folder`, sorted; not those that are built or fetched.
fn texts(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    const KINDS: &[&str] = &["rs", "toml", "md", "yml", "yaml", "sh"];
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let is_ours =
                !["target", ".git", "conformance", "proptest-regressions"].contains(&&*name);
            if is_ours {
                paths.extend(texts(&path)?);
            }
        } else if path
            .extension()
            .is_some_and(|extension| KINDS.contains(&&*extension.to_string_lossy()))
            || name == "Dockerfile"
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn none(wrong: &[String]) -> Outcome {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn library() -> PathBuf {
    root().join("xtask/docker-layer-cache/src")
}

fn read(path: &str) -> Result<String, Failed> {
    Ok(fs::read_to_string(root().join(path))
        .map_err(|cause| format!("failed to read `{path}`: {cause}"))?)
}
