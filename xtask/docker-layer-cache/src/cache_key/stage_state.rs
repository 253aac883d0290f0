//! What a step starts from: the files below it, and the settings that later steps feel.

use super::fields::Fields;
use super::step_digest::Certainty;
use crate::dockerfile::Instruction;
use crate::oci::{Digest, Platform};

/// The files at a point of a stage, by how they came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) digest: Digest,
    pub(super) outline: Digest,
    pub(super) certainty: Certainty,
}

/// What a step starts from.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    /// The files; nothing at the start of a `scratch` stage.
    pub(super) root: Option<Chain>,
    pub(super) platform: Platform,
    /// `NAME` and quoted `NAME=value`, in the order in which they were set last.
    environment: Vec<(String, String)>,
    workdir: String,
    user: String,
    shell: Vec<String>,
}

impl StageState {
    /// Starts on a base. The settings of the base's config are part of `root`'s digest.
    pub(super) fn new(root: Option<Chain>, platform: Platform) -> Self {
        Self {
            root,
            platform,
            environment: Vec::new(),
            workdir: "/".to_owned(),
            user: String::new(),
            shell: DEFAULT_SHELL.map(str::to_owned).to_vec(),
        }
    }

    /// Applies an instruction that makes no step, or the setting that `WORKDIR` makes.
    pub(super) fn apply(&mut self, instruction: &Instruction) {
        let fields = fields_of(&instruction.expanded);
        match instruction.keyword.as_str() {
            "ENV" | "ARG" => {
                for field in &fields {
                    let text = field.trim_matches('"');
                    // An argument without a value is not in the environment.
                    if let Some((name, _)) = text.split_once('=')
                        && !NEVER_IN_ENVIRONMENT.contains(&name)
                    {
                        self.set_variable(name, field);
                    }
                }
            }
            "USER" => self.user = fields.concat(),
            "SHELL" => self.shell = fields,
            "WORKDIR" => {
                let path = fields.first().map_or("", String::as_str);
                self.enter(path.trim_matches('"'));
            }
            _ => {}
        }
    }

    /// Makes all that follows differ by an instruction.
    pub(super) fn stand_on(&mut self, expanded: &str) {
        let root = self.root.take();
        let on = |digest: Option<&Digest>| {
            Fields::new("setting")
                .with(digest.map_or("", Digest::as_str))
                .with(expanded)
                .digest()
        };
        self.root = Some(Chain {
            digest: on(root.as_ref().map(|root| &root.digest)),
            outline: on(root.as_ref().map(|root| &root.outline)),
            certainty: root.map_or(Certainty::Certain, |root| root.certainty),
        });
    }

    pub(super) fn environment(&self) -> impl Iterator<Item = &str> {
        self.environment.iter().map(|(_, field)| field.as_str())
    }

    pub(super) fn workdir(&self) -> &str {
        &self.workdir
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn shell(&self) -> &[String] {
        &self.shell
    }

    fn set_variable(&mut self, name: &str, field: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), field.to_owned()));
    }

    fn enter(&mut self, path: &str) {
        let whole = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.workdir)
        };
        self.workdir = format!("/{}", super::context_pattern::components(&whole).join("/"));
    }
}

/// Arguments that `BuildKit` keeps for itself.
const NEVER_IN_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

const DEFAULT_SHELL: [&str; 2] = ["\"/bin/sh\"", "\"-c\""];

/// Splits an expanded instruction into its arguments, each in its quotes; the keyword is left out.
pub(super) fn fields_of(expanded: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut in_quotes = false;
    let mut escaped = false;
    for c in expanded.chars() {
        if in_quotes {
            field.push(c);
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                in_quotes = false;
                fields.push(std::mem::take(&mut field));
            }
        } else if c == '"' {
            in_quotes = true;
            field.push(c);
        }
    }
    fields
}
