//! Registries: from a reference to its digest, and blobs and manifests up and down.
//!
//! ```text
//! Reference ──▶ endpoints ──▶ HEAD /v2/<name>/manifests/<tag> ──▶ digest
//!            (mirrors, then        │  ▲
//!             the registry)    401 │  │ Authorization
//!                                  ▼  │
//!                  challenge ──▶ credentials ──▶ token
//! ```
//!
//! HTTP as the [distribution specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md)
//! has it; mirrors, insecure registries, certificates and credentials as the Docker engine and
//! its command line treat them. A reference is never *pulled* here, and nothing is kept on disk.
//!
//! **Invariant**: credentials go to the registry's own host and to the token server that it
//! names, never to the target of a redirect, and never over plain HTTP unless the registry is
//! insecure by the engine's word or on loopback. No error, note or `Debug` shows them.

mod client;
mod resolve;
mod manifest;
mod platform_manifest;
mod blob;
mod push;
mod tags;
mod exchange;
mod refusal;
mod endpoint;
mod authorize;
mod challenge;
mod token;
mod credentials;
mod login;
mod credential_helper;
mod retry;
mod rate_limit;
mod transport;
mod cause;
mod connections;
mod certificates;
mod verify;
mod options;
mod secret;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

pub use blob::BlobReader;
pub use client::Client;
pub use error::{ErrorCode, ErrorKind, RegistryError};
pub use login::{Login, LoginKind};
pub use manifest::FetchedManifest;
pub use options::{ClientOptions, Proxies};
pub use rate_limit::RateLimit;
pub use resolve::{ResolveRequest, Resolved};
#[cfg(feature = "remote")]
pub(crate) use transport::install_crypto_provider;
