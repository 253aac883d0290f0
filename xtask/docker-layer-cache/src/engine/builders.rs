//! Whether buildx has builders of its own: what it keeps of them in its folder.
//!
//! ```text
//! $BUILDX_CONFIG, or $DOCKER_CONFIG/buildx, or ~/.docker/buildx
//! └── instances/<builder>      one file for each that `docker buildx create` made
//! ```
//! Without one, the current builder is that of the docker context, whose driver is `docker`. Reading
//! a folder spares `docker buildx inspect`, which takes longer than all else in `docker-key`.
//!
//! Source: <https://github.com/docker/buildx/blob/v0.29.1/store/store.go>

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Returns whether the current builder can only be that of the docker context. `get` looks up a
/// variable of the environment.
pub(super) fn only_default(get: impl Fn(&str) -> Option<OsString>) -> bool {
    let get = |name: &str| get(name).filter(|value| !value.is_empty());
    // It may name a builder, or be wrong: buildx must say.
    if get("BUILDX_BUILDER").is_some() {
        return false;
    }
    let in_config = || {
        let config = get("DOCKER_CONFIG").map(PathBuf::from);
        let config = config.or_else(|| Some(PathBuf::from(get("HOME")?).join(".docker")))?;
        Some(config.join("buildx"))
    };
    let Some(folder) = get("BUILDX_CONFIG").map(PathBuf::from).or_else(in_config) else {
        return false;
    };
    match folder.join("instances").read_dir() {
        Ok(mut instances) => instances.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_made_by_create_is_seen_wherever_it_is_kept() {
        let home = tempfile::tempdir().expect("a folder");
        let with = |variables: &[(&str, &str)]| {
            only_default(|name| {
                let value = variables.iter().find(|(known, _)| *known == name)?.1;
                // What starts with a slash is below the folder of this test.
                Some(match value.strip_prefix('/') {
                    Some(path) => home.path().join(path).into(),
                    None => value.into(),
                })
            })
        };
        assert!(with(&[("HOME", "/")]), "nothing was made yet");
        for folder in ["none", "some"] {
            let instances = home.path().join(folder).join("buildx/instances");
            std::fs::create_dir_all(&instances).expect("a folder");
        }
        std::fs::write(home.path().join("some/buildx/instances/ci"), "{}").expect("a file");
        std::fs::rename(home.path().join("some"), home.path().join(".docker")).expect("a folder");
        let rows: [(&[(&str, &str)], bool); 7] = [
            (&[("HOME", "/")], false),
            (&[("HOME", "/"), ("DOCKER_CONFIG", "")], false),
            (&[("HOME", "/"), ("DOCKER_CONFIG", "/none")], true),
            (
                &[
                    ("DOCKER_CONFIG", "/none"),
                    ("BUILDX_CONFIG", "/.docker/buildx"),
                ],
                false,
            ),
            (
                &[
                    ("DOCKER_CONFIG", "/.docker"),
                    ("BUILDX_CONFIG", "/none/buildx"),
                ],
                true,
            ),
            (
                &[("DOCKER_CONFIG", "/none"), ("BUILDX_BUILDER", "ci")],
                false,
            ),
            (&[], false),
        ];
        for (variables, expected) in rows {
            assert_eq!(with(variables), expected, "{variables:?}");
        }
    }
}
