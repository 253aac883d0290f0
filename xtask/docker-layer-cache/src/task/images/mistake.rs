//! What is wrong with an `images.toml`, with line and nearest name.

use camino::Utf8Path;

use crate::error::Error;

/// Returns the error of the TOML reader with file and line, and the nearest field that is known.
pub(super) fn of_toml(error: &toml::de::Error, text: &str, path: &Utf8Path) -> Error {
    let line = error.span().map_or(1, |span| {
        text[..span.start.min(text.len())].matches('\n').count() + 1
    });
    let message = error.message();
    let found = Error::usage(format_args!(
        "`{path}` line {line}: {}",
        message.lines().next().unwrap_or(message)
    ));
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = message
        .starts_with("unknown field")
        .then(|| quoted.next())
        .flatten()
    else {
        return found;
    };
    match nearest(unknown, quoted) {
        Some(near) => found.with_hint(format_args!("did you mean `{near}`?")),
        None => found,
    }
}

/// Returns the candidate nearest to `word`, where one is near enough to be meant.
pub(in crate::task) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
