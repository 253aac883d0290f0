//! Plain writes to a registry on loopback: no TLS, no credentials, one connection per request.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use docker_layer_cache::oci::Digest;

/// Why a registry did not take a write.
#[derive(Debug)]
pub struct PushError {
    method: &'static str,
    url: String,
    kind: PushErrorKind,
}

#[derive(Debug)]
enum PushErrorKind {
    Io(io::Error),
    Status(u16),
    NoLocation,
}

/// Puts a blob into `repository` of the registry at `host`, unless it is there.
///
/// # Errors
/// Where the registry cannot be reached or refuses.
pub fn push_blob(
    host: &str,
    repository: &str,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), PushError> {
    let url = format!("/v2/{repository}/blobs/{digest}");
    if call("HEAD", host, &url, None, &[])?.status == 200 {
        return Ok(());
    }
    let url = format!("/v2/{repository}/blobs/uploads/");
    let started = call("POST", host, &url, None, &[])?.expect("POST", host, &url, 202)?;
    let Some(location) = started.location else {
        return Err(error("POST", host, &url, PushErrorKind::NoLocation));
    };
    let separator = if location.contains('?') { '&' } else { '?' };
    let path = location
        .strip_prefix("http://")
        .and_then(|rest| rest.find('/').map(|at| rest[at..].to_owned()))
        .unwrap_or(location);
    let url = format!("{path}{separator}digest={digest}");
    let media_type = Some("application/octet-stream");
    call("PUT", host, &url, media_type, bytes)?.expect("PUT", host, &url, 201)?;
    Ok(())
}

/// Puts a manifest or index under a tag or digest.
///
/// # Errors
/// Where the registry cannot be reached or refuses.
pub fn push_manifest(
    host: &str,
    repository: &str,
    reference: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), PushError> {
    let url = format!("/v2/{repository}/manifests/{reference}");
    call("PUT", host, &url, Some(media_type), bytes)?.expect("PUT", host, &url, 201)?;
    Ok(())
}

struct Reply {
    status: u16,
    location: Option<String>,
}

impl Reply {
    fn expect(
        self,
        method: &'static str,
        host: &str,
        url: &str,
        status: u16,
    ) -> Result<Self, PushError> {
        if self.status == status {
            Ok(self)
        } else {
            Err(error(method, host, url, PushErrorKind::Status(self.status)))
        }
    }
}

fn error(method: &'static str, host: &str, url: &str, kind: PushErrorKind) -> PushError {
    PushError {
        method,
        url: format!("http://{host}{url}"),
        kind,
    }
}

fn call(
    method: &'static str,
    host: &str,
    url: &str,
    media_type: Option<&str>,
    body: &[u8],
) -> Result<Reply, PushError> {
    exchange(method, host, url, media_type, body)
        .map_err(|cause| error(method, host, url, PushErrorKind::Io(cause)))
}

fn exchange(
    method: &str,
    host: &str,
    url: &str,
    media_type: Option<&str>,
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let media_type =
        media_type.map_or_else(String::new, |value| format!("Content-Type: {value}\r\n"));
    write!(
        stream,
        "{method} {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{media_type}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let head = String::from_utf8_lossy(&reply);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))?;
    let location = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Ok(Reply { status, location })
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {} `{}`: ", self.method, self.url)?;
        match &self.kind {
            PushErrorKind::Io(cause) => write!(f, "{cause}"),
            PushErrorKind::Status(status) => write!(f, "the registry answered {status}"),
            PushErrorKind::NoLocation => f.write_str("the registry named no place to upload to"),
        }
    }
}

impl std::error::Error for PushError {}
