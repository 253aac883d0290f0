//! Asking the registries while `docker info` still runs: it takes about as long.
//!
//! The engine's mirrors and insecure registries are not known by then, so they are guessed: those
//! of the last command. Where the guess was wrong, only what cannot depend on it is kept.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::super::dockerfile::Source;
use super::super::images::Image;
use super::super::notes::write_file;
use super::BaseConfigs;
use crate::dockerfile::{BaseKind, BaseReference};
use crate::engine::Engine;
use crate::oci::{Digest, Platform, Reference};
use crate::registry::{Client, ClientOptions, RegistryError, ResolveRequest};

const DOCKER_HUB: &str = "docker.io";

/// Answers under way.
pub(in crate::task) struct Ahead {
    thread: JoinHandle<Option<Answers>>,
}

/// What the registries answered.
pub(super) struct Answers {
    pub(super) client: Client,
    pub(super) digests: BTreeMap<Reference, Result<Digest, RegistryError>>,
    pub(super) configs: BaseConfigs,
    guess: Registries,
}

/// What an engine says about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::task) struct Registries {
    pub(super) mirrors: Vec<String>,
    pub(super) insecure: Vec<String>,
}

impl Ahead {
    /// Starts to ask for the bases of `image`. Whatever goes wrong is left to be found again when
    /// the engine is known.
    pub(in crate::task) fn start(image: &Image, platform: Platform, key_dir: &Utf8Path) -> Self {
        let (image, key_dir) = (image.clone(), key_dir.to_owned());
        let thread = std::thread::spawn(move || answers(&image, platform, &key_dir));
        Ahead { thread }
    }

    /// Waits for the answers and returns those that hold for the engine's registries.
    pub(super) fn answers(self, actual: &Registries) -> Option<Answers> {
        let mut answers = self.thread.join().ok().flatten()?;
        if answers.guess == *actual {
            return Some(answers);
        }
        // A mirror answers for Docker Hub alone; a registry that answered with TLS does so, too,
        // where TLS is not asked of it; one that did not may answer otherwise now.
        let same_tls = answers.guess.insecure == actual.insecure;
        answers.digests.retain(|reference, digest| {
            reference.domain() != DOCKER_HUB && (digest.is_ok() || same_tls)
        });
        Some(answers)
    }
}

impl Answers {
    /// Tells whether the client reaches registries as the engine does.
    pub(super) fn is_for(&self, actual: &Registries) -> bool {
        self.guess == *actual
    }
}

impl Registries {
    pub(in crate::task) fn of(engine: Option<&Engine>) -> Self {
        let Some(engine) = engine else {
            return Self::default();
        };
        let mut insecure = engine.insecure_registries.clone();
        // Loopback is insecure for everybody.
        insecure.retain(|host| !host.starts_with("127.") && !host.starts_with("::1"));
        insecure.sort();
        Registries {
            mirrors: engine.mirrors.clone(),
            insecure,
        }
    }

    /// Returns the client's options for these.
    pub(in crate::task) fn options(&self) -> ClientOptions {
        ClientOptions {
            mirrors: self.mirrors.clone(),
            insecure: self.insecure.clone(),
            ..ClientOptions::from_environment()
        }
    }

    /// Remembers them for the next command. A guess that is lost costs time alone.
    pub(super) fn remember(&self, key_dir: &Utf8Path) {
        if Self::last(key_dir).as_ref() != Some(self) {
            let json = serde_json::to_vec(self).expect("registries are JSON");
            let _ = write_file(&key_dir.join("registries.json"), &json);
        }
    }

    fn last(key_dir: &Utf8Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(key_dir.join("registries.json")).ok()?).ok()
    }
}

fn answers(image: &Image, platform: Platform, key_dir: &Utf8Path) -> Option<Answers> {
    let last = Registries::last(key_dir);
    let may_ask_hub = last.is_some();
    let guess = last.unwrap_or_default();
    let source = Source::read(image, platform).ok()?;
    let evaluation = source.evaluate(&source.options()).ok()?;
    let bases: Vec<&BaseReference> = evaluation
        .base_references
        .iter()
        .filter(|base| may_ask_hub || base.reference.domain() != DOCKER_HUB)
        .collect();
    let requests: Vec<ResolveRequest> = bases
        .iter()
        .map(|base| ResolveRequest {
            reference: base.reference.clone(),
            platform: None,
        })
        .collect();
    let client = Client::new(guess.options()).ok()?;
    let resolved = client.resolve(&requests);
    let digests: BTreeMap<Reference, Result<Digest, RegistryError>> = requests
        .into_iter()
        .map(|request| request.reference)
        .zip(resolved.into_iter().map(|one| one.map(|one| one.digest)))
        .collect();
    let pinned: Vec<(Reference, Platform)> = bases
        .iter()
        .filter(|base| base.kind == BaseKind::Base)
        .filter_map(|base| {
            let digest = digests.get(&base.reference)?.as_ref().ok()?;
            Some((base.reference.at_digest(digest), base.platform.clone()))
        })
        .collect();
    let mut configs = BaseConfigs::read(key_dir);
    configs.fetch(&client, &pinned);
    Some(Answers {
        client,
        digests,
        configs,
        guess,
    })
}
