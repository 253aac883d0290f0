//! Which stages run again because an ingredient moved.

use std::collections::BTreeSet;

use globset::GlobBuilder;

use super::Change;
use crate::dockerfile::{Action, Evaluation, Instruction, Source, Stage, StageBase};

/// Returns the stages, by index, that a change invalidates: those that use what moved, and those
/// that stand on them or copy from them. Stages that the target does not need are left out.
///
/// `context` is the build context's path relative to the repository, empty where it is the
/// repository; nothing where it lies outside. Of a Dockerfile that changed, only its new text is
/// known: then every stage counts.
pub fn invalidated_stages(
    change: &Change,
    evaluation: &Evaluation,
    context: Option<&str>,
) -> Vec<usize> {
    let stages = || evaluation.stages.iter().filter(|stage| stage.needed);
    let users: BTreeSet<usize> = stages()
        .filter(|stage| match change.ingredient {
            "base" => {
                let label = stage.label();
                change.used_by.iter().any(|used| used.stage == label)
            }
            "build-arg" => declares(stage, &change.name),
            "ignore-rules" => stage.instructions.iter().any(reads_context),
            "input" => in_context(&change.name, context)
                .is_some_and(|path| stage.instructions.iter().any(|one| reads(one, path))),
            // Which stages were built before is not known; another target alone runs none again.
            "target" => false,
            _ => true,
        })
        .map(|stage| stage.index)
        .collect();
    let mut invalidated = users;
    // Stages only stand on earlier ones, so one pass finds all.
    for stage in stages() {
        if depends_on(stage, &invalidated) {
            invalidated.insert(stage.index);
        }
    }
    invalidated.into_iter().collect()
}

fn depends_on(stage: &Stage, moved: &BTreeSet<usize>) -> bool {
    matches!(&stage.base, StageBase::Stage(base) if moved.contains(base))
        || stage
            .instructions
            .iter()
            .flat_map(sources)
            .any(|source| matches!(source, Source::Stage(other) if moved.contains(other)))
}

/// Returns what an instruction takes files from, besides the build context.
fn sources(instruction: &Instruction) -> Vec<&Source> {
    match &instruction.action {
        Action::Copy(copy) => copy.from.iter().collect(),
        Action::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mount.from.as_ref())
            .collect(),
        Action::Metadata => Vec::new(),
    }
}

fn declares(stage: &Stage, arg: &str) -> bool {
    stage
        .instructions
        .iter()
        .filter(|instruction| instruction.keyword == "ARG")
        .flat_map(|instruction| instruction.original.split_whitespace().skip(1))
        .any(|word| word.split('=').next() == Some(arg))
}

fn reads_context(instruction: &Instruction) -> bool {
    !patterns(instruction).is_empty()
}

fn reads(instruction: &Instruction, path: &str) -> bool {
    patterns(instruction)
        .iter()
        .any(|pattern| takes(pattern, path))
}

/// Returns the paths and patterns that an instruction reads of the build context.
fn patterns(instruction: &Instruction) -> Vec<&str> {
    match &instruction.action {
        Action::Copy(copy) if copy.from.is_none() => {
            copy.sources.iter().map(String::as_str).collect()
        }
        Action::Run(run) => run
            .mounts
            .iter()
            .filter(|mount| mount.kind == "bind" && mount.from.is_none())
            .map(|mount| mount.source.as_str())
            .collect(),
        _ => Vec::new(),
    }
}

/// Tells whether a source of `COPY` takes the file at `path`: itself, or a folder above it.
fn takes(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_matches('/');
    if pattern.is_empty() || pattern == "." {
        return true;
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map(|glob| glob.compile_matcher()).ok();
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    ends.map(|end| &path[..end])
        .any(|part| part == pattern || glob.as_ref().is_some_and(|glob| glob.is_match(part)))
}

/// Returns a path below the repository as one below the build context.
fn in_context<'a>(path: &'a str, context: Option<&str>) -> Option<&'a str> {
    match context? {
        "" => Some(path),
        context => path.strip_prefix(context)?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_key::{Affects, UsedBy};
    use crate::dockerfile::{Dockerfile, EvaluateOptions};

    const DOCKERFILE: &str = "\
FROM a:1 AS deps
COPY locks/*.lock ./
RUN fetch
FROM deps AS build
COPY src src
RUN build
FROM b:1 AS docs
ARG THEME
RUN --mount=type=bind,source=docs,target=/docs render
FROM b:1 AS unused
RUN true
FROM b:1
COPY --from=build /app /app
RUN --mount=from=docs,target=/docs check
";

    fn change(ingredient: &'static str, name: &str, stages: &[&str]) -> Change {
        Change {
            ingredient,
            name: name.to_owned(),
            old: None,
            new: None,
            used_by: stages
                .iter()
                .map(|&stage| UsedBy {
                    stage: stage.to_owned(),
                    instruction: "FROM".to_owned(),
                    line: 1,
                })
                .collect(),
            affects: Affects::Base,
            text: String::new(),
        }
    }

    fn invalidated(change: &Change, context: Option<&str>) -> Vec<usize> {
        let dockerfile = Dockerfile::parse(DOCKERFILE.as_bytes()).expect("valid");
        let evaluation = dockerfile.evaluate(&EvaluateOptions::new()).expect("valid");
        invalidated_stages(change, &evaluation, context)
    }

    #[test]
    fn stages_follow_what_they_stand_on() {
        for (change, expected) in [
            (change("base", "a:1", &["deps"]), vec![0, 1, 4]),
            (change("base", "b:1", &["docs", "4"]), vec![2, 4]),
            (change("input", "locks/a.lock", &[]), vec![0, 1, 4]),
            (change("input", "locks/deep/a.lock", &[]), vec![]),
            (change("input", "src/deep/main.rs", &[]), vec![1, 4]),
            (change("input", "docs/index.md", &[]), vec![2, 4]),
            (change("build-arg", "THEME", &[]), vec![2, 4]),
            (
                change("ignore-rules", ".dockerignore", &[]),
                vec![0, 1, 2, 4],
            ),
            (change("dockerfile", "Dockerfile", &[]), vec![0, 1, 2, 4]),
            (change("target", "x", &[]), vec![]),
        ] {
            let name = (change.ingredient, change.name.clone());
            assert_eq!(invalidated(&change, Some("")), expected, "{name:?}");
        }
    }

    #[test]
    fn inputs_are_relative_to_the_repository() {
        let input = change("input", "app/src/a", &[]);
        assert_eq!(invalidated(&input, Some("app")), [1, 4]);
        assert_eq!(invalidated(&input, Some("ap")), [] as [usize; 0]);
        assert_eq!(invalidated(&input, None), [] as [usize; 0]);
    }
}
