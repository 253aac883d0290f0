//! What a key is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::line::{Line, is_plain_ascii};
use crate::oci::{Digest, Platform, Reference};

/// One thing that a key is made of.
///
/// The order of the variants is the order of the lines in a recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    tag = "ingredient",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Ingredient {
    /// The image's name in the configuration.
    Image {
        /// Such as `app`.
        name: String,
    },
    /// The stage that is built, where it is not the last one.
    Target {
        /// Such as `runtime`.
        stage: String,
    },
    /// A platform that the image is built for.
    Platform {
        /// Such as `linux/amd64`.
        platform: Platform,
    },
    /// The kind of engine, where stored data is not portable between kinds.
    EngineClass {
        /// Such as `buildkit-graph-driver`.
        name: String,
    },
    /// The Dockerfile.
    Dockerfile {
        /// Relative to the repository, with forward slashes.
        path: String,
        /// Of its bytes.
        digest: Digest,
    },
    /// The frontend that `# syntax` names.
    Frontend {
        /// Normalised.
        reference: Reference,
        /// What the tag names.
        digest: Digest,
    },
    /// A base image, for one platform.
    Base(Base),
    /// Another image of ours that this one builds on.
    LinkedImage {
        /// Its name in the configuration.
        image: String,
        /// Of its full key.
        digest: Digest,
    },
    /// A build argument that the Dockerfile uses.
    BuildArg {
        /// Such as `RUBY_VERSION`.
        name: String,
        /// Of the value, which itself is never kept; none where the argument has no value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// The ignore file that rules the build context.
    IgnoreRules {
        /// Relative to the repository, with forward slashes.
        path: String,
        /// Of its bytes.
        digest: Digest,
    },
    /// A file that was configured as an input.
    Input {
        /// Relative to the repository, with forward slashes.
        path: String,
        /// What stands at the path.
        kind: InputKind,
        /// Of the file's bytes, or of the symlink's target text.
        digest: Digest,
    },
}

/// A base image: what `FROM`, `COPY --from` or a mount names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Base {
    /// Normalised, such as `docker.io/library/ruby:3.3`.
    pub reference: Reference,
    /// The platform that is asked for.
    pub platform: Platform,
    /// What the tag names: an index, or a manifest where the image has no index.
    pub digest: Digest,
    /// The manifest for `platform` in the index, where it was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_digest: Option<Digest>,
    /// As the Dockerfile writes it, such as `ruby:${RUBY_VERSION}`. Not part of the key.
    pub written: String,
    /// Where it is used. Not part of the key: lines only move with the Dockerfile.
    #[serde(default)]
    pub used_by: Vec<UsedBy>,
}

/// A place in the Dockerfile that uses a base image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UsedBy {
    /// The stage's name, or its number where it has none.
    pub stage: String,
    /// Such as `FROM` or `COPY`.
    pub instruction: String,
    /// The instruction's first line, from 1.
    pub line: usize,
}

/// What stands at an input's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// A file that its owner may not execute.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link.
    Symlink,
}

impl Ingredient {
    /// Returns a build argument with the digest of its value.
    pub fn build_arg(name: impl Into<String>, value: Option<&str>) -> Self {
        Self::BuildArg {
            name: name.into(),
            digest: value.map(|value| Digest::of(value.as_bytes())),
        }
    }

    /// Returns whether the base key holds the ingredient; the full key holds every one.
    pub fn is_in_base_key(&self) -> bool {
        !matches!(self, Self::IgnoreRules { .. } | Self::Input { .. })
    }

    /// Returns the ingredient's line in a key file, without the line break.
    ///
    /// Of a base with a known platform digest, the line names that one and not the index: an
    /// index also moves when another platform was built anew, which changes nothing here.
    pub(super) fn key_line(&self) -> String {
        match self {
            Self::Image { name } => Line::new("image").field(name),
            Self::Target { stage } => Line::new("target").field(stage),
            Self::Platform { platform } => platform_fields(Line::new("platform"), platform),
            Self::EngineClass { name } => Line::new("engine").field(name),
            Self::Dockerfile { path, digest } => Line::new("dockerfile").field(path).digest(digest),
            Self::Frontend { reference, digest } => {
                Line::new("frontend").field(reference).digest(digest)
            }
            Self::Base(base) => {
                let line = Line::new("base").field(&base.reference);
                let line = platform_fields(line, &base.platform);
                match &base.platform_digest {
                    Some(digest) => line.field("manifest").digest(digest),
                    None => line.field("tag").digest(&base.digest),
                }
            }
            Self::LinkedImage { image, digest } => {
                Line::new("linked-image").field(image).digest(digest)
            }
            Self::BuildArg { name, digest } => {
                let line = Line::new("arg").field(name);
                match digest {
                    Some(digest) => line.digest(digest),
                    None => line.field("unset"),
                }
            }
            Self::IgnoreRules { path, digest } => Line::new("ignore").field(path).digest(digest),
            Self::Input { path, kind, digest } => {
                Line::new("input").field(path).field(kind).digest(digest)
            }
        }
        .into_text()
    }

    /// Appends the ingredient as JSON.
    pub(super) fn write_json(&self, json: &mut String) {
        // There can be many inputs, and serde is slow in a build without optimisation.
        let Self::Input { path, kind, digest } = self else {
            json.push_str(&json_of(self));
            return;
        };
        json.push_str("{\"ingredient\":\"input\",\"path\":");
        if is_plain_ascii(path.as_bytes()) {
            json.push('"');
            json.push_str(path);
            json.push('"');
        } else {
            json.push_str(&json_of(path));
        }
        json.push_str(",\"kind\":\"");
        json.push_str(kind.as_str());
        json.push_str("\",\"digest\":\"");
        json.push_str(digest.as_str());
        json.push_str("\"}");
    }

    /// Returns the ingredient's line for people: its key line, and where a base is used.
    pub(super) fn text_line(&self) -> String {
        let line = self.key_line();
        let Self::Base(base) = self else { return line };
        let mut text = Line::continued(line).field("written").field(&base.written);
        if base.platform_digest.is_some() {
            text = text.field("tag").digest(&base.digest);
        }
        for used_by in &base.used_by {
            text = text
                .field("used-by")
                .field(&used_by.stage)
                .field(&used_by.instruction)
                .field(used_by.line);
        }
        text.into_text()
    }
}

fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("an ingredient holds only text and numbers")
}

/// Adds a platform: one field as people write it, unless a part of it holds a slash, which
/// would let two platforms write the same.
fn platform_fields(line: Line, platform: &Platform) -> Line {
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    if parts.iter().any(|part| part.contains('/')) {
        parts.iter().fold(line, Line::field)
    } else {
        line.field(platform)
    }
}

impl From<Base> for Ingredient {
    fn from(base: Base) -> Self {
        Self::Base(base)
    }
}

impl InputKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Executable => "executable",
            Self::Symlink => "symlink",
        }
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UsedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage `{}`, line {}", self.stage, self.line)
    }
}
