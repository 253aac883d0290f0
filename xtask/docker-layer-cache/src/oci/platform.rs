//! Platforms: `os[(version)]/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform, with the names of the Go toolchain.
///
/// Parsing knows the usual aliases (`x86_64` is `amd64`, `aarch64` is `arm64`);
/// [`Platform::normalized`] gives the one form of platforms that are the same.
///
/// Source: <https://github.com/containerd/platforms/blob/v1.0.0/platforms.go>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, such as `linux`.
    pub os: String,
    /// CPU architecture, such as `amd64`.
    pub architecture: String,
    /// CPU variant, such as `v7`; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Version of the operating system, such as `10.0.17763.1` on Windows; else empty.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
}

/// Why a text is not a platform, in the words of containerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformError {
    message: String,
}

impl Platform {
    /// Returns a platform without variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: String::new(),
            os_version: String::new(),
        }
    }

    /// Returns `linux/amd64`.
    pub fn linux_amd64() -> Self {
        Self::new("linux", "amd64")
    }

    /// Returns the one form of platforms that are the same: `linux/arm` is `linux/arm/v7`,
    /// `linux/arm64/v8` is `linux/arm64`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        Self {
            os: normalize_os(&self.os),
            architecture,
            variant,
            os_version: self.os_version.clone(),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses a specifier: `os/architecture[/variant]`, or one of the two alone, where the missing
    /// one is that of a usual build machine (`linux`, `amd64`).
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = |message: String| PlatformError {
            message: format!("{message}: invalid argument"),
        };
        if text.contains('*') {
            return Err(error(format!("{text:?}: wildcards not yet supported")));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let Some((os, os_version)) = split_os(parts[0]) else {
            return Err(error(format!(
                "{:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match {OS_PATTERN:?}",
                parts[0]
            )));
        };
        for part in &parts[1..] {
            if part.is_empty() || !part.bytes().all(|b| is_word(b) || b == b'.') {
                return Err(error(format!(
                    "{part:?} is an invalid component of {text:?}: platform specifier component must match {PART_PATTERN:?}"
                )));
            }
        }
        let platform = |os: String, (architecture, variant): (String, String)| Platform {
            os,
            architecture,
            variant,
            os_version: os_version.to_owned(),
        };
        let without_v7 = |(architecture, variant): (String, String)| {
            let variant = if architecture == "arm" && variant == "v7" {
                String::new()
            } else {
                variant
            };
            (architecture, variant)
        };
        let os = normalize_os(os);
        match parts[1..] {
            [] if KNOWN_OS.contains(&os.as_str()) => {
                Ok(platform(os, ("amd64".to_owned(), String::new())))
            }
            [] => {
                let architecture = without_v7(normalize_architecture(parts[0], ""));
                if !KNOWN_ARCHITECTURES.contains(&architecture.0.as_str()) {
                    return Err(error(format!(
                        "{text:?}: unknown operating system or architecture"
                    )));
                }
                Ok(platform("linux".to_owned(), architecture))
            }
            [architecture] => Ok(platform(
                os,
                without_v7(normalize_architecture(architecture, "")),
            )),
            [architecture, variant] => {
                let (architecture, mut variant) = normalize_architecture(architecture, variant);
                if architecture == "arm64" && variant.is_empty() {
                    variant.push_str("v8");
                }
                Ok(platform(os, (architecture, variant)))
            }
            _ => Err(error(format!("{text:?}: cannot parse platform specifier"))),
        }
    }
}

const OS_PATTERN: &str = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$";
const PART_PATTERN: &str = "^[A-Za-z0-9_.-]+$";

const KNOWN_OS: [&str; 16] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

const KNOWN_ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Splits `os` or `os(version)`.
fn split_os(text: &str) -> Option<(&str, &str)> {
    let (os, version) = match text.split_once('(') {
        Some((os, rest)) => (os, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    (!os.is_empty() && os.bytes().all(is_word) && version.bytes().all(|b| is_word(b) || b == b'.'))
        .then_some((os, version))
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        lower => lower.to_owned(),
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if !self.os_version.is_empty() {
            write!(f, "({})", self.os_version)?;
        }
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlatformError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_as_containerd() {
        for (text, parsed, normalized) in [
            ("linux/amd64", "linux/amd64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2", "linux/amd64/v2"),
            ("Linux/X86_64", "linux/amd64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm", "linux/arm/v7"),
            ("linux/arm/v7", "linux/arm/v7", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64", "linux/arm64"),
            ("linux", "linux/amd64", "linux/amd64"),
            ("macos/arm64", "darwin/arm64", "darwin/arm64"),
            ("i386", "linux/386", "linux/386"),
            (
                "windows(10.0.17763)/amd64",
                "windows(10.0.17763)/amd64",
                "windows(10.0.17763)/amd64",
            ),
        ] {
            let platform: Platform = text.parse().expect(text);
            assert_eq!(platform.to_string(), parsed, "{text}");
            assert_eq!(platform.normalized().to_string(), normalized, "{text}");
        }
    }

    #[test]
    fn refuses_as_containerd() {
        for (text, message) in [
            (
                "foo",
                r#""foo": unknown operating system or architecture: invalid argument"#,
            ),
            (
                "linux/a*b",
                r#""linux/a*b": wildcards not yet supported: invalid argument"#,
            ),
            (
                "linux/",
                r#""" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#,
            ),
            (
                "linux/a/b/c/d",
                r#""c/d" is an invalid component of "linux/a/b/c/d": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#,
            ),
            (
                "linux/a/b/c",
                r#""linux/a/b/c": cannot parse platform specifier: invalid argument"#,
            ),
        ] {
            let error = text.parse::<Platform>().expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }
}
