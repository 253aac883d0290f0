//! Which platforms a builder runs: its own, and those that the machine emulates.
//!
//! ```text
//! Platforms:        linux/amd64*, linux/amd64/v2, linux/386, linux/arm64
//! ```
//! Source: <https://github.com/docker/buildx/blob/v0.29.1/commands/inspect.go>

use super::{Builder, Docker};
use crate::oci::Platform;

impl Docker {
    /// Returns the platforms that the current builder runs; none where it does not tell: only buildx
    /// does, of a builder that is up.
    pub fn builder_platforms(&self, builder: &Builder) -> Option<Vec<Platform>> {
        if !matches!(builder, Builder::Buildx { .. }) {
            return None;
        }
        let args = ["buildx", "inspect"].map(str::to_owned);
        let platforms = platforms_of(&String::from_utf8_lossy(&self.read(&args).ok()?));
        Some(platforms).filter(|platforms| !platforms.is_empty())
    }
}

/// Reads the platforms of all nodes.
fn platforms_of(inspected: &str) -> Vec<Platform> {
    inspected
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Platforms:"))
        .flat_map(|list| list.split(','))
        // A star stands behind those that were asked for when the builder was made.
        .filter_map(|platform| platform.trim().trim_end_matches('*').parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nodes_count() {
        let text = "Name: ci\nNodes:\nName: a\nPlatforms:        linux/amd64*, linux/386\n\
                    Name: b\nPlatforms: linux/arm64\nName: c\nPlatforms:\n";
        let found: Vec<String> = platforms_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["linux/amd64", "linux/386", "linux/arm64"]);
    }
}
