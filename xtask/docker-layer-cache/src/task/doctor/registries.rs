//! Registries: those of the bases, and those that the tags name. Whether they answer, and by which
//! login; never the login itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::finding::Finding;
use crate::error::exit_code;
use crate::oci::{Digest, Reference};
use crate::registry::{Client, ClientOptions, ErrorKind, LoginKind, RegistryError, ResolveRequest};

const CHECK: &str = "registry";
/// A doctor asks once, and does not wait for what is down.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of one registry.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Bases.
    pub(super) bases: BTreeSet<Reference>,
    /// Tags of results that name it.
    pub(super) tags: BTreeSet<Reference>,
}

/// What is known of one registry.
pub(super) struct RegistryFacts {
    /// `docker.io` for Docker Hub.
    host: String,
    n_bases: usize,
    n_tags: usize,
    login: LoginKind,
    /// What stood in the way of a login.
    login_problem: Option<String>,
    /// What went wrong with a base; the first of them.
    base_error: Option<RegistryError>,
    /// What went wrong with a tag.
    tag_error: Option<RegistryError>,
    /// The limit of pulls is near.
    note: Option<String>,
}

/// Returns what is asked of whom. Tags count where they name a registry: others are often never
/// pushed.
pub(super) fn wanted(bases: &[Reference], tags: &[String]) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut of = |reference: &Reference, is_base: bool| {
        // No registry serves a name without a host.
        if reference.domain().is_empty() {
            return;
        }
        let wanted = wanted.entry(reference.domain().to_owned()).or_default();
        if is_base {
            wanted.bases.insert(reference.clone());
        } else {
            wanted.tags.insert(reference.clone());
        }
    };
    for base in bases {
        of(base, true);
    }
    for tag in tags {
        if let Ok(reference) = tag.parse::<Reference>()
            && (reference.domain() != "docker.io" || tag.starts_with("docker.io/"))
        {
            of(&reference, false);
        }
    }
    wanted
}

/// Asks all registries at once.
pub(super) fn gather(
    options: ClientOptions,
    wanted: &BTreeMap<String, Wanted>,
) -> Result<Vec<RegistryFacts>, RegistryError> {
    let client = Client::new(ClientOptions {
        timeout: PATIENCE,
        total_timeout: PATIENCE,
        retries: 0,
        ..options
    })?;
    let mut facts: Vec<RegistryFacts> = std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .iter()
            .map(|(host, wanted)| scope.spawn(|| ask(&client, host, wanted)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("asking a registry does not panic"))
            .collect()
    });
    for note in client.notes() {
        let of_host = |facts: &&mut RegistryFacts| {
            note.contains(&facts.host) || facts.host == "docker.io" && note.contains("docker.io")
        };
        if let Some(facts) = facts.iter_mut().find(of_host) {
            facts.note = Some(note);
        }
    }
    Ok(facts)
}

fn ask(client: &Client, host: &str, wanted: &Wanted) -> RegistryFacts {
    let requests: Vec<ResolveRequest> = wanted
        .bases
        .iter()
        .filter(|reference| reference.digest().is_none())
        .map(|reference| ResolveRequest {
            reference: reference.clone(),
            platform: None,
        })
        .collect();
    let resolved = client.resolve(&requests);
    let mut base_error = resolved.into_iter().find_map(Result::err);
    // A pinned base is pulled from there all the same. Asking for a blob costs no pull; that there
    // is none of nothing is the answer of a registry that lets us in.
    if requests.is_empty()
        && let Some(pinned) = wanted.bases.first()
    {
        base_error = client.has_blob(pinned, &Digest::of(b"")).err();
    }
    let tag_error = wanted
        .tags
        .iter()
        .find_map(|tag| client.has_blob(tag, &Digest::of(b"")).err());
    let login = client.login(host);
    RegistryFacts {
        host: host.to_owned(),
        n_bases: wanted.bases.len(),
        n_tags: wanted.tags.len(),
        login: login.kind,
        login_problem: login.problem,
        base_error,
        tag_error,
        note: None,
    }
}

impl RegistryFacts {
    /// Judges all of it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(error) = &self.base_error {
            findings.push(
                Finding::problem(
                    exit_code::REGISTRY,
                    CHECK,
                    error,
                    "the key needs the digests of the bases: every job ends here",
                )
                .mend(mend(error)),
            );
        }
        if let Some(error) = &self.tag_error
            && self.base_error.is_none()
        {
            findings.push(self.judge_tag(error));
        }
        if let Some(problem) = &self.login_problem {
            findings.push(
                Finding::advice(
                    CHECK,
                    format!("`{}`: {problem}", self.host),
                    "what asks for a login is asked without one",
                )
                .mend(format!(
                    "install the credential helper, or take it out of `~/.docker/config.json` and `docker login{}`",
                    host_to_log_in(&self.host)
                )),
            );
        }
        if let Some(note) = &self.note {
            let (what, mend) = note.split_once(": ").unwrap_or((note, "`docker login`"));
            findings
                .push(Finding::advice(CHECK, what, "jobs fail where no pull is left").mend(mend));
        }
        if self.base_error.is_none() && self.tag_error.is_none() {
            if self.n_tags > 0 && self.login == LoginKind::Anonymous {
                findings.push(
                    Finding::advice(
                        CHECK,
                        format!("`{}`: reached, and there is no login for it", self.host),
                        "pushing the tags that name it will most likely be refused",
                    )
                    .mend(format!("`docker login{}`", host_to_log_in(&self.host))),
                );
            } else {
                findings.insert(0, Finding::ok(CHECK, self.reached()));
            }
        }
        findings
    }

    /// Judges what came of asking for a tag: the job itself does not push.
    fn judge_tag(&self, error: &RegistryError) -> Finding {
        let why = format!(
            "a push of the {} that name `{}` fails as this did",
            count(self.n_tags, "tag"),
            self.host
        );
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::Credentials => {
                Finding::problem(exit_code::REGISTRY, CHECK, error, why)
            }
            _ => Finding::advice(CHECK, error, why),
        }
        .mend(mend(error))
    }

    fn reached(&self) -> String {
        let login = match self.login {
            LoginKind::Anonymous => "anonymous",
            LoginKind::Password => "with a stored login",
            LoginKind::Token => "with a stored token",
        };
        let mut used = Vec::new();
        if self.n_bases > 0 {
            used.push(count(self.n_bases, "base"));
        }
        if self.n_tags > 0 {
            used.push(count(self.n_tags, "tag"));
        }
        format!("`{}`: reached, {login} ({})", self.host, used.join(", "))
    }
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn mend(error: &RegistryError) -> String {
    error
        .hint()
        .unwrap_or_else(|| "look at what the registry says, and ask who runs it".to_owned())
}

fn host_to_log_in(host: &str) -> String {
    match host {
        "docker.io" => String::new(),
        host => format!(" {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Level, exit_code_of};
    use super::*;

    fn facts() -> RegistryFacts {
        RegistryFacts {
            host: "reg.example".into(),
            n_bases: 2,
            n_tags: 0,
            login: LoginKind::Anonymous,
            login_problem: None,
            base_error: None,
            tag_error: None,
            note: None,
        }
    }

    #[test]
    fn bases_and_tags_are_sorted_by_registry() {
        let bases: Vec<Reference> = ["debian:12", "reg.example/a:1", "reg.example/b:1"]
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        let tags = [
            "app:latest",
            "team/app:1",
            "reg.example/app:1",
            "docker.io/team/app:2",
        ];
        let wanted = wanted(&bases, &tags.map(str::to_owned));
        let counts: Vec<(&str, usize, usize)> = wanted
            .iter()
            .map(|(host, wanted)| (host.as_str(), wanted.bases.len(), wanted.tags.len()))
            .collect();
        assert_eq!(counts, [("docker.io", 1, 1), ("reg.example", 2, 1)]);
    }

    #[test]
    fn a_good_registry_is_one_line() {
        for (facts, part) in [
            (facts(), "reached, anonymous (2 bases)"),
            (
                RegistryFacts {
                    n_tags: 1,
                    login: LoginKind::Password,
                    ..facts()
                },
                "with a stored login (2 bases, 1 tag)",
            ),
        ] {
            let findings = facts.judge();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].level, Level::Ok);
            assert!(findings[0].what.contains(part), "{findings:?}");
        }
    }

    #[test]
    fn what_is_near_or_missing_is_advice() {
        for (facts, part, hint) in [
            (
                RegistryFacts {
                    note: Some("`x` allows 3 more of 100 pulls: `docker login` raises it".into()),
                    ..facts()
                },
                "3 more of 100",
                "docker login",
            ),
            (
                RegistryFacts {
                    login_problem: Some("`docker-credential-x get`: not found".into()),
                    ..facts()
                },
                "docker-credential-x",
                "credential helper",
            ),
            (
                RegistryFacts {
                    n_tags: 1,
                    ..facts()
                },
                "no login",
                "`docker login reg.example`",
            ),
        ] {
            let findings = facts.judge();
            let found = findings.iter().find(|one| one.what.contains(part));
            let found = found.unwrap_or_else(|| panic!("{findings:?}"));
            assert_eq!(found.level, Level::Advice);
            assert!(
                found.mend.as_deref().unwrap_or("").contains(hint),
                "{found:?}"
            );
            assert_eq!(exit_code_of(&findings), 0);
        }
    }

    #[test]
    fn a_registry_that_is_down_ends_jobs_only_where_bases_are_there() {
        // Nothing listens on port 1.
        let ask = |name: &str, is_base: bool| {
            let reference: Reference = name.parse().expect("a reference");
            let (bases, tags) = if is_base {
                (vec![reference], vec![])
            } else {
                (vec![], vec![name.to_owned()])
            };
            let facts = gather(ClientOptions::anonymous(), &wanted(&bases, &tags));
            facts.expect("a client").remove(0).judge()
        };
        let of_base = ask("127.0.0.1:1/base:1", true);
        assert_eq!(exit_code_of(&of_base), exit_code::REGISTRY, "{of_base:?}");
        let pinned = format!("127.0.0.1:1/base@sha256:{}", "ab".repeat(32));
        assert_eq!(exit_code_of(&ask(&pinned, true)), exit_code::REGISTRY);
        let of_tag = ask("127.0.0.1:1/app:1", false);
        assert_eq!(of_tag[0].level, Level::Advice, "{of_tag:?}");
    }
}
