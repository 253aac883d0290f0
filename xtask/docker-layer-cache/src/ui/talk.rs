//! Lines on stderr, and data on stdout.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::time::Duration;

use crate::error::Error;

/// Talks on stderr.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Talk {
    quiet: bool,
}

impl Talk {
    /// Returns a talk; a quiet one only warns.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Says what is done or was found.
    pub(crate) fn say(self, line: impl Display) {
        if !self.quiet {
            stderr(format_args!("{line}"));
        }
    }

    /// Warns of something that costs time or asks for a hand, but breaks nothing.
    #[expect(clippy::unused_self, reason = "a quiet talk warns too")]
    pub(crate) fn warn(self, line: impl Display) {
        stderr(format_args!("warning: {line}"));
    }

    /// Passes a line of the builder's own output on.
    #[expect(
        clippy::unused_self,
        reason = "the build's own words are never held back"
    )]
    pub(crate) fn build_output(self, line: &str) {
        stderr(format_args!("{line}"));
    }
}

/// Prints data on stdout, with a line end.
///
/// # Errors
/// Where stdout is closed before all is written, other than by a reader that has seen enough.
pub(crate) fn data(text: impl Display) -> Result<(), Error> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::new(
            crate::error::exit_code::BUILD,
            format_args!("cannot write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints an error and its hint on stderr.
pub(crate) fn print_error(error: &Error) {
    stderr(format_args!("error: {error}"));
    if let Some(hint) = error.hint() {
        stderr(format_args!("hint: {hint}"));
    }
}

/// Returns a size as people read it: `531 B`, `12.3 MB` (powers of 1000, as docker prints).
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = n as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Returns a duration as people read it: `0.42 s`, `7.3 s`, `2 min 5 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round();
        format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0)
    }
}

/// Returns an age as people read it, in its largest unit: `12 s`, `5 min`, `7 h`, `30 d`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A closed stderr is no reason to fail a build.
fn stderr(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        for (n, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_999, "1.0 MB"),
            (12_345_678, "12.3 MB"),
        ] {
            assert_eq!(bytes(n), expected);
        }
        for (n, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(age(Duration::from_secs(n)), expected);
        }
        for (n, expected) in [(0.421, "0.42 s"), (12.34, "12.3 s"), (125.2, "2 min 5 s")] {
            assert_eq!(seconds(n), expected);
        }
    }
}
