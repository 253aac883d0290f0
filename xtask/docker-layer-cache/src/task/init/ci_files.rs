//! The CI files: one for each CI that the repository has. One that is there is never added to: ours
//! lies beside it, and a note says how the two come together.

use super::propose::{Ci, Found, Proposal, Wishes};
use super::render::fill;

/// Proposes the CI files.
pub(super) fn propose(found: &Found, wishes: &Wishes, proposal: &mut Proposal) {
    let cis = match &wishes.ci {
        Some(cis) => cis.clone(),
        None => of_repository(found),
    };
    if cis.is_empty() {
        let note = "no CI was found here: name one with --ci, or run `docker-ci` in yours, with \
                    `target/docker-layer-cache` kept from one job to the next";
        proposal.notes.push(note.to_owned());
    }
    for ci in cis {
        if let Some(file) = CiFile::of(ci, wishes.remote_docker) {
            file.propose(found, proposal);
        }
    }
}

/// Returns the CIs that the repository has files of.
fn of_repository(found: &Found) -> Vec<Ci> {
    let mut cis = Vec::new();
    if found.folders.contains(".circleci") {
        cis.push(Ci::Circleci);
    }
    if found.folders.contains(".github/workflows") {
        cis.push(Ci::Github);
    }
    if found.text(".gitlab-ci.yml").is_some() {
        cis.push(Ci::Gitlab);
    }
    if found.folders.contains(".buildkite") {
        cis.push(Ci::Buildkite);
    }
    // The folder is also there for templates of issues.
    if cis.is_empty() && found.folders.contains(".github") {
        cis.push(Ci::Github);
    }
    cis
}

/// A CI's file.
struct CiFile {
    /// Where the CI looks for it.
    path: &'static str,
    /// Where it lies if there is one of the team's own.
    beside: &'static str,
    /// What to do with it then.
    merge: &'static str,
    template: &'static str,
    machine: &'static str,
    prepare: &'static str,
}

impl CiFile {
    fn of(ci: Ci, remote_docker: bool) -> Option<CiFile> {
        let plain = CiFile {
            path: "",
            beside: "",
            merge: "",
            template: "",
            machine: "",
            prepare: "",
        };
        Some(match ci {
            Ci::None => return None,
            Ci::Circleci => {
                let (machine, prepare) = if remote_docker {
                    (
                        include_str!("templates/circleci-remote.yml"),
                        include_str!("templates/circleci-remote-prepare.yml"),
                    )
                } else {
                    (
                        include_str!("templates/circleci-machine.yml"),
                        include_str!("templates/circleci-machine-prepare.yml"),
                    )
                };
                CiFile {
                    path: ".circleci/config.yml",
                    beside: "docker/ci/circleci.yml",
                    merge: "copy its job into `jobs`, and its name into the jobs of a workflow",
                    template: include_str!("templates/circleci.yml"),
                    machine,
                    prepare,
                }
            }
            Ci::Github => CiFile {
                path: ".github/workflows/docker-layer-cache.yml",
                template: include_str!("templates/github.yml"),
                ..plain
            },
            Ci::Gitlab => CiFile {
                path: ".gitlab-ci.yml",
                beside: "docker/ci/gitlab.yml",
                merge: "add `include: [{ local: docker/ci/gitlab.yml }]`, and a `stage` to its job where yours have other names",
                template: include_str!("templates/gitlab.yml"),
                ..plain
            },
            Ci::Buildkite => CiFile {
                path: ".buildkite/pipeline.yml",
                beside: "docker/ci/buildkite.yml",
                merge: "copy its step into `steps`, or run `buildkite-agent pipeline upload docker/ci/buildkite.yml` in one",
                template: include_str!("templates/buildkite.yml"),
                ..plain
            },
        })
    }

    fn propose(&self, found: &Found, proposal: &mut Proposal) {
        let values = [
            ("package", proposal.alias),
            ("branch", found.branch.as_str()),
            ("machine", self.machine),
            ("prepare", self.prepare),
        ];
        let text = fill(self.template, &values);
        match found.text(self.path) {
            None => proposal.create(self.path, text),
            Some(own) if own.contains("docker-ci") || own.contains("docker-key") => {}
            Some(_) if self.beside.is_empty() => {
                let note = format!("`{}` is left as it is", self.path);
                proposal.notes.push(note);
            }
            Some(own) => {
                let is_included = own.contains(self.beside);
                if found.text(self.beside).is_none() {
                    proposal.create(self.beside, text);
                }
                if !is_included {
                    proposal.notes.push(format!(
                        "`{}` is yours and is left as it is: take `{}` into it: {}",
                        self.path, self.beside, self.merge
                    ));
                }
            }
        }
    }
}
