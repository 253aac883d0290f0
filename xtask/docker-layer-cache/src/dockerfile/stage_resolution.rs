//! What each stage stands on: images, named contexts, and the `ONBUILD` triggers that they bring.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/dockerfile2llb/convert.go>
//! (`resolveStages`, `resolveBaseImage`, `initOnBuildTriggers`)

use std::collections::BTreeSet;

use super::DockerfileError;
use super::logical_line::LogicalLines;
use super::named_context::ContextSource;
use super::stage_graph::{Command, Origin, StageGraph};
use super::suggestion::quote;
use super::typed_line::{Arguments, TypedLine};
use crate::oci::Reference;

impl StageGraph<'_> {
    /// Resolves what every state starts from, `ONBUILD` triggers included, and returns the states
    /// that the target needs.
    pub(super) fn resolve(&mut self, target: usize) -> Result<BTreeSet<usize>, DockerfileError> {
        loop {
            let reachable = self.reachable(target);
            for position in 0..self.order.len() {
                let id = self.order[position];
                let state = &self.states[id];
                if state.base.is_none() && !state.dispatched && !state.resolved {
                    let is_reachable = reachable.contains(&id);
                    self.states[id].resolved = is_reachable;
                    self.resolve_origin(id, is_reachable)
                        .map_err(|error| error.at(self.states[id].line.0))?;
                }
            }
            let mut new_dependencies = false;
            for &id in &reachable {
                new_dependencies |= self
                    .add_triggers(id)
                    .map_err(|error| error.at(self.states[id].line.0))?;
            }
            if !new_dependencies {
                return Ok(self.reachable(target));
            }
        }
    }

    fn reachable(&self, target: usize) -> BTreeSet<usize> {
        let mut reachable = BTreeSet::new();
        let mut stack = vec![target];
        while let Some(id) = stack.pop() {
            if reachable.insert(id) {
                stack.extend(self.states[id].base);
                stack.extend(&self.states[id].dependencies);
            }
        }
        reachable
    }

    fn resolve_origin(&mut self, id: usize, reachable: bool) -> Result<(), DockerfileError> {
        let state = &self.states[id];
        let is_image = state.stage.is_none();
        if state.base_name == "scratch" && state.context.is_none() {
            let state = &mut self.states[id];
            state.origin = Some(Origin::Scratch);
            state.platform = Some(self.target_platform.clone());
            state.dispatched = is_image;
            return Ok(());
        }
        let reference: Reference = state.base_name.parse().map_err(|error| {
            let name = quote(&state.base_name);
            DockerfileError::new(format!("failed to parse stage name {name}: {error}"))
        })?;
        let platform = state
            .platform
            .clone()
            .unwrap_or(self.target_platform.clone());
        let (context, dispatched) = match &state.context {
            // A context in place of the stage: its instructions are not run.
            Some(context) => (Some(context.clone()), true),
            None if reachable => {
                let context = self.contexts.find(&reference.to_string(), &platform)?;
                (context, is_image)
            }
            None => (None, is_image),
        };
        let origin = match context {
            Some(context) if reachable => match context.source()? {
                ContextSource::Image(reference) => Origin::Image {
                    reference,
                    written: context.name,
                },
                ContextSource::Scratch => Origin::Scratch,
                source => Origin::Context {
                    name: context.name,
                    source,
                },
            },
            _ => Origin::Image {
                written: reference.context_name(),
                reference,
            },
        };
        let state = &mut self.states[id];
        state.origin = Some(origin);
        state.platform = Some(platform);
        state.dispatched = if reachable { dispatched } else { is_image };
        Ok(())
    }

    /// Puts the base's triggers in front; returns whether they need something more.
    fn add_triggers(&mut self, id: usize) -> Result<bool, DockerfileError> {
        if std::mem::replace(&mut self.states[id].triggers_read, true) {
            return Ok(false);
        }
        let triggers: Vec<String> = match (self.states[id].base, &self.states[id].origin) {
            (Some(base), _) => self.states[base]
                .commands
                .iter()
                .filter_map(|command| match &command.line.arguments {
                    Arguments::Onbuild(expression) => Some(expression.clone()),
                    _ => None,
                })
                .collect(),
            (None, Some(Origin::Image { reference, .. })) => {
                let triggers = self.options.onbuild.get(&reference.to_string());
                triggers.cloned().unwrap_or_default()
            }
            _ => return Ok(false),
        };
        let mut commands = Vec::with_capacity(triggers.len());
        let mut new_dependencies = false;
        for trigger in triggers {
            let lines = LogicalLines::parse(trigger.as_bytes())?.lines;
            let [line] = lines.as_slice() else {
                return Err(DockerfileError::new(
                    "onbuild trigger should be a single expression",
                ));
            };
            let mut line = line.clone();
            line.lines = self.states[id].line;
            let line = TypedLine::parse(&line)?;
            if matches!(line.arguments, Arguments::From(_)) {
                return Err(DockerfileError::new(
                    "*instructions.Stage is not a command type",
                ));
            }
            let sources = self.sources(&line)?;
            new_dependencies |= !sources.is_empty();
            self.depend(id, &sources);
            commands.push(Command {
                line,
                sources,
                from_onbuild: true,
            });
        }
        commands.append(&mut self.states[id].commands);
        self.states[id].commands = commands;
        Ok(new_dependencies)
    }
}
