//! What a Dockerfile means: `text → directives, instructions, ARG expansion, stages → references`.
//!
//! ```text
//! bytes ──▶ logical lines ──▶ typed lines ──▶ Dockerfile
//!                                                 │ target, platform, build args, named contexts
//!                                                 ▼
//!        global args ──▶ stage graph ──▶ steps, expanded ──▶ Evaluation
//!                            └─▶ base references ──────────────┘
//! ```
//!
//! `BuildKit` is the specification: the same references, the same refusals in the same words. The
//! code follows the structure of its frontend, quirks included, and names the source of each part.
//! Nothing is read from disk or asked from a registry; what only a base image's config can tell
//! (`ONBUILD` triggers, environment) is given by [`EvaluateOptions`].
//!
//! # Examples
//!
//! ```
//! use docker_layer_cache::dockerfile::{Dockerfile, EvaluateOptions};
//!
//! let dockerfile = Dockerfile::parse(b"ARG V=3.20\nFROM alpine:$V\n")?;
//! let evaluation = dockerfile.evaluate(&EvaluateOptions::new())?;
//! let base = &evaluation.base_references[0];
//! assert_eq!(base.reference.to_string(), "docker.io/library/alpine:3.20");
//! # Ok::<(), docker_layer_cache::dockerfile::DockerfileError>(())
//! ```

mod error;
mod suggestion;
mod directive;
mod pattern;
mod expand;
mod variable;
mod heredoc;
mod line_arguments;
mod logical_line;
mod flags;
mod mount;
mod health_check;
mod typed_line;
mod parse;
mod named_context;
mod base_reference;
mod evaluation;
mod global_args;
mod stage_graph;
mod stage_resolution;
mod value_checks;
mod step;
mod evaluate;
mod named_stages;
mod cache_mounts;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod invariants;
#[cfg(test)]
mod tests;

pub use base_reference::{BaseKind, BaseReference, UsedBy, refs_json};
pub use cache_mounts::{CacheMount, MountUse};
pub use error::DockerfileError;
pub use evaluation::{
    Action, CopyAction, EvaluateOptions, Evaluation, Instruction, Mount, RunAction, Source, Stage,
    StageBase, VolatileInput, VolatileKind,
};
pub use heredoc::Heredoc;
pub use named_stages::NamedStages;
pub use parse::Dockerfile;
