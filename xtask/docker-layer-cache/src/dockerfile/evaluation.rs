//! What a build makes of a Dockerfile: values.

use std::collections::{BTreeMap, BTreeSet};

use super::{BaseReference, Heredoc};
use crate::oci::{Platform, Reference};

/// What the build is asked for, besides the Dockerfile.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// `--target`; the last stage where there is none.
    pub target: Option<String>,
    /// The platform of the result.
    pub platform: Platform,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--build-context`: name and value.
    pub build_contexts: BTreeMap<String, String>,
    /// `ONBUILD` triggers of base images, by normalised reference. They are in the image's config,
    /// so they are known only after a first evaluation; an image that is not listed has none.
    pub onbuild: BTreeMap<String, Vec<String>>,
    /// Environment of base images, by normalised reference: `NAME=value` each. As with `onbuild`;
    /// it can matter to expanded arguments, never to the images that a build needs.
    pub base_environments: BTreeMap<String, Vec<String>>,
}

/// What a build makes of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// All stages, in the order of the file.
    pub stages: Vec<Stage>,
    /// The index of the stage that is built.
    pub target: usize,
    /// The images that the build resolves, sorted.
    pub base_references: Vec<BaseReference>,
    /// What can change although nothing local does.
    pub volatile_inputs: Vec<VolatileInput>,
    /// The build arguments, of those given, that can change the result.
    pub used_build_args: BTreeSet<String>,
    /// The frontend that the build is handed to.
    pub syntax: Option<Reference>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its index, from 0.
    pub index: usize,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// The line of its `FROM`.
    pub line: usize,
    /// What it starts from.
    pub base: StageBase,
    /// The platform of its base.
    pub platform: Platform,
    /// The target needs it.
    pub needed: bool,
    /// Its instructions behind `FROM`, the base's `ONBUILD` triggers first; none for a stage that
    /// is not needed or that a named context replaces.
    pub instructions: Vec<Instruction>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// An image.
    Image(Reference),
    /// An earlier stage, by index.
    Stage(usize),
    /// Nothing.
    Scratch,
    /// A named context (by name) that is not an image.
    Context(String),
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A stage, by index.
    Stage(usize),
    /// An image.
    Image(Reference, Platform),
    /// Nothing.
    Scratch,
    /// A named context (by name) that is not an image.
    Context(String),
}

/// An instruction with its arguments expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// In capitals.
    pub keyword: String,
    /// First line, from 1. A trigger of the base image has that of the `FROM`.
    pub line: usize,
    /// Last line, here-documents included.
    pub end_line: usize,
    /// The instruction as written, on one line.
    pub original: String,
    /// Keyword, flags, expanded arguments and here-documents, each quoted: two instructions that
    /// do the same from the same state have the same text.
    pub expanded: String,
    /// It is an `ONBUILD` trigger of the base.
    pub from_onbuild: bool,
    /// What it does.
    pub action: Action,
}

/// What an instruction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `COPY` or `ADD`.
    Copy(Box<CopyAction>),
    /// `RUN`.
    Run(RunAction),
    /// Changes the image's config or the environment alone.
    Metadata,
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAction {
    /// It is `ADD`.
    pub is_add: bool,
    /// Paths or patterns in `from`; for `ADD`, also addresses.
    pub sources: Vec<String>,
    /// Files given as here-documents, with their expanded content.
    pub inline_files: Vec<Heredoc>,
    /// Where the files go: an absolute, clean path (below an unknown working directory of the base
    /// image: taken as `/`).
    pub destination: String,
    /// Where the files come from; the build context where there is none.
    pub from: Option<Source>,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// `--link`.
    pub link: bool,
    /// `--checksum`: the content of the address is pinned.
    pub checksum: Option<String>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAction {
    /// The command: one string for the shell, or the words of the JSON form.
    pub command: Vec<String>,
    /// The command is for the shell.
    pub shell_form: bool,
    /// `--mount` flags.
    pub mounts: Vec<Mount>,
}

/// A mount of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `cache`, `tmpfs`, `secret` or `ssh`.
    pub kind: String,
    /// Where the files come from. A bind mount without: the build context; a cache mount: nothing.
    pub from: Option<Source>,
    /// The path in `from`.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// The identity of a cache, secret or socket.
    pub id: Option<String>,
    /// It cannot be written to.
    pub read_only: bool,
    /// The owner of what is mounted.
    pub uid: Option<u32>,
    /// The group of what is mounted.
    pub gid: Option<u32>,
    /// The permissions of what is mounted.
    pub mode: Option<u32>,
}

/// Something that can change although nothing local does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolatileInput {
    /// The address as it is used.
    pub address: String,
    /// A file by HTTP, or a git repository.
    pub kind: VolatileKind,
    /// The stage that uses it, by index.
    pub stage: usize,
    /// The instruction's line.
    pub line: usize,
    /// The content is pinned by `--checksum`.
    pub pinned: bool,
}

impl VolatileInput {
    /// Returns the address for people: with stars for user, password and query, where secrets are.
    pub fn shown_address(&self) -> String {
        let Some((scheme, rest)) = self.address.split_once("://") else {
            return self.address.clone();
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((_, host)) => ("***@", host),
            None => ("", authority),
        };
        let (path, query) = match path.split_once('?') {
            Some((path, _)) => (path, "?***"),
            None => (path, ""),
        };
        format!("{scheme}://{user}{host}{path}{query}")
    }
}

/// The kind of a [`VolatileInput`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolatileKind {
    /// A file by HTTP.
    Http,
    /// A git repository.
    Git,
}

impl EvaluateOptions {
    /// Returns options for the last stage on `linux/amd64`, without arguments.
    pub fn new() -> Self {
        Self {
            target: None,
            platform: Platform::linux_amd64(),
            build_platform: Platform::linux_amd64(),
            build_args: BTreeMap::new(),
            build_contexts: BTreeMap::new(),
            onbuild: BTreeMap::new(),
            base_environments: BTreeMap::new(),
        }
    }
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Evaluation {
    /// Returns the references as JSON, see [`super::refs_json`].
    pub fn refs_json(&self) -> serde_json::Value {
        super::refs_json(&self.base_references)
    }
}

impl Stage {
    /// Returns the name, or the index where there is none.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.index.to_string())
    }
}
