//! The commands: one file each, and the only place where the other modules meet.

pub(crate) mod build;
pub(crate) mod cache_mounts;
pub(crate) mod ci;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod deploy;
pub(crate) mod gc;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod push;
pub(crate) mod quantity;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod store;
mod bases;
mod dockerfile;
mod export;
mod forecast;
mod import_rate;
mod job;
mod links;
mod notes;
mod offer;
mod remote_cache;
mod remote;
mod reuse;
mod runnable;
mod stage_images;
mod stages;
mod steps;
mod tags;
mod verify;
mod workspace;

pub(crate) use workspace::Workspace;

/// Annotation of a build cache's manifest: JSON, the records of each stage.
const STAGE_RECORDS_ANNOTATION: &str = "dev.docker-layer-cache.stage-records";
/// Annotation of an entry of which nothing hit although it should have: the builder does not take
/// our build cache.
const NOT_TAKEN_ANNOTATION: &str = "dev.docker-layer-cache.not-taken";
/// Annotation of an entry on which a build failed: it is not offered again.
const FAILED_ANNOTATION: &str = "dev.docker-layer-cache.failed";
/// Annotation of an entry: JSON, digests of steps that ran above it and were not saved.
const RAN_UNSAVED_ANNOTATION: &str = "dev.docker-layer-cache.ran-unsaved";
/// Annotation of an entry: the recipe of its key, as JSON.
const RECIPE_ANNOTATION: &str = "dev.docker-layer-cache.recipe";
