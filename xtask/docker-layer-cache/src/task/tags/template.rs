//! Texts with placeholders: `registry.example.com/app:{git.short}`.

use std::fmt;

use super::super::images::nearest;
use crate::error::Error;

/// A placeholder of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::task) enum Placeholder {
    /// The commit, all 40 hex digits of it.
    GitSha,
    /// The commit's first seven digits.
    GitShort,
    /// The branch, made fit for a tag.
    GitBranch,
    /// The tag of the commit, made fit for a tag of an image.
    GitTag,
    /// The number that the CI gives the build.
    CiBuild,
    /// A variable of the environment.
    Env(String),
}

/// A tag of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::task) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

const KNOWN: [(&str, Placeholder); 5] = [
    ("git.sha", Placeholder::GitSha),
    ("git.short", Placeholder::GitShort),
    ("git.branch", Placeholder::GitBranch),
    ("git.tag", Placeholder::GitTag),
    ("ci.build", Placeholder::CiBuild),
];

impl Template {
    /// Reads a tag.
    ///
    /// # Errors
    /// Where a placeholder is not known or not closed.
    pub(in crate::task) fn parse(text: &str) -> Result<Template, Error> {
        let mut parts = Vec::new();
        for piece in pieces(text) {
            parts.push(match piece.map_err(|()| not_closed("tag", text))? {
                Piece::Text(piece) => Part::Text(piece.to_owned()),
                Piece::Name(name) => Part::Placeholder(placeholder(text, name)?),
            });
        }
        Ok(Template { parts })
    }

    /// Tells whether there is nothing to fill in.
    pub(in crate::task) fn is_plain(&self) -> bool {
        let is_text = |part: &Part| matches!(part, Part::Text(_));
        self.parts.iter().all(is_text)
    }

    /// Returns the tag with what `value` says; the first placeholder that has none is the error.
    pub(in crate::task) fn expand(
        &self,
        value: impl Fn(&Placeholder) -> Option<String>,
    ) -> Result<String, Placeholder> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Placeholder(placeholder) => {
                    text.push_str(&value(placeholder).ok_or_else(|| placeholder.clone())?);
                }
            }
        }
        Ok(text)
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Placeholder::Env(name) = self {
            return write!(f, "env.{name}");
        }
        let known = KNOWN.iter().find(|(_, placeholder)| placeholder == self);
        f.write_str(known.map_or("", |(name, _)| name))
    }
}

/// Fills `{name}` in `text` with the values of `known`; `what` says what the text is.
///
/// # Errors
/// Where a placeholder is not among them or not closed.
pub(in crate::task) fn fill(
    what: &str,
    text: &str,
    known: &[(&str, &str)],
) -> Result<String, Error> {
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece.map_err(|()| not_closed(what, text))? {
            Piece::Text(piece) => filled.push_str(piece),
            Piece::Name(name) => match known.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => filled.push_str(value),
                None => return Err(unknown(what, text, name, known.iter().map(|known| known.0))),
            },
        }
    }
    Ok(filled)
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Splits a text at its placeholders; the error is a brace without its other one.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, ()>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let next = match rest.find(['{', '}']) {
            _ if rest.is_empty() => return None,
            None => Ok((Piece::Text(rest), "")),
            Some(0) => rest
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .filter(|(name, _)| !name.contains('{'))
                .map(|(name, rest)| (Piece::Name(name), rest))
                .ok_or(()),
            Some(at) => Ok((Piece::Text(&rest[..at]), &rest[at..])),
        };
        rest = next.as_ref().map_or("", |(_, rest)| rest);
        Some(next.map(|(piece, _)| piece))
    })
}

fn placeholder(text: &str, name: &str) -> Result<Placeholder, Error> {
    if let Some((_, placeholder)) = KNOWN.iter().find(|(known, _)| *known == name) {
        return Ok(placeholder.clone());
    }
    match name.strip_prefix("env.") {
        Some(variable) if !variable.is_empty() => Ok(Placeholder::Env(variable.to_owned())),
        _ => {
            let known = KNOWN.iter().map(|(known, _)| *known);
            Err(unknown("tag", text, name, known.chain(["env.NAME"])))
        }
    }
}

fn not_closed(what: &str, text: &str) -> Error {
    Error::usage(format_args!(
        "the {what} `{text}` has a brace without its other one"
    ))
}

fn unknown<'a>(what: &str, text: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let error = Error::usage(format_args!(
        "the {what} `{text}` has the unknown placeholder `{{{name}}}`"
    ));
    if let Some(near) = nearest(name, known.iter().copied()) {
        return error.with_hint(format_args!("did you mean `{{{near}}}`?"));
    }
    let list: Vec<String> = known.iter().map(|name| format!("`{{{name}}}`")).collect();
    error.with_hint(format_args!("there is {}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let value = |placeholder: &Placeholder| match placeholder {
            Placeholder::GitTag => None,
            Placeholder::Env(name) => (name == "HOST").then(|| "h.example".to_owned()),
            other => Some(format!("<{other}>")),
        };
        for (text, expected) in [
            ("app:1", Ok("app:1")),
            (
                "{env.HOST}/app:{git.short}",
                Ok("h.example/app:<git.short>"),
            ),
            ("a:{git.sha}{ci.build}-x", Ok("a:<git.sha><ci.build>-x")),
            ("a:{git.branch}", Ok("a:<git.branch>")),
            ("a:v{git.tag}", Err(Placeholder::GitTag)),
            ("a:{env.NO}", Err(Placeholder::Env("NO".to_owned()))),
        ] {
            let template = Template::parse(text).expect("it is right");
            assert_eq!(template.is_plain(), text == "app:1", "{text}");
            assert_eq!(
                template.expand(value),
                expected.map(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_known_names_the_nearest() {
        for (text, message, hint) in [
            (
                "a:{git.shaa}",
                "unknown placeholder `{git.shaa}`",
                "`{git.sha}`?",
            ),
            (
                "a:{ci.biuld}",
                "unknown placeholder `{ci.biuld}`",
                "`{ci.build}`?",
            ),
            ("a:{env.}", "unknown placeholder `{env.}`", "`{env.NAME}`"),
            ("a:{x}", "unknown placeholder `{x}`", "there is `{git.sha}`"),
            ("a:{git.sha", "brace without", ""),
            ("a:git.sha}", "brace without", ""),
            ("a:{{git.sha}}", "brace without", ""),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.to_string().contains(message), "{error}");
            let found = error.hint().unwrap_or_default();
            assert!(found.contains(hint), "{text}: {found}");
        }
    }

    #[test]
    fn a_text_of_one_is_filled_with_what_is_known_there() {
        let known = [("image", "h/app"), ("digest", "sha256:0")];
        let filled = fill("word", "app={image}@{digest}", &known).expect("known");
        assert_eq!(filled, "app=h/app@sha256:0");
        let error = fill("word", "{imgae}", &known).expect_err("unknown");
        assert_eq!(error.hint(), Some("did you mean `{image}`?"));
    }
}
