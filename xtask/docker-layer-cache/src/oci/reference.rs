//! Image references: `[domain/]path[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

/// An image reference, normalised as Docker does: `alpine` is `docker.io/library/alpine`.
///
/// Source: <https://github.com/distribution/reference/blob/v0.6.0/normalize.go>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference. The text of the error is that of distribution/reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceError {
    message: String,
}

/// The registry that a reference without a host means.
const DOCKER_HUB: &str = "docker.io";

impl Reference {
    /// Returns the registry's host (and port), such as `docker.io`. Empty where the first component
    /// looks like a host but is not a valid one (`my_host.example/a`): the grammar then takes it as
    /// a part of the path, and no registry can serve it.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository's path, such as `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, where the reference is pinned.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the short form that people write, such as `alpine:3.20`: for people.
    ///
    /// It does not always mean the same: Docker shortens `docker.io/localhost/x` to `localhost/x`,
    /// which is another registry. What is to be read again is the `Display` form.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        if self.domain != DOCKER_HUB {
            return text;
        }
        let rest = &text[DOCKER_HUB.len() + 1..];
        match self.path.strip_prefix("library/") {
            Some(name) if !name.contains('/') => rest["library/".len()..].to_owned(),
            _ => rest.to_owned(),
        }
    }

    /// Returns the name under which `BuildKit` looks for a named context that replaces this
    /// image: the familiar form without `:latest`, such as `alpine` or `golang:1.25`.
    ///
    /// Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerui/config.go>
    /// (`NamedContext`)
    pub fn context_name(&self) -> String {
        let mut name = self.familiar();
        if name.ends_with(":latest") {
            name.truncate(name.len() - ":latest".len());
        }
        name
    }

    /// Returns the same repository at `digest`, without tag: what a build is pinned to.
    #[must_use]
    pub fn at_digest(&self, digest: &Digest) -> Self {
        Self {
            domain: self.domain.clone(),
            path: self.path.clone(),
            tag: None,
            digest: Some(digest.clone()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses what people write, as `ParseNormalizedNamed` and `TagNameOnly` do.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::new(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (domain, remainder) = split_docker_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(ReferenceError::new(format!(
                "invalid reference format: repository name ({remote}) must be lowercase"
            )));
        }
        let mut reference = parse(&format!("{domain}/{remainder}"))?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some("latest".to_owned());
        }
        Ok(reference)
    }
}

/// Splits off the registry: the first component where it looks like a host, else Docker Hub.
fn split_docker_domain(text: &str) -> (&str, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DOCKER_HUB, format!("library/{text}"));
    };
    let (domain, remote) = if first == "index.docker.io" {
        (DOCKER_HUB, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first {
        (first, rest)
    } else {
        (DOCKER_HUB, text)
    };
    if domain == DOCKER_HUB && !remote.contains('/') {
        (domain, format!("library/{remote}"))
    } else {
        (domain, remote.to_owned())
    }
}

/// Parses `name[:tag][@digest]` by the grammar of distribution/reference.
///
/// Source: <https://github.com/distribution/reference/blob/v0.6.0/regexp.go>
fn parse(text: &str) -> Result<Reference, ReferenceError> {
    let Some(parts) = match_reference(text) else {
        let lower = text.to_lowercase();
        return Err(ReferenceError::new(
            if lower != text && match_reference(&lower).is_some() {
                "repository name must be lowercase"
            } else {
                "invalid reference format"
            },
        ));
    };
    if parts.path.len() > 255 {
        return Err(ReferenceError::new(
            "repository name must not be more than 255 characters",
        ));
    }
    Ok(Reference {
        domain: parts.domain.to_owned(),
        path: parts.path.to_owned(),
        tag: parts.tag.map(str::to_owned),
        digest: parts.digest.map(parse_digest).transpose()?,
    })
}

/// The parts of a reference, as the grammar sees them.
struct Parts<'a> {
    domain: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn match_reference(text: &str) -> Option<Parts<'_>> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    // A colon behind the last slash starts the tag: a path component has none.
    let last_component = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last_component..].rfind(':') {
        Some(colon) => (
            &rest[..last_component + colon],
            Some(&rest[last_component + colon + 1..]),
        ),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return None;
    }
    let (domain, path) = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) && is_remote_name(path) => (domain, path),
        _ if is_remote_name(name) => ("", name),
        _ => return None,
    };
    Some(Parts {
        domain,
        path,
        tag,
        digest,
    })
}

/// `host[:port]`; a host is dotted labels of letters, digits and inner dashes, or `[IPv6]`.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
            if address.is_empty() || !address.bytes().all(hex) {
                return false;
            }
            (None, port)
        }
        None => match text.find(':') {
            Some(colon) => (Some(&text[..colon]), &text[colon..]),
            None => (Some(text), ""),
        },
    };
    let label = |label: &str| {
        label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    host.is_none_or(|host| host.split('.').all(label))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

/// Components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_remote_name(text: &str) -> bool {
    text.split('/').all(|component| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = component.as_bytes();
        let ends = |b: Option<&u8>| b.copied().is_some_and(alphanumeric);
        ends(bytes.first())
            && ends(bytes.last())
            && component
                .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
                .all(|separator| {
                    matches!(separator, "" | "." | "_" | "__")
                        || separator.bytes().all(|b| b == b'-')
                })
    })
}

/// A word character, then up to 127 word characters, dots and dashes.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(word)
        && bytes.len() <= 128
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

/// `algorithm:hex` with at least 32 hex digits of either case.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    algorithm.split(['-', '_', '+', '.']).all(|component| {
        component.starts_with(|c: char| c.is_ascii_alphabetic())
            && component.bytes().all(|b| b.is_ascii_alphanumeric())
    }) && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Validates as go-digest does, in its words.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    text.parse().map_err(|_| {
        let (algorithm, encoded) = text.split_once(':').unwrap_or((text, ""));
        ReferenceError::new(match algorithm {
            "sha256" if encoded.len() != 64 => "invalid checksum digest length",
            "sha384" if encoded.len() != 96 => "invalid checksum digest length",
            "sha512" if encoded.len() != 128 => "invalid checksum digest length",
            "sha256" | "sha384" | "sha512" => "invalid checksum digest format",
            _ if algorithm.bytes().any(|b| b.is_ascii_uppercase()) => {
                "invalid checksum digest format"
            }
            _ => "unsupported digest algorithm",
        })
    })
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl ReferenceError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.domain.is_empty() {
            write!(f, "{}/", self.domain)?;
        }
        f.write_str(&self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReferenceError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of distribution/reference, one JSON object a line.
    #[test]
    #[expect(clippy::print_stdout, reason = "the counts are the result")]
    fn agrees_with_distribution_reference() {
        let rows = include_str!("../../tests/conformance/references.jsonl");
        let (mut agree, mut differences) = (0, Vec::new());
        for row in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            let input = text("in").expect("a row has an input");
            let expected = text("error").map_or_else(
                || {
                    Ok(
                        ["normalized", "familiar", "domain", "path", "tag", "digest"]
                            .map(|key| text(key).unwrap_or_default()),
                    )
                },
                Err,
            );
            let actual = input
                .parse::<Reference>()
                .map(|reference| {
                    [
                        reference.to_string(),
                        reference.familiar(),
                        reference.domain().to_owned(),
                        reference.path().to_owned(),
                        reference.tag().unwrap_or_default().to_owned(),
                        reference
                            .digest()
                            .map(ToString::to_string)
                            .unwrap_or_default(),
                    ]
                })
                .map_err(|error| error.to_string());
            if actual == expected {
                agree += 1;
            } else {
                differences.push(format!("{input:?}: {actual:?}, expected {expected:?}"));
            }
        }
        println!("references: {agree} agree, {} differ", differences.len());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    #[test]
    fn the_short_form_can_mean_another_image() {
        for (text, familiar) in [
            ("docker.io/localhost/x:1", "localhost/x:1"),
            ("docker.io/docker.io/x:1", "docker.io/x:1"),
        ] {
            let reference: Reference = text.parse().expect("valid");
            assert_eq!(reference.familiar(), familiar);
            assert_ne!(familiar.parse(), Ok(reference.clone()));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "[a-zA-Z0-9._:/@\\[\\]é-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let printed = reference.to_string();
                if !reference.domain().is_empty() {
                    proptest::prop_assert_eq!(printed.parse::<Reference>(), Ok(reference));
                }
            }
        }
    }
}
