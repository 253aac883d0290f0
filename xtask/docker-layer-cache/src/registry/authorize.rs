//! From a challenge to an `Authorization` header.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::challenge::Challenge;
use super::credentials::{CredentialStore, Credentials, Found};
use super::endpoint::{Endpoint, Tls};
use super::exchange::{Exchange, MAX_ERROR_BYTES, Task};
use super::login::Login;
use super::refusal::refusal;
use super::secret::Secret;
use super::token::{Token, TokenAnswer, TokenCache, TokenKey};
use super::transport::Call;
use super::{ErrorKind, RegistryError};

/// Sent with refresh tokens: token servers want to know who asks.
const CLIENT_ID: &str = "docker-layer-cache";

/// What is sent to one registry, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// The token's place in the cache, for bearer tokens.
    key: Option<TokenKey>,
    secret: Secret,
    /// It was got for this very request: when it is refused, another one will be too.
    is_new: bool,
}

/// Credentials, tokens, and which kind of challenge each host answers with.
pub(super) struct Authorizer {
    credentials: CredentialStore,
    tokens: TokenCache,
    hosts: Mutex<HashMap<String, Remembered>>,
    secrets: Mutex<Vec<Secret>>,
}

#[derive(Debug, Clone)]
enum Remembered {
    Basic,
    Bearer { realm: String, service: String },
}

impl Authorizer {
    pub(super) fn new(credentials: CredentialStore) -> Self {
        Self {
            credentials,
            tokens: TokenCache::default(),
            hosts: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    pub(super) fn login(&self, registry: &str) -> Login {
        Login::of(&self.credentials.find(registry))
    }

    /// Returns what a host wanted last time: it saves the round trip of a refused request.
    pub(super) fn remembered(
        &self,
        exchange: &Exchange,
        task: &Task,
        endpoint: &Endpoint,
        came_by: Tls,
    ) -> Result<Option<Authorization>, RegistryError> {
        let remembered = self
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&endpoint.host)
            .cloned();
        let authorization = match remembered {
            None => return Ok(None),
            Some(Remembered::Basic) => Ok(self.basic(endpoint)),
            Some(Remembered::Bearer { realm, service }) => {
                let key = TokenKey::new(&realm, &service, "", task.scope());
                self.bearer(exchange, task, endpoint, came_by, &key, None)
            }
        };
        match authorization {
            Err(error) if error.is_transient() => Err(error),
            // Then the registry's own challenge decides.
            Err(_) => Ok(None),
            good => good,
        }
    }

    /// Answers the challenges of a refused request, `None` where there is nothing (else) to
    /// send.
    pub(super) fn answer(
        &self,
        exchange: &Exchange,
        task: &Task,
        endpoint: &Endpoint,
        came_by: Tls,
        challenges: &[Challenge],
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let find = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme == scheme)
        };
        let bearer = find("bearer").and_then(|challenge| {
            Some((
                challenge,
                challenge
                    .parameter("realm")
                    .filter(|realm| !realm.is_empty())?,
            ))
        });
        let remember = |remembered| {
            self.hosts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(endpoint.host.clone(), remembered);
        };
        if let Some((challenge, realm)) = bearer {
            let service = challenge.parameter("service").unwrap_or_default();
            remember(Remembered::Bearer {
                realm: realm.to_owned(),
                service: service.to_owned(),
            });
            let scope = challenge.parameter("scope").unwrap_or_default();
            let key = TokenKey::new(realm, service, scope, task.scope());
            return self.bearer(exchange, task, endpoint, came_by, &key, refused);
        }
        if find("basic").is_some() {
            remember(Remembered::Basic);
            return Ok(match refused {
                Some(Authorization { key: None, .. }) => None,
                _ => self.basic(endpoint),
            });
        }
        Ok(None)
    }

    /// Returns what stood in the way of finding credentials for the endpoint.
    pub(super) fn problem(&self, endpoint: &Endpoint) -> Option<String> {
        self.credentials.find(&endpoint.credentials).problem
    }

    /// Returns whether there are credentials for the endpoint.
    pub(super) fn has_credentials(&self, endpoint: &Endpoint) -> bool {
        self.credentials.find(&endpoint.credentials).credentials != Credentials::Anonymous
    }

    /// Takes every password and token that was sent out of a text that a server wrote.
    pub(super) fn scrub(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets
            .iter()
            .map(Secret::expose)
            .filter(|secret| secret.len() >= 4)
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    fn basic(&self, endpoint: &Endpoint) -> Option<Authorization> {
        match self.credentials.find(&endpoint.credentials).credentials {
            Credentials::Password { user, password } => {
                let secret = self.basic_secret(&user, &password);
                Some(Authorization {
                    header: sensitive(&format!("Basic {}", secret.expose()))?,
                    key: None,
                    secret,
                    is_new: true,
                })
            }
            _ => None,
        }
    }

    fn bearer(
        &self,
        exchange: &Exchange,
        task: &Task,
        endpoint: &Endpoint,
        came_by: Tls,
        key: &TokenKey,
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let Found { credentials, .. } = self.credentials.find(&endpoint.credentials);
        if let Some(refused) = refused
            && refused.is_new
            && refused.key.as_ref() == Some(key)
        {
            return Ok(None);
        }
        let authorization = |secret: Secret, is_new| {
            sensitive(&format!("Bearer {}", secret.expose())).map(|header| Authorization {
                header,
                key: Some(key.clone()),
                secret,
                is_new,
            })
        };
        if let Credentials::RegistryToken(token) = credentials {
            self.keep_secret(&token);
            return Ok(authorization(token, true));
        }
        let slot = self.tokens.slot(key);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = slot.as_ref()
            && token.is_fresh(Instant::now())
            && refused.is_none_or(|refused| refused.secret != token.secret)
        {
            return Ok(authorization(token.secret.clone(), false));
        }
        let token = self.fetch(exchange, task, endpoint, came_by, key, &credentials)?;
        let secret = token.secret.clone();
        self.keep_secret(&secret);
        *slot = Some(token);
        Ok(authorization(secret, true))
    }

    /// Asks the token server: by POST for refresh tokens (OAuth 2), by GET otherwise.
    fn fetch(
        &self,
        exchange: &Exchange,
        task: &Task,
        endpoint: &Endpoint,
        came_by: Tls,
        key: &TokenKey,
        credentials: &Credentials,
    ) -> Result<Token, RegistryError> {
        let error =
            |cause: &str| RegistryError::new(ErrorKind::Protocol, &endpoint.host).with_cause(cause);
        let mut url =
            Url::parse(&key.realm).map_err(|_| error("its token server has no valid URL"))?;
        let Some(tls) = exchange.endpoints.tls_for(&url, came_by) else {
            return Err(error(
                "its token server wants credentials over plain HTTP, which only insecure registries may",
            ));
        };
        let mut headers = HeaderMap::new();
        let mut call = if let Credentials::IdentityToken(token) = credentials {
            self.keep_secret(token);
            headers.insert(
                "content-type",
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            let form = form(&[
                ("grant_type", "refresh_token"),
                ("service", &key.service),
                ("client_id", CLIENT_ID),
                ("scope", &key.scopes.join(" ")),
                ("refresh_token", token.expose()),
            ]);
            Call {
                method: Method::POST,
                url,
                headers,
                body: form.into_bytes(),
            }
        } else {
            let mut query = url.query_pairs_mut();
            if !key.service.is_empty() {
                query.append_pair("service", &key.service);
            }
            for scope in &key.scopes {
                query.append_pair("scope", scope);
            }
            if let Credentials::Password { user, password } = credentials {
                query.append_pair("account", user);
                let secret = self.basic_secret(user, password);
                let header = sensitive(&format!("Basic {}", secret.expose()))
                    .ok_or_else(|| error("its credentials do not fit into a header"))?;
                headers.insert("authorization", header);
            }
            drop(query);
            Call {
                method: Method::GET,
                url,
                headers,
                body: Vec::new(),
            }
        };
        call.headers.insert(
            HeaderName::from_static("accept"),
            HeaderValue::from_static("application/json"),
        );
        let answer = exchange.follow(&call, None, tls)?;
        if !answer.status().is_success() {
            return Err(refusal(answer, |text| self.scrub(text)));
        }
        let place = answer.error(ErrorKind::Protocol);
        let body = answer.read_body(MAX_ERROR_BYTES, task.deadline)?;
        serde_json::from_slice::<TokenAnswer>(&body)
            .ok()
            .and_then(|answer| answer.token(Instant::now()))
            .ok_or_else(|| place.with_cause("the token server's answer holds no token"))
    }

    fn basic_secret(&self, user: &str, password: &Secret) -> Secret {
        self.keep_secret(password);
        let secret = Secret::new(STANDARD.encode(format!("{user}:{}", password.expose())));
        self.keep_secret(&secret);
        secret
    }

    fn keep_secret(&self, secret: &Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if !secrets.contains(secret) {
            secrets.push(secret.clone());
        }
    }
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn form(pairs: &[(&str, &str)]) -> String {
    // The `url` crate encodes forms; reqwest shows only its `Url`.
    let mut url = Url::parse("form:").expect("a scheme alone is a URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}
