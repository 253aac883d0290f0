//! Whether a locked base has moved: a look at the registries that nothing depends on.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::oci::{Digest, Reference};
use crate::registry::{Client, ClientOptions, ResolveRequest};

/// A base whose tag names another digest than the lock file.
#[derive(Debug, Clone, Serialize)]
pub(in crate::task) struct Newer {
    reference: Reference,
    locked: Digest,
    current: Digest,
}

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub(in crate::task) struct Findings {
    pub(in crate::task) newer: Vec<Newer>,
    pub(in crate::task) notes: Vec<String>,
}

/// A look under way.
pub(in crate::task) struct Look {
    thread: JoinHandle<Findings>,
}

impl Look {
    /// Starts to look, one request a base, all at once.
    pub(super) fn start(options: ClientOptions, locked: Vec<(Reference, Digest)>) -> Self {
        Look {
            thread: std::thread::spawn(move || look(options, locked)),
        }
    }

    /// Waits for what was found; some seconds at most.
    pub(in crate::task) fn findings(self) -> Findings {
        self.thread.join().unwrap_or_default()
    }
}

fn look(options: ClientOptions, locked: Vec<(Reference, Digest)>) -> Findings {
    let mut findings = Findings::default();
    let options = ClientOptions {
        timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(3),
        retries: 0,
        ..options
    };
    let Ok(client) = Client::new(options) else {
        return findings;
    };
    let requests: Vec<ResolveRequest> = locked
        .iter()
        .map(|(reference, _)| ResolveRequest {
            reference: reference.clone(),
            platform: None,
        })
        .collect();
    for ((reference, locked), resolved) in locked.into_iter().zip(client.resolve(&requests)) {
        match resolved {
            Ok(resolved) if resolved.digest != locked => findings.newer.push(Newer {
                reference,
                locked,
                current: resolved.digest,
            }),
            Ok(_) => {}
            Err(error) => findings.notes.push(format!(
                "whether `{}` is newer than docker/bases.lock is not known: {error}",
                reference.familiar()
            )),
        }
    }
    findings.notes.extend(client.notes());
    findings
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is newer than in docker/bases.lock: {} → {} (`docker-key --update` takes it)",
            self.reference.familiar(),
            self.locked,
            self.current
        )
    }
}
