//! What a client is told from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use camino::Utf8PathBuf;

/// The prefix of the variables that hold credentials for one registry:
/// `DOCKER_LAYER_CACHE_AUTH_REGISTRY_EXAMPLE_COM=user:password`.
pub(super) const AUTH_VARIABLE_PREFIX: &str = "DOCKER_LAYER_CACHE_AUTH_";

/// How a [`Client`](super::Client) reaches registries.
///
/// `Debug` leaves out everything that is secret.
#[derive(Clone)]
pub struct ClientOptions {
    /// Mirrors of Docker Hub, as `docker info` lists them, such as `http://127.0.0.1:5000/`;
    /// tried in order before Docker Hub itself.
    pub mirrors: Vec<String>,
    /// Registries with plain HTTP or an unverified certificate: hosts, `host:port` or CIDRs.
    /// Loopback always counts as insecure, as in Docker.
    pub insecure: Vec<String>,
    /// The folder of Docker's `config.json`.
    pub docker_config: Option<Utf8PathBuf>,
    /// The content of `DOCKER_AUTH_CONFIG`: JSON like that of `config.json`.
    pub docker_auth_config: Option<String>,
    /// Credentials from the environment: host with `_` for everything but letters and digits,
    /// upper case → `user:password`.
    pub environment_credentials: BTreeMap<String, String>,
    /// The folder of the `docker-credential-*` helpers; without it, `PATH`.
    pub credential_helpers: Option<Utf8PathBuf>,
    /// Folders with certificates per registry, `HOST[:PORT]/*.crt`, such as
    /// `/etc/docker/certs.d`.
    pub certs_dirs: Vec<Utf8PathBuf>,
    /// Proxies for everything but loopback.
    pub proxies: Proxies,
    /// How long one step (connecting, the answer's head, the next bytes of its body) may take.
    pub timeout: Duration,
    /// How long one operation may take with all its retries; blobs may take longer as long as
    /// bytes come.
    pub total_timeout: Duration,
    /// How often an operation is repeated after 429, 5xx, a broken connection or no answer.
    pub retries: u32,
    /// The wait before the first repetition; it doubles from one to the next.
    pub backoff: Duration,
    /// How many connections to one host may be open at a time. A
    /// [`BlobReader`](super::BlobReader) has one until it is read to its end or dropped.
    pub connections_per_host: usize,
}

/// Proxies, as the usual variables name them.
#[derive(Clone, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`
    pub http: Option<String>,
    /// `HTTPS_PROXY`
    pub https: Option<String>,
    /// `NO_PROXY`: hosts, domains and CIDRs, separated by commas.
    pub no_proxy: Option<String>,
}

impl ClientOptions {
    /// Returns the options without anything from outside: no credentials, no mirrors, no proxies.
    pub fn anonymous() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            docker_config: None,
            docker_auth_config: None,
            environment_credentials: BTreeMap::new(),
            credential_helpers: None,
            certs_dirs: Vec::new(),
            proxies: Proxies::default(),
            timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(120),
            retries: 3,
            backoff: Duration::from_millis(250),
            connections_per_host: 16,
        }
    }

    /// Returns the options that this process's environment asks for: Docker's configuration and
    /// the proxies.
    pub fn from_environment() -> Self {
        Self::from_variables(std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 is none of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Returns the options that `variables` (name, value) ask for.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let get = |name: &str| variables.get(name).cloned();
        let either = |upper: &str| {
            // Lower case first, as curl and Go's net/http look them up.
            get(&upper.to_ascii_lowercase()).or_else(|| get(upper))
        };
        let home = get("HOME")
            .or_else(|| get("USERPROFILE"))
            .map(Utf8PathBuf::from);
        let mut certs_dirs = vec![Utf8PathBuf::from("/etc/docker/certs.d")];
        certs_dirs.extend(
            home.as_ref()
                .map(|home| home.join(".config/docker/certs.d")),
        );
        Self {
            docker_config: get("DOCKER_CONFIG")
                .map(Utf8PathBuf::from)
                .or_else(|| home.map(|home| home.join(".docker"))),
            docker_auth_config: get("DOCKER_AUTH_CONFIG"),
            environment_credentials: variables
                .iter()
                .filter_map(|(name, value)| {
                    let host = name.strip_prefix(AUTH_VARIABLE_PREFIX)?;
                    Some((host.to_ascii_uppercase(), value.clone()))
                })
                .collect(),
            certs_dirs,
            proxies: Proxies {
                // In a CGI program HTTP_PROXY comes from the caller (httpoxy.org).
                http: if variables.contains_key("REQUEST_METHOD") {
                    get("http_proxy")
                } else {
                    either("HTTP_PROXY")
                },
                https: either("HTTPS_PROXY"),
                no_proxy: either("NO_PROXY"),
            },
            ..Self::anonymous()
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field(
                "mirrors",
                &self
                    .mirrors
                    .iter()
                    .map(|text| without_user(text))
                    .collect::<Vec<_>>(),
            )
            .field("insecure", &self.insecure)
            .field("docker_config", &self.docker_config)
            .field(
                "docker_auth_config",
                &self.docker_auth_config.as_ref().map(|_| "***"),
            )
            .field(
                "environment_credentials",
                &self.environment_credentials.keys().collect::<Vec<_>>(),
            )
            .field("credential_helpers", &self.credential_helpers)
            .field("certs_dirs", &self.certs_dirs)
            .field("proxies", &self.proxies)
            .field("timeout", &self.timeout)
            .field("total_timeout", &self.total_timeout)
            .field("retries", &self.retries)
            .field("backoff", &self.backoff)
            .field("connections_per_host", &self.connections_per_host)
            .finish()
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_deref().map(without_user))
            .field("https", &self.https.as_deref().map(without_user))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// Returns the URL with stars for its user and password; it need not be a good URL.
pub(super) fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://***@{host}")
        }
        None => url.to_owned(),
    }
}
