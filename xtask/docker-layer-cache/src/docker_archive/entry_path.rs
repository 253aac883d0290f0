//! Paths inside an archive: what an entry is, by its name.

use crate::oci::Digest;

/// What a file of the archive is, by its path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryRole {
    /// `manifest.json`.
    Manifest,
    /// A config of the first generation, `<image ID>.json`, with the digest that its name states.
    Config(Option<Digest>),
    /// A layer that is named by anything but its digest: `<v1 ID>/layer.tar`.
    Layer(String),
    /// `blobs/sha256/<digest>`: a config, a manifest or a layer.
    Blob(Digest),
    /// Nothing that we need: `repositories`, `<v1 ID>/json`, `index.json`.
    Other,
}

/// Returns `path` without `./` and trailing slashes, or nothing if it could leave the archive.
pub(super) fn normalize(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains(['\0', '\\']) {
        return None;
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// Returns what the symlink at `path` points to, or nothing if that is outside the archive.
pub(super) fn resolve_link(path: &str, target: &str) -> Option<String> {
    if target.starts_with('/') || target.contains(['\0', '\\']) {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Returns what the file at the normalized `path` is.
pub(super) fn role(path: &str) -> EntryRole {
    if let Some(encoded) = path.strip_prefix("blobs/sha256/")
        && let Ok(digest) = format!("sha256:{encoded}").parse()
    {
        return EntryRole::Blob(digest);
    }
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match (folder, file) {
        ("", "manifest.json") => EntryRole::Manifest,
        ("", "index.json" | "oci-layout" | "repositories") | (_, "VERSION" | "json") => {
            EntryRole::Other
        }
        ("", file) if file.strip_suffix(".json").is_some() => {
            let encoded = file.strip_suffix(".json").unwrap_or(file);
            EntryRole::Config(format!("sha256:{encoded}").parse().ok())
        }
        (folder, "layer.tar") if !folder.is_empty() => EntryRole::Layer(folder.to_owned()),
        // Other tools put layers beside manifest.json: `<digest>.tar` (skopeo), `<digest>.tar.gz` (crane).
        ("", file) if [".tar", ".tar.gz"].iter().any(|end| file.ends_with(end)) => {
            EntryRole::Layer(file.to_owned())
        }
        _ => EntryRole::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_archive() {
        for path in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\\b", "a\0b"] {
            assert_eq!(normalize(path), None, "{path}");
        }
        assert_eq!(
            normalize("./blobs//sha256/").as_deref(),
            Some("blobs/sha256")
        );
    }

    #[test]
    fn links() {
        for (path, target, expected) in [
            ("b/layer.tar", "../a/layer.tar", Some("a/layer.tar")),
            ("b/layer.tar", "../a.tar", Some("a.tar")),
            ("b/layer.tar", "../../a/layer.tar", None),
            ("b/layer.tar", "/a/layer.tar", None),
            ("b/layer.tar", "..", None),
        ] {
            assert_eq!(
                resolve_link(path, target).as_deref(),
                expected,
                "{path} -> {target}"
            );
        }
    }

    #[test]
    fn roles() {
        let encoded = "a".repeat(64);
        let digest: Digest = format!("sha256:{encoded}").parse().expect("a digest");
        for (path, expected) in [
            ("manifest.json", EntryRole::Manifest),
            (
                &format!("{encoded}.json"),
                EntryRole::Config(Some(digest.clone())),
            ),
            ("config.json", EntryRole::Config(None)),
            (&format!("blobs/sha256/{encoded}"), EntryRole::Blob(digest)),
            ("blobs/sha256/xyz", EntryRole::Other),
            ("abc/layer.tar", EntryRole::Layer("abc".into())),
            ("abc.tar", EntryRole::Layer("abc.tar".into())),
            ("layer.tar", EntryRole::Layer("layer.tar".into())),
            ("abc/json", EntryRole::Other),
            ("index.json", EntryRole::Other),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
    }
}
