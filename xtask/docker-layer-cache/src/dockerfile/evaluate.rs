//! From a parsed Dockerfile to what a build makes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::base_reference::{self, BaseKind, BaseReference, UsedBy};
use super::evaluation::{
    Action, EvaluateOptions, Evaluation, Instruction, Source, Stage, StageBase, VolatileInput,
    VolatileKind,
};
use super::expand::Lexer;
use super::global_args::GlobalArgs;
use super::named_context::{ContextSource, NamedContext, NamedContexts};
use super::parse::{Dockerfile, syntax_reference};
use super::stage_graph::{Origin, StageGraph};
use super::step::{StepSource, StepState, Stepper, remote_kind};
use super::{DockerfileError, suggestion::quote};
use crate::oci::{Platform, Reference};

impl Dockerfile {
    /// Evaluates the Dockerfile for one target and platform.
    ///
    /// # Errors
    ///
    /// What `BuildKit` refuses: expansions that fail, invalid references (also in stages that are
    /// not needed), unknown targets and stages, cycles. Where the references were known before the
    /// refusal, the error carries them ([`DockerfileError::refs_complete`]).
    pub fn evaluate(&self, options: &EvaluateOptions) -> Result<Evaluation, DockerfileError> {
        let (syntax, mut references) = self
            .syntax_base(options)
            .map_err(|error| error.with_column_in(&self.text))?;
        let mut complete = false;
        self.evaluate_stages(options, &mut references, &mut complete)
            .map(|(stages, target, volatile_inputs, mut used_build_args)| {
                if options.build_args.contains_key("BUILDKIT_SYNTAX") {
                    used_build_args.insert("BUILDKIT_SYNTAX".to_owned());
                }
                Evaluation {
                    stages,
                    target,
                    base_references: references.clone(),
                    volatile_inputs,
                    used_build_args,
                    syntax,
                }
            })
            .map_err(|error| {
                error
                    .with_column_in(&self.text)
                    .with_references(references, complete)
            })
    }

    /// The frontend: `BUILDKIT_SYNTAX`, else `# syntax=`.
    fn syntax_base(
        &self,
        options: &EvaluateOptions,
    ) -> Result<(Option<Reference>, Vec<BaseReference>), DockerfileError> {
        let (written, line) = match (options.build_args.get("BUILDKIT_SYNTAX"), &self.syntax) {
            (Some(given), _) => (given.trim().split(' ').next().unwrap_or_default(), 0),
            (None, Some((written, line))) => (written.as_str(), *line),
            (None, None) => return Ok((None, Vec::new())),
        };
        let platform = options.build_platform.clone();
        // The frontend, too, can be replaced by a named context.
        let context = NamedContexts::new(&options.build_contexts)
            .find(written, &platform)
            .map_err(|error| error.at(line))?;
        let source = context.as_ref().map(NamedContext::source).transpose()?;
        let (reference, name) = match (source, context) {
            (None, _) => (written.parse().ok(), None),
            (Some(ContextSource::Image(reference)), Some(context)) => {
                (Some(reference), Some(context.name))
            }
            (Some(_), _) => (None, None),
        };
        let Some(reference) = reference else {
            return Ok((None, Vec::new()));
        };
        let mut base = syntax_reference(reference.clone(), platform, line);
        base.written = name.unwrap_or(base.written);
        Ok((Some(reference), vec![base]))
    }

    #[expect(
        clippy::type_complexity,
        reason = "the parts of an Evaluation, named there"
    )]
    fn evaluate_stages(
        &self,
        options: &EvaluateOptions,
        references: &mut Vec<BaseReference>,
        complete: &mut bool,
    ) -> Result<(Vec<Stage>, usize, Vec<VolatileInput>, BTreeSet<String>), DockerfileError> {
        let lexer = Lexer::new(self.lines.escape);
        let last = self
            .stages
            .last()
            .and_then(|stage| stage.from.name.as_deref());
        let target = options.target.as_deref().filter(|name| !name.is_empty());
        let mut args = GlobalArgs::new(&self.global, lexer, target.or(last), options)?;
        let stages: Vec<_> = self
            .stages
            .iter()
            .map(|stage| (stage.from.clone(), &stage.line, stage.commands.as_slice()))
            .collect();
        let mut graph = StageGraph::new(&stages, &mut args, lexer, options)?;
        let target = graph.target()?;
        graph.connect()?;
        let reachable = graph.resolve(target)?;
        collect_references(&graph, &reachable, references);
        *complete = true;

        let instructions = run_stages(&mut graph, &reachable, lexer, options, &mut args)?;
        let volatile_inputs = collect_volatile(&graph, &reachable, &instructions);
        let stages = self.stages.iter().enumerate().map(|(index, stage)| Stage {
            index,
            name: stage.from.name.clone(),
            line: stage.line.lines.0,
            base: stage_base(&graph, index),
            platform: platform_of(&graph, index, options),
            needed: reachable.contains(&index),
            instructions: instructions.get(&index).cloned().unwrap_or_default(),
        });
        Ok((stages.collect(), target, volatile_inputs, args.used))
    }
}

fn collect_references(
    graph: &StageGraph<'_>,
    reachable: &BTreeSet<usize>,
    references: &mut Vec<BaseReference>,
) {
    let label = |id: usize| {
        let state = &graph.states[id];
        let name = state.label.strip_prefix("stage-").map(str::to_owned);
        state.stage.map(|index| {
            // An unnamed stage is known by its index.
            if name.as_deref() == Some(index.to_string().as_str()) {
                index.to_string()
            } else {
                state.label.clone()
            }
        })
    };
    let mut add = |id: usize, used: UsedBy| {
        let state = &graph.states[id];
        let (Some(Origin::Image { reference, written }), Some(platform)) =
            (&state.origin, &state.platform)
        else {
            return;
        };
        base_reference::add(
            references,
            BaseReference {
                reference: reference.clone(),
                platform: platform.clone(),
                kind: BaseKind::Base,
                written: written.clone(),
                used_by: vec![used],
            },
        );
    };
    for &id in reachable {
        let state = &graph.states[id];
        if state.stage.is_some() && state.base.is_none() {
            let used = UsedBy {
                stage: label(id),
                instruction: "FROM".to_owned(),
                line: state.line.0,
            };
            add(id, used);
        }
        for command in &state.commands {
            let instruction = match command.line.keyword.as_str() {
                "RUN" => "RUN --mount",
                _ => "COPY --from",
            };
            for &source in &command.sources {
                if graph.states[source].stage.is_none() {
                    let used = UsedBy {
                        stage: label(id),
                        instruction: instruction.to_owned(),
                        line: command.line.lines.0,
                    };
                    add(source, used);
                }
            }
        }
    }
}

/// Runs the instructions of the stages that are needed, in `BuildKit`'s order.
fn run_stages(
    graph: &mut StageGraph<'_>,
    reachable: &BTreeSet<usize>,
    lexer: Lexer,
    options: &EvaluateOptions,
    args: &mut GlobalArgs,
) -> Result<BTreeMap<usize, Vec<Instruction>>, DockerfileError> {
    let mut states: BTreeMap<usize, StepState> = BTreeMap::new();
    let mut instructions = BTreeMap::new();
    for id in graph.order.clone() {
        if !reachable.contains(&id) || graph.states[id].dispatched {
            continue;
        }
        // A stage can be copied from by itself alone once it has begun.
        graph.states[id].dispatched = true;
        let inherited = graph.states[id].base.and_then(|base| states.get(&base));
        let mut step_state = match inherited {
            Some(state) => state.clone(),
            None => base_state(graph, graph.states[id].base.unwrap_or(id), options),
        };
        let mut done = Vec::new();
        for command in graph.states[id].commands.clone() {
            let sources: Vec<StepSource> = command
                .sources
                .iter()
                .map(|&source| StepSource {
                    source: source_of(graph, source, options),
                    dispatched: graph.states[source].dispatched,
                })
                .collect();
            let mut stepper = Stepper {
                lexer,
                options,
                args: &mut *args,
                label: &graph.states[id].label,
            };
            let instruction = stepper
                .run(
                    &command.line,
                    command.from_onbuild,
                    &sources,
                    &mut step_state,
                )
                .map_err(|error| error.at(command.line.lines.0))?;
            done.push(instruction);
        }
        states.insert(id, step_state);
        instructions.insert(id, done);
    }
    Ok(instructions)
}

fn base_state(graph: &StageGraph<'_>, id: usize, options: &EvaluateOptions) -> StepState {
    let environment = match &graph.states[id].origin {
        Some(Origin::Image { reference, .. }) => {
            options.base_environments.get(&reference.to_string())
        }
        _ => None,
    };
    let os = platform_of(graph, id, options).os;
    StepState::new(environment.map_or(&[], Vec::as_slice), &os)
}

fn collect_volatile(
    graph: &StageGraph<'_>,
    reachable: &BTreeSet<usize>,
    instructions: &BTreeMap<usize, Vec<Instruction>>,
) -> Vec<VolatileInput> {
    let mut inputs = Vec::new();
    let kind = |git: bool| {
        if git {
            VolatileKind::Git
        } else {
            VolatileKind::Http
        }
    };
    for &id in reachable {
        let state = &graph.states[id];
        if let Some(Origin::Context {
            source: ContextSource::Remote(address),
            ..
        }) = &state.origin
        {
            inputs.push(VolatileInput {
                address: address.clone(),
                kind: kind(remote_kind(address).unwrap_or(true)),
                stage: state.stage.unwrap_or_else(|| user_of(graph, reachable, id)),
                line: state.line.0,
                pinned: false,
            });
        }
        for instruction in instructions.get(&id).into_iter().flatten() {
            let Action::Copy(copy) = &instruction.action else {
                continue;
            };
            for address in copy.sources.iter().filter(|_| copy.is_add) {
                if let Some(git) = remote_kind(address) {
                    inputs.push(VolatileInput {
                        address: address.clone(),
                        kind: kind(git),
                        stage: id,
                        line: instruction.line,
                        pinned: copy.checksum.is_some(),
                    });
                }
            }
        }
    }
    inputs
}

/// The first stage that takes files from `source`.
fn user_of(graph: &StageGraph<'_>, reachable: &BTreeSet<usize>, source: usize) -> usize {
    let uses = |id: &&usize| graph.states[**id].dependencies.contains(&source);
    reachable.iter().find(uses).copied().unwrap_or_default()
}

fn stage_base(graph: &StageGraph<'_>, id: usize) -> StageBase {
    let state = &graph.states[id];
    match (&state.origin, state.base) {
        (Some(Origin::Scratch), _) => StageBase::Scratch,
        (Some(Origin::Context { name, .. }), _) => StageBase::Context(name.clone()),
        (Some(Origin::Image { reference, .. }), _) => StageBase::Image(reference.clone()),
        (None, Some(base)) => StageBase::Stage(base),
        (None, None) => StageBase::Context(quote(&state.base_name)),
    }
}

/// The platform of what the state stands on.
fn platform_of(graph: &StageGraph<'_>, id: usize, options: &EvaluateOptions) -> Platform {
    let mut id = id;
    while let Some(base) = graph.states[id].base {
        id = base;
    }
    let platform = graph.states[id].platform.clone();
    platform.unwrap_or_else(|| options.platform.normalized())
}

fn source_of(graph: &StageGraph<'_>, id: usize, options: &EvaluateOptions) -> Source {
    let state = &graph.states[id];
    if state.stage.is_some() && state.context.is_none() {
        return Source::Stage(id);
    }
    match &state.origin {
        Some(Origin::Image { reference, .. }) => {
            Source::Image(reference.clone(), platform_of(graph, id, options))
        }
        Some(Origin::Context { name, .. }) => Source::Context(name.clone()),
        Some(Origin::Scratch) | None => Source::Scratch,
    }
}
