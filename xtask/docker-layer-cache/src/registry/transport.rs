//! One HTTP request and its answer: connections, TLS, proxies, time limits. No retries, no
//! credentials, no redirects.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use reqwest::blocking::{Body, Client, ClientBuilder, Response};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, NoProxy, Proxy, StatusCode, Url};

use super::cause::{is_timeout, kind_of, text_of};
use super::certificates;
use super::connections::{Connections, Permit};
use super::endpoint::{Tls, authority, host_of, is_loopback};
use super::options::{ClientOptions, Proxies};
use super::{ErrorKind, RegistryError};

/// Sends requests; HTTP clients are made when the first request needs them.
///
/// Loading the system's certificates costs several milliseconds, which a run on plain HTTP or on
/// loopback alone never pays.
pub(super) struct Transport {
    timeout: Duration,
    proxies: Proxies,
    certs_dirs: Vec<Utf8PathBuf>,
    connections: Arc<Connections>,
    clients: Mutex<HashMap<ClientKey, Client>>,
}

/// A request's parts; sent anew for every attempt.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A body that is sent as it is read, once.
pub(super) struct Stream {
    pub(super) content: Box<dyn Read + Send>,
    pub(super) size_bytes: u64,
}

/// An answer whose body is still to be read. Holds its connection's permit.
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) method: Method,
    response: Response,
    _permit: Permit,
}

/// One client per way of securing connections: reqwest fixes both when a client is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    tls: Tls,
    proxied: bool,
    /// The host whose own certificates are added.
    certificates_of: Option<String>,
}

impl Transport {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, RegistryError> {
        let transport = Self {
            timeout: options.timeout,
            proxies: options.proxies.clone(),
            certs_dirs: options.certs_dirs.clone(),
            connections: Connections::new(options.connections_per_host),
            clients: Mutex::default(),
        };
        // Bad proxies are told now and not in the middle of a build.
        transport.proxies()?;
        Ok(transport)
    }

    /// Sends `call` and returns the answer, whatever its status.
    pub(super) fn send(
        &self,
        call: &Call,
        stream: Option<Stream>,
        tls: Tls,
    ) -> Result<Answer, RegistryError> {
        let host = authority(&call.url);
        let error =
            |kind| RegistryError::new(kind, &host).with_request(call.method.as_str(), &call.url);
        let client = self.client(&host, tls)?;
        let permit = self
            .connections
            .acquire(&host, self.timeout)
            .ok_or_else(|| {
                error(ErrorKind::Timeout).with_cause("all connections to it are in use")
            })?;
        let mut request = client
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone());
        match stream {
            Some(Stream {
                content,
                size_bytes,
            }) => {
                // The time limit covers the whole upload here: allow for a slow line.
                let at_100_kib_per_second = Duration::from_secs(size_bytes / (100 << 10));
                request = request
                    .timeout(self.timeout + at_100_kib_per_second)
                    .body(Body::sized(content, size_bytes));
            }
            None if !call.body.is_empty() => request = request.body(call.body.clone()),
            None if matches!(call.method, Method::POST | Method::PUT) => {
                // Some registries answer 411 to an upload without a length.
                request = request.header("content-length", HeaderValue::from_static("0"));
            }
            None => {}
        }
        let response = request
            .send()
            .map_err(|cause| error(kind_of(&cause)).with_cause(text_of(&cause)))?;
        Ok(Answer {
            url: call.url.clone(),
            method: call.method.clone(),
            response,
            _permit: permit,
        })
    }

    fn client(&self, host: &str, tls: Tls) -> Result<Client, RegistryError> {
        let proxied = !is_loopback(host_of(host))
            && (self.proxies.http.is_some() || self.proxies.https.is_some());
        let certificates = match tls {
            Tls::None => None,
            Tls::Verified | Tls::Unverified => certificates::folder_of(host, &self.certs_dirs),
        };
        let key = ClientKey {
            tls,
            proxied,
            certificates_of: certificates.as_ref().map(|_| host.to_owned()),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let failed = |cause: String| RegistryError::new(ErrorKind::Options, host).with_cause(cause);
        let mut builder = self.builder();
        builder = match tls {
            // No certificate is ever looked at (but a proxy may have one): none is loaded.
            Tls::None if !proxied => builder.tls_certs_only([]),
            Tls::None | Tls::Verified => builder,
            Tls::Unverified => builder.tls_danger_accept_invalid_certs(true),
        };
        if let Some(folder) = certificates {
            let found = certificates::load(&folder).map_err(failed)?;
            builder = builder.tls_certs_merge(found.authorities);
            if let Some(identity) = found.identity {
                builder = builder.identity(identity);
            }
        }
        if proxied {
            for proxy in self.proxies()? {
                builder = builder.proxy(proxy);
            }
        }
        let client = builder.build().map_err(|cause| {
            // Most likely the system has no certificate authorities at all.
            RegistryError::new(ErrorKind::Tls, host).with_cause(text_of(&cause))
        })?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn builder(&self) -> ClientBuilder {
        install_crypto_provider();
        Client::builder()
            .user_agent(concat!("docker-layer-cache/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            .retry(reqwest::retry::never())
            .no_proxy()
    }

    fn proxies(&self) -> Result<Vec<Proxy>, RegistryError> {
        let no_proxy = self
            .proxies
            .no_proxy
            .as_deref()
            .and_then(NoProxy::from_string);
        let mut proxies = Vec::new();
        for (variable, url, make) in [
            (
                "HTTP_PROXY",
                &self.proxies.http,
                Proxy::http as fn(Url) -> _,
            ),
            ("HTTPS_PROXY", &self.proxies.https, Proxy::https),
        ] {
            let Some(text) = url else { continue };
            let with_scheme = if text.contains("://") {
                text.clone()
            } else {
                format!("http://{text}")
            };
            let proxy = Url::parse(&with_scheme)
                .map_err(|cause| cause.to_string())
                .and_then(|url| make(url).map_err(|cause| text_of(&cause)))
                .map_err(|cause| {
                    RegistryError::new(ErrorKind::Options, variable)
                        .with_cause(format!("`{variable}` is not the URL of a proxy: {cause}"))
                })?;
            proxies.push(proxy.no_proxy(no_proxy.clone()));
        }
        Ok(proxies)
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns a header's value where it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Returns the media type without its parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default();
        media_type.trim().to_ascii_lowercase()
    }

    /// Returns an error at this answer's place.
    pub(super) fn error(&self, kind: ErrorKind) -> RegistryError {
        let mut error = RegistryError::new(kind, &authority(&self.url))
            .with_request(self.method.as_str(), &self.url);
        error.place.status = Some(self.status().as_u16());
        error
    }

    /// Reads the whole body, which must not be longer than `limit_bytes` and must have arrived
    /// by `deadline`.
    pub(super) fn read_body(
        mut self,
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            let n = match self.response.read(&mut chunk) {
                Ok(0) => return Ok(body),
                Ok(n) => n,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.broken(&cause)),
            };
            body.extend_from_slice(&chunk[..n]);
            if body.len() > limit_bytes {
                let cause = format!("its answer is longer than {limit_bytes} bytes");
                return Err(self.error(ErrorKind::Protocol).with_cause(cause));
            }
            if Instant::now() > deadline {
                return Err(self.error(ErrorKind::Timeout));
            }
        }
    }

    /// Reads at most `limit_bytes` of the body, as far as it comes: for error bodies.
    pub(super) fn read_some(self, limit_bytes: u64) -> Vec<u8> {
        let mut body = Vec::new();
        // An error body that breaks off is still the error.
        let _ = self.response.take(limit_bytes).read_to_end(&mut body);
        body
    }

    /// Returns the error for a body that broke off.
    pub(super) fn broken(&self, cause: &io::Error) -> RegistryError {
        let kind = if is_timeout(cause) {
            ErrorKind::Timeout
        } else {
            ErrorKind::Connect
        };
        self.error(kind).with_cause(text_of(cause))
    }
}

impl Read for Answer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.response.read(buf)
    }
}

/// Makes ring the process's provider of cryptography, unless there is one.
///
/// reqwest without a provider of its own panics when it builds a client (reqwest issue 2938).
pub(crate) fn install_crypto_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It fails where the program has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// reqwest issue 2938: building a client without a provider of cryptography panics.
    #[test]
    fn clients_are_made_without_a_panic() {
        let transport = Transport::new(&ClientOptions::anonymous()).expect("the options are good");
        for tls in [Tls::None, Tls::Unverified, Tls::Verified] {
            match transport.client("registry.example.com", tls) {
                Ok(_) => {}
                // A machine without certificate authorities.
                Err(error) => assert_eq!(error.kind(), &ErrorKind::Tls, "{error}"),
            }
        }
    }

    #[test]
    fn proxies_that_are_no_urls() {
        let mut options = ClientOptions::anonymous();
        options.proxies.https = Some("http://user:secret-of-proxy@".to_owned());
        let error = Transport::new(&options).err().expect("not a proxy");
        assert_eq!(error.kind(), &ErrorKind::Options);
        assert!(!format!("{error}{error:?}{options:?}").contains("secret-of-proxy"));
    }
}
