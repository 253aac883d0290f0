//! Images of the engine: what it has, pulled, tagged, removed.

use serde::Deserialize;

use super::{Docker, EngineError, EngineErrorKind};
use crate::oci::{DiffId, Platform, Reference};

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LocalImage {
    /// Image ID.
    pub id: String,
    /// What it is called at registries, with digest.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_digests: Vec<String>,
    /// What it is called here.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// CPU architecture.
    #[serde(default)]
    pub architecture: String,
    /// Its layers.
    #[serde(default, rename = "RootFS")]
    root_fs: LocalRootFs,
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LocalRootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<DiffId>,
}

impl LocalImage {
    /// Returns the diff IDs of its layers, lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.root_fs.layers
    }

    /// Returns what containers are started by, as the engine tells it.
    pub fn config(&self) -> &serde_json::Value {
        &self.config
    }
}

impl Docker {
    /// Returns the images by these names; a name that the engine does not know is left out.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub fn inspect_images(&self, names: &[String]) -> Result<Vec<LocalImage>, EngineError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut args: Vec<String> = ["image", "inspect", "--"].map(str::to_owned).to_vec();
        args.extend(names.iter().cloned());
        let output = self.output(&args)?;
        // Unknown names give exit code 1, with the known ones on stdout all the same.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let missing_only = stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .all(|line| line.contains("No such image"));
        if !output.status.success() && !missing_only {
            return Err(EngineError::from_stderr("docker image inspect", &stderr));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| {
            EngineError::new(EngineErrorKind::Protocol, "docker image inspect", error)
        })
    }

    /// Returns the IDs of all images, intermediate ones too, sorted; or of those that the flags
    /// of `docker image ls` in `only` leave.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub(super) fn image_ids(&self, only: &[&str]) -> Result<Vec<String>, EngineError> {
        let all = ["image", "ls", "--all", "--quiet", "--no-trunc"];
        let args: Vec<String> = all.iter().chain(only).map(|&arg| arg.to_owned()).collect();
        let listed = self.read(&args)?;
        let mut ids: Vec<String> = String::from_utf8_lossy(&listed)
            .lines()
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Returns the layer chains of all images of the engine, intermediate ones too.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub fn all_chains(&self) -> Result<Vec<Vec<DiffId>>, EngineError> {
        self.chains(usize::MAX).map(Option::unwrap_or_default)
    }

    /// Returns the layer chains of all images of the engine, intermediate ones too; none where it
    /// has more than `n_max` images.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub fn chains(&self, n_max: usize) -> Result<Option<Vec<Vec<DiffId>>>, EngineError> {
        let ids = self.image_ids(&[])?;
        if ids.len() > n_max {
            return Ok(None);
        }
        let mut chains: Vec<Vec<DiffId>> = Vec::new();
        for some in ids.chunks(200) {
            chains.extend(
                self.inspect_images(some)?
                    .into_iter()
                    .map(|image| image.root_fs.layers),
            );
        }
        chains.sort();
        chains.dedup();
        Ok(Some(chains))
    }

    /// Pulls an image by digest, unless the engine has it for this platform.
    ///
    /// # Errors
    /// Where the pull fails.
    pub fn pull(&self, pinned: &Reference, platform: Option<&Platform>) -> Result<(), EngineError> {
        let name = pinned.to_string();
        // An engine with a graph driver keeps one platform of an index under its digest.
        let fits = |image: &LocalImage| {
            platform.is_none_or(|wanted| {
                image.os == wanted.os && image.architecture == wanted.architecture
            })
        };
        if self
            .inspect_images(std::slice::from_ref(&name))?
            .iter()
            .any(fits)
        {
            return Ok(());
        }
        let mut args = vec!["pull".to_owned(), "--quiet".to_owned()];
        args.extend(platform.map(|platform| format!("--platform={platform}")));
        args.push(name);
        self.read(&args).map(|_| ())
    }

    /// Gives an image one more tag.
    ///
    /// # Errors
    /// Where the engine has no such image, or the tag is not valid.
    pub fn tag(&self, image: &str, tag: &str) -> Result<(), EngineError> {
        self.read(&["tag".to_owned(), image.to_owned(), tag.to_owned()])
            .map(|_| ())
    }

    /// Takes tags away. What does not exist is no error.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub fn untag(&self, tags: &[String]) -> Result<(), EngineError> {
        if tags.is_empty() {
            return Ok(());
        }
        let mut args = vec![
            "image".to_owned(),
            "rm".to_owned(),
            "--no-prune".to_owned(),
            "--".to_owned(),
        ];
        args.extend(tags.iter().cloned());
        let output = self.output(&args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || stderr.lines().all(is_of_absent_image) {
            return Ok(());
        }
        Err(EngineError::from_stderr("docker image rm", &stderr))
    }
}

/// Another process may have taken the same image away.
fn is_of_absent_image(line: &str) -> bool {
    line.trim().is_empty()
        || ["No such image", "unrecognized image ID", "does not exist"]
            .iter()
            .any(|symptom| line.contains(symptom))
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}
