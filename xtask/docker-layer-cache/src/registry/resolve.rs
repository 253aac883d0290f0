//! All references at once, each once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::RegistryError;
use super::client::Client;
use super::manifest;
use super::platform_manifest::platform_digest;
use super::token::Access;
use crate::oci::{Digest, Platform, Reference};

/// More references than any build has; beyond it they queue.
const MAX_THREADS: usize = 32;

/// What to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRequest {
    /// The reference.
    pub reference: Reference,
    /// The platform whose manifest is wanted, too; without one, only what the tag names.
    pub platform: Option<Platform>,
}

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The digest of what the tag names: an index or a manifest.
    pub digest: Digest,
    /// The media type of that; empty for a reference with a digest that needed no network.
    pub media_type: String,
    /// The digest of the platform's manifest, where a platform was asked for.
    pub platform_digest: Option<Digest>,
    /// The host that answered; empty where no network was needed.
    pub endpoint: String,
}

type Results = Vec<(usize, Result<Resolved, RegistryError>)>;

/// Returns the results in the order of the requests.
pub(super) fn resolve(
    client: &Client,
    requests: &[ResolveRequest],
) -> Vec<Result<Resolved, RegistryError>> {
    // In the order of first appearance: the first FROM is asked for first.
    let mut groups: Vec<(&Reference, Vec<usize>)> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        match groups
            .iter_mut()
            .find(|(reference, _)| **reference == request.reference)
        {
            Some((_, indexes)) => indexes.push(index),
            None => groups.push((&request.reference, vec![index])),
        }
    }
    let done: Mutex<Results> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((reference, indexes)) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let platforms = indexes
                .iter()
                .map(|index| requests[*index].platform.as_ref());
            let results = resolve_one(client, reference, platforms);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(indexes.iter().copied().zip(results));
        }
    };
    std::thread::scope(|scope| {
        // This thread works too: one reference needs no other.
        for _ in 1..groups.len().min(MAX_THREADS) {
            scope.spawn(work);
        }
        work();
    });
    let mut results = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Returns one result per platform that is wanted of `reference`.
fn resolve_one<'a>(
    client: &Client,
    reference: &Reference,
    platforms: impl Iterator<Item = Option<&'a Platform>> + Clone,
) -> Vec<Result<Resolved, RegistryError>> {
    let named = match reference.digest() {
        Some(digest) => Ok(Resolved {
            digest: digest.clone(),
            media_type: String::new(),
            platform_digest: None,
            endpoint: String::new(),
        }),
        None => head(client, reference),
    };
    let mut named = match named {
        Ok(named) => named,
        Err(error) => return platforms.map(|_| Err(error.clone())).collect(),
    };
    if platforms.clone().all(|platform| platform.is_none()) {
        return platforms.map(|_| Ok(named.clone())).collect();
    }
    // By digest: between HEAD and GET the tag may move.
    let fetched = client
        .manifest(&reference.at_digest(&named.digest))
        .map_err(|error| error.about(reference));
    if let Ok(fetched) = &fetched {
        named.media_type.clone_from(&fetched.media_type);
        named.endpoint.clone_from(&fetched.endpoint);
    }
    platforms
        .map(|platform| match platform {
            None => Ok(named.clone()),
            Some(platform) => fetched.as_ref().map_err(Clone::clone).and_then(|fetched| {
                Ok(Resolved {
                    platform_digest: Some(platform_digest(reference, fetched, platform)?),
                    ..named.clone()
                })
            }),
        })
        .collect()
}

fn head(client: &Client, reference: &Reference) -> Result<Resolved, RegistryError> {
    let exchange = &client.exchange;
    let task = exchange.task(reference, Access::Pull);
    let named = exchange.read(&task, |endpoint| manifest::head(exchange, &task, endpoint))?;
    if let Some(fetched) = &named.fetched {
        client.keep(reference, fetched);
    }
    Ok(Resolved {
        digest: named.digest,
        media_type: named.media_type,
        platform_digest: None,
        endpoint: named.endpoint,
    })
}
