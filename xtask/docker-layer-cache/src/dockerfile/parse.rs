//! A Dockerfile, parsed.

use std::fmt::{self, Write as _};

use super::DockerfileError;
use super::base_reference::{BaseKind, BaseReference, UsedBy};
use super::directive;
use super::logical_line::{LogicalLine, LogicalLines};
use super::typed_line::{Arguments, FromArguments, TypedLine};
use crate::oci::{Platform, Reference};

/// A Dockerfile: well-formed, with at least one stage.
///
/// Its `Display` is the same file with every instruction on one line and without comments between
/// instructions; it parses to an equal Dockerfile, line numbers aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    pub(super) text: String,
    /// The frontend that `# syntax=` names, as written, and its line.
    pub(super) syntax: Option<(String, usize)>,
    pub(super) lines: LogicalLines,
    /// `ARG`s in front of the first stage.
    pub(super) global: Vec<TypedLine>,
    pub(super) stages: Vec<StageLines>,
}

/// The lines of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StageLines {
    pub(super) from: FromArguments,
    pub(super) line: TypedLine,
    /// The index of its `FROM` among all logical lines.
    pub(super) logical_line: usize,
    pub(super) commands: Vec<TypedLine>,
}

impl Dockerfile {
    /// Parses a Dockerfile.
    ///
    /// Bytes that are not UTF-8 are read as U+FFFD.
    ///
    /// # Errors
    ///
    /// What `BuildKit` refuses before it looks at arguments: unknown instructions, wrong numbers of
    /// arguments, unknown flags, unterminated here-documents, invalid directives, no stage at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, DockerfileError> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let syntax = directive::detect_syntax(&text);
        parse_lines(bytes, &text)
            .map(|(lines, global, stages)| Self {
                text: text.clone(),
                syntax: syntax.clone(),
                lines,
                global,
                stages,
            })
            .map_err(|error| {
                let references = syntax.and_then(|(written, line)| {
                    let reference = written.parse().ok()?;
                    Some(syntax_reference(reference, Platform::linux_amd64(), line))
                });
                error
                    .with_column_in(&text)
                    .with_references(references.into_iter().collect(), false)
            })
    }

    /// Returns the file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the number of stages.
    pub fn stage_count(&self) -> usize {
        self.stages.len()
    }
}

/// The reference of a frontend, used at `line`.
pub(super) fn syntax_reference(
    reference: Reference,
    platform: Platform,
    line: usize,
) -> BaseReference {
    BaseReference {
        platform,
        kind: BaseKind::Syntax,
        written: reference.context_name(),
        reference,
        used_by: vec![UsedBy {
            stage: None,
            instruction: "# syntax".to_owned(),
            line,
        }],
    }
}

type Parsed = (LogicalLines, Vec<TypedLine>, Vec<StageLines>);

fn parse_lines(bytes: &[u8], text: &str) -> Result<Parsed, DockerfileError> {
    if bytes.is_empty() {
        return Err(DockerfileError::new("the Dockerfile cannot be empty"));
    }
    if let Some(check) = directive::detect_check(text) {
        // Only the part up to a space is looked at.
        let value = check.value.split(' ').next().unwrap_or_default();
        directive::validate_check(value).map_err(|error| {
            DockerfileError::new(format!("failed to parse check options: {error}")).at(check.line)
        })?;
    }
    let lines = LogicalLines::parse(bytes)?;
    let mut global = Vec::new();
    let mut stages: Vec<StageLines> = Vec::new();
    for (index, line) in lines.lines.iter().enumerate() {
        let typed = TypedLine::parse(line).map_err(|error| {
            error.wrap(&format!(
                "dockerfile parse error on line {}: ",
                line.lines.0
            ))
        })?;
        match (&typed.arguments, stages.last_mut()) {
            (Arguments::From(from), _) => stages.push(StageLines {
                from: from.clone(),
                line: typed.clone(),
                logical_line: index,
                commands: Vec::new(),
            }),
            (_, Some(stage)) => stage.commands.push(typed),
            (Arguments::Arg(_), None) => global.push(typed),
            (_, None) => {
                return Err(DockerfileError::new("no build stage in current context")
                    .at(line.lines.0)
                    .with_hint("only ARG can stand in front of the first FROM"));
            }
        }
    }
    if stages.is_empty() {
        return Err(
            DockerfileError::new("dockerfile contains no stages to build")
                .with_hint("add a `FROM` instruction"),
        );
    }
    Ok((lines, global, stages))
}

impl fmt::Display for Dockerfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Directives count at the top alone: what precedes the first instruction stays as it is.
        let first = self.lines.lines.first().map_or(1, |line| line.lines.0);
        for line in self.text.split_inclusive('\n').take(first - 1) {
            f.write_str(line)?;
        }
        if first == 1 && self.text.starts_with('\u{feff}') {
            f.write_str("\u{feff}")?;
        }
        let escape = self.lines.escape;
        let mut lines = self.lines.lines.iter();
        lines.try_for_each(|line| line.print(f, escape))
    }
}

impl LogicalLine {
    fn print(&self, f: &mut fmt::Formatter<'_>, escape: char) -> fmt::Result {
        let line = self.original.trim();
        if line.ends_with(escape) {
            // A form feed, say, between a backslash and the line's end keeps it from being a
            // continuation. Where blanks stand there it is one, unless it is the last in the file,
            // whose own continuation came to nothing.
            let line = self.original.trim_start();
            let end = line.trim_end_matches([' ', '\t']).strip_suffix(escape);
            f.write_str(line)?;
            if end.is_some_and(|end| !end.ends_with(escape)) {
                f.write_char(escape)?;
            }
            writeln!(f)?;
        } else {
            writeln!(f, "{line}")?;
        }
        for heredoc in &self.heredocs {
            f.write_str(&heredoc.content)?;
            writeln!(f, "{}", heredoc.name)?;
        }
        Ok(())
    }
}
