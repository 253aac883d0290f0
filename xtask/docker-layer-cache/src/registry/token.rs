//! Bearer tokens: what a token server gives for credentials and scopes, kept until it expires.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::secret::Secret;

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) realm: String,
    pub(super) service: String,
    /// Sorted, each once.
    pub(super) scopes: Vec<String>,
}

/// An access token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    expires: Instant,
}

/// Tokens by what they are good for. One slot is filled by one request at a time: ten stages on
/// one base ask the token server once.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    slots: Mutex<HashMap<TokenKey, Slot>>,
}

type Slot = Arc<Mutex<Option<Token>>>;

/// The answer of a token server. Older ones say `token`, OAuth 2 ones `access_token`.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What we want to do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
    Delete,
}

impl Access {
    /// Returns the scope as token servers write it.
    pub(super) fn scope(self, repository: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        };
        format!("repository:{repository}:{actions}")
    }
}

impl TokenKey {
    /// Returns the key for the scopes of a challenge (separated by blanks) and our own.
    pub(super) fn new(realm: &str, service: &str, challenge_scope: &str, own: String) -> Self {
        let mut scopes: Vec<String> = challenge_scope
            .split_ascii_whitespace()
            .map(with_sorted_actions)
            .collect();
        // A registry knows best how it calls its scopes; ours stands in where it says nothing.
        if scopes.is_empty() {
            scopes.push(own);
        }
        scopes.sort();
        scopes.dedup();
        Self {
            realm: realm.to_owned(),
            service: service.to_owned(),
            scopes,
        }
    }
}

/// Registries write `push,pull` as well as `pull,push`: one token serves both.
fn with_sorted_actions(scope: &str) -> String {
    let Some((resource, actions)) = scope.rsplit_once(':') else {
        return scope.to_owned();
    };
    let mut actions: Vec<&str> = actions.split(',').collect();
    actions.sort_unstable();
    format!("{resource}:{}", actions.join(","))
}

impl TokenCache {
    /// Returns the slot for `key`; hold its lock while filling it.
    pub(super) fn slot(&self, key: &TokenKey) -> Slot {
        self.lock().entry(key.clone()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// The token is good for a while yet.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.expires
    }
}

impl TokenAnswer {
    /// Returns the token, received at `now`.
    pub(super) fn token(self, now: Instant) -> Option<Token> {
        let text = self
            .access_token
            .filter(|text| !text.is_empty())
            .or(self.token)
            .filter(|text| !text.is_empty())?;
        // 60 s where nothing is said; a tenth off for slow clocks and slow answers.
        let seconds = self.expires_in.unwrap_or(60).clamp(1, 86_400);
        Some(Token {
            secret: Secret::new(text),
            expires: now + Duration::from_secs(seconds).mul_f64(0.9),
        })
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenAnswer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        for (challenge, expected) in [
            ("", "repository:app:pull,push"),
            ("repository:app:push,pull", "repository:app:pull,push"),
            (
                "repository:b:pull repository:a:pull repository:b:pull",
                "repository:a:pull repository:b:pull",
            ),
            ("registry:catalog:*", "registry:catalog:*"),
            ("odd", "odd"),
        ] {
            let key = TokenKey::new("realm", "service", challenge, Access::Push.scope("app"));
            assert_eq!(key.scopes.join(" "), expected, "{challenge}");
        }
    }

    #[test]
    fn answers_of_token_servers() {
        let now = Instant::now();
        for (answer, expected) in [
            (r#"{"token":"a"}"#, Some(("a", 54))),
            (
                r#"{"token":"a","access_token":"b","expires_in":300}"#,
                Some(("b", 270)),
            ),
            (
                r#"{"access_token":"","token":"a","expires_in":null}"#,
                Some(("a", 54)),
            ),
            (r#"{"token":""}"#, None),
            ("{}", None),
        ] {
            let token = serde_json::from_str::<TokenAnswer>(answer)
                .expect("JSON")
                .token(now);
            let got = token.as_ref().map(|token| {
                let good_for = token.expires.duration_since(now).as_secs();
                (token.secret.expose(), good_for)
            });
            assert_eq!(got, expected, "{answer}");
        }
    }
}
