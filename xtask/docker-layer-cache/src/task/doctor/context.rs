//! What ignore files say of our own folders: a build context with the store in it changes with every
//! save, and goes to the engine with every build.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Shell, cmd};

use super::finding::Finding;
use crate::build_context::{IgnoreRules, find_ignore_file};
use crate::error::exit_code;
use crate::task::images::Image;

/// What is known of one image's context.
pub(super) struct ContextFacts {
    /// The image's name.
    image: String,
    /// The ignore file that rules, relative to the root; the one to write where there is none.
    ignore_file: Utf8PathBuf,
    /// Folders of ours that are in the context and are sent: their paths in the context.
    sent: Vec<String>,
    /// Why the ignore file cannot be used.
    unreadable: Option<String>,
}

impl ContextFacts {
    /// Reads the ignore file of `image`; `folders` are the store and the key folder.
    pub(super) fn gather(image: &Image, root: &Utf8Path, folders: &[&Utf8Path]) -> Self {
        let found = find_ignore_file(&image.dockerfile, &image.context);
        let ignore_file = found
            .clone()
            .unwrap_or_else(|| image.context.join(".dockerignore"));
        let ignore_file = ignore_file
            .strip_prefix(root)
            .map_or(ignore_file.clone(), Utf8Path::to_owned);
        let mut facts = ContextFacts {
            image: image.name.clone(),
            ignore_file,
            sent: Vec::new(),
            unreadable: None,
        };
        let rules = match found.map(std::fs::read).transpose() {
            Ok(text) => IgnoreRules::parse(&text.unwrap_or_default()).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let sent = rules.and_then(|rules| sent(&rules, &image.context, folders));
        match sent {
            Ok(sent) => facts.sent = sent,
            Err(error) => facts.unreadable = Some(error),
        }
        facts
    }

    /// Judges it; nothing where it is as it should be.
    pub(super) fn judge(&self) -> Option<Finding> {
        let ContextFacts {
            image, ignore_file, ..
        } = self;
        if let Some(error) = &self.unreadable {
            return Some(
                Finding::problem(
                    exit_code::USAGE,
                    "context",
                    format!("image `{image}`: `{ignore_file}`: {error}"),
                    "the build refuses it, or sends what it should leave out",
                )
                .mend(format!("correct the pattern in `{ignore_file}`")),
            );
        }
        if self.sent.is_empty() {
            return None;
        }
        let folders: Vec<String> = self.sent.iter().map(|path| format!("`{path}`")).collect();
        let patterns = patterns(&self.sent);
        Some(
            Finding::problem(
                exit_code::USAGE,
                "context",
                format!(
                    "image `{image}`: {} {} sent to the engine with each build",
                    folders.join(" and "),
                    if folders.len() == 1 { "is" } else { "are" }
                ),
                "they change with every job, so that a `COPY . .` never hits and keys move, and what is saved goes to the engine with each build",
            )
            .mend(format!("`printf '{}\\n' >> {ignore_file}`", patterns.join("\\n"))),
        )
    }
}

/// Returns the folders that are in the context and not left out, by their paths in it.
fn sent(
    rules: &IgnoreRules,
    context: &Utf8Path,
    folders: &[&Utf8Path],
) -> Result<Vec<String>, String> {
    let mut sent = Vec::new();
    for folder in folders {
        let Ok(path) = folder.strip_prefix(context) else {
            continue;
        };
        if path.as_str().is_empty() {
            sent.push(".".to_owned());
            continue;
        }
        // What a store and a key folder have in them: an exception may bring back a part.
        for file in ["index.json", "blobs/sha256/00"] {
            let path = path.join(file);
            if rules
                .keeps(path.as_str())
                .map_err(|error| error.to_string())?
            {
                sent.push(folder.strip_prefix(context).unwrap_or(folder).to_string());
                break;
            }
        }
    }
    Ok(sent)
}

/// Returns what to leave out: all of `target` where the folders are there, as cargo's own are.
fn patterns(paths: &[String]) -> Vec<String> {
    let patterns: BTreeSet<String> = paths
        .iter()
        .map(|path| match path.split_once('/') {
            Some(("target", _)) => "target".to_owned(),
            _ => path.clone(),
        })
        .collect();
    patterns.into_iter().collect()
}

/// Judges all contexts, and that git leaves the store alone; `is_ignored` is git's word on it, none
/// where there is no git or the store is elsewhere.
pub(super) fn judge(
    contexts: &[ContextFacts],
    is_ignored: Option<bool>,
    store: &Utf8Path,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = contexts.iter().filter_map(ContextFacts::judge).collect();
    if findings.is_empty() && !contexts.is_empty() {
        findings.push(Finding::ok(
            "context",
            "the store and the key folder are in no build context",
        ));
    }
    match is_ignored {
        Some(false) => findings.push(
            Finding::advice(
                "git",
                format!("`{store}` is not ignored by git"),
                "sooner or later somebody commits layers",
            )
            .mend(format!(
                "`echo '/{}' >> .gitignore`",
                patterns(&[store.to_string()]).join("")
            )),
        ),
        Some(true) => findings.push(Finding::ok("git", "the store is ignored")),
        None => {}
    }
    findings
}

/// Asks git whether it ignores `store`; none where there is no git, or the store is not in `root`.
pub(super) fn is_ignored_by_git(sh: &Shell, root: &Utf8Path, store: &Utf8Path) -> Option<bool> {
    let path = store.strip_prefix(root).ok()?.join("index.json");
    let output = cmd!(sh, "git -C {root} check-ignore --quiet -- {path}")
        .quiet()
        .ignore_status()
        .output()
        .ok()?;
    match output.status.code() {
        Some(0) => Some(true),
        Some(1) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn folders_that_are_sent() {
        for (ignore, context, expected) in [
            ("", "/r", vec!["target/store", "target/keys"]),
            ("target\n", "/r", vec![]),
            ("/target/\n", "/r", vec![]),
            ("target/store\n", "/r", vec!["target/keys"]),
            ("*\n!src\n", "/r", vec![]),
            (
                "target\n!target/store/index.json\n",
                "/r",
                vec!["target/store"],
            ),
            ("", "/r/docker", vec![]),
        ] {
            let rules = IgnoreRules::parse(ignore.as_bytes()).expect("good rules");
            let folders = ["/r/target/store", "/r/target/keys"].map(Utf8Path::new);
            let found = sent(&rules, Utf8Path::new(context), &folders).expect("good rules");
            assert_eq!(found, expected, "{ignore} {context}");
        }
    }

    #[test]
    fn the_hint_is_the_line_to_add() {
        let facts = ContextFacts {
            image: "app".into(),
            ignore_file: ".dockerignore".into(),
            sent: vec!["target/a".into(), "target/b".into(), "cache".into()],
            unreadable: None,
        };
        let findings = judge(&[facts], Some(false), Utf8Path::new("target/a"));
        assert_eq!(findings[0].level, Level::Problem);
        let mend = findings[0].mend.as_deref();
        assert_eq!(mend, Some("`printf 'cache\\ntarget\\n' >> .dockerignore`"));
        assert_eq!(findings[1].level, Level::Advice);
        let mend = findings[1].mend.as_deref();
        assert_eq!(mend, Some("`echo '/target' >> .gitignore`"));
    }
}
