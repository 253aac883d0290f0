//! Reads the fields of a target or service, one after the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BuildDefinition, DefinitionError};

/// The fields of one image that were not read yet.
pub(super) struct Fields<'a> {
    /// Such as ``target `web` ``.
    pub(super) of: String,
    left: BTreeMap<&'a str, &'a Value>,
    left_out: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(of: String, map: &'a Map<String, Value>) -> Self {
        // What is not set is null, or empty, or false.
        let is_set = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        let left = map.iter().filter(|(_, value)| is_set(value));
        Self {
            of,
            left: left.map(|(name, value)| (name.as_str(), value)).collect(),
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, field: &str) -> Option<&'a Value> {
        self.left.remove(field)
    }

    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, DefinitionError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        match value {
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(self.not_understood(field)),
        }
    }

    pub(super) fn texts(&mut self, field: &str) -> Result<Vec<String>, DefinitionError> {
        let Some(value) = self.take(field) else {
            return Ok(Vec::new());
        };
        let text = |one: &Value| one.as_str().map(str::to_owned);
        value
            .as_array()
            .and_then(|list| list.iter().map(text).collect())
            .ok_or_else(|| self.not_understood(field))
    }

    /// Reads names and values; one without a value is not set.
    pub(super) fn map(&mut self, field: &str) -> Result<BTreeMap<String, String>, DefinitionError> {
        let Some(value) = self.take(field) else {
            return Ok(BTreeMap::new());
        };
        let pair = |(name, value): (&String, &Value)| match value {
            Value::Null => None,
            value => Some((name.clone(), value.as_str().map(str::to_owned))),
        };
        value
            .as_object()
            .and_then(|map| {
                let pairs = map.iter().filter_map(pair);
                pairs.map(|(name, value)| Some((name, value?))).collect()
            })
            .ok_or_else(|| self.not_understood(field))
    }

    /// Reads a list of what is a text in one version, and a table in another, which `text` turns
    /// into the same.
    pub(super) fn list(
        &mut self,
        field: &str,
        text: impl Fn(&Map<String, Value>) -> Option<String>,
    ) -> Result<Vec<String>, DefinitionError> {
        let Some(value) = self.take(field) else {
            return Ok(Vec::new());
        };
        let one = |one: &Value| match one {
            Value::String(text) => Some(text.clone()),
            Value::Object(map) => text(map),
            _ => None,
        };
        value
            .as_array()
            .and_then(|list| list.iter().map(one).collect())
            .ok_or_else(|| self.not_understood(field))
    }

    /// Takes a field that rules the cache, which is ours.
    pub(super) fn leave_cache_out(&mut self, field: &str) {
        if self.take(field).is_some() {
            let note = format!("{}: `{field}` is not used: the cache is ours", self.of);
            self.notes.push(note);
        }
    }

    /// Takes a field for what it says to be left out.
    pub(super) fn leave_out(&mut self, field: &str, why: &str) {
        if self.take(field).is_some() {
            self.note(field, why);
        }
    }

    pub(super) fn note(&mut self, field: &str, why: &str) {
        self.left_out
            .push(format!("{}: `{field}` is left out: {why}", self.of));
    }

    /// Takes a field that has this value wherever it changes nothing.
    pub(super) fn ignore(&mut self, field: &str, is_nothing: impl Fn(&Value) -> bool) {
        if self.left.get(field).is_some_and(|value| is_nothing(value)) {
            self.left.remove(field);
        }
    }

    pub(super) fn refuse(&self, field: &str, hint: &str) -> DefinitionError {
        DefinitionError::new(format_args!(
            "{}: `{field}` cannot be followed: it would make another image",
            self.of
        ))
        .with_hint(hint)
    }

    fn not_understood(&self, field: &str) -> DefinitionError {
        DefinitionError::new(format_args!(
            "{}: `{field}` is not what this version of us understands",
            self.of
        ))
    }

    /// Returns the definition with what was left out; what was not read is refused by its name.
    pub(super) fn finish(
        mut self,
        definition: BuildDefinition,
    ) -> Result<BuildDefinition, DefinitionError> {
        self.left.retain(|field, _| !field.starts_with("x-"));
        let Some(field) = self.left.keys().next() else {
            return Ok(BuildDefinition {
                left_out: self.left_out,
                notes: self.notes,
                ..definition
            });
        };
        let hint = match *field {
            "no-cache" | "no_cache" | "no-cache-filter" => {
                "take it out of the file; `docker-ci` on an empty --store builds afresh"
            }
            "entitlements" | "privileged" => {
                "take it out of the file; steps that need it are for a build without us"
            }
            "network" | "extra-hosts" | "extra_hosts" | "shm-size" | "shm_size" | "ulimits"
            | "isolation" => {
                "take it out of the file, and say it in the Dockerfile (`RUN --network=…`, `--mount=type=tmpfs`) or to the engine"
            }
            _ => "take it out of the file for this build, or build this image without us",
        };
        Err(self.refuse(field, hint))
    }
}

/// Returns the fields as docker's flags take them, such as `id=npm,env=NPM_TOKEN`.
///
/// Source: <https://github.com/docker/buildx/blob/v0.29.1/util/buildflags/secrets.go>
pub(super) fn csv(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| {
        let text = format!("{name}={value}");
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",")
}

/// Tells whether the value is this text.
pub(super) fn is(text: &'static str) -> impl Fn(&Value) -> bool {
    move |value| value.as_str() == Some(text)
}
