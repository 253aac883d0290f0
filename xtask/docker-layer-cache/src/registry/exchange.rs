//! A request with everything around it: scheme, credentials, redirects, retries, errors.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::ErrorKind;
use super::authorize::{Authorization, Authorizer};
use super::challenge::parse_challenges;
use super::credentials::CredentialStore;
use super::endpoint::{Base, Endpoint, Endpoints, Tls, authority};
use super::error::RegistryError;
use super::login::Login;
use super::options::ClientOptions;
use super::rate_limit::{RateLimit, RateLimits};
use super::refusal::refusal;
use super::retry;
use super::token::Access;
use super::transport::{Answer, Call, Stream, Transport};
use crate::oci::Reference;

/// More than any error or token answer.
pub(super) const MAX_ERROR_BYTES: usize = 64 << 10;
const MAX_REDIRECTS: usize = 5;
/// Nothing sent, what is remembered, what the challenge wants, and a new token once.
const MAX_AUTHORIZATIONS: u32 = 4;

/// Sends requests to registries on behalf of all operations.
pub(super) struct Exchange {
    pub(super) endpoints: Endpoints,
    pub(super) rate_limits: RateLimits,
    transport: Transport,
    authorizer: Authorizer,
    pub(super) retries: u32,
    backoff: Duration,
    total_timeout: Duration,
    hosts: Mutex<HashMap<String, HostState>>,
}

/// One operation: what its requests have in common.
pub(super) struct Task<'a> {
    pub(super) reference: &'a Reference,
    pub(super) access: Access,
    pub(super) deadline: Instant,
}

/// What is sent: method, path below the repository, headers, body.
pub(super) struct Message<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Where it is sent.
pub(super) enum Target<'a> {
    /// Path segments below `/v2/<repository>/`.
    Path(&'a [&'a str]),
    /// A URL that the registry named, such as an upload's.
    Url(&'a Url),
}

#[derive(Debug, Default)]
struct HostState {
    /// The base that answered: an index into the endpoint's bases.
    base: Option<usize>,
    /// A mirror that cannot be reached is not asked again.
    is_down: bool,
}

impl Task<'_> {
    pub(super) fn scope(&self) -> String {
        self.access.scope(self.reference.path())
    }
}

impl Exchange {
    pub(super) fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        Ok(Self {
            endpoints: Endpoints::new(&options.mirrors, &options.insecure)?,
            rate_limits: RateLimits::default(),
            transport: Transport::new(&options)?,
            retries: options.retries,
            backoff: options.backoff,
            total_timeout: options.total_timeout,
            hosts: Mutex::default(),
            authorizer: Authorizer::new(CredentialStore::new(options)),
        })
    }

    pub(super) fn login(&self, registry: &str) -> Login {
        self.authorizer.login(registry)
    }

    pub(super) fn task<'a>(&self, reference: &'a Reference, access: Access) -> Task<'a> {
        Task {
            reference,
            access,
            deadline: Instant::now() + self.total_timeout,
        }
    }

    /// Runs `read` against the reference's mirrors, then against its registry, each with
    /// retries; the first that succeeds counts.
    pub(super) fn read<T>(
        &self,
        task: &Task,
        mut read: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut earlier = Vec::new();
        for mirror in self.endpoints.mirrors(task.reference.domain()) {
            if self.with_state(&mirror.host, |state| state.is_down) {
                continue;
            }
            // The registry itself stands behind its mirrors: no need to be patient with them.
            let error = match read(mirror) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if matches!(error.kind, ErrorKind::Connect | ErrorKind::Timeout) {
                self.with_state(&mirror.host, |state| state.is_down = true);
            }
            earlier.push(error.to_string());
        }
        let registry = self.endpoints.registry(task.reference.domain());
        registry
            .and_then(|registry| self.with_retries(task, self.retries, || read(&registry)))
            .map_err(|mut error| {
                error.place.earlier = earlier;
                error.for_reference(task.reference)
            })
    }

    /// Runs `attempt` until it succeeds, fails for good, or the retries or the time are used up.
    pub(super) fn with_retries<T>(
        &self,
        task: &Task,
        retries: u32,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut n_retries = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            n_retries += 1;
            if n_retries > retries || !error.is_transient() {
                return Err(error);
            }
            let wait = retry::wait_before(
                n_retries,
                error.retry_after(),
                self.backoff,
                retry::random(),
            );
            match wait {
                Some(wait) if Instant::now() + wait < task.deadline => std::thread::sleep(wait),
                _ => return Err(error),
            }
        }
    }

    /// Runs `write` against the reference's registry, with retries.
    pub(super) fn write<T>(
        &self,
        task: &Task,
        mut write: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let endpoint = self.endpoints.registry(task.reference.domain());
        endpoint
            .and_then(|endpoint| self.with_retries(task, self.retries, || write(&endpoint)))
            .map_err(|error| error.for_reference(task.reference))
    }

    /// Sends one message to an endpoint, over the first of its schemes that works.
    ///
    /// # Errors
    ///
    /// Every status but 2xx is an error.
    pub(super) fn send(
        &self,
        task: &Task,
        endpoint: &Endpoint,
        message: &Message,
    ) -> Result<Answer, RegistryError> {
        if let Target::Url(url) = message.target {
            let tls = self.tls_of_named(endpoint, url)?;
            return self.authorized(task, endpoint, tls, &message.call(url.clone()), None);
        }
        let known = self.with_state(&endpoint.host, |state| state.base);
        let bases: Vec<(usize, &Base)> = match known {
            Some(index) => vec![(index, &endpoint.bases[index])],
            None => endpoint.bases.iter().enumerate().collect(),
        };
        let mut first_error = None;
        for (index, base) in bases {
            let Target::Path(path) = message.target else {
                continue;
            };
            let call = message.call(base.url(task.reference.path(), path));
            let result = self.authorized(task, endpoint, base.tls, &call, None);
            match result {
                // Another scheme may do: also where a TLS server refuses plain HTTP with 400.
                Err(error)
                    if known.is_none()
                        && (matches!(error.kind, ErrorKind::Connect | ErrorKind::Tls)
                            || (base.tls == Tls::None && error.place.status == Some(400))) =>
                {
                    // For a host that does not answer at all, the first scheme's error says it.
                    first_error.get_or_insert(error);
                }
                result => {
                    self.with_state(&endpoint.host, |state| state.base = Some(index));
                    return result;
                }
            }
        }
        Err(first_error.unwrap_or_else(|| RegistryError::new(ErrorKind::Connect, &endpoint.host)))
    }

    /// Sends a body that can be sent only once, to a URL that the registry named.
    pub(super) fn send_stream(
        &self,
        task: &Task,
        endpoint: &Endpoint,
        message: &Message,
        url: &Url,
        stream: Stream,
    ) -> Result<Answer, RegistryError> {
        let tls = self.tls_of_named(endpoint, url)?;
        self.authorized(
            task,
            endpoint,
            tls,
            &message.call(url.clone()),
            Some(stream),
        )
    }

    /// Sends a call and follows its redirects. Credentials go to the first host alone.
    pub(super) fn follow(
        &self,
        call: &Call,
        stream: Option<Stream>,
        tls: Tls,
    ) -> Result<Answer, RegistryError> {
        let mut call = call.clone();
        let mut tls = tls;
        let mut stream = stream;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.transport.send(&call, stream.take(), tls)?;
            let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            // The body of an upload is not sent twice.
            if !is_redirect || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            let refuse = |cause: &str| answer.error(ErrorKind::Protocol).with_cause(cause);
            let next = answer
                .header("location")
                .and_then(|location| call.url.join(location).ok())
                .ok_or_else(|| refuse("a redirect without a target"))?;
            if next.scheme() == "http" && tls != Tls::None {
                return Err(refuse("a redirect from HTTPS to plain HTTP"));
            }
            tls = self
                .endpoints
                .tls_for(&next, tls)
                .ok_or_else(|| refuse("a redirect to something else than HTTP"))?;
            if next.origin() != call.url.origin() {
                call.headers.remove(AUTHORIZATION);
            }
            call.url = next;
        }
        Err(
            RegistryError::new(ErrorKind::Protocol, &authority(&call.url))
                .with_request(call.method.as_str(), &call.url)
                .with_cause("too many redirects"),
        )
    }

    fn authorized(
        &self,
        task: &Task,
        endpoint: &Endpoint,
        tls: Tls,
        call: &Call,
        stream: Option<Stream>,
    ) -> Result<Answer, RegistryError> {
        let is_streamed = stream.is_some();
        let mut stream = stream;
        // A URL on another host, such as an upload's, carries its own permission.
        let is_own_host = endpoint
            .bases
            .iter()
            .any(|base| base.url.origin() == call.url.origin());
        let mut authorization: Option<Authorization> = None;
        if is_own_host {
            authorization = self.authorizer.remembered(self, task, endpoint, tls)?;
        }
        let mut round = 0;
        loop {
            round += 1;
            let mut call = call.clone();
            if let Some(authorization) = &authorization {
                call.headers
                    .insert(AUTHORIZATION, authorization.header.clone());
            }
            let answer = self.follow(&call, stream.take(), tls)?;
            if let Some(limit) = RateLimit::from_headers(answer.headers()) {
                self.rate_limits.note(&endpoint.host, limit);
            }
            if answer.status().is_success() {
                return Ok(answer);
            }
            // An answer from behind a redirect is not the registry's: its challenge gets nothing.
            let is_challenge = answer.status() == StatusCode::UNAUTHORIZED
                && is_own_host
                && answer.url.origin() == call.url.origin();
            let challenges = if is_challenge {
                challenges_of(answer.headers())
            } else {
                Vec::new()
            };
            let error = refusal(answer, |text| self.authorizer.scrub(text));
            let next = if challenges.is_empty() {
                None
            } else {
                self.authorizer
                    .answer(
                        self,
                        task,
                        endpoint,
                        tls,
                        &challenges,
                        authorization.as_ref(),
                    )
                    .map_err(|error| self.explained(endpoint, error))?
            };
            match next {
                Some(next) if !is_streamed && round < MAX_AUTHORIZATIONS => {
                    authorization = Some(next);
                }
                _ => return Err(self.explained(endpoint, error)),
            }
        }
    }

    /// Says what stood in the way of credentials, where a registry asked for them.
    fn explained(&self, endpoint: &Endpoint, mut error: RegistryError) -> RegistryError {
        if matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) {
            // The token server's name helps nobody to log in.
            error.place.host.clone_from(&endpoint.host);
            error.place.has_refused_credentials = self.authorizer.has_credentials(endpoint);
            if let Some(problem) = self.authorizer.problem(endpoint) {
                error.kind = ErrorKind::Credentials;
                error.place.cause = Some(problem);
            }
        }
        error
    }

    fn tls_of_named(&self, endpoint: &Endpoint, url: &Url) -> Result<Tls, RegistryError> {
        let known = self
            .with_state(&endpoint.host, |state| state.base)
            .unwrap_or(0);
        let came_by = endpoint.bases[known].tls;
        self.endpoints.tls_for(url, came_by).ok_or_else(|| {
            RegistryError::new(ErrorKind::Protocol, &endpoint.host)
                .with_cause("it names a URL with plain HTTP")
        })
    }

    fn with_state<T>(&self, host: &str, act: impl FnOnce(&mut HostState) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        act(hosts.entry(host.to_owned()).or_default())
    }
}

impl Message<'_> {
    fn call(&self, url: Url) -> Call {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(*name, value);
            }
        }
        Call {
            method: self.method.clone(),
            url,
            headers,
            body: self.body.to_vec(),
        }
    }
}

fn challenges_of(headers: &HeaderMap) -> Vec<super::challenge::Challenge> {
    headers
        .get_all("www-authenticate")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_challenges)
        .collect()
}
