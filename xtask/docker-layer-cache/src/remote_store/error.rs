//! What can go wrong between us and a remote store.

use std::fmt;

use crate::registry::{ErrorKind, RegistryError};

/// A failure at a remote store. No text of it shows a credential or the query of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteError {
    kind: RemoteErrorKind,
    message: String,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// The place is none, or this program was built without what it takes.
    Url,
    /// It has no such blob or entry.
    Missing,
    /// What came is not what was asked for.
    Wrong,
    /// It does not answer in time, stalls or trickles.
    Slow,
    /// Somebody else is at work there: later it will do.
    Busy,
    /// It refuses, or fails.
    Failed,
    /// What should go up cannot be read on this machine.
    Local,
}

impl RemoteError {
    pub(crate) fn new(kind: RemoteErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> RemoteErrorKind {
        self.kind
    }

    /// Tells whether the next request will most likely fail as well.
    pub fn is_outage(&self) -> bool {
        matches!(self.kind, RemoteErrorKind::Slow | RemoteErrorKind::Failed)
    }

    /// Returns the next step for the reader.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            RemoteErrorKind::Url => Some(
                "write `remote = \"oci://HOST/REPOSITORY\"` or `\"s3://BUCKET/PREFIX\"` under `[store]`, or --remote",
            ),
            RemoteErrorKind::Slow => Some("`remote-timeout` under `[store]` says how long to wait"),
            _ => None,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RemoteError {}

impl From<RegistryError> for RemoteError {
    fn from(error: RegistryError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => RemoteErrorKind::Missing,
            ErrorKind::DigestMismatch { .. } => RemoteErrorKind::Wrong,
            ErrorKind::Timeout => RemoteErrorKind::Slow,
            _ => RemoteErrorKind::Failed,
        };
        Self::new(kind, error)
    }
}

/// Returns the text without the queries of its URLs: some clouds sign there.
#[cfg(feature = "remote")]
pub(super) fn without_queries(text: &str) -> String {
    let mut clean = String::new();
    let mut in_query = false;
    for c in text.chars() {
        if in_query && (c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | ',')) {
            in_query = false;
        }
        if !in_query {
            clean.push(c);
        }
        in_query |= c == '?';
    }
    clean
}

#[cfg(all(test, feature = "remote"))]
mod tests {
    #[test]
    fn queries_of_urls_are_not_told() {
        let text = "GET \"https://a.example/b?sig=secret&x=1\" failed: is it there? (https://c/d?sig=secret) no";
        let clean = super::without_queries(text);
        assert!(!clean.contains("secret"), "{clean}");
        assert!(clean.ends_with("no"), "{clean}");
    }
}
