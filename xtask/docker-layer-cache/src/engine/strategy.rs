//! How layers are kept on an engine: pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Builder, Engine, ImageStore};

/// How the cache is offered to the builder, and how it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// `BuildKit` imports a `type=local` view, and exports one: containerd image store, and the
    /// `docker-container`, `kubernetes` and `remote` drivers.
    ExportedBuildCache,
    /// `BuildKit` imports a `type=local` view, which we write from the inline records of stage
    /// images: engines with a graph driver, where `BuildKit` cannot export.
    WrittenBuildCache,
    /// The classic builder: stage images loaded and named by `--cache-from`.
    StageImages,
    /// `BuildKit` with stage images that carry inline records, built one stage after the other,
    /// each with only its own old image: where the written build cache does not hold.
    InlineStageImages,
    /// `BuildKit` reads and writes a cache of its own elsewhere (`type=registry`, `s3`, `gha`,
    /// `azblob`): where an image's `build-cache` says so.
    RemoteBuildCache,
}

/// Why a strategy cannot be had on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrategyError {
    message: String,
}

impl Strategy {
    /// Returns the best strategy for `engine`, or `forced` where the engine can do it.
    ///
    /// # Errors
    /// Where the forced strategy does not work on this engine.
    pub fn choose(engine: &Engine, forced: Option<Strategy>) -> Result<Strategy, StrategyError> {
        let refuse = |message: String| Err(StrategyError { message });
        let best = match (&engine.builder, engine.image_store) {
            (Builder::Classic, ImageStore::Containerd) => {
                return refuse(
                    "the classic builder loses images on the containerd image store; unset DOCKER_BUILDKIT and install the buildx plugin".to_owned(),
                );
            }
            (Builder::BuildxMissing, _) => {
                return refuse(
                    "DOCKER_BUILDKIT asks for BuildKit, and docker's buildx plugin is missing; install it, or unset DOCKER_BUILDKIT for the classic builder".to_owned(),
                );
            }
            (Builder::Classic, ImageStore::GraphDriver) => Strategy::StageImages,
            (Builder::EmbeddedBuildkit, _) => Strategy::InlineStageImages,
            (Builder::Buildx { driver, .. }, store) => match (driver.as_str(), store) {
                // BuildKit before 23.0 imports a view without complaint and hits nothing.
                ("docker", ImageStore::GraphDriver) if engine.server_major < 23 => {
                    Strategy::InlineStageImages
                }
                ("docker", ImageStore::GraphDriver) => Strategy::WrittenBuildCache,
                _ => Strategy::ExportedBuildCache,
            },
        };
        let Some(forced) = forced else {
            return Ok(best);
        };
        if forced == Strategy::RemoteBuildCache {
            return match engine.builder {
                Builder::Buildx { .. } => Ok(forced),
                _ => refuse(format!(
                    "`build-cache` needs BuildKit with the buildx plugin, which this engine ({engine}) does not use; without `build-cache` it can do `{best}`"
                )),
            };
        }
        let buildkit_on_graph_driver = matches!(
            best,
            Strategy::WrittenBuildCache | Strategy::InlineStageImages
        );
        if forced == best
            || (buildkit_on_graph_driver
                && matches!(
                    forced,
                    Strategy::WrittenBuildCache | Strategy::InlineStageImages
                ))
        {
            return Ok(forced);
        }
        refuse(format!(
            "strategy `{forced}` does not work on this engine ({engine}); it can do `{best}`"
        ))
    }

    /// Returns the class of engines that can use what this one stores, such as
    /// `buildkit-28-graph`. Part of the key, since stored data is not portable across classes.
    pub fn engine_class(self, engine: &Engine) -> String {
        match self {
            Strategy::StageImages => "classic".to_owned(),
            Strategy::WrittenBuildCache | Strategy::InlineStageImages => {
                format!("buildkit-{}-graph", engine.server_major)
            }
            Strategy::RemoteBuildCache if !Strategy::can_export(engine) => {
                format!("buildkit-{}-graph", engine.server_major)
            }
            Strategy::ExportedBuildCache | Strategy::RemoteBuildCache => match &engine.builder {
                Builder::Buildx { driver, .. } if driver != "docker" => {
                    format!("buildkit-{driver}")
                }
                _ => format!("buildkit-{}-containerd", engine.server_major),
            },
        }
    }

    /// Tells whether `BuildKit` can write a build cache on this engine: with a graph driver it
    /// cannot, and only reads them.
    pub fn can_export(engine: &Engine) -> bool {
        Strategy::choose(engine, None).is_ok_and(|best| best == Strategy::ExportedBuildCache)
    }

    /// Tells whether the builder imports a view; only such builders know named contexts too.
    pub fn uses_view(self) -> bool {
        matches!(
            self,
            Strategy::ExportedBuildCache | Strategy::WrittenBuildCache
        )
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::ExportedBuildCache => "exported-build-cache",
            Strategy::WrittenBuildCache => "written-build-cache",
            Strategy::StageImages => "stage-images",
            Strategy::InlineStageImages => "inline-stage-images",
            Strategy::RemoteBuildCache => "remote-build-cache",
        })
    }
}

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        [Strategy::ExportedBuildCache, Strategy::WrittenBuildCache, Strategy::StageImages, Strategy::InlineStageImages]
            .into_iter()
            .find(|strategy| strategy.to_string() == text)
            .ok_or_else(|| StrategyError {
                message: format!(
                    "unknown strategy `{text}`; there are `exported-build-cache`, `written-build-cache`, `stage-images` and `inline-stage-images`"
                ),
            })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.image_store {
            ImageStore::GraphDriver => "graph driver",
            ImageStore::Containerd => "containerd store",
        };
        write!(f, "Docker {}, {store}, ", self.server_version)?;
        match &self.builder {
            Builder::Classic => f.write_str("classic builder"),
            Builder::EmbeddedBuildkit => f.write_str("BuildKit"),
            Builder::BuildxMissing => f.write_str("no builder"),
            Builder::Buildx { version, driver } if driver == "docker" => {
                write!(f, "BuildKit by buildx {version}")
            }
            Builder::Buildx { version, driver } => {
                write!(f, "BuildKit by buildx {version} ({driver})")
            }
        }
    }
}

impl fmt::Display for StrategyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StrategyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;

    fn engine(builder: Builder, image_store: ImageStore, server_major: u32) -> Engine {
        Engine {
            server_version: format!("{server_major}.0.0"),
            server_major,
            image_store,
            builder,
            platform: Platform::linux_amd64(),
            mirrors: Vec::new(),
            insecure_registries: Vec::new(),
        }
    }

    fn buildx(driver: &str) -> Builder {
        Builder::Buildx {
            version: "0.29.1".to_owned(),
            driver: driver.to_owned(),
        }
    }

    #[test]
    fn best_and_forced() {
        use ImageStore::{Containerd, GraphDriver};
        use Strategy::{
            ExportedBuildCache as Exported, InlineStageImages as Inline,
            RemoteBuildCache as Remote, StageImages as Stages, WrittenBuildCache as Written,
        };
        let check = |builder: Builder, store, major, forced, expected: Option<Strategy>| {
            let engine = engine(builder, store, major);
            let chosen = Strategy::choose(&engine, forced).ok();
            assert_eq!(chosen, expected, "{engine}, {forced:?}");
        };
        check(buildx("docker"), GraphDriver, 28, None, Some(Written));
        check(buildx("docker"), GraphDriver, 20, None, Some(Inline));
        check(buildx("docker"), Containerd, 28, None, Some(Exported));
        for driver in ["docker-container", "kubernetes", "remote"] {
            check(buildx(driver), GraphDriver, 20, None, Some(Exported));
            check(buildx(driver), GraphDriver, 20, Some(Written), None);
        }
        check(Builder::Classic, GraphDriver, 28, None, Some(Stages));
        check(Builder::Classic, Containerd, 28, None, None);
        check(Builder::BuildxMissing, GraphDriver, 28, None, None);
        check(
            Builder::EmbeddedBuildkit,
            GraphDriver,
            20,
            None,
            Some(Inline),
        );
        check(
            buildx("docker"),
            GraphDriver,
            28,
            Some(Inline),
            Some(Inline),
        );
        check(buildx("docker"), GraphDriver, 28, Some(Stages), None);
        check(
            buildx("docker"),
            GraphDriver,
            28,
            Some(Remote),
            Some(Remote),
        );
        check(
            buildx("remote"),
            GraphDriver,
            28,
            Some(Remote),
            Some(Remote),
        );
        check(Builder::Classic, GraphDriver, 28, Some(Remote), None);
        check(
            Builder::EmbeddedBuildkit,
            GraphDriver,
            20,
            Some(Remote),
            None,
        );
    }

    #[test]
    fn only_some_engines_write_a_cache_of_buildkits() {
        let can = |builder, store| Strategy::can_export(&engine(builder, store, 28));
        assert!(can(buildx("docker"), ImageStore::Containerd));
        assert!(can(buildx("docker-container"), ImageStore::GraphDriver));
        assert!(!can(buildx("docker"), ImageStore::GraphDriver));
        assert!(!can(Builder::Classic, ImageStore::Containerd));
    }
}
