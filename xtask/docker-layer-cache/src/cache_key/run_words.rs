//! What of a `RUN` is compared as text.

use super::stage_state::{StageState, fields_of};
use crate::dockerfile::{Instruction, RunAction};

/// What is run, and the flags that are not mounts: those are compared by what they mean.
pub(super) fn run_words(
    instruction: &Instruction,
    run: &RunAction,
    state: &StageState,
) -> Vec<String> {
    let fields = fields_of(&instruction.expanded);
    let n_flags = fields
        .iter()
        .take_while(|field| field.starts_with("\"--") || field.starts_with("\"Mount {"))
        .count();
    let (flags, command) = fields.split_at(n_flags);
    let (command, heredocs) = command.split_at(run.command.len().min(command.len()));
    let counts = |flag: &&String| {
        let flag = flag.as_str();
        !flag.starts_with("\"Mount {") && !DEFAULT_FLAGS.contains(&flag)
    };
    let mut words: Vec<String> = flags.iter().filter(counts).cloned().collect();
    if run.shell_form {
        words.extend(state.shell().iter().cloned());
    }
    // A here-document that stands alone is the command, whatever its name.
    let stands_alone = run.shell_form
        && heredocs.len() == 1
        && !heredocs[0].starts_with("\"#!")
        && run.command.first().is_some_and(|command| {
            let command = command.trim();
            command.starts_with("<<") && !command.contains(char::is_whitespace)
        });
    if !stands_alone {
        words.extend(command.iter().cloned());
    }
    words.extend(heredocs.iter().cloned());
    words
}

/// Flags of `RUN` that say what is so without them.
const DEFAULT_FLAGS: [&str; 2] = ["\"--network=default\"", "\"--security=sandbox\""];

/// What of the mounts' flags counts and is not in [`Mount`], as it is written: sorted within each.
pub(super) fn mount_attributes(original: &str) -> Vec<String> {
    const COUNT: [&str; 6] = ["sharing", "mode", "uid", "gid", "size", "env"];
    original
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--mount="))
        .map(|flag| {
            let mut fields: Vec<&str> = flag
                .split(',')
                .filter(|field| COUNT.contains(&field.split('=').next().unwrap_or_default()))
                .collect();
            fields.sort_unstable();
            fields.join(",")
        })
        .collect()
}
