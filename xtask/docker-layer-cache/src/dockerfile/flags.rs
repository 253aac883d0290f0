//! Builder flags of an instruction: `--from=…`, `--link`.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/instructions/bflag.go>

use std::collections::BTreeMap;

use super::DockerfileError;
use super::suggestion::suggest;

/// What values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    Bool,
    Text,
    /// May be given several times.
    Texts,
}

/// The flags that an instruction knows.
pub(super) type KnownFlags = &'static [(&'static str, FlagKind)];

/// The flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags(BTreeMap<String, Vec<String>>);

impl Flags {
    pub(super) fn parse(arguments: &[String], known: KnownFlags) -> Result<Self, DockerfileError> {
        let mut flags = Self::default();
        for argument in arguments {
            let Some(flag) = argument.strip_prefix("--") else {
                return Err(DockerfileError::new(format!(
                    "arg should start with -- : {argument}"
                )));
            };
            if flag.is_empty() {
                return Ok(flags);
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
                let message = format!("unknown flag: --{name}");
                let options = known.iter().map(|(name, _)| *name);
                return Err(DockerfileError::new(suggest(message, name, options, true)));
            };
            let given = flags.0.entry(name.to_owned()).or_default();
            if !given.is_empty() && *kind != FlagKind::Texts {
                return Err(DockerfileError::new(format!(
                    "duplicate flag specified: --{name}"
                )));
            }
            let missing = || DockerfileError::new(format!("missing a value on flag: --{name}"));
            given.push(match (kind, value) {
                (FlagKind::Bool, None) => "true".to_owned(),
                (FlagKind::Bool, Some("")) | (FlagKind::Text | FlagKind::Texts, None) => {
                    return Err(missing());
                }
                (FlagKind::Bool, Some(value)) => match value.to_lowercase().as_str() {
                    lower @ ("true" | "false") => lower.to_owned(),
                    _ => {
                        return Err(DockerfileError::new(format!(
                            "expecting boolean value for flag --{name}, not: {value}"
                        )));
                    }
                },
                (_, Some(value)) => value.to_owned(),
            });
        }
        Ok(flags)
    }

    /// Returns the value, where it is not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.0.get(name)?.first()?;
        (!value.is_empty()).then(|| value.clone())
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value == "true")
    }
}
