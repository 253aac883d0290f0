//! CI: which one it is, whether its files keep the store from one job to the next, and variables
//! that say something else than was meant.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::finding::Finding;
use crate::task::images::nearest;

const CHECK: &str = "ci";

/// The variables that are read anywhere.
const VARIABLES: [&str; 10] = [
    "DOCKER_LAYER_CACHE_STORE",
    "DOCKER_LAYER_CACHE_KEY_DIR",
    "DOCKER_LAYER_CACHE_STRICT",
    "DOCKER_LAYER_CACHE_OFFLINE",
    "DOCKER_LAYER_CACHE_READ_ONLY",
    "DOCKER_LAYER_CACHE_STRATEGY",
    "DOCKER_LAYER_CACHE_IMPORT_RATE",
    "DOCKER_LAYER_CACHE_REMOTE",
    "DOCKER_LAYER_CACHE_ALWAYS_BUILD",
    "DOCKER_LAYER_CACHE_LIBRARY",
];
/// Variables of any ending: logins, and what the tests of this workspace take.
const PREFIXES: [&str; 2] = ["DOCKER_LAYER_CACHE_AUTH_", "DOCKER_LAYER_CACHE_TEST_"];

/// What is known of CI.
pub(super) struct CiFacts {
    /// The names of all variables.
    variables: BTreeSet<String>,
    /// A person sits before it.
    is_terminal: bool,
    /// The CI files that run tasks of ours: path from the root, text.
    files: Vec<(Utf8PathBuf, String)>,
    /// The store and the key folder, from the root; absolute where they are elsewhere.
    store: Utf8PathBuf,
    key_dir: Utf8PathBuf,
    /// A remote store is kept besides: no cache of the CI is needed.
    has_remote: bool,
    /// The names in key files of the images that there are.
    images: BTreeSet<String>,
}

impl CiFacts {
    /// Reads variables and CI files.
    pub(super) fn gather(
        root: &Utf8Path,
        store: &Utf8Path,
        key_dir: &Utf8Path,
        has_remote: bool,
        images: BTreeSet<String>,
    ) -> Self {
        use std::io::IsTerminal;
        let in_root = |path: &Utf8Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let mut paths: Vec<Utf8PathBuf> = [
            ".circleci/config.yml",
            ".gitlab-ci.yml",
            ".buildkite/pipeline.yml",
        ]
        .map(Into::into)
        .to_vec();
        let workflows = Utf8Path::new(".github/workflows");
        let found = root.join(workflows).read_dir_utf8();
        let mut found: Vec<Utf8PathBuf> = found
            .into_iter()
            .flatten()
            .filter_map(|file| Some(workflows.join(file.ok()?.file_name())))
            .filter(|path| matches!(path.extension(), Some("yml" | "yaml")))
            .collect();
        found.sort();
        paths.extend(found);
        CiFacts {
            variables: std::env::vars_os()
                .filter(|(_, value)| !value.is_empty())
                .filter_map(|(name, _)| name.into_string().ok())
                .collect(),
            is_terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            files: paths
                .into_iter()
                .filter_map(|path| {
                    let text = std::fs::read_to_string(root.join(&path)).ok()?;
                    Some((path, text))
                })
                .filter(|(_, text)| saves(text))
                .collect(),
            store: in_root(store),
            key_dir: in_root(key_dir),
            has_remote,
            images,
        }
    }

    /// Judges all of it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.which()];
        for (path, text) in &self.files {
            findings.extend(self.judge_file(path, text));
        }
        findings.extend(self.unknown_variables());
        findings
    }

    fn which(&self) -> Finding {
        let has = |name: &str| self.variables.contains(name);
        let known = [
            ("CIRCLECI", "CircleCI"),
            ("GITHUB_ACTIONS", "GitHub Actions"),
            ("GITLAB_CI", "GitLab CI"),
            ("BUILDKITE", "Buildkite"),
            ("JENKINS_URL", "Jenkins"),
            ("TF_BUILD", "Azure Pipelines"),
        ];
        let known = known.iter().find(|(variable, _)| has(variable));
        match known {
            _ if has("CI") && self.is_terminal => Finding::advice(
                CHECK,
                "CI is set, and this is a terminal",
                "tools take this for a job that nobody watches",
            )
            .mend("`unset CI`"),
            Some((_, name)) => Finding::ok(CHECK, format!("{name}{}", self.rules())),
            None if has("CI") => Finding::ok(
                CHECK,
                format!("a CI that is not known by name{}", self.rules()),
            ),
            None => Finding::ok(
                CHECK,
                format!("none: a machine of your own{}", self.rules()),
            ),
        }
    }

    /// Returns which of our own variables rule here.
    fn rules(&self) -> String {
        let set: Vec<&str> = VARIABLES
            .into_iter()
            .filter(|name| self.variables.contains(*name))
            .collect();
        match set.as_slice() {
            [] => String::new(),
            set => format!("; set: {}", set.join(", ")),
        }
    }

    fn judge_file(&self, path: &Utf8Path, text: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let store = &self.store;
        // What its own machines keep, such as Buildkite's, needs no cache of a CI.
        let is_elsewhere = store.is_absolute() || text.contains("DOCKER_LAYER_CACHE_STORE");
        if !is_elsewhere && !self.has_remote && !caches(text, store) {
            findings.push(
                Finding::advice(
                    CHECK,
                    format!("`{path}` runs our tasks, and `{store}` is in none of its cache paths"),
                    "what a job saves is gone with its machine, so that the next one starts cold",
                )
                .mend(lines_to_add(path, store)),
            );
        }
        for name in key_files(text, &self.key_dir) {
            if !self.images.contains(&name) {
                let known: Vec<&str> = self.images.iter().map(String::as_str).collect();
                let mend = match nearest(&name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there is {}", known.join(", ")),
                };
                findings.push(
                    Finding::advice(
                        CHECK,
                        format!("`{path}` takes key files of `{name}`, which is no image"),
                        "a checksum of a file that is not there is an error, or never changes",
                    )
                    .mend(mend),
                );
            }
        }
        if findings.is_empty() {
            let what = if self.has_remote {
                format!("`{path}` runs our tasks, and a remote store keeps what they save")
            } else {
                format!("`{path}` keeps the store")
            };
            findings.push(Finding::ok(CHECK, what));
        }
        findings
    }

    fn unknown_variables(&self) -> Vec<Finding> {
        self.variables
            .iter()
            .filter(|name| name.starts_with("DOCKER_LAYER_CACHE_"))
            .filter(|name| !VARIABLES.contains(&name.as_str()))
            .filter(|name| !PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
            .map(|name| {
                let finding = Finding::advice(
                    CHECK,
                    format!("the variable {name} means nothing"),
                    "what was to be set by it is not",
                );
                match nearest(name, VARIABLES.into_iter()) {
                    Some(near) => finding.mend(format!("`unset {name}`; did you mean {near}?")),
                    None => finding.mend(format!("`unset {name}`")),
                }
            })
            .collect()
    }
}

/// Tells whether a CI file runs a task that stores something.
fn saves(text: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .any(|line| line.contains("xtask") && has_word(line, &["docker-ci", "docker-save"]))
}

fn has_word(line: &str, words: &[&str]) -> bool {
    line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '&' | '|'))
        .any(|word| words.contains(&word))
}

/// Tells whether a line of the file, which is not a command of ours, is the store's path or that of
/// a folder above it. A light check: it knows no CI's grammar.
fn caches(text: &str, store: &Utf8Path) -> bool {
    let is_ours = |path: &str| {
        let path = path
            .trim_start_matches("./")
            .trim_start_matches("~/project/")
            .trim_end_matches("**")
            .trim_end_matches('/');
        !path.is_empty() && path != "." && store.starts_with(path)
    };
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.contains("xtask "))
        .flat_map(|line| {
            line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '[' | ']' | ','))
        })
        .any(is_ours)
}

/// Returns the names of images whose key files the text takes: `KEY_DIR/NAME.base`, `.full`.
fn key_files(text: &str, key_dir: &Utf8Path) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(key_dir.as_str()).skip(1))
        .filter_map(|rest| {
            let name: String = rest
                .strip_prefix('/')?
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
                .collect();
            let name = name
                .strip_suffix(".base")
                .or_else(|| name.strip_suffix(".full"))?;
            Some(name.to_owned())
        })
        .collect()
}

/// Returns the lines that keep the store in the CI of the file `path`.
fn lines_to_add(path: &Utf8Path, store: &Utf8Path) -> String {
    match path.as_str() {
        ".circleci/config.yml" => format!(
            "add behind the job, and `restore_cache` with the same keys before it:\n- save_cache:\n    key: layers-v1-{{{{ arch }}}}-{{{{ .Revision }}}}\n    paths:\n      - {store}"
        ),
        ".gitlab-ci.yml" => {
            format!("add to the job:\ncache:\n  key: layers\n  paths:\n    - {store}/")
        }
        ".buildkite/pipeline.yml" => {
            format!(
                "add to the step (or keep the store on the agent with --store):\ncache:\n  paths:\n    - {store}"
            )
        }
        _ => format!(
            "add before the job:\n- uses: actions/cache@v4\n  with:\n    path: {store}\n    key: layers-${{{{ github.sha }}}}\n    restore-keys: layers-"
        ),
    }
}

#[cfg(test)]
mod tests;
