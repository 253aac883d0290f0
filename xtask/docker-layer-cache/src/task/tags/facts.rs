//! Where the values of placeholders come from: the CI's variables, and git where there are none.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

use super::template::Placeholder;
use crate::ui::Talk;

/// Longer than this no tag may be.
///
/// Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests>
const MAX_TAG: usize = 128;
/// How many digits a short commit has: what git shows of small repositories. git's own number grows
/// with the repository and differs between a shallow clone and a whole one.
const SHORT: usize = 7;

/// What is known of the commit and of the CI's build; git is asked at most once for each.
#[derive(Debug)]
pub(in crate::task) struct Facts {
    root: Utf8PathBuf,
    sha: OnceCell<Option<String>>,
    branch: OnceCell<Option<String>>,
    tag: OnceCell<Option<String>>,
    told: RefCell<BTreeSet<String>>,
}

impl Facts {
    /// Returns the facts about the repository at `root`; nothing is asked yet.
    pub(in crate::task) fn new(root: &Utf8Path) -> Facts {
        Facts {
            root: root.to_owned(),
            sha: OnceCell::new(),
            branch: OnceCell::new(),
            tag: OnceCell::new(),
            told: RefCell::default(),
        }
    }

    /// Says a line about tags, which are filled in several times, once.
    pub(in crate::task) fn tell_once(&self, talk: Talk, line: String) {
        if !self.told.borrow().contains(&line) {
            talk.say(&line);
            self.told.borrow_mut().insert(line);
        }
    }

    /// Returns the value of a placeholder, where it has one.
    pub(in crate::task) fn value(&self, placeholder: &Placeholder) -> Option<String> {
        let fact = |cell: &OnceCell<Option<String>>, words: &[&str]| {
            let known = || from_ci(placeholder, &variable).or_else(|| self.git(words));
            cell.get_or_init(known).clone()
        };
        match placeholder {
            Placeholder::GitSha => fact(&self.sha, &["rev-parse", "--verify", "HEAD"]),
            Placeholder::GitShort => {
                let sha = self.value(&Placeholder::GitSha)?;
                Some(sha.chars().take(SHORT).collect())
            }
            Placeholder::GitBranch => {
                let words = ["symbolic-ref", "--quiet", "--short", "HEAD"];
                fit_for_tag(&fact(&self.branch, &words)?)
            }
            Placeholder::GitTag => {
                let words = ["describe", "--tags", "--exact-match", "HEAD"];
                fit_for_tag(&fact(&self.tag, &words)?)
            }
            Placeholder::CiBuild => from_ci(placeholder, &variable),
            Placeholder::Env(name) => variable(name),
        }
    }

    /// Returns what `git` prints; nothing where there is no git, no repository or no such thing.
    fn git(&self, words: &[&str]) -> Option<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.root)
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let text = text.trim();
        (output.status.success() && !text.is_empty()).then(|| text.to_owned())
    }
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    (!value.trim().is_empty()).then(|| value.trim().to_owned())
}

/// Returns what a CI says of the commit. `variable` returns what is set and not empty.
///
/// Sources: <https://circleci.com/docs/variables/>,
/// <https://docs.github.com/en/actions/reference/variables-reference>,
/// <https://docs.gitlab.com/ci/variables/predefined_variables/>,
/// <https://buildkite.com/docs/pipelines/configure/environment-variables>
fn from_ci(placeholder: &Placeholder, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
    let of_github = |kind: &str| {
        variable("GITHUB_REF_NAME").filter(|_| variable("GITHUB_REF_TYPE").as_deref() == Some(kind))
    };
    match placeholder {
        // Buildkite says `HEAD` where nobody named a commit.
        Placeholder::GitSha => {
            let names = [
                "CIRCLE_SHA1",
                "GITHUB_SHA",
                "CI_COMMIT_SHA",
                "BUILDKITE_COMMIT",
            ];
            let is_commit = |sha: &String| {
                sha.len() >= 40 && sha.chars().all(|digit| digit.is_ascii_hexdigit())
            };
            names
                .iter()
                .filter_map(|name| variable(name))
                .find(is_commit)
        }
        // Of a pull request the branch that it comes from.
        Placeholder::GitBranch => first(&["CIRCLE_BRANCH", "GITHUB_HEAD_REF"])
            .or_else(|| of_github("branch"))
            .or_else(|| {
                first(&[
                    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
                    "CI_COMMIT_BRANCH",
                    "BUILDKITE_BRANCH",
                ])
            }),
        Placeholder::GitTag => variable("CIRCLE_TAG")
            .or_else(|| of_github("tag"))
            .or_else(|| first(&["CI_COMMIT_TAG", "BUILDKITE_TAG"])),
        Placeholder::CiBuild => first(&[
            "CIRCLE_BUILD_NUM",
            "GITHUB_RUN_NUMBER",
            "CI_PIPELINE_IID",
            "BUILDKITE_BUILD_NUMBER",
        ]),
        Placeholder::GitShort | Placeholder::Env(_) => None,
    }
}

/// Returns the text as a tag may be: what is not a letter, a digit, `_`, `.` or `-` becomes `-`.
fn fit_for_tag(text: &str) -> Option<String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let text: String = text
        .chars()
        .map(|c| if is_fit(c) { c } else { '-' })
        .collect();
    let text: String = text
        .trim_start_matches(['.', '-'])
        .chars()
        .take(MAX_TAG)
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &'static [(&str, &str)], placeholder: &Placeholder) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        from_ci(placeholder, &variable)
    }

    #[test]
    fn each_ci_has_its_variables() {
        const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
        use Placeholder::{CiBuild, GitBranch, GitSha, GitTag};
        for (variables, placeholder, expected) in [
            (&[("CIRCLE_SHA1", SHA)][..], GitSha, Some(SHA)),
            (&[("BUILDKITE_COMMIT", "HEAD")], GitSha, None),
            (&[("CIRCLE_BRANCH", "main")], GitBranch, Some("main")),
            (
                &[
                    ("GITHUB_REF_NAME", "7/merge"),
                    ("GITHUB_REF_TYPE", "branch"),
                    ("GITHUB_HEAD_REF", "fix"),
                ],
                GitBranch,
                Some("fix"),
            ),
            (
                &[("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")],
                GitBranch,
                None,
            ),
            (
                &[("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")],
                GitTag,
                Some("v1"),
            ),
            (&[("CI_COMMIT_BRANCH", "x")], GitBranch, Some("x")),
            (&[("CI_PIPELINE_IID", "7")], CiBuild, Some("7")),
            (&[("BUILDKITE_BUILD_NUMBER", "8")], CiBuild, Some("8")),
            (&[], CiBuild, None),
        ] {
            let found = said(variables, &placeholder);
            assert_eq!(found.as_deref(), expected, "{placeholder} of {variables:?}");
        }
    }

    #[test]
    fn branches_become_tags() {
        for (branch, expected) in [
            ("main", Some("main")),
            ("feature/ü_1", Some("feature--_1")),
            ("-x", Some("x")),
            ("v1.0+build", Some("v1.0-build")),
            ("/", None),
        ] {
            assert_eq!(fit_for_tag(branch).as_deref(), expected, "{branch}");
        }
        assert_eq!(
            fit_for_tag(&"x".repeat(200)).map(|tag| tag.len()),
            Some(128)
        );
    }
}
