//! The engine: the only module that runs `docker`.
//!
//! ```text
//! docker info ─▶ Engine ─▶ Strategy ─▶ argv ─▶ docker build ─▶ lines ─▶ steps (hit or run)
//!                                              docker load ◀── archive
//!                                              docker save ──▶ archive
//! ```
//!
//! Names from a Dockerfile, a tag or a file are handed over as arguments of their own, with
//! `--flag=value` where docker takes a flag: no shell parses them, and a leading dash is no flag.

mod argv;
mod bake;
mod build;
mod builder_platforms;
mod builders;
mod client;
mod definition;
mod detect;
mod details;
mod error;
mod helper;
mod image;
mod progress;
mod remote_cache;
mod push;
mod service;
mod strategy;
mod traces;
mod transfer;

pub use argv::{BuildArg, BuildRequest, CacheSource, CacheTarget, Output};
pub use build::{BuildOutcome, Failure};
pub use client::Docker;
pub use definition::{
    BakePrint, BuildDefinition, DefinitionError, LINK, bake_definitions, compose_definitions,
};
pub use details::{EngineDetails, EnginePlace};
pub use detect::{Builder, Engine, ImageStore};
pub use error::{EngineError, EngineErrorKind};
pub use helper::{HelperBuild, HelperMount};
pub use image::LocalImage;
pub use progress::{BuildkitProgress, ClassicProgress, Step, StepResult};
pub use push::{PushFailure, PushFailureKind};
pub use remote_cache::RemoteCache;
pub use service::{ServiceFailure, ServiceState};
pub use strategy::{Strategy, StrategyError};
