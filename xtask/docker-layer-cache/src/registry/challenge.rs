//! `WWW-Authenticate`: what a registry asks for.
//!
//! A header holds one or more challenges, separated by the same commas as the parameters inside
//! of one: `Bearer realm="https://a/token",service="r", Basic realm="r"`.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110.html#section-11.6.1>

/// One challenge: a scheme with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower case, such as `bearer`.
    pub(super) scheme: String,
    /// Names in lower case, in the order of the header.
    pub(super) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the value of the parameter `name` (lower case).
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Parses the value of one `WWW-Authenticate` header.
///
/// What does not follow the grammar ends the parse: the challenges before it count.
pub(super) fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = Cursor { text: header };
    loop {
        rest.skip_separators();
        let Some(name) = rest.token() else { break };
        if let Some(value) = rest.equals_value() {
            // A parameter before any scheme is no challenge.
            let Some(challenge) = challenges.last_mut() else {
                break;
            };
            challenge
                .parameters
                .push((name.to_ascii_lowercase(), value));
        } else {
            challenges.push(Challenge {
                scheme: name.to_ascii_lowercase(),
                parameters: Vec::new(),
            });
            rest.skip_token68();
        }
    }
    challenges
}

struct Cursor<'a> {
    text: &'a str,
}

impl Cursor<'_> {
    fn skip_separators(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', ',']);
    }

    fn skip_spaces(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<String> {
        let end = self
            .text
            .find(|c: char| !is_token(c))
            .unwrap_or(self.text.len());
        let (token, rest) = self.text.split_at(end);
        self.text = rest;
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// Parses `= value`, with the blanks around the sign that the RFC calls bad but allows.
    fn equals_value(&mut self) -> Option<String> {
        let before = self.text;
        self.skip_spaces();
        let Some(rest) = self.text.strip_prefix('=') else {
            self.text = before;
            return None;
        };
        self.text = rest;
        self.skip_spaces();
        if let Some(rest) = self.text.strip_prefix('"') {
            self.text = rest;
            return Some(self.quoted());
        }
        // Some registries leave the quotes off around URLs; a bare value ends at a comma or a
        // blank.
        let end = self.text.find([',', ' ', '\t']).unwrap_or(self.text.len());
        let (value, rest) = self.text.split_at(end);
        self.text = rest;
        Some(value.to_owned())
    }

    /// Parses up to the closing quote; `\"` is a quote. A missing closing quote ends the header.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.text = &self.text[at + 1..];
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        self.text = "";
        value
    }

    /// Skips the single blob that may stand behind a scheme, as in `Negotiate YII=`: characters
    /// of token68 up to a comma, when they are not `name=value`.
    fn skip_token68(&mut self) {
        let before = self.text;
        self.skip_spaces();
        let end = self
            .text
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/".contains(c)))
            .unwrap_or(self.text.len());
        let behind = self.text[end..].trim_start_matches('=');
        let is_blob =
            end > 0 && (behind.trim_start().is_empty() || behind.trim_start().starts_with(','));
        self.text = if is_blob { behind } else { before };
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges() {
        for (header, expected) in [
            ("", ""),
            ("Basic", "basic"),
            ("Basic realm=\"engines\"", "basic realm=<engines>"),
            ("BASIC Realm=\"x\"", "basic realm=<x>"),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/alpine:pull\"",
                "bearer realm=<https://auth.docker.io/token> service=<registry.docker.io> scope=<repository:library/alpine:pull>",
            ),
            // Commas inside quotes are not separators.
            (
                "Bearer realm=\"https://a/t\", scope=\"repository:a:pull,push repository:b:pull\"",
                "bearer realm=<https://a/t> scope=<repository:a:pull,push repository:b:pull>",
            ),
            // Two challenges in one header, both orders.
            (
                "Basic realm=\"r, or so\", Bearer realm=\"https://a/t\",service=\"s\"",
                "basic realm=<r, or so>; bearer realm=<https://a/t> service=<s>",
            ),
            ("Negotiate, Basic realm=\"r\"", "negotiate; basic realm=<r>"),
            (
                "Negotiate YIIabc==, Basic realm=r",
                "negotiate; basic realm=<r>",
            ),
            (
                "Bearer realm = \"https://a/t\" , service = s",
                "bearer realm=<https://a/t> service=<s>",
            ),
            (
                "Bearer realm=https://a/t?x=1,service=s",
                "bearer realm=<https://a/t?x=1> service=<s>",
            ),
            ("Bearer realm=\"a\\\"b\\\\c\"", "bearer realm=<a\"b\\c>"),
            ("Bearer realm=\"never closed", "bearer realm=<never closed>"),
            (", ,Basic realm=\"\"", "basic realm=<>"),
            ("realm=\"no scheme\"", ""),
            (
                "Bearer error=\"invalid_token\",realm=\"é\"",
                "bearer error=<invalid_token> realm=<é>",
            ),
        ] {
            let got = parse_challenges(header)
                .iter()
                .map(|challenge| {
                    let mut text = challenge.scheme.clone();
                    for (name, value) in &challenge.parameters {
                        text = format!("{text} {name}=<{value}>");
                    }
                    text
                })
                .collect::<Vec<_>>()
                .join("; ");
            assert_eq!(got, expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in ".*") {
            parse_challenges(&header);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[^\\r\\n]*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges = parse_challenges(&format!("Basic realm=\"{quoted}\", Bearer"));
            prop_assert_eq!(challenges.len(), 2);
            prop_assert_eq!(challenges[0].parameter("realm"), Some(value.as_str()));
        }
    }
}
