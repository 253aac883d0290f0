//! Writes what was proposed, once somebody has said yes.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use camino::Utf8Path;

use super::propose::Change;
use crate::error::Error;

/// Tells whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on the terminal, and returns the answer without blanks around it; nothing where the input
/// has ended.
pub(super) fn ask(question: &str) -> String {
    // A closed stderr is no reason to fail: then nobody answers.
    let _ = write!(io::stderr().lock(), "{question} ").and_then(|()| io::stderr().flush());
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    answer.trim().to_owned()
}

/// Writes the files below `root`. A file that changed since it was read is not written over.
///
/// # Errors
/// Where a file cannot be written, or is another one by now.
pub(super) fn write(root: &Utf8Path, changes: &[Change]) -> Result<(), Error> {
    for change in changes {
        let path = root.join(&change.path);
        let now = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot(&change.path, &error)),
        };
        if now != change.before {
            return Err(Error::usage(format_args!(
                "`{}` changed in the meantime, and is left as it is",
                change.path
            ))
            .with_hint("run `docker-init` again"));
        }
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder
            .and_then(|()| std::fs::write(&path, &change.after))
            .map_err(|error| cannot(&change.path, &error))?;
    }
    Ok(())
}

fn cannot(path: &Utf8Path, error: &io::Error) -> Error {
    Error::usage(format_args!("cannot write `{path}`: {error}"))
}
