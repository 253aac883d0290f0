//! `RUN --mount=type=…,from=…,target=…`.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/instructions/commands_runmount.go>

use super::DockerfileError;
use super::suggestion::{quote, suggest};

/// A mount as the flag says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountFlag {
    /// `bind`, `cache`, `tmpfs`, `secret` or `ssh`.
    pub(super) kind: String,
    pub(super) from: Option<String>,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) id: Option<String>,
    pub(super) read_only: bool,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u32>,
    sharing: bool,
    owner: Option<&'static str>,
}

/// Expands a word.
pub(super) type Expander<'a> = &'a dyn Fn(&str) -> Result<String, DockerfileError>;

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl MountFlag {
    /// Parses the value of the flag. Without `expander` (while the file is parsed) only `from`
    /// is looked at; the rest may hold variables.
    pub(super) fn parse(
        value: &str,
        expander: Option<Expander<'_>>,
    ) -> Result<Self, DockerfileError> {
        let fields = csv_fields(value).map_err(|error| {
            DockerfileError::new(format!("failed to parse csv mounts: {error}"))
        })?;
        let mut mount = Self {
            kind: "bind".to_owned(),
            from: None,
            source: String::new(),
            target: String::new(),
            id: None,
            read_only: false,
            uid: None,
            gid: None,
            mode: None,
            sharing: false,
            owner: None,
        };
        let mut read_only = None;
        for field in &fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            let Some(expander) = expander else {
                if let ("from", Some(value)) = (key.as_str(), value) {
                    let dollar = value.find('$');
                    if dollar
                        .is_some_and(|dollar| value[dollar + 1..].contains(|c: char| c != '\n'))
                    {
                        return Err(DockerfileError::new(
                            "'from' doesn't support variable expansion, define alias stage instead",
                        )
                        .with_hint("add a stage `FROM …` with the variable, and mount from that"));
                    }
                    mount.from = Some(value.to_owned()).filter(|from| !from.is_empty());
                }
                continue;
            };
            let value = value.map(expander).transpose()?;
            mount.set(&key, value.as_deref(), field, &mut read_only)?;
        }
        mount.validate(expander.is_some(), read_only)?;
        Ok(mount)
    }

    fn set(
        &mut self,
        key: &str,
        value: Option<&str>,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), DockerfileError> {
        let error = |message: String| Err(DockerfileError::new(message));
        let requirable = matches!(self.kind.as_str(), "secret" | "ssh");
        let unexpected = format!("unexpected key '{key}' for mount type '{}'", self.kind);
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => *read_only = Some(true),
                "readwrite" | "rw" => *read_only = Some(false),
                "required" if requirable => {}
                "required" => return error(unexpected),
                _ => return error(format!("invalid field '{field}' must be a key=value pair")),
            }
            return Ok(());
        };
        match key {
            "type" => {
                let kind = value.to_lowercase();
                if !KINDS.contains(&kind.as_str()) {
                    let message = format!("unsupported mount type {}", quote(value));
                    return error(suggest(message, value, KINDS, true));
                }
                self.kind = kind;
            }
            "from" => self.from = Some(value.to_owned()).filter(|from| !from.is_empty()),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" | "readwrite" | "rw" | "required" => {
                if key == "required" && !requirable {
                    return error(unexpected);
                }
                if !is_bool(value) {
                    return error(format!("invalid value for {key}: {value}"));
                }
                let truth = is_true(value);
                match key {
                    "readonly" | "ro" => *read_only = Some(truth),
                    "readwrite" | "rw" => *read_only = Some(!truth),
                    _ => {}
                }
            }
            "size" if self.kind == "tmpfs" => {
                if !is_size(value) {
                    return error(format!("invalid value for {key}: {value}"));
                }
            }
            "size" => return error(unexpected),
            "id" => self.id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            // Of any kind of mount; only a secret has a use for it.
            "env" => {}
            "sharing" => {
                let modes = ["shared", "private", "locked"];
                if !modes.contains(&value.to_lowercase().as_str()) {
                    let message = format!("unsupported sharing value {}", quote(value));
                    return error(suggest(message, value, modes, true));
                }
                self.sharing = true;
            }
            "mode" | "uid" | "gid" => {
                let radix = if key == "mode" { 8 } else { 10 };
                let number = u32::from_str_radix(value, radix).ok();
                let number = number.filter(|_| !value.starts_with('+'));
                if number.is_none() {
                    return error(format!("invalid value {value} for {key}"));
                }
                match key {
                    "mode" => self.mode = number,
                    "uid" => self.uid = number,
                    _ => self.gid = number,
                }
                let order = ["mode", "uid", "gid"];
                let name = order.into_iter().find(|name| *name == key);
                let rank = |name: &str| order.iter().position(|known| *known == name);
                if self.owner.is_none_or(|owner| rank(owner) > rank(key)) {
                    self.owner = name;
                }
            }
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return error(suggest(message, key, KEYS, true));
            }
        }
        Ok(())
    }

    fn validate(&mut self, complete: bool, read_only: Option<bool>) -> Result<(), DockerfileError> {
        let error = |message: String| Err(DockerfileError::new(message));
        let kind = self.kind.as_str();
        if let Some(owner) = self.owner
            && matches!(kind, "bind" | "tmpfs")
        {
            return error(format!(
                "{owner} not allowed for {} type mounts",
                quote(kind)
            ));
        }
        self.read_only = read_only.unwrap_or(!matches!(kind, "cache" | "tmpfs"));
        if complete && kind == "secret" {
            let message = if self.from.is_some() {
                "secret mount should not have a from"
            } else if self.sharing {
                "secret mount should not define sharing"
            } else if self.source.is_empty() && self.target.is_empty() && self.id.is_none() {
                "invalid secret mount. one of source, target required"
            } else if !self.source.is_empty() && self.id.is_some() {
                "both source and id can't be set"
            } else {
                return Ok(());
            };
            return error(message.to_owned());
        }
        if self.sharing && kind != "cache" {
            return error(format!("invalid cache sharing set for {kind} mount"));
        }
        Ok(())
    }
}

/// Returns whether `text` is a size such as `1.5g`, `512 MiB` or `64`.
///
/// Source: <https://github.com/docker/go-units/blob/v0.5.0/size.go>
fn is_size(text: &str) -> bool {
    let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ')) else {
        return false;
    };
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let between_digits = |(at, _): (usize, &str)| {
        let is_digit = |at: Option<usize>| {
            at.and_then(|at| number.as_bytes().get(at))
                .is_some_and(u8::is_ascii_digit)
        };
        is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))
    };
    let is_number = number.match_indices('_').all(between_digits)
        && number.replace('_', "").parse().is_ok_and(|size: f64| {
            let overflows = size.is_infinite() && number.contains(|c: char| c.is_ascii_digit());
            !(overflows || size < 0.0)
        });
    let suffix = suffix.to_lowercase();
    let unit = suffix.trim_start_matches(['k', 'm', 'g', 't', 'p']);
    is_number
        && match suffix.len() - unit.len() {
            0 => matches!(unit, "" | "b"),
            1 => matches!(unit, "" | "b" | "ib"),
            _ => false,
        }
}

/// Returns whether Go's `strconv.ParseBool` takes `text`.
pub(super) fn is_bool(text: &str) -> bool {
    is_true(text) || matches!(text, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Reads the first record of a CSV, as Go's `encoding/csv` does.
fn csv_fields(text: &str) -> Result<Vec<String>, String> {
    let line = text.trim_start_matches('\n');
    if line.is_empty() {
        return Err("EOF".to_owned());
    }
    let column = |rest: &str| line.len() - rest.len() + 1;
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let end = rest.find([',', '\n']).unwrap_or(rest.len());
            let field = &rest[..end];
            if let Some(quote) = field.find('"') {
                return Err(format!(
                    "parse error on line 1, column {}: bare \" in non-quoted-field",
                    column(&rest[quote..])
                ));
            }
            fields.push(field.to_owned());
            match rest[end..].strip_prefix(',') {
                Some(tail) => rest = tail,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let Some(end) = quoted.find('"') else {
                return Err(format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    column("")
                ));
            };
            field.push_str(&quoted[..end]);
            quoted = &quoted[end + 1..];
            match quoted.strip_prefix('"') {
                Some(tail) => {
                    field.push('"');
                    quoted = tail;
                }
                None => break,
            }
        }
        fields.push(field);
        match quoted.chars().next() {
            None | Some('\n') => return Ok(fields),
            Some(',') => rest = &quoted[1..],
            Some(_) => {
                return Err(format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    column(quoted) - 1
                ));
            }
        }
    }
}
