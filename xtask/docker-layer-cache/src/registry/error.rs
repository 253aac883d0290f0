//! What can go wrong between us and a registry.

use std::fmt;
use std::time::Duration;

use crate::oci::{Digest, Reference};

/// A request to a registry that failed: what kind of failure, at which place, and what the
/// registry said about it.
///
/// Neither `Display` nor `Debug` shows a password, a token or the query of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    pub(super) kind: ErrorKind,
    /// In a box: every `Result` here carries an error's size.
    pub(super) place: Box<Place>,
}

/// Where a failure happened and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As people write it.
    pub(super) reference: Option<String>,
    /// Host and port.
    pub(super) host: String,
    /// Method and URL, without what may be secret.
    pub(super) request: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) codes: Vec<ErrorCode>,
    pub(super) cause: Option<String>,
    /// What mirrors answered before.
    pub(super) earlier: Vec<String>,
    /// Credentials were sent and not taken.
    pub(super) has_refused_credentials: bool,
}

/// The kinds of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry has no such repository, tag, manifest or blob.
    NotFound,
    /// The registry wants other credentials, or any at all.
    Unauthorized,
    /// The credentials are good, but not for this.
    Forbidden,
    /// Too many requests.
    RateLimited {
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// The registry itself failed (5xx).
    Server {
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// No connection, or one that broke.
    Connect,
    /// No answer in time.
    Timeout,
    /// The registry's certificate is not trusted, or TLS failed otherwise.
    Tls,
    /// The image is in Docker's schema 1, which has no image config and no stable digest.
    Schema1,
    /// The index names no image for the platform.
    NoPlatform {
        /// The platform that was asked for.
        platform: String,
        /// The platforms that the index names.
        available: Vec<String>,
    },
    /// The content is not what its digest says.
    DigestMismatch {
        /// The digest that was asked for or announced.
        expected: Digest,
        /// The digest of what came.
        found: Option<Digest>,
    },
    /// Credentials could not be read, or a credential helper failed.
    Credentials,
    /// The registry's answer does not follow the specification.
    Protocol,
    /// An option that the client cannot work with, such as a proxy that is not a URL.
    Options,
}

/// One entry of the `errors` list that registries answer with.
///
/// Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCode {
    /// Such as `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The registry's words, cut to one line.
    pub message: String,
}

impl RegistryError {
    pub(super) fn new(kind: ErrorKind, host: &str) -> Self {
        Self {
            kind,
            place: Box::new(Place {
                reference: None,
                host: host.to_owned(),
                request: None,
                status: None,
                codes: Vec::new(),
                cause: None,
                earlier: Vec::new(),
                has_refused_credentials: false,
            }),
        }
    }

    pub(super) fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.place.cause = Some(cause.to_string());
        self
    }

    pub(super) fn with_request(mut self, method: &str, url: &reqwest::Url) -> Self {
        self.place.request = Some(format!("{method} {}", redacted(url)));
        self
    }

    pub(super) fn for_reference(mut self, reference: &Reference) -> Self {
        self.place
            .reference
            .get_or_insert_with(|| reference.familiar());
        self
    }

    /// Names `reference` in place of the pinned one that was asked for on its behalf.
    pub(super) fn about(mut self, reference: &Reference) -> Self {
        self.place.reference = Some(reference.familiar());
        self
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns the reference as people write it, where the failure belongs to one.
    pub fn reference(&self) -> Option<&str> {
        self.place.reference.as_deref()
    }

    /// Returns the registry's host (and port).
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// Returns the HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.place.status
    }

    /// Returns the registry's own error codes.
    pub fn codes(&self) -> &[ErrorCode] {
        &self.place.codes
    }

    /// Returns the next step for the person who reads the error.
    pub fn hint(&self) -> Option<String> {
        let host = login_host(&self.place.host);
        let hint = match &self.kind {
            ErrorKind::NotFound => {
                "check the spelling of the image and its tag, and that the tag was pushed"
                    .to_owned()
            }
            ErrorKind::Unauthorized if self.place.has_refused_credentials => format!(
                "the password or token is wrong or has expired: log in anew with `docker \
                 login{host}`"
            ),
            ErrorKind::Unauthorized if self.is_docker_hub() => format!(
                "Docker Hub answers like this also for images that do not exist: check the name, \
                 or log in with `docker login{host}`"
            ),
            ErrorKind::Unauthorized => format!("log in with `docker login{host}`"),
            ErrorKind::Forbidden => format!(
                "the account may not read this repository: ask for access, or log in with \
                 another one by `docker login{host}`"
            ),
            ErrorKind::RateLimited { .. } if self.is_docker_hub() => format!(
                "log in with `docker login{host}` for a higher limit, or configure a mirror in \
                 the engine's `registry-mirrors`"
            ),
            ErrorKind::RateLimited { .. } => "wait, then run again".to_owned(),
            ErrorKind::Server { .. } => {
                "the registry has a problem of its own: look at its status page, then run again"
                    .to_owned()
            }
            ErrorKind::Connect if self.is_unknown_host() => {
                "check the spelling of the registry's host, and the network".to_owned()
            }
            ErrorKind::Connect | ErrorKind::Timeout => {
                "check that the host is right and reachable from here (`HTTPS_PROXY` and \
                 `NO_PROXY` are respected)"
                    .to_owned()
            }
            ErrorKind::Tls => format!(
                "put the certificate authority into `/etc/docker/certs.d/{}/ca.crt`, or list the \
                 host in the engine's `insecure-registries`",
                self.place.host
            ),
            ErrorKind::Schema1 => {
                "push the image again with a current Docker, which writes schema 2".to_owned()
            }
            ErrorKind::NoPlatform { available, .. } if !available.is_empty() => {
                format!("the image exists for {}", available.join(", "))
            }
            ErrorKind::Credentials => format!(
                "repair the credential helper named in Docker's `config.json`, or log in anew \
                 with `docker login{host}`"
            ),
            ErrorKind::NoPlatform { .. }
            | ErrorKind::DigestMismatch { .. }
            | ErrorKind::Protocol
            | ErrorKind::Options => return None,
        };
        Some(hint)
    }

    /// Another attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Connect => !self.is_unknown_host(),
            ErrorKind::RateLimited { .. } | ErrorKind::Server { .. } | ErrorKind::Timeout => true,
            _ => false,
        }
    }

    /// The name service answered that there is no such host; where it could not answer, glibc
    /// speaks of a temporary failure.
    fn is_unknown_host(&self) -> bool {
        self.kind == ErrorKind::Connect
            && self
                .place
                .cause
                .as_ref()
                .is_some_and(|cause| cause.ends_with("not known"))
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ErrorKind::RateLimited { retry_after } | ErrorKind::Server { retry_after } => {
                retry_after
            }
            _ => None,
        }
    }

    fn is_docker_hub(&self) -> bool {
        self.place.host.ends_with("docker.io")
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reference) = &self.place.reference {
            write!(f, "`{reference}`: ")?;
        }
        let host = &self.place.host;
        match &self.kind {
            ErrorKind::NotFound => write!(f, "not found at `{host}`")?,
            ErrorKind::Unauthorized if self.place.has_refused_credentials => {
                write!(f, "`{host}` refuses the stored credentials")?;
            }
            ErrorKind::Unauthorized => write!(f, "`{host}` asks for credentials")?,
            ErrorKind::Forbidden => write!(f, "`{host}` denies access")?,
            ErrorKind::RateLimited { retry_after } => {
                write!(f, "`{host}` limits the rate of requests")?;
                write_wait(f, *retry_after)?;
            }
            ErrorKind::Server { retry_after } => {
                write!(f, "`{host}` failed")?;
                write_wait(f, *retry_after)?;
            }
            ErrorKind::Connect => write!(f, "cannot connect to `{host}`")?,
            ErrorKind::Timeout => write!(f, "`{host}` did not answer in time")?,
            ErrorKind::Tls => write!(f, "no trusted connection to `{host}`")?,
            ErrorKind::Schema1 => write!(
                f,
                "the image at `{host}` is in the obsolete schema 1, which is not supported"
            )?,
            ErrorKind::NoPlatform { platform, .. } => {
                write!(f, "the image at `{host}` does not exist for `{platform}`")?;
            }
            ErrorKind::DigestMismatch { expected, found } => {
                write!(f, "content from `{host}` should be `{expected}`")?;
                match found {
                    Some(found) => write!(f, " but is `{found}`")?,
                    None => write!(f, " but is not")?,
                }
            }
            ErrorKind::Credentials => write!(f, "no usable credentials for `{host}`")?,
            ErrorKind::Protocol => write!(f, "`{host}` does not speak the registry protocol")?,
            ErrorKind::Options => write!(f, "cannot set up the registry client")?,
        }
        match (&self.place.request, self.place.status) {
            (Some(request), Some(status)) => write!(f, " ({request}: {status})")?,
            (Some(request), None) => write!(f, " ({request})")?,
            (None, Some(status)) => write!(f, " ({status})")?,
            (None, None) => {}
        }
        for ErrorCode { code, message } in &self.place.codes {
            match message.as_str() {
                "" => write!(f, ": {code}")?,
                message => write!(f, ": {code}: {message}")?,
            }
        }
        if let Some(cause) = &self.place.cause {
            write!(f, ": {cause}")?;
        }
        for earlier in &self.place.earlier {
            write!(f, "; before: {earlier}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RegistryError {}

/// Returns the URL without what may be secret: user, password, query and fragment.
pub(super) fn redacted(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    // Only URLs without a host refuse these; they have no user or password either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn write_wait(f: &mut fmt::Formatter<'_>, wait: Option<Duration>) -> fmt::Result {
    match wait {
        Some(wait) => write!(f, " and asks to wait {} s", wait.as_secs()),
        None => Ok(()),
    }
}

/// Returns what stands behind `docker login`: nothing for Docker Hub.
fn login_host(host: &str) -> String {
    if host.ends_with("docker.io") {
        String::new()
    } else {
        format!(" {host}")
    }
}
