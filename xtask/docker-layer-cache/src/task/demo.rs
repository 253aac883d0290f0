//! `docker-demo`: starts the demo, which is a package of its own, so that its dependencies never
//! burden the other commands.

use std::process::Command;

use xshell::{Shell, cmd};

use crate::cli::DemoArgs;
use crate::error::{Error, exit_code};

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &DemoArgs) -> Result<(), Error> {
    let cargo = sh.var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let program = std::env::current_exe().map_err(|error| {
        Error::usage(format_args!("cannot find this program's own path: {error}"))
    })?;
    let flags = &args.flags;
    let status = Command::from(cmd!(
        sh,
        "{cargo} run --quiet --package docker-layer-cache-demo -- --xtask {program} {flags...}"
    ))
    .status()
    .map_err(|error| Error::usage(format_args!("cannot start `{cargo}`: {error}")))?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Error::new(
            code.and_then(|code| u8::try_from(code).ok())
                .unwrap_or(exit_code::BUILD),
            "the demo failed",
        )),
    }
}
