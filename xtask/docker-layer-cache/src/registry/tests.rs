//! Behaviour against a scripted server on loopback.

mod fake_registry;
mod authorization;
mod downloads;
mod failures;
mod resolution;
mod secrecy;
mod uploads;

use std::time::Duration;

use fake_registry::{FakeRegistry, Reply, Request};

use super::*;
use crate::oci::{Digest, Reference, media_type};

const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;

fn options() -> ClientOptions {
    let mut options = ClientOptions::anonymous();
    options.backoff = Duration::from_millis(1);
    options.timeout = Duration::from_secs(10);
    options
}

fn client() -> Client {
    Client::new(options()).expect("the options are good")
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn tag(server: &FakeRegistry) -> Reference {
    reference(&format!("{}/team/app:1", server.host))
}

fn resolve(client: &Client, reference: &Reference) -> Result<Resolved, RegistryError> {
    let request = ResolveRequest {
        reference: reference.clone(),
        platform: None,
    };
    client.resolve(&[request]).remove(0)
}

/// The answer of a registry that holds `MANIFEST`.
fn manifest() -> Reply {
    Reply::Http(
        200,
        vec![
            ("content-type", media_type::OCI_MANIFEST.to_owned()),
            ("docker-content-digest", Digest::of(MANIFEST).to_string()),
        ],
        MANIFEST.to_vec(),
    )
}

fn status(code: u16) -> Reply {
    Reply::Http(code, Vec::new(), Vec::new())
}

fn with_header(code: u16, name: &'static str, value: impl Into<String>) -> Reply {
    Reply::Http(code, vec![(name, value.into())], Vec::new())
}
