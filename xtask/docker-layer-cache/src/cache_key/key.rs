//! Cache keys and the text that they are digests of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Recipe};
use crate::oci::Digest;

/// A cache key: `v1-` and 64 hex digits, safe as a CI cache key and as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheKey(String);

/// Why a text is not a cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKeyError {
    text: String,
}

/// Which of a recipe's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Dockerfile, frontend, bases, build arguments, target, platforms.
    Base,
    /// The base key's ingredients, the ignore rules and the inputs.
    Full,
}

/// A recipe's two keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// See [`KeyKind::Base`].
    pub base: CacheKey,
    /// See [`KeyKind::Full`].
    pub full: CacheKey,
}

/// Returns the text of a key file: what CI checksums, and what [`CacheKey`] is the digest of.
///
/// ```text
/// docker-layer-cache full v1
/// arg RUBY_VERSION sha256:…
/// base docker.io/library/ruby:3.3 linux/amd64 tag sha256:…
/// dockerfile docker/Dockerfile sha256:…
/// image app
/// input Gemfile.lock file sha256:…
/// platform linux/amd64
/// ```
pub fn key_file(recipe: &Recipe, kind: KeyKind) -> String {
    let mut text = format!("docker-layer-cache {kind} v{FORMAT_VERSION}\n");
    for line in recipe.key_lines(kind) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Returns the text of the key file of an image for several platforms, made of the platforms' own.
/// The order of `files` does not matter.
pub fn combined_key_file(files: &[String], kind: KeyKind) -> String {
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.sort_unstable();
    let n = files.len();
    let header = format!("docker-layer-cache {kind} v{FORMAT_VERSION} of {n} platforms\n");
    header + &files.concat()
}

impl CacheKey {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of a key file's text.
    fn of_key_file(text: &str) -> Self {
        let digest = Digest::of(text.as_bytes());
        Self(format!("v{FORMAT_VERSION}-{}", digest.encoded()))
    }
}

impl Keys {
    /// Returns the keys of the texts that [`key_file`] returns.
    pub fn of_key_files(base: &str, full: &str) -> Self {
        Self {
            base: CacheKey::of_key_file(base),
            full: CacheKey::of_key_file(full),
        }
    }
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    /// Parses a key of any format version.
    fn from_str(text: &str) -> Result<Self, CacheKeyError> {
        let valid = text
            .strip_prefix('v')
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(version, hex)| {
                (1..=9).contains(&version.len())
                    && version.bytes().all(|b| b.is_ascii_digit())
                    && hex.len() == 64
                    && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(CacheKeyError {
                text: text.to_owned(),
            })
        }
    }
}

impl TryFrom<String> for CacheKey {
    type Error = CacheKeyError;

    fn try_from(text: String) -> Result<Self, CacheKeyError> {
        text.parse()
    }
}

impl From<CacheKey> for String {
    fn from(key: CacheKey) -> Self {
        key.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Full => "full",
        })
    }
}

impl fmt::Display for CacheKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a cache key such as `v1-` and 64 hex digits",
            self.text
        )
    }
}

impl std::error::Error for CacheKeyError {}
