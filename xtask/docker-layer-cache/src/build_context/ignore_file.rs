//! Ignore files: which one rules, and its lines as patterns.

use camino::{Utf8Path, Utf8PathBuf};

use super::ContextError;

/// Returns the ignore file that rules a build: `<Dockerfile>.dockerignore` beside the Dockerfile
/// if there is one, otherwise `.dockerignore` in the context, if there is one.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.25.0/frontend/dockerui/config.go>
pub fn find_ignore_file(dockerfile: &Utf8Path, context: &Utf8Path) -> Option<Utf8PathBuf> {
    let own = Utf8PathBuf::from(format!("{dockerfile}.dockerignore"));
    [own, context.join(".dockerignore")]
        .into_iter()
        .find(|path| path.is_file())
}

/// Returns the patterns of an ignore file: trimmed, cleaned, without comments and empty lines.
///
/// A comment has its `#` in the first column; an indented one is a pattern.
///
/// Source: <https://github.com/moby/patternmatcher/blob/v0.6.0/ignorefile/ignorefile.go>
///
/// # Errors
/// When a line is longer than Go's scanner takes.
pub(super) fn patterns(bytes: &[u8]) -> Result<Vec<String>, ContextError> {
    /// A token and its line break must fit the scanner's buffer of 64 KiB.
    const MAX_LINE_BYTES: usize = 64 * 1024;
    let mut patterns = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.len() >= MAX_LINE_BYTES {
            return Err(ContextError::ignore_line(index + 1));
        }
        let line = match index {
            0 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            _ => line,
        };
        if line.starts_with(b"#") {
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let pattern = line.trim();
        if pattern.is_empty() {
            continue;
        }
        patterns.push(match pattern.strip_prefix('!') {
            Some(exception) => format!("!{}", relative(exception.trim())),
            None => relative(pattern),
        });
    }
    Ok(patterns)
}

/// Cleans a pattern and takes one leading slash away; nothing stays nothing.
fn relative(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let cleaned = clean(pattern);
    match cleaned.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => cleaned,
    }
}

/// Cleans a path as Go does: no `.`, no empty elements, `..` takes the element before it away.
///
/// Source: <https://pkg.go.dev/path/filepath#Clean>
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|&last| last != "..") => {
                elements.pop();
            }
            ".." if rooted => {}
            element => elements.push(element),
        }
    }
    let joined = elements.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
