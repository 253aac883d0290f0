//! Where to ask for a reference: mirrors before Docker Hub, and over which scheme.

use std::net::{IpAddr, ToSocketAddrs};

use reqwest::Url;

use super::options::without_user;
use super::{ErrorKind, RegistryError};

/// Docker Hub's API lives on another host than its references say.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// One host that can answer for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port, such as `registry-1.docker.io`: what people are shown.
    pub(super) host: String,
    /// The name that credentials are stored under, such as `docker.io`.
    pub(super) credentials: String,
    /// The ways to reach it, the preferred one first.
    pub(super) bases: Vec<Base>,
}

/// One way to reach a host: `scheme://host[:port]/[prefix/]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) url: Url,
    pub(super) tls: Tls,
}

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tls {
    /// Plain HTTP.
    None,
    /// The certificate is checked.
    Verified,
    /// Any certificate will do: insecure registries.
    Unverified,
}

/// Knows the mirrors and which hosts are insecure.
#[derive(Debug)]
pub(super) struct Endpoints {
    mirrors: Vec<Endpoint>,
    insecure_hosts: Vec<String>,
    insecure_networks: Vec<Network>,
    /// The addresses of a host.
    look_up: fn(&str) -> Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Endpoints {
    /// Reads the lists as `docker info` has them.
    pub(super) fn new(mirrors: &[String], insecure: &[String]) -> Result<Self, RegistryError> {
        let mut endpoints = Self {
            mirrors: Vec::new(),
            insecure_hosts: Vec::new(),
            insecure_networks: Vec::new(),
            look_up,
        };
        for text in insecure {
            match parse_network(text) {
                Some(network) => endpoints.insecure_networks.push(network),
                None => endpoints.insecure_hosts.push(text.to_ascii_lowercase()),
            }
        }
        for text in mirrors {
            endpoints.mirrors.push(endpoints.mirror(text)?);
        }
        Ok(endpoints)
    }

    /// Returns the mirrors for a reference's domain, in the order to ask them.
    pub(super) fn mirrors(&self, domain: &str) -> &[Endpoint] {
        if domain == "docker.io" || domain == "index.docker.io" {
            &self.mirrors
        } else {
            &[]
        }
    }

    /// Returns the registry itself, without its mirrors: where pushes go.
    pub(super) fn registry(&self, domain: &str) -> Result<Endpoint, RegistryError> {
        let is_hub = matches!(domain, "docker.io" | "index.docker.io" | DOCKER_HUB);
        let host = if is_hub { DOCKER_HUB } else { domain };
        let base = |scheme: &str, tls| {
            let url = Url::parse(&format!("{scheme}://{host}/"))
                .map_err(|error| RegistryError::new(ErrorKind::Options, host).with_cause(error))?;
            Ok(Base { url, tls })
        };
        let bases = if is_loopback(host_of(host)) {
            // Docker tries HTTPS first here too; nobody runs TLS on loopback without need, and a
            // failed handshake costs more than a refused request.
            vec![base("http", Tls::None)?, base("https", Tls::Unverified)?]
        } else if !is_hub && self.is_insecure(host) {
            vec![base("https", Tls::Unverified)?, base("http", Tls::None)?]
        } else {
            vec![base("https", Tls::Verified)?]
        };
        Ok(Endpoint {
            host: host.to_owned(),
            credentials: if is_hub { "docker.io" } else { domain }.to_owned(),
            bases,
        })
    }

    /// Returns how `url` may be reached when another answer names it: a token server or the
    /// target of a redirect. Plain HTTP is `None` unless the host may be reached that way, or the
    /// answer itself came over plain HTTP.
    pub(super) fn tls_for(&self, url: &Url, came_by: Tls) -> Option<Tls> {
        let host = authority(url);
        match url.scheme() {
            "https" if is_loopback(host_of(&host)) || self.is_insecure(&host) => {
                Some(Tls::Unverified)
            }
            "https" => Some(Tls::Verified),
            "http" => {
                (came_by == Tls::None || is_loopback(host_of(&host)) || self.is_insecure(&host))
                    .then_some(Tls::None)
            }
            _ => None,
        }
    }

    /// Source: <https://github.com/moby/moby/blob/v28.5.2/daemon/pkg/registry/config.go#L243>
    fn is_insecure(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let listed = |known: &String| {
            known.eq_ignore_ascii_case(authority) || known.eq_ignore_ascii_case(host)
        };
        if self.insecure_hosts.iter().any(listed) {
            return true;
        }
        // Docker's own list is loopback alone: no name need be looked up for it.
        let networks: Vec<&Network> = self
            .insecure_networks
            .iter()
            .filter(|network| !network.address.is_loopback())
            .collect();
        if networks.is_empty() {
            return false;
        }
        let addresses: Vec<IpAddr> = match parse_ip(host) {
            Some(address) => vec![address],
            None => (self.look_up)(host),
        };
        addresses
            .iter()
            .any(|address| networks.iter().any(|network| network.contains(*address)))
    }

    fn mirror(&self, text: &str) -> Result<Endpoint, RegistryError> {
        let error = |cause: &str| {
            RegistryError::new(ErrorKind::Options, &without_user(text))
                .with_cause(format!("mirror `{}`: {cause}", without_user(text)))
        };
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let mut url = Url::parse(&with_scheme).map_err(|cause| error(&cause.to_string()))?;
        // Credentials belong into Docker's config.json; here they would end up in messages.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let host = authority(&url);
        if host.is_empty() {
            return Err(error("has no host"));
        }
        let tls = match url.scheme() {
            "http" => Tls::None,
            "https" if is_loopback(host_of(&host)) || self.is_insecure(&host) => Tls::Unverified,
            "https" => Tls::Verified,
            _ => return Err(error("is neither http nor https")),
        };
        Ok(Endpoint {
            credentials: host.clone(),
            host,
            bases: vec![Base { url, tls }],
        })
    }
}

impl Base {
    /// Returns the URL below `/v2/`, for a repository's path and what follows it.
    pub(super) fn url(&self, repository: &str, rest: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .push("v2")
            .extend(repository.split('/'))
            .extend(rest);
        url
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        fn same(a: u128, b: u128, bits: u32, prefix: u32) -> bool {
            prefix == 0 || (a ^ b) >> (bits - prefix.min(bits)) == 0
        }
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(u32::from(a).into(), u32::from(b).into(), 32, self.prefix)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128, self.prefix),
            _ => false,
        }
    }
}

/// Returns host and port of a URL as a reference would write them: no port where it is the
/// scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns whether a host (without port) is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || parse_ip(host).is_some_and(|address| address.is_loopback())
}

/// Returns the host of `host[:port]`.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons inside of `[::1]` are not a port's.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

fn look_up(host: &str) -> Vec<IpAddr> {
    (host, 443)
        .to_socket_addrs()
        .map(|addresses| addresses.map(|address| address.ip()).collect())
        .unwrap_or_default()
}

fn parse_ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

fn parse_network(text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/')?;
    Some(Network {
        address: address.parse().ok()?,
        prefix: prefix.parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
