//! An OCI distribution registry on loopback, in memory: enough for `docker pull`, `docker push`
//! and `FROM 127.0.0.1:PORT/name` on every engine, with a log of requests and faults on demand.
//!
//! Blobs are shared by all repositories, nothing is checked against quotas, and there is no TLS:
//! engines take `127.0.0.1` as insecure by themselves.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

mod content;
mod fault;
mod front;
mod route;
mod server;

pub use fault::Fault;
pub use server::{Registry, Served};
