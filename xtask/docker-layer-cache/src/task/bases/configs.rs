//! What a build reads of the configs of its bases, remembered from one command to the next.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::super::notes::write_file;
use crate::error::Error;
use crate::oci::{Digest, Platform, Reference};
use crate::registry::{Client, RegistryError};

/// How many configs are remembered.
const MAX_CONFIGS: usize = 500;

/// What a build reads of a base's config.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct BaseConfig {
    /// `ONBUILD` triggers.
    pub(super) onbuild: Vec<String>,
    /// Environment, `NAME=value` each.
    pub(super) env: Vec<String>,
}

/// Configs by digest and platform: what has a digest never changes.
#[derive(Debug, Clone, Default)]
pub(super) struct BaseConfigs {
    known: BTreeMap<String, BaseConfig>,
    has_new: bool,
}

impl BaseConfigs {
    /// Reads what the key folder remembers.
    pub(super) fn read(key_dir: &Utf8Path) -> Self {
        let known = std::fs::read(file(key_dir)).ok();
        Self {
            known: known
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default(),
            has_new: false,
        }
    }

    /// Remembers what is new, for the next command.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn write(&self, key_dir: &Utf8Path) -> Result<(), Error> {
        if !self.has_new {
            return Ok(());
        }
        let kept: BTreeMap<_, _> = self.known.iter().take(MAX_CONFIGS).collect();
        let json = serde_json::to_vec(&kept).expect("configs are JSON");
        write_file(&file(key_dir), &json)
    }

    /// Returns the config of what `digest` names.
    pub(super) fn get(&self, digest: &Digest, platform: &Platform) -> Option<&BaseConfig> {
        self.known.get(&key(digest, platform))
    }

    /// Adds what another has found.
    pub(super) fn extend(&mut self, other: Self) {
        self.has_new |= other.has_new;
        self.known.extend(other.known);
    }

    /// Asks the registries for the configs that are not known yet, all at once: pinned references
    /// and their platforms. Returns those that cannot be had.
    pub(super) fn fetch(
        &mut self,
        client: &Client,
        bases: &[(Reference, Platform)],
    ) -> Vec<(Reference, RegistryError)> {
        let unknown: Vec<&(Reference, Platform)> = bases
            .iter()
            .filter(|(reference, platform)| {
                reference
                    .digest()
                    .is_some_and(|digest| self.get(digest, platform).is_none())
            })
            .collect();
        let fetched: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = unknown
                .iter()
                .map(|(reference, platform)| {
                    scope.spawn(move || fetch(client, reference, platform))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("fetching does not panic"))
                .collect()
        });
        let mut failed = Vec::new();
        for ((reference, platform), config) in unknown.into_iter().zip(fetched) {
            match (config, reference.digest()) {
                (Ok(config), Some(digest)) => {
                    self.known.insert(key(digest, platform), config);
                    self.has_new = true;
                }
                (Ok(_), None) => {}
                (Err(error), _) => failed.push((reference.clone(), error)),
            }
        }
        failed
    }
}

fn file(key_dir: &Utf8Path) -> Utf8PathBuf {
    key_dir.join(".work/base-configs.json")
}

fn key(digest: &Digest, platform: &Platform) -> String {
    format!("{digest} {platform}")
}

fn fetch(
    client: &Client,
    reference: &Reference,
    platform: &Platform,
) -> Result<BaseConfig, RegistryError> {
    #[derive(Default, Deserialize)]
    struct Document {
        #[serde(default)]
        config: Option<Config>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        #[serde(default)]
        on_build: Option<Vec<String>>,
        #[serde(default)]
        env: Option<Vec<String>>,
    }
    let (_, bytes) = client.image_config(reference, platform)?;
    // A config that is no image config (an artifact) has no triggers either.
    let document: Document = serde_json::from_slice(&bytes).unwrap_or_default();
    let config = document.config.unwrap_or_default();
    Ok(BaseConfig {
        onbuild: config.on_build.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
    })
}
