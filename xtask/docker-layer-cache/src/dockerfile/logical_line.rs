//! The file as logical lines: continuations joined, comments and blank lines dropped,
//! here-documents attached.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/parser/parser.go>

use super::directive::DirectiveParser;
use super::line_arguments::{self as arguments, SplitLine};
use super::{DockerfileError, Heredoc};

/// The longest line that `BuildKit` reads, with its line feed.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// One instruction, not yet typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// The keyword as written.
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    pub(super) arguments: Vec<String>,
    /// The arguments were a JSON array.
    pub(super) json: bool,
    /// The instruction behind `ONBUILD`.
    pub(super) trigger: Option<Box<LogicalLine>>,
    pub(super) heredocs: Vec<Heredoc>,
    /// The joined line.
    pub(super) original: String,
    /// First and last line, from 1.
    pub(super) lines: (usize, usize),
    /// The lines that `original` is joined of: line number and the text they give.
    pub(super) pieces: Vec<(usize, String)>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLines {
    pub(super) lines: Vec<LogicalLine>,
    pub(super) escape: char,
}

impl LogicalLines {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DockerfileError> {
        let mut reader = Reader::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = reader.read()? {
            if !line.is_empty() {
                let (first, _) = line[0];
                lines.push(reader.instruction(line).map_err(|error| error.at(first))?);
            }
        }
        if lines.is_empty() {
            return Err(DockerfileError::new("file with no instructions").at(reader.line));
        }
        if reader.too_long {
            return Err(DockerfileError::new(format!(
                "dockerfile line greater than max allowed size of {}",
                MAX_LINE_BYTES - 1
            ))
            .at(reader.line + 1));
        }
        Ok(Self {
            lines,
            escape: reader.escape,
        })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The number of lines read.
    line: usize,
    too_long: bool,
    directives: DirectiveParser,
    escape: char,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            line: 0,
            too_long: false,
            directives: DirectiveParser::new("#"),
            escape: '\\',
        }
    }

    /// Reads one physical line, with its line feed.
    fn physical_line(&mut self) -> Option<String> {
        if self.rest.is_empty() || self.too_long {
            return None;
        }
        let end = self.rest.iter().position(|&b| b == b'\n');
        let length = end.map_or(self.rest.len(), |end| end + 1);
        if length > MAX_LINE_BYTES - usize::from(end.is_none()) {
            self.too_long = true;
            return None;
        }
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        let line = String::from_utf8_lossy(line).into_owned();
        let line = match line.strip_prefix('\u{feff}') {
            Some(rest) if self.line == 0 => rest.to_owned(),
            _ => line,
        };
        self.line += 1;
        Some(line)
    }

    /// Reads up to the end of a logical line. Empty: nothing but a comment or a blank line.
    fn read(&mut self) -> Result<Option<Vec<(usize, String)>>, DockerfileError> {
        let Some(line) = self.physical_line() else {
            return Ok(None);
        };
        let line = trim_newline(&line).trim_start();
        self.directive(line)?;
        let line = if is_comment(line) { "" } else { line };
        let (line, mut continues) = self.trim_continuation(line);
        let mut pieces = Vec::new();
        if continues || !line.is_empty() {
            pieces.push((self.line, line));
        }
        while continues {
            let Some(line) = self.physical_line() else {
                break;
            };
            let line = trim_newline(&line);
            self.directive(line)?;
            if is_comment(line) || line.trim_start().is_empty() {
                continue;
            }
            let (line, more) = self.trim_continuation(line);
            pieces.push((self.line, line));
            continues = more;
        }
        Ok(Some(pieces))
    }

    fn directive(&mut self, line: &str) -> Result<(), DockerfileError> {
        let directive = self.directives.parse_line(line)?;
        if let Some(directive) = directive.filter(|directive| directive.name == "escape") {
            self.escape = match directive.value.as_str() {
                "`" => '`',
                "\\" => '\\',
                value => {
                    return Err(DockerfileError::new(format!(
                        "invalid escape token '{value}' does not match ` or \\"
                    ))
                    .at(self.line)
                    .with_hint("write `# escape=\\` or `# escape=` and a backtick"));
                }
            };
        }
        Ok(())
    }

    /// Takes a continuation off the end: the escape, not behind another escape, and blanks.
    fn trim_continuation(&self, line: &str) -> (String, bool) {
        let trimmed = line.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => (rest.to_owned(), true),
            _ => (line.to_owned(), false),
        }
    }

    fn instruction(
        &mut self,
        pieces: Vec<(usize, String)>,
    ) -> Result<LogicalLine, DockerfileError> {
        let first = pieces[0].0;
        let original: String = pieces.iter().map(|(_, text)| text.as_str()).collect();
        let mut line = parse_line(&original, self.escape, 0)?;
        if can_hold_heredoc(&line) && original.contains("<<") {
            for mut heredoc in Heredoc::in_line(&original)? {
                loop {
                    let Some(text) = self.physical_line() else {
                        return Err(DockerfileError::new("unterminated heredoc")
                            .at(first)
                            .with_hint(format!("end it with a line `{}`", heredoc.name)));
                    };
                    if heredoc.is_terminator(&text) {
                        break;
                    }
                    heredoc.content.push_str(&text);
                }
                line.heredocs.push(heredoc);
            }
        }
        line.lines = (first, self.line);
        line.pieces = pieces;
        Ok(line)
    }
}

/// Splits one joined line, by the rules of its keyword.
fn parse_line(original: &str, escape: char, depth: usize) -> Result<LogicalLine, DockerfileError> {
    let SplitLine {
        keyword,
        flags,
        rest,
    } = arguments::split_line(original);
    let mut trigger = None;
    let (words, json) = match keyword.to_lowercase().as_str() {
        "add" | "copy" | "volume" => arguments::maybe_json_list(&rest)?,
        "run" | "cmd" | "entrypoint" | "shell" => arguments::maybe_json(&rest)?,
        "expose" | "from" => (arguments::split_words(&rest), false),
        "arg" => (arguments::quoted_words(&rest, escape), false),
        "env" => (arguments::name_values(&rest, "ENV", escape)?, false),
        "label" => (arguments::name_values(&rest, "LABEL", escape)?, false),
        "healthcheck" => arguments::health_check(&rest)?,
        // A chain of ONBUILDs is refused later, by its second word; no need to follow it.
        "onbuild" if !rest.is_empty() && depth < 2 => {
            let line = parse_line(&rest, escape, depth + 1)?;
            let mut words = vec![line.keyword.clone()];
            words.extend(line.arguments.iter().cloned());
            trigger = Some(Box::new(line));
            (words, false)
        }
        "maintainer" | "stopsignal" | "user" | "workdir" if !rest.is_empty() => (vec![rest], false),
        _ => (Vec::new(), false),
    };
    Ok(LogicalLine {
        keyword,
        flags,
        arguments: words,
        json,
        trigger,
        heredocs: Vec::new(),
        original: original.to_owned(),
        lines: (0, 0),
        pieces: Vec::new(),
    })
}

fn can_hold_heredoc(line: &LogicalLine) -> bool {
    let line = if line.keyword.eq_ignore_ascii_case("onbuild") {
        line.trigger.as_deref().unwrap_or(line)
    } else {
        line
    };
    matches!(line.keyword.to_lowercase().as_str(), "add" | "copy" | "run") && !line.json
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}
