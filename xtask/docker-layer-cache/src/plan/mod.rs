//! What of the store helps a build: pure.
//!
//! ```text
//! entries of the store ─┐
//! keys of this build ───┴─▶ choose ─▶ the entries to look at, best first
//!                                        │ their recorded steps
//! step digests of this build ─▶ predict ─┴─▶ hit, maybe, run ─▶ restore ─▶ the layers that pay
//! what the build did ─▶ disagreements, and what is not worth being saved
//! ```
//!
//! A wrong choice costs time and nothing else: the engine decides what is a hit.

mod choice;
mod recorded_step;
mod prediction;
mod import_cost;
mod layer_chain;
mod to_read;
mod restore;
mod eager;
mod comparison;
mod saving;
mod cache_mounts;
#[cfg(test)]
mod tests;

pub use cache_mounts::{MountNeed, MountRecord, export_limit, worth_importing};
pub use choice::{Candidate, Fit, Wanted, choose};
pub use comparison::{Disagreement, ExpectedStep, RealStep, disagreements, expected};
pub use eager::is_worth_loading;
pub use import_cost::ImportCost;
pub use layer_chain::{LayerChain, Verdict};
pub use prediction::{Outcome, PredictedStep, predict};
pub use recorded_step::{RecordedLayer, RecordedStep, layers_of_steps, steps_of_image};
pub use restore::{RestorePlan, RestoreRequest, restore};
pub use saving::{dear_to_save, not_worth_saving};
