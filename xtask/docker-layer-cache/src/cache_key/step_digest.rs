//! The digest of one step, as `BuildKit` tells steps apart.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.25.0/solver/llbsolver/ops/exec.go> and
//! `file.go` beside it: what of an operation is compared, and which inputs by content.

use serde::{Deserialize, Serialize};

use super::context_pattern::{components, is_pattern};
use super::context_tree::{ContextContent, ContextTree};
use super::copy_selection::{SelectOptions, Selection, select};
use super::fields::Fields;
use super::run_words::{mount_attributes, run_words};
use super::stage_state::{Chain, StageState, fields_of};
use crate::dockerfile::{Action, CopyAction, Instruction, Mount, RunAction, Source};
use crate::oci::{Digest, Platform, Reference};

/// A step that a builder runs: `RUN`, `COPY`, `ADD` or `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDigest {
    /// Its place among the steps of its stage, from 1.
    pub ordinal: usize,
    /// `RUN`, `COPY`, `ADD` or `WORKDIR`.
    pub keyword: String,
    /// Its number as the builder prints it: in `[deps 2/3]` that is 2.
    pub place: usize,
    /// The instruction's first line, from 1.
    pub line: usize,
    /// Of the step, of all that it stands on and of all that it takes. Equal digests: the step
    /// hits, as far as `certainty` says so.
    pub digest: Digest,
    /// The same without what the builder compares by content and we cannot see: files of other
    /// stages and images. Different digests and equal outlines: the step may hit.
    pub outline: Digest,
    /// What an equal digest is worth.
    pub certainty: Certainty,
    /// The stages that it takes files from, by index.
    pub sources: Vec<usize>,
}

/// Who builds: builders tell steps apart in their own ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// Compares files, and what can matter to them.
    BuildKit,
    /// Compares instructions, one image for each, also those that only set something; of copied
    /// files also where they were.
    Classic,
}

/// What an equal digest of a step is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The step hits.
    Certain,
    /// The step may hit: it takes, or stands on, something that can change unseen, such as an
    /// address without a checksum.
    Open,
}

/// What steps take from elsewhere.
pub(super) struct Inputs<'a> {
    pub(super) builder: Builder,
    /// What the files of new layers are dated by.
    pub(super) source_date: Option<&'a str>,
    pub(super) tree: &'a ContextTree,
    /// How each stage ends, by index; none for those that are not known yet.
    pub(super) ends: &'a [Option<StageState>],
    pub(super) base_digest: &'a dyn Fn(&Reference, &Platform) -> Option<Digest>,
}

/// A step's fields while they are collected.
struct Draft {
    digest: Fields,
    outline: Fields,
    certainty: Certainty,
    sources: Vec<usize>,
}

/// Runs one instruction in mind: changes `state`, and returns the step, where it is one.
pub(super) fn step(
    instruction: &Instruction,
    (ordinal, place): (usize, usize),
    state: &mut StageState,
    inputs: &Inputs<'_>,
) -> Option<StepDigest> {
    let draft = match &instruction.action {
        Action::Run(run) => run_step(instruction, run, state, inputs),
        Action::Copy(copy) => copy_step(instruction, copy, state, inputs),
        Action::Metadata => {
            state.apply(instruction);
            let is_classic = inputs.builder == Builder::Classic;
            if is_classic {
                state.stand_on(&instruction.expanded);
            }
            // `BuildKit` makes no step of `WORKDIR /`.
            if instruction.keyword != "WORKDIR" || (state.workdir() == "/" && !is_classic) {
                return None;
            }
            workdir_step(state, inputs)
        }
    };
    let step = StepDigest {
        ordinal,
        place,
        keyword: instruction.keyword.clone(),
        line: instruction.line,
        digest: draft.digest.digest(),
        outline: draft.outline.digest(),
        certainty: draft.certainty,
        sources: draft.sources,
    };
    // A linked copy as well: where its layer stands on nothing, laying it over the others is part
    // of the step, and runs again where those have changed.
    state.root = Some(Chain {
        digest: step.digest.clone(),
        outline: step.outline.clone(),
        certainty: step.certainty,
    });
    Some(step)
}

/// Compared: command, environment, user, folder, mounts, and what it stands on by its definition.
fn run_step(
    instruction: &Instruction,
    run: &RunAction,
    state: &StageState,
    inputs: &Inputs<'_>,
) -> Draft {
    let words = run_words(instruction, run, state);
    let mut draft = Draft::on(state.root.as_ref(), "run").with_all(|fields| {
        fields
            .with(state.user())
            .with(state.workdir())
            .with(state.platform.to_string())
            .with_all(state.environment())
            .with_all(&words)
            .with_all(mount_attributes(&instruction.original))
    });
    for mount in &run.mounts {
        draft = draft.mount(mount, inputs);
    }
    draft
}

fn copy_step(
    instruction: &Instruction,
    copy: &CopyAction,
    state: &StageState,
    inputs: &Inputs<'_>,
) -> Draft {
    let words = fields_of(&instruction.expanded);
    let flags = words
        .iter()
        .take_while(|word| word.starts_with("\"--"))
        .filter(|word| !word.starts_with("\"--from=") && !word.starts_with("\"--link"));
    let mut draft = Draft::on(state.root.as_ref(), "copy").with_all(|fields| {
        fields
            .with(if copy.is_add { "add" } else { "copy" })
            .with(&copy.destination)
            .with(inputs.source_date.unwrap_or_default())
            .with_all(flags.clone())
    });
    for file in &copy.inline_files {
        draft = draft.with_all(|fields| fields.with("inline").with(&file.name).with(&file.content));
    }
    for source in &copy.sources {
        let pinned = copy.checksum.is_some();
        draft = match &copy.from {
            _ if copy.is_add && is_address(source) => draft.address(source, pinned),
            None => draft.context(inputs, copy, source),
            Some(from) => {
                // The name counts even where the content is the same.
                let path = components(source);
                let name = path.last().copied().unwrap_or_default();
                let mut draft = draft.with_all(|fields| fields.with("path").with(name));
                draft.digest = draft.digest.with(path.join("/"));
                if inputs.builder == Builder::Classic {
                    draft.outline = draft.outline.with(path.join("/"));
                }
                draft.source(from, inputs)
            }
        };
    }
    draft
}

fn workdir_step(state: &StageState, inputs: &Inputs<'_>) -> Draft {
    Draft::on(state.root.as_ref(), "workdir").with_all(|fields| {
        fields
            .with(state.workdir())
            .with(state.user())
            .with(inputs.source_date.unwrap_or_default())
    })
}

impl Draft {
    fn on(root: Option<&Chain>, what: &str) -> Self {
        let fields = Fields::new(what);
        let (digest, outline) = match root {
            Some(root) => (
                fields.clone().with_digest(&root.digest),
                fields.with_digest(&root.outline),
            ),
            None => (fields.clone().with("nothing"), fields.with("nothing")),
        };
        Self {
            digest,
            outline,
            certainty: root.map_or(Certainty::Certain, |root| root.certainty),
            sources: Vec::new(),
        }
    }

    /// Adds fields to both digests.
    fn with_all(mut self, add: impl Fn(Fields) -> Fields) -> Self {
        self.digest = add(self.digest);
        self.outline = add(self.outline);
        self
    }

    fn at_most(mut self, certainty: Certainty) -> Self {
        self.certainty = self.certainty.max(certainty);
        self
    }

    /// A path of the build context that is copied.
    fn context(self, inputs: &Inputs<'_>, copy: &CopyAction, source: &str) -> Self {
        let options = SelectOptions {
            exclude: &copy.exclude,
            parents: copy.parents,
            builder: inputs.builder,
        };
        let selection = select(inputs.tree, source, options);
        let by_name = components(source).into_iter().any(is_pattern);
        let name = components(source).pop().unwrap_or_default().to_owned();
        self.with_all(|fields| fields.with("context").with(&name))
            .selection(&selection, by_name)
    }

    fn selection(self, selection: &Selection<'_>, by_name: bool) -> Self {
        let digest = selection.digest(by_name);
        let unread = selection
            .entries()
            .any(|entry| entry.content == ContextContent::File(None));
        let draft = self.with_all(|fields| fields.with_digest(&digest));
        if unread || selection.is_empty() {
            draft.at_most(Certainty::Open)
        } else {
            draft
        }
    }

    /// Files of a stage or an image: the builder compares their content.
    fn source(mut self, source: &Source, inputs: &Inputs<'_>) -> Self {
        match source {
            Source::Scratch => self.with_all(|fields| fields.with("scratch")),
            Source::Context(name) => self
                .with_all(|fields| fields.with("named context").with(name))
                .at_most(Certainty::Open),
            Source::Image(reference, platform) => match (inputs.base_digest)(reference, platform) {
                Some(digest) => {
                    self.digest = self.digest.with("image").with_digest(&digest);
                    self
                }
                None => self
                    .with_all(|fields| fields.with("image").with(reference.to_string()))
                    .at_most(Certainty::Open),
            },
            Source::Stage(index) => {
                self.sources.push(*index);
                let end = inputs.ends.get(*index).and_then(Option::as_ref);
                match (end, end.and_then(|end| end.root.as_ref())) {
                    (None, _) => self.at_most(Certainty::Open),
                    (Some(_), None) => self.with_all(|fields| fields.with("scratch")),
                    (Some(_), Some(root)) => {
                        self.digest = self.digest.with("stage").with_digest(&root.digest);
                        self.at_most(root.certainty)
                    }
                }
            }
        }
    }

    fn mount(self, mount: &Mount, inputs: &Inputs<'_>) -> Self {
        // Which cache is mounted does not count: what is in it must not matter to the result.
        let id = mount.id.as_deref().filter(|_| mount.kind != "cache");
        let mut draft = self.with_all(|fields| {
            fields
                .with("mount")
                .with(&mount.kind)
                .with(&mount.target)
                .with(id.unwrap_or_default())
                .with(if mount.read_only { "ro" } else { "rw" })
        });
        let path = components(&mount.source).join("/");
        match (mount.kind.as_str(), &mount.from) {
            ("bind", None) => {
                let options = SelectOptions::everything(inputs.builder);
                draft.selection(&select(inputs.tree, &path, options), false)
            }
            (_, Some(from)) => {
                draft.digest = draft.digest.with("path").with(&path);
                draft.source(from, inputs)
            }
            (_, None) => draft.with_all(|fields| fields.with("path").with(&path)),
        }
    }

    /// An address of `ADD`.
    fn address(self, address: &str, pinned: bool) -> Self {
        let draft = self.with_all(|fields| fields.with("address").with(address));
        if pinned {
            draft
        } else {
            draft.at_most(Certainty::Open)
        }
    }
}

/// Tells an address of `ADD` from a path.
fn is_address(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}
