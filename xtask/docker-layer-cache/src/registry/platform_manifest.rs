//! Which manifest of an index serves a platform.
//!
//! Source: <https://github.com/containerd/platforms/blob/v1.0.0/compare.go>

use super::manifest::FetchedManifest;
use super::{ErrorKind, RegistryError};
use crate::oci::{Digest, ImageIndex, Platform, Reference, media_type};

/// Returns the digest of the manifest for `platform` among what `fetched` names.
pub(super) fn platform_digest(
    reference: &Reference,
    fetched: &FetchedManifest,
    platform: &Platform,
) -> Result<Digest, RegistryError> {
    let error = |kind| RegistryError::new(kind, &fetched.endpoint).for_reference(reference);
    match choose(fetched, platform) {
        Ok(Chosen::Manifest(digest)) => Ok(digest),
        Ok(Chosen::None { available }) => Err(error(ErrorKind::NoPlatform {
            platform: platform.to_string(),
            available,
        })),
        Err(cause) => {
            Err(error(ErrorKind::Protocol)
                .with_cause(format!("index `{}`: {cause}", fetched.digest)))
        }
    }
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    Manifest(Digest),
    None { available: Vec<String> },
}

/// Returns the manifest for `platform`; a manifest that is no index is it by itself, as for
/// Docker.
fn choose(fetched: &FetchedManifest, platform: &Platform) -> Result<Chosen, serde_json::Error> {
    let is_index = matches!(
        fetched.media_type.as_str(),
        media_type::OCI_INDEX | media_type::DOCKER_MANIFEST_LIST
    );
    if !is_index {
        return Ok(Chosen::Manifest(fetched.digest.clone()));
    }
    let index: ImageIndex = serde_json::from_slice(&fetched.bytes)?;
    for wanted in compatible(&normalised(platform)) {
        let found = index.manifests.iter().find(|descriptor| {
            descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| normalised(platform) == wanted)
        });
        if let Some(descriptor) = found {
            return Ok(Chosen::Manifest(descriptor.digest.clone()));
        }
    }
    // An entry without a platform may be for any: taken only when there is no other choice.
    if let [descriptor] = index.manifests.as_slice()
        && descriptor.platform.is_none()
    {
        return Ok(Chosen::Manifest(descriptor.digest.clone()));
    }
    let mut available: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        // Attestations call themselves that.
        .filter(|platform| platform.os != "unknown")
        .map(ToString::to_string)
        .collect();
    available.sort();
    available.dedup();
    Ok(Chosen::None { available })
}

/// Returns the platforms whose images run on `platform`, the best one first.
fn compatible(platform: &Platform) -> Vec<Platform> {
    let with = |architecture: &str, variant: &str| Platform {
        os: platform.os.clone(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        os_version: platform.os_version.clone(),
    };
    let lower = |first: u32, last: u32| {
        (last..first)
            .rev()
            .map(|version| normalised(&with(&platform.architecture, &format!("v{version}"))))
    };
    let version = platform
        .variant
        .strip_prefix('v')
        .and_then(|digits| digits.split('.').next()?.parse::<u32>().ok());
    let mut all = vec![platform.clone()];
    match (platform.architecture.as_str(), version) {
        ("amd64", version) => {
            all.extend(lower(version.unwrap_or(1), 1));
            all.push(with("386", ""));
        }
        ("arm", Some(version)) => all.extend(lower(version, 5)),
        ("arm64", version) => {
            if version.is_some() {
                all.push(with("arm64", ""));
            }
            all.extend(["v8", "v7", "v6", "v5"].map(|variant| with("arm", variant)));
        }
        _ => {}
    }
    all
}

/// Source: <https://github.com/containerd/platforms/blob/v1.0.0/database.go>
fn normalised(platform: &Platform) -> Platform {
    let os = match platform.os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        os => os.to_owned(),
    };
    let architecture = platform.architecture.to_ascii_lowercase();
    let variant = platform.variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i686" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    Platform {
        os,
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        os_version: platform.os_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        let index = |platforms: &[&str]| {
            let manifests: Vec<serde_json::Value> = platforms
                .iter()
                .map(|text| {
                    let mut descriptor = serde_json::json!({
                        "mediaType": media_type::OCI_MANIFEST,
                        "digest": Digest::of(text.as_bytes()),
                        "size": 1,
                    });
                    if !text.is_empty() {
                        let platform: Platform = text.parse().expect("a platform");
                        descriptor["platform"] = serde_json::to_value(platform).expect("JSON");
                    }
                    descriptor
                })
                .collect();
            let index = serde_json::json!({ "schemaVersion": 2, "manifests": manifests });
            FetchedManifest {
                digest: Digest::of(b"index"),
                media_type: media_type::OCI_INDEX.to_owned(),
                bytes: index.to_string().into_bytes(),
                endpoint: String::new(),
            }
        };
        let usual = [
            "unknown/unknown",
            "linux/386",
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64/v8",
            "windows/amd64",
        ];
        for (platforms, wanted, expected) in [
            (&usual[..], "linux/amd64", Some("linux/amd64")),
            (&usual, "linux/x86_64", Some("linux/amd64")),
            (&usual, "linux/amd64/v3", Some("linux/amd64")),
            (&usual, "linux/arm64", Some("linux/arm64/v8")),
            (&usual, "linux/arm64/v8", Some("linux/arm64/v8")),
            (&usual, "linux/arm64/v9", Some("linux/arm64/v8")),
            (&usual, "linux/arm", Some("linux/arm/v7")),
            (&usual, "linux/arm/v8", Some("linux/arm/v7")),
            (&usual, "linux/arm/v5", None),
            (&usual, "linux/s390x", None),
            (&usual, "windows/amd64", Some("windows/amd64")),
            (&["linux/386"], "linux/amd64", Some("linux/386")),
            (
                &["linux/amd64/v2", "linux/amd64"],
                "linux/amd64",
                Some("linux/amd64"),
            ),
            (
                &["linux/amd64/v2", "linux/amd64"],
                "linux/amd64/v2",
                Some("linux/amd64/v2"),
            ),
            (&[""], "linux/amd64", Some("")),
            (&[], "linux/amd64", None),
        ] {
            let chosen = choose(&index(platforms), &wanted.parse().expect("a platform"))
                .expect("the index is good");
            let got = match chosen {
                Chosen::Manifest(digest) => Some(digest),
                Chosen::None { .. } => None,
            };
            let expected = expected.map(|text| Digest::of(text.as_bytes()));
            assert_eq!(got, expected, "{wanted} of {platforms:?}");
        }
    }
}
