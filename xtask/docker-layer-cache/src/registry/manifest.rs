//! Manifests and indexes: their digest by HEAD, their bytes by GET.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests>

use reqwest::Method;
use serde::Deserialize;

use super::endpoint::Endpoint;
use super::exchange::{Exchange, Message, Target, Task};
use super::transport::Answer;
use super::verify::Verifier;
use super::{ErrorKind, RegistryError};
use crate::oci::{Digest, media_type};

/// The limit that registries themselves set.
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// All in one header, as go-containerregistry sends them: no registry is known to mind.
/// Without the OCI types some registries convert on the fly, which gives other digests.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index as the registry sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What it says it is.
    pub media_type: String,
    /// The bytes, as they are.
    pub bytes: Vec<u8>,
    /// The host that answered.
    pub endpoint: String,
}

/// What a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) endpoint: String,
    /// The bytes, where the digest was not to be had without them.
    pub(super) fetched: Option<FetchedManifest>,
}

/// Returns the digest of the task's reference: by HEAD, which no rate limit counts, or by GET
/// where HEAD does not tell.
pub(super) fn head(
    exchange: &Exchange,
    task: &Task,
    endpoint: &Endpoint,
) -> Result<Named, RegistryError> {
    let name = name_of(task);
    let result = exchange.send(
        task,
        endpoint,
        &message(Method::HEAD, &["manifests", &name]),
    );
    match result {
        Ok(answer) => {
            let media_type = answer.media_type();
            if is_schema1(&media_type) {
                return Err(answer.error(ErrorKind::Schema1));
            }
            let digest = digest_header(&answer)?;
            if let Some(digest) = digest
                && is_manifest(&media_type)
            {
                return Ok(Named {
                    digest,
                    media_type,
                    endpoint: endpoint.host.clone(),
                    fetched: None,
                });
            }
        }
        // The answer to a HEAD has no body that says why, and a few registries know no HEAD:
        // Docker asks again with GET, too.
        Err(error) if error.status().is_some() && !error.is_transient() => {}
        Err(error) => return Err(error),
    }
    let fetched = get(exchange, task, endpoint)?;
    Ok(Named {
        digest: fetched.digest.clone(),
        media_type: fetched.media_type.clone(),
        endpoint: fetched.endpoint.clone(),
        fetched: Some(fetched),
    })
}

/// Returns the bytes of the task's reference, checked against its digest and against the digest
/// that the registry announces.
pub(super) fn get(
    exchange: &Exchange,
    task: &Task,
    endpoint: &Endpoint,
) -> Result<FetchedManifest, RegistryError> {
    let name = name_of(task);
    let answer = exchange.send(task, endpoint, &message(Method::GET, &["manifests", &name]))?;
    let header_type = answer.media_type();
    let announced = digest_header(&answer)?;
    let place = answer.error(ErrorKind::Protocol);
    let at = |kind| RegistryError {
        kind,
        ..place.clone()
    };
    let bytes = answer.read_body(MAX_MANIFEST_BYTES, task.deadline)?;
    let media_type = media_type_of(&bytes, &header_type)
        .ok_or_else(|| at(ErrorKind::Protocol).with_cause("its answer is not a manifest"))?;
    if is_schema1(&media_type) {
        return Err(at(ErrorKind::Schema1));
    }
    let expected = task.reference.digest().or(announced.as_ref());
    let digest = match expected {
        None => Digest::of(&bytes),
        Some(expected) => {
            let mut verifier = Verifier::new(expected).ok_or_else(|| {
                at(ErrorKind::Protocol)
                    .with_cause(format!("digests like `{expected}` are not supported"))
            })?;
            verifier.update(&bytes);
            verifier.finish().map_err(|found| {
                at(ErrorKind::DigestMismatch {
                    expected: expected.clone(),
                    found,
                })
            })?;
            expected.clone()
        }
    };
    Ok(FetchedManifest {
        digest,
        media_type,
        bytes,
        endpoint: endpoint.host.clone(),
    })
}

fn message<'a>(method: Method, path: &'a [&'a str]) -> Message<'a> {
    Message {
        method,
        target: Target::Path(path),
        headers: &[("accept", ACCEPT)],
        body: &[],
    }
}

/// Returns the reference's digest, or else its tag.
fn name_of(task: &Task) -> String {
    match task.reference.digest() {
        Some(digest) => digest.to_string(),
        None => task.reference.tag().unwrap_or("latest").to_owned(),
    }
}

fn digest_header(answer: &Answer) -> Result<Option<Digest>, RegistryError> {
    match answer.header("docker-content-digest") {
        None | Some("") => Ok(None),
        Some(text) => text.trim().parse().map(Some).map_err(|_| {
            answer
                .error(ErrorKind::Protocol)
                .with_cause("its `Docker-Content-Digest` is not a digest")
        }),
    }
}

fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        media_type::OCI_INDEX
            | media_type::OCI_MANIFEST
            | media_type::DOCKER_MANIFEST_LIST
            | media_type::DOCKER_MANIFEST
    )
}

fn is_schema1(media_type: &str) -> bool {
    matches!(
        media_type,
        media_type::DOCKER_SCHEMA1 | "application/vnd.docker.distribution.manifest.v1+json"
    )
}

/// Returns what the bytes are: by their own word, by the header, or by their fields.
fn media_type_of(bytes: &[u8], header: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        schema_version: Option<u32>,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let probe: Probe = serde_json::from_slice(bytes).ok()?;
    if probe.schema_version == Some(1) {
        return Some(media_type::DOCKER_SCHEMA1.to_owned());
    }
    if let Some(own) = probe.media_type
        && is_manifest(&own)
    {
        return Some(own);
    }
    if is_manifest(header) {
        return Some(header.to_owned());
    }
    // OCI allows both to be left out.
    match (probe.manifests, probe.config) {
        (Some(_), _) => Some(media_type::OCI_INDEX.to_owned()),
        (None, Some(_)) => Some(media_type::OCI_MANIFEST.to_owned()),
        (None, None) => None,
    }
}
