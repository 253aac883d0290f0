//! Docker layer caching for CI: `cargo xtask docker-key`, `docker-restore`, `docker-build`,
//! `docker-save`, and `docker-ci`, which does the whole job.
//!
//! ```text
//! &str ─▶ Dockerfile ─▶ Vec<BaseReference> ─▶ digests ─▶ Recipe ─▶ CacheKey
//!                                                                    │
//!   image layout ◀─ new layers ◀─ engine ◀─ view or docker archive ◀─┘
//! ```
//!
//! Two laws stand over all of it. *Correct first*: the engine, never this crate, decides what is a
//! cache hit. *Never slower than no cache*: a step that would not pay for itself is skipped.
//!
//! A workspace's `xtask` needs three lines:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     docker_layer_cache::main()
//! }
//! ```
//!
//! A team with an xtask of its own puts [`Task`] among its subcommands with `#[command(flatten)]`,
//! or hands arguments to [`run`].

pub mod oci;
pub mod dockerfile;
pub mod registry;
pub mod remote_store;
pub mod build_context;
pub mod cache_mount;
pub mod cache_key;
pub mod plan;
pub mod buildkit_cache;
pub mod image_layout;
pub mod docker_archive;
pub mod engine;
mod task;
mod ui;
mod error;
mod cli;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use cli::{
    CarryArgs, DemoArgs, DeployArgs, DoctorArgs, GcArgs, InitArgs, KeyArgs, PushArgs, StoreArgs,
    Task, TaskArgs, run,
};
pub use error::{Error, exit_code};

/// Runs the task that the command line names, and returns its exit code.
pub fn main() -> std::process::ExitCode {
    let done = xshell::Shell::new()
        .map_err(|error| Error::usage(format_args!("there is no current directory: {error}")))
        .and_then(|sh| run(&sh, std::env::args_os()));
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            ui::print_error(&error);
            std::process::ExitCode::from(error.exit_code())
        }
    }
}
