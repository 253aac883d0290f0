//! Values that `BuildKit` refuses when it has expanded them: ports, modes, checksums.

use super::DockerfileError;
use super::suggestion::quote;
use crate::oci::Digest;

/// Checks a word of `EXPOSE`: `[[IP:]HOST:]PORT[-PORT][/PROTOCOL]`.
///
/// Source: <https://github.com/docker/go-connections/blob/v0.6.0/nat/nat.go>
pub(super) fn check_port(word: &str) -> Result<(), DockerfileError> {
    let error = |message: String| Err(DockerfileError::new(message));
    let (numbers, protocol) = word.split_once('/').unwrap_or((word, ""));
    let (before, container) = numbers.rsplit_once(':').unwrap_or(("", numbers));
    let (address, host) = before.rsplit_once(':').unwrap_or(("", before));
    if container.is_empty() {
        return error(format!("invalid port: {}: no port specified", quote(word)));
    }
    let known = ["", "tcp", "udp", "sctp"];
    if !known.contains(&protocol.to_lowercase().as_str()) {
        return error(format!(
            "invalid port: {}: invalid proto: {protocol}",
            quote(word)
        ));
    }
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    if !plain.is_empty() && plain.parse::<core::net::IpAddr>().is_err() {
        return error(format!("invalid IP address: {address}"));
    }
    let Some(container_length) = port_range(container) else {
        return error(format!("invalid containerPort: {container}"));
    };
    if host.is_empty() {
        return Ok(());
    }
    let Some(host_length) = port_range(host) else {
        return error(format!("invalid hostPort: {host}"));
    };
    if container_length != host_length && container_length != 0 {
        return error(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    Ok(())
}

/// Returns how far the end of a range is from its start.
fn port_range(text: &str) -> Option<u16> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end): (u16, u16) = (start.parse().ok()?, end.parse().ok()?);
    end.checked_sub(start)
}

/// Checks the value of `--chmod`: octal, or as `chmod` takes it, such as `u=rwX,go=rX`.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/dockerfile2llb/convert.go>
pub(super) fn check_mode(mode: &str) -> Result<(), DockerfileError> {
    if mode.is_empty() {
        return Ok(());
    }
    if mode.starts_with(|c: char| c.is_ascii_digit()) {
        let is_octal = mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        if is_octal && u32::from_str_radix(mode, 8).is_ok_and(|mode| mode <= 0o7777) {
            return Ok(());
        }
        return Err(DockerfileError::new(format!(
            "invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777"
        )));
    }
    let is_clause = |clause: &str| {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let permissions = actions.strip_prefix(['+', '-', '=']);
        permissions.is_some_and(|rest| rest.chars().all(|c| "rwxXstugo+-=".contains(c)))
    };
    if mode.split(',').all(is_clause) {
        Ok(())
    } else {
        Err(DockerfileError::new("invalid syntax"))
    }
}

/// Checks the checksum of a file that comes by HTTP.
///
/// Source: <https://github.com/opencontainers/go-digest/blob/v1.0.0/digest.go>
pub(super) fn check_checksum(checksum: &str) -> Result<(), DockerfileError> {
    let format = || Err(DockerfileError::new("invalid checksum digest format"));
    let Some((algorithm, encoded)) = checksum.split_once(':') else {
        return format();
    };
    let is_name = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_encoded = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | '_' | '-');
    if !algorithm.split(['.', '+', '_', '-']).all(is_name)
        || encoded.is_empty()
        || !encoded.chars().all(is_encoded)
    {
        return format();
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(DockerfileError::new("unsupported digest algorithm")),
    };
    if encoded.len() != length {
        return Err(DockerfileError::new("invalid checksum digest length"));
    }
    checksum
        .parse::<Digest>()
        .map_or_else(|_| format(), |_| Ok(()))
}
