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
            Strategy::ExportedBuildCache => match &engine.builder {
                Builder::Buildx { driver, .. } if driver != "docker" => {
                    format!("buildkit-{driver}")
                }
                _ => format!("buildkit-{}-containerd", engine.server_major),
            },
        }
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
