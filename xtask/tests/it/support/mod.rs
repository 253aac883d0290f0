//! What the tests stand on: engines, temporary repositories, runs of the real binary, and the
//! content of built images, which is the judge of every hit.

mod bench;
mod engine;
mod engine_list;
mod files;
mod hostile_registry;
mod project;
mod report;
mod run;
mod turnstile;
mod wipe;

pub(crate) use bench::{Bench, unique};
pub(crate) use engine::{Engine, TestedBuilder};
pub(crate) use engine_list::{Absent, engines};
pub(crate) use files::{Files, tree_of_image};
pub(crate) use hostile_registry::{HostileRegistry, Mood};
pub(crate) use project::Project;
pub(crate) use report::Report;
pub(crate) use run::{Run, xtask};
pub(crate) use turnstile::Turnstile;

/// What a test ends with.
pub(crate) type Outcome = Result<(), libtest_mimic::Failed>;
