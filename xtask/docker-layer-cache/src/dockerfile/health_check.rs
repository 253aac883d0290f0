//! `HEALTHCHECK`: its flags are checked, nothing more; it makes no layer.

use super::DockerfileError;
use super::flags::{FlagKind, Flags, KnownFlags};
use super::logical_line::LogicalLine;
use super::suggestion::quote;

const FLAGS: KnownFlags = &[
    ("interval", FlagKind::Text),
    ("timeout", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("retries", FlagKind::Text),
];

/// Refuses what `BuildKit` refuses.
pub(super) fn validate(line: &LogicalLine) -> Result<(), DockerfileError> {
    let error = |message: String| Err(DockerfileError::new(message));
    let [kind, command @ ..] = line.arguments.as_slice() else {
        return Ok(());
    };
    let kind = kind.to_uppercase();
    if kind == "NONE" {
        if !command.is_empty() {
            return error("HEALTHCHECK NONE takes no arguments".to_owned());
        }
        return Ok(());
    }
    let flags = Flags::parse(&line.flags, FLAGS)?;
    if kind != "CMD" {
        return error(format!(
            "Unknown type {} in HEALTHCHECK (try CMD)",
            quote(&kind)
        ));
    }
    if command.is_empty() {
        return error("Missing command after HEALTHCHECK CMD".to_owned());
    }
    for name in ["interval", "timeout", "start-period", "start-interval"] {
        if let Some(value) = flags.text(name) {
            let nanoseconds = duration(&value).map_err(DockerfileError::new)?;
            if nanoseconds != 0.0 && nanoseconds < 1e6 {
                return error(format!("Interval {} cannot be less than 1ms", quote(name)));
            }
        }
    }
    if let Some(value) = flags.text("retries") {
        let Ok(retries) = value.parse::<i32>() else {
            return error(format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                quote(&value)
            ));
        };
        if retries < 0 {
            return error(format!("--retries cannot be negative ({retries})"));
        }
    }
    Ok(())
}

/// Parses a duration as Go does, into nanoseconds: `1h30m`, `1.5s`, `300ms`.
fn duration(text: &str) -> Result<f64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (mut rest, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1.0),
        None => (text.strip_prefix('+').unwrap_or(text), 1.0),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unit => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    quote(unit),
                    quote(text)
                ));
            }
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Ok(sign * total)
}
