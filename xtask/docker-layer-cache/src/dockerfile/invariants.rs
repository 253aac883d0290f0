//! What must hold for any bytes: for the tests and the fuzzers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dockerfile, EvaluateOptions, Evaluation, StageBase};

/// Panics where something does not hold for `bytes` that must hold for any.
pub(crate) fn check_invariants(bytes: &[u8]) {
    let Ok(dockerfile) = Dockerfile::parse(bytes) else {
        return;
    };
    check_printing(&dockerfile);
    let evaluation = dockerfile.evaluate(&EvaluateOptions::new()).ok();
    check_names(&dockerfile, evaluation.as_ref());
    if let Some(evaluation) = &evaluation {
        check_bases(&dockerfile, evaluation);
    }
}

/// What is printed means the same, and prints the same.
fn check_printing(dockerfile: &Dockerfile) {
    let printed = dockerfile.to_string();
    let again = parse_again(&printed, dockerfile);
    assert_eq!(meaning(dockerfile), meaning(&again), "{printed:?}");
    assert_eq!(printed, again.to_string());
}

/// With a name for every stage the build is the same.
fn check_names(dockerfile: &Dockerfile, before: Option<&Evaluation>) {
    let named = dockerfile.with_named_stages();
    let renamed = parse_again(&named.text, dockerfile);
    assert_eq!(names(&renamed), named.names, "{:?}", named.text);
    assert!(named.names.iter().all(|name| !name.is_empty()));
    let unique: BTreeSet<_> = named.names.iter().collect();
    assert_eq!(unique.len(), named.names.len());
    let Some(before) = before else {
        return;
    };
    let after = renamed
        .evaluate(&EvaluateOptions::new())
        .unwrap_or_else(|error| panic!("{error}: {:?} of {:?}", named.text, dockerfile.text()));
    assert_eq!(images(before), images(&after), "{:?}", named.text);
    assert_eq!(steps(before), steps(&after), "{:?}", named.text);
    // Every stage can be a target, and is then what it was.
    for (index, name) in named.names.iter().enumerate() {
        let options = EvaluateOptions {
            target: Some(name.clone()),
            ..EvaluateOptions::new()
        };
        if let Ok(evaluation) = renamed.evaluate(&options) {
            assert_eq!(evaluation.target, index, "{name} of {:?}", named.text);
        }
    }
}

/// With another base under every stage that stands on an image, these bases are used.
fn check_bases(dockerfile: &Dockerfile, before: &Evaluation) {
    let on_an_image = |stage: &&super::Stage| matches!(stage.base, StageBase::Image(_));
    let bases: BTreeMap<usize, String> = before
        .stages
        .iter()
        .filter(on_an_image)
        .map(|stage| (stage.index, format!("pinned.test/base:{}", stage.index)))
        .collect();
    let text = dockerfile.with_bases(&bases);
    let pinned = parse_again(&text, dockerfile);
    assert_eq!(names(&pinned), names(dockerfile), "{text:?}");
    let after = pinned
        .evaluate(&EvaluateOptions::new())
        .unwrap_or_else(|error| panic!("{error}: {text:?} of {:?}", dockerfile.text()));
    for (old, new) in before.stages.iter().zip(&after.stages) {
        match (bases.get(&old.index), &new.base) {
            (Some(base), StageBase::Image(image)) => assert_eq!(*base, image.to_string()),
            (Some(base), other) => panic!("{other:?}, not {base}: {text:?}"),
            (None, base) => assert_eq!(old.base, *base, "{text:?}"),
        }
    }
    assert_eq!(steps(before), steps(&after), "{text:?}");
}

fn parse_again(text: &str, of: &Dockerfile) -> Dockerfile {
    Dockerfile::parse(text.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {text:?} of {:?}", of.text()))
}

/// What a Dockerfile says, line numbers aside.
fn meaning(dockerfile: &Dockerfile) -> Vec<String> {
    let lines = dockerfile.lines.lines.iter();
    lines
        .map(|line| {
            format!(
                "{} {:?} {:?} {} {:?}",
                line.keyword, line.flags, line.arguments, line.json, line.heredocs
            )
        })
        .chain([format!(
            "{:?} {:?}",
            dockerfile.lines.escape, dockerfile.syntax
        )])
        .collect()
}

fn names(dockerfile: &Dockerfile) -> Vec<String> {
    let stages = dockerfile.stages.iter();
    stages
        .map(|stage| stage.from.name.clone().unwrap_or_default())
        .collect()
}

/// The images that a build needs.
fn images(evaluation: &Evaluation) -> BTreeSet<String> {
    let references = evaluation.base_references.iter();
    references
        .map(|base| format!("{} {} {:?}", base.reference, base.platform, base.kind))
        .collect()
}

/// The instructions of all stages.
fn steps(evaluation: &Evaluation) -> Vec<(bool, Vec<&str>)> {
    let stages = evaluation.stages.iter();
    stages
        .map(|stage| {
            let instructions = stage.instructions.iter();
            let expanded = instructions.map(|step| step.expanded.as_str());
            (stage.needed, expanded.collect())
        })
        .collect()
}
