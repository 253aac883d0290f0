//! Turns what a build is made of into a cache key, and explains why a key moved.
//!
//! ```text
//! Ingredient, Ingredient, … ──▶ Recipe ──▶ key file (text, one line each) ──▶ CacheKey (`v1-` + SHA-256)
//!                                 └────── explain(old, new) ──▶ Change, Change, …
//! ```
//!
//! Two keys come from one recipe. The *base* key stands for the Dockerfile, the base images, the
//! build arguments and the platforms; the *full* key adds the inputs and the ignore rules. A key
//! is the digest of its key file, so equal keys mean equal texts, and a person can read both.
//!
//! ```
//! use docker_layer_cache::cache_key::{Ingredient, InputKind, KeyKind, Recipe, explain, key_file};
//! use docker_layer_cache::oci::Digest;
//!
//! let recipe = |lock: &str| {
//!     Recipe::new([
//!         Ingredient::Image { name: "app".to_owned() },
//!         Ingredient::build_arg("RUBY_VERSION", Some("3.3")),
//!         Ingredient::Input {
//!             path: "Gemfile.lock".to_owned(),
//!             kind: InputKind::File,
//!             digest: Digest::of(lock.as_bytes()),
//!         },
//!     ])
//! };
//! let (old, new) = (recipe("rack 3.0"), recipe("rack 3.1"));
//! assert_eq!(old.keys().base, new.keys().base);
//! assert_ne!(old.keys().full, new.keys().full);
//! assert_eq!(explain(&old, &new)[0].to_string(), "`Gemfile.lock` changed");
//! assert!(key_file(&new, KeyKind::Full).starts_with("docker-layer-cache full v1\n"));
//! ```
//!
//! Beside the keys, which stand for a whole build, there is a digest per stage and step. It tells
//! before a build which steps will hit:
//!
//! ```text
//! Evaluation + ContextTree + base digests ──▶ Builder::stage_digests ──▶ StageDigest ──▶ StepDigest, …
//! ```
//!
//! A step has two digests. `digest` holds all that it stands on and takes; equal ones hit. Builders
//! compare files of other stages by content, which only the build knows; `outline` leaves them out,
//! so that other digests with equal outlines may hit.
//!
//! Nothing here knows of files, clocks or machines: the same values give the same key everywhere,
//! and across releases as long as [`FORMAT_VERSION`] stays the same.

mod ingredient;
mod line;
mod recipe;
mod key;
mod explain;
mod invalidate;
mod sentence;
mod fields;
mod context_tree;
mod context_pattern;
mod copy_selection;
mod stage_state;
mod run_words;
mod step_digest;
mod stage_digest;

pub use context_tree::{ContextContent, ContextEntry, ContextTree};
pub use explain::{Affects, Change, explain};
pub use ingredient::{Base, Ingredient, InputKind, UsedBy};
pub use invalidate::invalidated_stages;
pub use key::{CacheKey, CacheKeyError, KeyKind, Keys, combined_key_file, key_file};
pub use recipe::{FORMAT_VERSION, Recipe, RecipeError};
pub use stage_digest::{StageDigest, files_to_digest, stage_digests};
pub use step_digest::{Builder, Certainty, StepDigest};

#[cfg(test)]
mod step_conformance;
#[cfg(test)]
mod tests;
