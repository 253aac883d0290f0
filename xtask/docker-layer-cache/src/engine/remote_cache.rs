//! A build cache that `BuildKit` keeps somewhere else by itself: pure.

use std::collections::BTreeMap;
use std::fmt;

use super::argv::csv;
use crate::oci::Platform;

/// What stands for the platform in a field.
const PLATFORM: &str = "{platform}";

/// Fields that say how a cache is written, and that an import does not know.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.25.1/README.md#export-cache>
const OF_THE_EXPORT: [&str; 9] = [
    "mode",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "image-manifest",
    "ignore-error",
    "upload_parallelism",
    "touch_refresh",
];

/// Fields that are secrets: the command line is no place for them, nor is a file of the repository.
const SECRETS: [&str; 6] = [
    "access_key_id",
    "secret_access_key",
    "session_token",
    "account_key",
    "token",
    "ghtoken",
];

/// A remote build cache, as `--cache-from` and `--cache-to` take it: `type=registry,ref=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCache {
    kind: String,
    fields: BTreeMap<String, String>,
}

impl RemoteCache {
    /// Reads the fields of a cache.
    ///
    /// # Errors
    /// Where the type is none of `BuildKit`'s remote ones, or a field is a secret or cannot be.
    pub fn new(mut fields: BTreeMap<String, String>) -> Result<RemoteCache, String> {
        let kind = fields.remove("type").unwrap_or_default();
        match kind.as_str() {
            "registry" if fields.get("ref").is_none_or(String::is_empty) => {
                return Err("`type = \"registry\"` needs a `ref`".to_owned());
            }
            "registry" | "s3" | "gha" | "azblob" => {}
            "local" | "inline" => {
                return Err(format!(
                    "`type = \"{kind}\"` is what the store does by itself: leave `build-cache` out"
                ));
            }
            other => {
                return Err(format!(
                    "`type` is `{other}`; there are `registry`, `s3`, `gha` and `azblob`"
                ));
            }
        }
        for (name, value) in &fields {
            if SECRETS.contains(&name.as_str()) {
                return Err(format!(
                    "`{name}` is a secret: leave it out, and give it to the builder by the environment or by `docker login`"
                ));
            }
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if name.is_empty() || !name.chars().all(is_plain) || value.chars().any(char::is_control)
            {
                return Err(format!("`{name}` is no field of a build cache"));
            }
        }
        Ok(RemoteCache { kind, fields })
    }

    /// Returns the cache of one platform: `{platform}` becomes `linux-amd64`.
    ///
    /// # Errors
    /// Where there are `several` platforms and no field tells them apart: each would write over
    /// the cache of the one before.
    pub fn of_platform(&self, platform: &Platform, several: bool) -> Result<RemoteCache, String> {
        let mut cache = self.clone();
        if several && !self.fields.values().any(|value| value.contains(PLATFORM)) {
            return Err(format!(
                "several platforms would write over each other's cache: put `{PLATFORM}` into one of its fields, such as `ref`"
            ));
        }
        let name = platform.to_string().replace('/', "-");
        for value in cache.fields.values_mut() {
            *value = value.replace(PLATFORM, &name);
        }
        Ok(cache)
    }

    /// Returns the value of `--cache-from`.
    pub fn import(&self) -> String {
        self.flag(|name| !OF_THE_EXPORT.contains(&name), None)
    }

    /// Returns the value of `--cache-to`: every step, where nothing else is said.
    pub fn export(&self) -> String {
        let mode = (!self.fields.contains_key("mode")).then_some("mode=max");
        self.flag(|_| true, mode)
    }

    fn flag(&self, is_wanted: impl Fn(&str) -> bool, more: Option<&str>) -> String {
        let fields = self.fields.iter().filter(|(name, _)| is_wanted(name));
        let fields: Vec<String> = std::iter::once(format!("type={}", self.kind))
            .chain(fields.map(|(name, value)| format!("{name}={value}")))
            .chain(more.map(str::to_owned))
            .collect();
        csv(&fields.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl fmt::Display for RemoteCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.import())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(fields: &[(&str, &str)]) -> Result<RemoteCache, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        RemoteCache::new(fields.iter().map(owned).collect())
    }

    #[test]
    fn an_import_knows_nothing_of_how_it_was_written() {
        let registry = cache(&[
            ("type", "registry"),
            ("ref", "r.example/app:cache"),
            ("compression", "zstd"),
            ("oci-mediatypes", "true"),
        ])
        .expect("a cache");
        assert_eq!(registry.import(), "type=registry,ref=r.example/app:cache");
        assert_eq!(
            registry.export(),
            "type=registry,compression=zstd,oci-mediatypes=true,ref=r.example/app:cache,mode=max"
        );
        let min = cache(&[("type", "gha"), ("mode", "min"), ("scope", "a,b")]).expect("a cache");
        assert_eq!(min.export(), "type=gha,mode=min,\"scope=a,b\"");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let check = |fields: &[(&str, &str)], part: &str| {
            let error = cache(fields).expect_err("no cache");
            assert!(error.contains(part), "{error}");
        };
        check(&[("ref", "x")], "`registry`, `s3`, `gha` and `azblob`");
        check(
            &[("type", "local"), ("dest", "x")],
            "leave `build-cache` out",
        );
        check(&[("type", "registry")], "needs a `ref`");
        check(&[("type", "s3"), ("secret_access_key", "x")], "is a secret");
        check(&[("type", "s3"), ("a,b", "x")], "is no field");
        check(&[("type", "s3"), ("region", "x\ny")], "is no field");
    }

    #[test]
    fn platforms_are_told_apart() {
        let platform: Platform = "linux/arm64".parse().expect("a platform");
        let shared = cache(&[("type", "registry"), ("ref", "r/app:c")]).expect("a cache");
        assert!(shared.of_platform(&platform, true).is_err());
        assert_eq!(shared.of_platform(&platform, false).as_ref(), Ok(&shared));
        let own = cache(&[("type", "registry"), ("ref", "r/app:c-{platform}")]).expect("a cache");
        let own = own.of_platform(&platform, true).expect("told apart");
        assert_eq!(own.import(), "type=registry,ref=r/app:c-linux-arm64");
    }
}
