//! What a check finds, and how it is told.

use std::fmt;

use serde::Serialize;

use crate::error::exit_code;
use crate::ui::wrap;

/// How wide the text for people is, in characters.
const WIDTH: usize = 80;
/// The column behind the level.
const INDENT: usize = 9;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be, or not to be judged.
    Ok,
    /// It works, and could work better.
    Advice,
    /// Builds fail, or nothing is cached.
    Problem,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check, such as `registries`.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) level: Level,
    /// What was found.
    pub(super) what: String,
    /// Why it matters; always there where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What mends it: a command, or the lines to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
    /// What a problem ends the command with: one of [`exit_code`].
    #[serde(skip)]
    code: u8,
}

impl Finding {
    /// Returns a finding that is as it should be.
    pub(super) fn ok(check: &'static str, what: impl fmt::Display) -> Self {
        Finding {
            check,
            level: Level::Ok,
            what: what.to_string(),
            why: None,
            mend: None,
            code: exit_code::DONE,
        }
    }

    /// Returns a finding of something that works and could work better.
    pub(super) fn advice(
        check: &'static str,
        what: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Self {
        Finding {
            level: Level::Advice,
            why: Some(why.to_string()),
            ..Self::ok(check, what)
        }
    }

    /// Returns a finding of something that does not work; `code` is one of [`exit_code`].
    pub(super) fn problem(
        code: u8,
        check: &'static str,
        what: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Self {
        Finding {
            level: Level::Problem,
            code,
            ..Self::advice(check, what, why)
        }
    }

    /// Returns the finding with what mends it.
    #[must_use]
    pub(super) fn mend(mut self, mend: impl fmt::Display) -> Self {
        self.mend = Some(mend.to_string());
        self
    }

    /// Returns the finding as people read it: one line, or as many as its width needs, with why and
    /// the hint indented below.
    pub(super) fn text(&self, painted: bool) -> String {
        let (level, colour) = match self.level {
            Level::Ok => ("ok", 32),
            Level::Advice => ("advice", 33),
            Level::Problem => ("problem", 31),
        };
        let padding = " ".repeat(INDENT - level.len());
        let mut text = if painted {
            format!("\u{1b}[{colour}m{level}\u{1b}[0m{padding}")
        } else {
            format!("{level}{padding}")
        };
        let indent = " ".repeat(INDENT);
        let mut paragraphs = vec![wrap(
            &format!("{}: {}", self.check, self.what),
            WIDTH - INDENT,
        )];
        paragraphs.extend(self.why.iter().map(|why| wrap(why, WIDTH - INDENT)));
        paragraphs.extend(self.mend.iter().map(|mend| hint(mend)));
        let lines: Vec<String> = paragraphs.into_iter().flatten().collect();
        text.push_str(&lines.join(&format!("\n{indent}")));
        text
    }
}

/// Returns the lines of a hint. What has several lines is to be copied as it is.
fn hint(mend: &str) -> Vec<String> {
    match mend.split_once('\n') {
        None => wrap(&format!("hint: {mend}"), WIDTH - INDENT),
        Some((first, rest)) => {
            let mut lines = wrap(&format!("hint: {first}"), WIDTH - INDENT);
            lines.extend(rest.lines().map(|line| format!("  {line}")));
            lines
        }
    }
}

/// Returns the worst of the findings; [`Level::Ok`] where there are none.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings
        .iter()
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Ok)
}

/// Returns the exit code: that of the first problem.
pub(super) fn exit_code_of(findings: &[Finding]) -> u8 {
    findings
        .iter()
        .find(|finding| finding.level == Level::Problem)
        .map_or(exit_code::DONE, |problem| problem.code)
}

/// Returns how many there are of what is not as it should be, such as `1 problem`.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let problems = match count(Level::Problem) {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    match count(Level::Advice) {
        0 => problems,
        1 => format!("{problems}, 1 piece of advice"),
        n => format!("{problems}, {n} pieces of advice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_reasons_are_indented() {
        let finding = Finding::problem(5, "store", "it is full", "nothing is saved").mend("`rm x`");
        let expected =
            "problem  store: it is full\n         nothing is saved\n         hint: `rm x`";
        assert_eq!(finding.text(false), expected);
        assert!(
            finding
                .text(true)
                .starts_with("\u{1b}[31mproblem\u{1b}[0m  store")
        );
        let lines = Finding::advice("cargo", "x", "y").mend("add\n[a]\nb = 1");
        assert!(
            lines
                .text(false)
                .ends_with("hint: add\n           [a]\n           b = 1")
        );
        let long = Finding::ok("engine", "word ".repeat(40)).text(false);
        assert!(long.lines().all(|line| line.len() <= WIDTH), "{long}");
    }

    #[test]
    fn the_first_problem_gives_the_code() {
        let fine = [Finding::ok("a", ""), Finding::advice("b", "", "")];
        assert_eq!((exit_code_of(&fine), worst(&fine)), (0, Level::Advice));
        assert_eq!(summary(&fine), "0 problems, 1 piece of advice");
        let bad = [
            Finding::advice("a", "", ""),
            Finding::problem(3, "b", "", ""),
            Finding::problem(4, "c", "", ""),
        ];
        assert_eq!((exit_code_of(&bad), worst(&bad)), (3, Level::Problem));
        assert_eq!(worst(&[]), Level::Ok);
    }
}
