//! The main job on an engine and nothing else: no internet, no mirror, no image.
//!
//! Makes a base image, serves it from a registry on loopback, writes a small repository, and runs
//! `docker-ci` on it four times, on an engine that is emptied of the demo's own traces in between,
//! as fresh CI machines would be. Nothing that the engine held before is touched.

mod demo;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Shows cold, warm, changed and moved on this machine's engine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary whose tasks are shown.
    #[arg(long, value_name = "PATH")]
    xtask: PathBuf,
}

fn main() -> ExitCode {
    match demo::run(&Arguments::parse().xtask) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
