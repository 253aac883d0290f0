//! Where a remote store is.

use std::fmt;
use std::str::FromStr;

use super::{RemoteError, RemoteErrorKind};
use crate::oci::Reference;

/// The schemes of object stores.
const OBJECT_SCHEMES: [&str; 3] = ["s3", "gs", "az"];

/// Where a remote store is, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `oci://HOST/REPOSITORY`.
    Registry(Reference),
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    Objects(String),
}

impl FromStr for Location {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let wrong = |why: &str| {
            // It may hold a password.
            let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
            let shown = shown.split(['?', '#']).next().unwrap_or_default();
            RemoteError::new(
                RemoteErrorKind::Url,
                format!("remote store `{shown}` {why}"),
            )
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("has no scheme"))?;
        let rest = rest.trim_end_matches('/');
        if rest.contains(['@', '?', '#']) {
            return Err(wrong(
                "has more than a place: credentials come from the environment or Docker's `config.json`",
            ));
        }
        if scheme == "oci" {
            let reference: Reference = rest.parse().map_err(|_| wrong("names no repository"))?;
            let host = rest.split('/').next().unwrap_or_default();
            if reference.domain() != host || rest.rsplit('/').next().is_none_or(|n| n.contains(':'))
            {
                return Err(wrong("is not `oci://HOST/REPOSITORY`"));
            }
            return Ok(Self::Registry(reference));
        }
        if !OBJECT_SCHEMES.contains(&scheme) {
            return Err(wrong("is neither `oci://`, `s3://`, `gs://` nor `az://`"));
        }
        let is_plain = |part: &str| !part.is_empty() && !matches!(part, "." | "..");
        if !rest.split('/').all(is_plain) {
            return Err(wrong("names no bucket, or an empty folder in it"));
        }
        Ok(Self::Objects(format!("{scheme}://{rest}")))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => {
                write!(f, "oci://{}/{}", reference.domain(), reference.path())
            }
            Self::Objects(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        for text in [
            "oci://registry.example.com/team/cache",
            "oci://127.0.0.1:5000/cache",
            "s3://bucket/prefix/more",
            "gs://bucket",
            "az://container/x",
        ] {
            let location: Location = text.parse().expect(text);
            assert_eq!(location.to_string(), text);
        }
        let slash: Location = "s3://bucket/p/".parse().expect("a place");
        assert_eq!(slash.to_string(), "s3://bucket/p");
    }

    #[test]
    fn what_is_no_place_is_refused_without_its_secrets() {
        for text in [
            "bucket/prefix",
            "http://example.com/x",
            "oci://registry.example.com",
            "oci://library/x",
            "oci://registry.example.com/x:tag",
            "s3://",
            "s3://bucket//x",
            "s3://bucket/../other",
            "s3://key:secret-of-remote@bucket/x",
            "az://container/x?sig=secret-of-remote",
        ] {
            let error = text.parse::<Location>().expect_err(text);
            assert!(!error.to_string().contains("secret-of-remote"), "{error}");
        }
    }
}
