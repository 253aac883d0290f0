//! Reads the build context: what the ignore rules leave of it, and the inputs of a key.
//!
//! ```text
//! .dockerignore ──▶ IgnoreRules ──▶ sent_files(context) ──▶ what the engine's client sends
//! ["Gemfile.lock", "**/*.toml", "!vendor/**"] ──▶ inputs(root) ──▶ path, digest, executable
//! ```
//!
//! The ignore rules are those of `BuildKit`'s client, odd ones included: patterns become regular
//! expressions of Go's syntax, and the walk enters a folder that is left out only if an exception
//! can reach into it. The key inputs are globs of their own, as in `.gitignore` files' cousins:
//! `*` stays within a folder, `**` crosses folders, `!` leaves out, the last match decides.
//!
//! Nothing here depends on time stamps, owners or the umask, and no symbolic link is followed.

mod error;
mod ignore_file;
mod ignore_pattern;
mod pattern_syntax;
mod ignore_regex;
mod ignore_rules;
mod sent_files;
mod globs;
mod inputs;
mod input_digest;
mod file_stat;
mod digest_index;
mod index_file;

pub use digest_index::DigestIndex;
pub use error::ContextError;
pub use file_stat::{FileStat, stat_files};
pub use ignore_file::find_ignore_file;
pub use ignore_rules::IgnoreRules;
pub use input_digest::digest_files;
pub use inputs::{Input, InputKind, Inputs, inputs};
pub use sent_files::{ContextFile, ContextFileKind, sent_files};

#[cfg(test)]
mod tests;
