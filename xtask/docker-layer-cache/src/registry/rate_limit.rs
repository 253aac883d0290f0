//! How many pulls a registry still allows, as Docker Hub's headers say.
//!
//! Source: <https://docs.docker.com/docker-hub/usage/pulls/#view-pull-rate-and-limit>

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;

/// What one answer says about the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Pulls in one window.
    pub limit: u64,
    /// Pulls that are left.
    pub remaining: u64,
    /// The window in seconds, where it is said.
    pub window_seconds: Option<u64>,
}

/// The last limit that each host told.
#[derive(Debug, Default)]
pub(super) struct RateLimits {
    by_host: Mutex<BTreeMap<String, RateLimit>>,
}

impl RateLimit {
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let get = |name: &str| parse(headers.get(name)?.to_str().ok()?);
        let (limit, window_seconds) = get("ratelimit-limit")?;
        let (remaining, _) = get("ratelimit-remaining")?;
        Some(Self {
            limit,
            remaining,
            window_seconds,
        })
    }

    /// Less than a tenth is left, or less than a small build needs.
    pub fn is_near(&self) -> bool {
        self.remaining <= (self.limit / 10).max(5)
    }
}

impl RateLimits {
    pub(super) fn note(&self, host: &str, limit: RateLimit) {
        self.by_host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.to_owned(), limit);
    }

    /// Returns the hosts with a limit, sorted.
    pub(super) fn all(&self) -> Vec<(String, RateLimit)> {
        self.by_host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(host, limit)| (host.clone(), *limit))
            .collect()
    }
}

/// Parses `98;w=21600`.
fn parse(value: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = value.split(';');
    let count = parts.next()?.trim().parse().ok()?;
    let window = parts.find_map(|part| part.trim().strip_prefix("w=")?.parse().ok());
    Some((count, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (value, expected) in [
            ("100;w=21600", Some((100, Some(21_600)))),
            ("98", Some((98, None))),
            ("98; w=60", Some((98, Some(60)))),
            ("many", None),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
    }
}
