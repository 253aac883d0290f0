//! Stages, the images that they name, and what depends on what.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/dockerfile2llb/convert.go>

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Environment, Lexer};
use super::global_args::GlobalArgs;
use super::mount::MountFlag;
use super::named_context::{ContextSource, NamedContext, NamedContexts};
use super::suggestion::{quote, suggest};
use super::typed_line::{Arguments, FromArguments, TypedLine};
use super::{DockerfileError, EvaluateOptions};
use crate::oci::{Platform, Reference};

/// A stage of the file, or an image that `COPY --from` or a mount names.
#[derive(Debug)]
pub(super) struct State {
    /// The stage's index in the file; `None` for an image.
    pub(super) stage: Option<usize>,
    pub(super) base_name: String,
    /// The stage's name as `BuildKit` shows it: `stage-1` where it has none.
    pub(super) label: String,
    pub(super) line: (usize, usize),
    pub(super) platform: Option<Platform>,
    pub(super) base: Option<usize>,
    pub(super) dependencies: Vec<usize>,
    pub(super) context: Option<NamedContext>,
    pub(super) commands: Vec<Command>,
    pub(super) origin: Option<Origin>,
    /// Its files are there: a later instruction can copy from it.
    pub(super) dispatched: bool,
    pub(super) resolved: bool,
    pub(super) triggers_read: bool,
}

/// An instruction and the states that it takes files from (one for each mount).
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) line: TypedLine,
    pub(super) sources: Vec<usize>,
    pub(super) from_onbuild: bool,
}

/// What a state without base stage starts from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Image {
        reference: Reference,
        written: String,
    },
    Scratch,
    Context {
        name: String,
        source: ContextSource,
    },
}

/// The states of one evaluation.
#[derive(Debug)]
pub(super) struct StageGraph<'a> {
    pub(super) states: Vec<State>,
    /// The order in which `BuildKit` counts and runs them; an image can stand in it twice.
    pub(super) order: Vec<usize>,
    by_name: BTreeMap<String, usize>,
    pub(super) contexts: NamedContexts,
    pub(super) options: &'a EvaluateOptions,
    lexer: Lexer,
    pub(super) target_platform: Platform,
}

impl<'a> StageGraph<'a> {
    /// Adds all stages: names, bases and platforms expanded.
    pub(super) fn new(
        stages: &[(FromArguments, &TypedLine, &[TypedLine])],
        args: &mut GlobalArgs,
        lexer: Lexer,
        options: &'a EvaluateOptions,
    ) -> Result<Self, DockerfileError> {
        let mut graph = Self {
            states: Vec::new(),
            order: Vec::new(),
            by_name: BTreeMap::new(),
            contexts: NamedContexts::new(&options.build_contexts),
            options,
            lexer,
            target_platform: options.platform.normalized(),
        };
        for (from, line, commands) in stages {
            graph
                .add_stage(from, line, commands, args)
                .map_err(|error| error.at(line.lines.0))?;
        }
        Ok(graph)
    }

    fn add_stage(
        &mut self,
        from: &FromArguments,
        line: &TypedLine,
        commands: &[TypedLine],
        args: &mut GlobalArgs,
    ) -> Result<(), DockerfileError> {
        let base_name = self.lexer.expand(&from.base, &args.environment)?;
        args.mark_used(&base_name.matched);
        if base_name.text.is_empty() {
            return Err(DockerfileError::new(format!(
                "base name ({}) should not be blank",
                from.base
            ))
            .with_hint("give the argument a default, or pass it with --build-arg"));
        }
        let platform = from
            .platform
            .as_deref()
            .map(|platform| self.stage_platform(platform, args))
            .transpose()?;
        let context = match &from.name {
            Some(name) => {
                let platform = platform.as_ref().unwrap_or(&self.target_platform);
                self.contexts.find(name, platform)?
            }
            None => None,
        };
        let index = self.states.len();
        let replaced = context.is_some();
        let label = from
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"));
        let commands = commands.iter().map(|line| Command {
            line: line.clone(),
            sources: Vec::new(),
            from_onbuild: false,
        });
        self.add_state(State {
            label,
            platform,
            context,
            commands: commands.collect(),
            ..State::new(Some(index), base_name.text, line.lines)
        });
        if replaced {
            self.states[index].base = None;
        }
        if let Some(name) = &from.name {
            self.by_name.insert(name.clone(), index);
        }
        Ok(())
    }

    fn stage_platform(
        &self,
        written: &str,
        args: &mut GlobalArgs,
    ) -> Result<Platform, DockerfileError> {
        let expanded = self
            .lexer
            .expand(written, &args.environment)
            .map_err(|error| error.wrap("failed to process arguments for platform : "))?;
        args.mark_used(&expanded.matched);
        let suggested = |message: String| {
            let suggestions = expanded
                .unmatched
                .iter()
                .map(|name| suggest(message.clone(), name, args.environment.names(), true));
            let found = suggestions.into_iter().find(|text| *text != message);
            DockerfileError::new(found.unwrap_or(message))
        };
        if expanded.text.is_empty() {
            return Err(suggested(format!(
                "empty platform value from expression {written}"
            )));
        }
        expanded.text.parse().map_err(|error| {
            suggested(format!("{error}")).wrap(&format!("failed to parse platform {written}: "))
        })
    }

    fn add_state(&mut self, mut state: State) -> usize {
        let id = self.states.len();
        state.base = self.by_name.get(&state.base_name).copied();
        self.states.push(state);
        self.order.push(id);
        id
    }

    /// Returns the target's state.
    pub(super) fn target(&self) -> Result<usize, DockerfileError> {
        let Some(target) = self
            .options
            .target
            .as_deref()
            .filter(|name| !name.is_empty())
        else {
            return Ok(self.states.len() - 1);
        };
        self.by_name
            .get(&target.to_lowercase())
            .copied()
            .ok_or_else(|| {
                let message = format!("target stage {} could not be found", quote(target));
                let labels = self.states.iter().map(|state| state.label.as_str());
                DockerfileError::new(suggest(message, target, labels, true))
            })
    }

    /// Finds what each `COPY --from` and mount takes files from.
    pub(super) fn connect(&mut self) -> Result<(), DockerfileError> {
        let mut position = 0;
        // Images that are added meanwhile have no instructions.
        while position < self.order.len() {
            let id = self.order[position];
            position += 1;
            for index in 0..self.states[id].commands.len() {
                let line = self.states[id].commands[index].line.clone();
                let sources = self
                    .sources(&line)
                    .map_err(|error| error.at(line.lines.0))?;
                self.depend(id, &sources);
                self.states[id].commands[index].sources = sources;
            }
        }
        self.refuse_cycles()
    }

    /// Adds dependencies; an image that is met again is counted again, as `BuildKit` does.
    pub(super) fn depend(&mut self, id: usize, sources: &[usize]) {
        for &source in sources {
            if !self.states[id].dependencies.contains(&source) {
                self.states[id].dependencies.push(source);
            }
            if self.states[source].stage.is_none() {
                self.order.push(source);
            }
        }
    }

    pub(super) fn sources(&mut self, line: &TypedLine) -> Result<Vec<usize>, DockerfileError> {
        match &line.arguments {
            Arguments::Copy(copy) => {
                let Some(from) = &copy.from else {
                    return Ok(Vec::new());
                };
                let expanded = self.lexer.expand(from, &Environment::default())?;
                if expanded.text != *from {
                    return Err(DockerfileError::new(
                        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
                    ));
                }
                let Some(index) = go_atoi(from) else {
                    return Ok(vec![self.named_source(from, line.lines)]);
                };
                let found = usize::try_from(index).ok().and_then(|i| self.order.get(i));
                found
                    .map(|&id| vec![id])
                    .ok_or_else(|| DockerfileError::new(format!("invalid stage index {index}")))
            }
            Arguments::Run { mounts, .. } => mounts
                .iter()
                .map(|mount| {
                    let from = MountFlag::parse(mount, None)?.from;
                    Ok(self.named_source(from.as_deref().unwrap_or("scratch"), line.lines))
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// A stage by name, in any case, or an image.
    fn named_source(&mut self, name: &str, lines: (usize, usize)) -> usize {
        if let Some(&id) = self.by_name.get(&name.to_lowercase()) {
            return id;
        }
        // Not yet in the order: `depend` counts it.
        self.states.push(State::new(None, name.to_owned(), lines));
        self.states.len() - 1
    }

    fn refuse_cycles(&self) -> Result<(), DockerfileError> {
        let mut visited = BTreeSet::new();
        for &root in &self.order {
            if !visited.insert(root) {
                continue;
            }
            let mut path = BTreeSet::from([root]);
            let mut stack = vec![(root, 0)];
            while let Some((id, next)) = stack.pop() {
                let Some(&dependency) = self.states[id].dependencies.get(next) else {
                    path.remove(&id);
                    continue;
                };
                stack.push((id, next + 1));
                if path.contains(&dependency) {
                    let state = &self.states[root];
                    return Err(DockerfileError::new(format!(
                        "circular dependency detected on stage: {}",
                        state.label
                    ))
                    .at(self.line_of_dependency(id, dependency)));
                }
                if visited.insert(dependency) {
                    path.insert(dependency);
                    stack.push((dependency, 0));
                }
            }
        }
        Ok(())
    }

    fn line_of_dependency(&self, id: usize, dependency: usize) -> usize {
        let state = &self.states[id];
        let command = state
            .commands
            .iter()
            .find(|command| command.sources.contains(&dependency));
        command.map_or(state.line.0, |command| command.line.lines.0)
    }
}

impl State {
    fn new(stage: Option<usize>, base_name: String, line: (usize, usize)) -> Self {
        Self {
            stage,
            base_name,
            label: String::new(),
            line,
            platform: None,
            base: None,
            dependencies: Vec::new(),
            context: None,
            commands: Vec::new(),
            origin: None,
            dispatched: false,
            resolved: false,
            triggers_read: false,
        }
    }
}

/// Parses a number as Go's `strconv.Atoi`: a sign is fine, other bases and `_` are not.
fn go_atoi(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}
