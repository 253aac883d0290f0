//! The bases of an image: their digests, and what their configs add to the Dockerfile.

mod ahead;
mod configs;
mod lock;
mod newer;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::dockerfile::Source;
use super::job::Job;
use crate::cache_key::{Base, Ingredient, Recipe, UsedBy};
use crate::dockerfile::{BaseKind, BaseReference, Evaluation};
use crate::engine::Engine;
use crate::error::{Error, exit_code};
use crate::oci::{Digest, Platform, Reference};
use crate::registry::{Client, ClientOptions, RegistryError, ResolveRequest};

pub(super) use ahead::{Ahead, Registries};
use configs::{BaseConfig, BaseConfigs};
pub(super) use lock::Lock;
pub(super) use newer::{Look, Newer};

/// `ONBUILD` triggers can name images with triggers of their own; nobody nests them deeper.
const MAX_ROUNDS: usize = 4;

/// Where digests may come from, besides the registries.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// A recipe whose digests count before all others.
    pub(super) recipe: Option<&'a Recipe>,
    /// The lock file.
    pub(super) lock: Option<&'a Lock>,
    /// The lock file is about to be written.
    pub(super) writes_lock: bool,
    /// No registry is asked: the last recipe and the engine must know.
    pub(super) offline: bool,
    /// The last recipe.
    pub(super) last: Option<&'a Recipe>,
    /// What was asked before the engine was known.
    pub(super) ahead: Option<Ahead>,
}

/// Where a digest came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    /// The Dockerfile says it.
    Dockerfile,
    /// The registry, or a mirror of it, asked now.
    Registry,
    /// The key that an earlier command of this job made.
    LastKey,
    /// `docker/bases.lock`.
    Lock,
    /// Offline: the last recipe.
    LastRecipe,
    /// Offline: the engine's image of that name.
    Engine,
}

/// What the bases of an image are.
pub(super) struct Bases {
    pub(super) evaluation: Evaluation,
    pub(super) ingredients: Vec<Ingredient>,
    pub(super) digests: BTreeMap<Reference, (Digest, Origin)>,
    /// The config of every base was read: no `ONBUILD` trigger is missing from `evaluation`.
    pub(super) has_all_configs: bool,
    /// Whether locked bases have moved.
    pub(super) look: Option<Look>,
}

/// Resolves the bases of a Dockerfile, and evaluates it anew where their configs hold `ONBUILD`
/// triggers.
pub(super) fn resolve(
    job: &Job<'_>,
    engine: Option<&Engine>,
    source: &Source<'_>,
    known: Known<'_>,
) -> Result<Bases, Error> {
    let looks =
        known.lock.is_some() && known.recipe.is_none() && !known.offline && !known.writes_lock;
    let mut resolver = Resolver::new(job, engine, known);
    let mut options = source.options();
    let mut evaluation = source.evaluate(&options)?;
    let mut look = None;
    for round in 0..MAX_ROUNDS {
        resolver.resolve(&evaluation.base_references)?;
        if round == 0 && looks {
            look = resolver.look();
        }
        let configs = resolver.configs(&evaluation.base_references);
        let before = (options.onbuild.clone(), options.base_environments.clone());
        for (reference, config) in configs {
            options.onbuild.insert(reference.clone(), config.onbuild);
            options.base_environments.insert(reference, config.env);
        }
        if before == (options.onbuild.clone(), options.base_environments.clone()) {
            break;
        }
        evaluation = source.evaluate(&options)?;
    }
    resolver.resolve(&evaluation.base_references)?;
    if let Err(error) = resolver.configs.write(&job.workspace.key_dir) {
        job.talk.warn(error);
    }
    let has_all_configs = resolver.has_all_configs(&evaluation.base_references);
    let mut digests = BTreeMap::new();
    let mut ingredients = Vec::new();
    for base in &evaluation.base_references {
        let (digest, origin) = resolver.digests[&base.reference].clone();
        ingredients.push(ingredient(base, digest.clone()));
        digests.insert(base.reference.clone(), (digest, origin));
    }
    Ok(Bases {
        evaluation,
        ingredients,
        digests,
        has_all_configs,
        look,
    })
}

/// Returns a client for the registries themselves: what is pushed is asked of no mirror.
pub(super) fn client_without_mirrors(engine: Option<&Engine>) -> Result<Client, Error> {
    let options = ClientOptions {
        mirrors: Vec::new(),
        ..Registries::of(engine).options()
    };
    Client::new(options).map_err(|error| of_registry(&error))
}

struct Resolver<'a> {
    job: &'a Job<'a>,
    registries: Registries,
    client: Option<Client>,
    digests: BTreeMap<Reference, (Digest, Origin)>,
    configs: BaseConfigs,
    known: Known<'a>,
}

impl<'a> Resolver<'a> {
    fn new(job: &'a Job<'a>, engine: Option<&Engine>, known: Known<'a>) -> Self {
        let registries = Registries::of(engine);
        if engine.is_some() {
            registries.remember(&job.workspace.key_dir);
        }
        Resolver {
            job,
            registries,
            client: None,
            digests: known
                .recipe
                .map(digests_of)
                .unwrap_or_default()
                .into_iter()
                .map(|(reference, digest)| (reference, (digest, Origin::LastKey)))
                .collect(),
            configs: BaseConfigs::read(&job.workspace.key_dir),
            known,
        }
    }

    fn client(&mut self) -> Result<&Client, Error> {
        if self.client.is_none() {
            let client = Client::new(self.registries.options());
            self.client = Some(client.map_err(|error| of_registry(&error))?);
        }
        Ok(self.client.as_ref().expect("it was made just now"))
    }

    /// Finds the digests of what has none yet.
    fn resolve(&mut self, bases: &[BaseReference]) -> Result<(), Error> {
        let references: BTreeSet<&Reference> = bases.iter().map(|base| &base.reference).collect();
        let mut unknown: Vec<&Reference> = Vec::new();
        for reference in references {
            if self.digests.contains_key(reference) {
                continue;
            }
            let found = reference
                .digest()
                .map(|digest| (digest.clone(), Origin::Dockerfile))
                .or_else(|| {
                    let locked = self.known.lock?.digest(reference)?;
                    Some((locked.clone(), Origin::Lock))
                });
            match found {
                Some(found) => {
                    self.digests.insert(reference.clone(), found);
                }
                None => unknown.push(reference),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        if self.known.offline {
            return self.resolve_offline(&unknown, bases);
        }
        if self.known.lock.is_some() && !self.known.writes_lock {
            for reference in &unknown {
                self.job.talk.warn(format_args!(
                    "`{}` is not in docker/bases.lock; `docker-key --lock` adds it",
                    reference.familiar()
                ));
            }
        }
        self.ask(unknown, bases)
    }

    /// Asks the registries, all at once.
    fn ask(&mut self, unknown: Vec<&Reference>, bases: &[BaseReference]) -> Result<(), Error> {
        let mut found: BTreeMap<Reference, Result<Digest, RegistryError>> = BTreeMap::new();
        if let Some(answers) = self
            .known
            .ahead
            .take()
            .and_then(|ahead| ahead.answers(&self.registries))
        {
            let is_for = answers.is_for(&self.registries);
            found = answers.digests;
            self.configs.extend(answers.configs);
            for note in answers.client.notes() {
                self.job.talk.warn(note);
            }
            if is_for {
                self.client = Some(answers.client);
            }
        }
        let asked: Vec<&Reference> = unknown
            .iter()
            .copied()
            .filter(|reference| !found.contains_key(reference))
            .collect();
        if !asked.is_empty() {
            let requests: Vec<ResolveRequest> = asked
                .iter()
                .map(|reference| ResolveRequest {
                    reference: (*reference).clone(),
                    platform: None,
                })
                .collect();
            let resolved = self.client()?.resolve(&requests);
            for (reference, resolved) in asked.into_iter().zip(resolved) {
                found.insert(reference.clone(), resolved.map(|resolved| resolved.digest));
            }
            for note in self.client.iter().flat_map(Client::notes) {
                self.job.talk.warn(note);
            }
        }
        for reference in unknown {
            match found.remove(reference) {
                Some(Ok(digest)) => {
                    self.digests
                        .insert(reference.clone(), (digest, Origin::Registry));
                }
                Some(Err(error)) => return Err(unresolved(&error, reference, bases)),
                None => {}
            }
        }
        Ok(())
    }

    /// Takes what the last recipe or the engine knows.
    fn resolve_offline(
        &mut self,
        unknown: &[&Reference],
        bases: &[BaseReference],
    ) -> Result<(), Error> {
        let last = self.known.last.map(digests_of).unwrap_or_default();
        for reference in unknown {
            let name = reference.familiar();
            let found = last
                .get(reference)
                .map(|digest| (digest.clone(), Origin::LastRecipe))
                .or_else(|| Some((self.digest_of_engine(reference)?, Origin::Engine)));
            let Some((digest, origin)) = found else {
                let message = format!(
                    "base image `{name}`{}: offline, and neither the last recipe nor the engine knows its digest",
                    places(reference, bases)
                );
                return Err(Error::new(exit_code::REGISTRY, message).with_hint(format_args!(
                    "run `docker pull {name}` or `cargo xtask docker-key` once where the registry can be reached"
                )));
            };
            let from = match origin {
                Origin::Engine => "the engine's image",
                _ => "the last recipe",
            };
            self.job.talk.warn(format_args!(
                "offline: `{name}` is taken as {digest}, from {from}"
            ));
            self.digests.insert((*reference).clone(), (digest, origin));
        }
        Ok(())
    }

    /// Returns the digest under which the engine pulled what it has by that name.
    fn digest_of_engine(&self, reference: &Reference) -> Option<Digest> {
        let images = self
            .job
            .docker
            .inspect_images(&[reference.familiar()])
            .ok()?;
        let names = images.iter().flat_map(|image| &image.repo_digests);
        names
            .filter_map(|name| name.parse::<Reference>().ok())
            .find(|name| name.domain() == reference.domain() && name.path() == reference.path())
            .and_then(|name| name.digest().cloned())
    }

    fn has_all_configs(&self, bases: &[BaseReference]) -> bool {
        let mut images = bases.iter().filter(|base| base.kind == BaseKind::Base);
        images.all(|base| {
            let (digest, _) = &self.digests[&base.reference];
            self.configs.get(digest, &base.platform).is_some()
        })
    }

    /// Starts to look whether locked bases have moved.
    fn look(&self) -> Option<Look> {
        let locked: Vec<(Reference, Digest)> = self
            .digests
            .iter()
            .filter(|(_, (_, origin))| *origin == Origin::Lock)
            .map(|(reference, (digest, _))| (reference.clone(), digest.clone()))
            .collect();
        (!locked.is_empty()).then(|| Look::start(self.registries.options(), locked))
    }

    /// Returns the configs of the bases, by normalised reference. A config that cannot be had is a
    /// warning: without it the key does not follow images that only `ONBUILD` triggers name.
    fn configs(&mut self, bases: &[BaseReference]) -> Vec<(String, BaseConfig)> {
        let pinned: Vec<(Reference, Platform)> = bases
            .iter()
            .filter(|base| base.kind == BaseKind::Base)
            .map(|base| {
                let (digest, _) = &self.digests[&base.reference];
                (base.reference.at_digest(digest), base.platform.clone())
            })
            .collect();
        let is_known = |(reference, platform): &(Reference, Platform)| {
            reference
                .digest()
                .is_some_and(|digest| self.configs.get(digest, platform).is_some())
        };
        if !self.known.offline && !pinned.iter().all(is_known) && self.client().is_ok() {
            let client = self.client.as_ref().expect("there is one now");
            for (reference, error) in self.configs.fetch(client, &pinned) {
                self.job.talk.warn(format_args!(
                    "the config of `{}` cannot be read, so images that its ONBUILD triggers may name are not in the key: {error}",
                    reference.familiar()
                ));
            }
        }
        bases
            .iter()
            .filter(|base| base.kind == BaseKind::Base)
            .filter_map(|base| {
                let (digest, _) = &self.digests[&base.reference];
                let config = self.configs.get(digest, &base.platform)?;
                Some((base.reference.to_string(), config.clone()))
            })
            .collect()
    }
}

/// Returns the digests of a recipe by reference.
fn digests_of(recipe: &Recipe) -> BTreeMap<Reference, Digest> {
    let digest = |ingredient: &Ingredient| match ingredient {
        Ingredient::Base(base) => Some((base.reference.clone(), base.digest.clone())),
        Ingredient::Frontend { reference, digest } => Some((reference.clone(), digest.clone())),
        _ => None,
    };
    recipe.ingredients().iter().filter_map(digest).collect()
}

fn ingredient(base: &BaseReference, digest: Digest) -> Ingredient {
    if base.kind == BaseKind::Syntax {
        return Ingredient::Frontend {
            reference: base.reference.clone(),
            digest,
        };
    }
    let used_by = base.used_by.iter().map(|used| UsedBy {
        stage: used.stage.clone().unwrap_or_default(),
        instruction: used.instruction.clone(),
        line: used.line,
    });
    Ingredient::Base(Base {
        reference: base.reference.clone(),
        platform: base.platform.clone(),
        digest,
        platform_digest: None,
        written: base.written.clone(),
        used_by: used_by.collect(),
    })
}

fn unresolved(error: &RegistryError, reference: &Reference, bases: &[BaseReference]) -> Error {
    of_registry(error).during(format_args!(
        "base image `{}`{}",
        reference.familiar(),
        places(reference, bases)
    ))
}

/// Returns the lines that use a base, such as ` (line 1, line 7)`.
fn places(reference: &Reference, bases: &[BaseReference]) -> String {
    let uses = bases
        .iter()
        .filter(|base| base.reference == *reference)
        .flat_map(|base| &base.used_by);
    let lines: BTreeSet<usize> = uses.map(|used| used.line).collect();
    let lines: Vec<String> = lines
        .into_iter()
        .map(|line| format!("line {line}"))
        .collect();
    format!(" ({})", lines.join(", "))
}

pub(super) fn of_registry(error: &RegistryError) -> Error {
    let found = Error::new(exit_code::REGISTRY, error);
    match error.hint() {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}
