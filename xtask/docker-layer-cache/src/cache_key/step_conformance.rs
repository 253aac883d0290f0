//! Predictions against what engines did: each case was built twice, and the second build told
//! which of its steps hit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Builder, Certainty, ContextContent, ContextEntry, ContextTree, StageDigest};
use crate::dockerfile::{Dockerfile, EvaluateOptions, Evaluation};
use crate::oci::Digest;

#[derive(Deserialize)]
struct Case {
    name: String,
    before: Build,
    after: Build,
    /// Stage (nothing where it is alone), place, keyword, and `hit` or `run`.
    steps: Vec<(String, usize, String, String)>,
    /// The same of the classic builder; nothing where it cannot build the case.
    classic: Option<Vec<(String, usize, String, String)>>,
}

#[derive(Deserialize)]
struct Build {
    dockerfile: String,
    files: BTreeMap<String, File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum File {
    Plain(String, String),
    Link(String),
    Folder(String),
}

#[test]
fn predictions_are_what_buildkit_did() {
    check(Builder::BuildKit, 160, &OPEN);
}

#[test]
fn predictions_are_what_the_classic_builder_did() {
    check(Builder::Classic, 90, &OPEN_CLASSIC);
}

/// Compares all cases; `open` are those of which a part is only told by the build.
fn check(builder: Builder, n_min: usize, open: &[&str]) {
    let cases = include_str!("../../tests/conformance/steps.jsonl");
    let mut n_cases = 0;
    let mut found_open = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: Case = serde_json::from_str(line).expect("a case");
        let steps = match builder {
            Builder::BuildKit => Some(&case.steps),
            Builder::Classic => case.classic.as_ref(),
        };
        let Some(steps) = steps else { continue };
        n_cases += 1;
        let real: Vec<String> = steps
            .iter()
            .map(|(stage, place, keyword, result)| format!("{stage} {place} {keyword} {result}"))
            .collect();
        let told = predict(&case, builder);
        if told.iter().any(|text| text.ends_with(" maybe")) {
            found_open.insert(case.name.clone());
        }
        let is_same = real.len() == told.len()
            && real.iter().zip(&told).all(|(real, told)| {
                real == told || told.strip_suffix(" maybe") == real.rsplit_once(' ').map(|(a, _)| a)
            });
        if !is_same {
            wrong.push(format!("{}: {real:?}, predicted {told:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_cases >= n_min, "{n_cases} cases");
    let found_open: Vec<&str> = found_open.iter().map(String::as_str).collect();
    assert_eq!(found_open, open);
}

/// The cases in which only the build can tell: steps take files of a stage that was built anew.
const OPEN: [&str; 10] = [
    "cache mount from a stage",
    "copy from stage: other path, same name and content",
    "stage bind writable: result the same",
    "stage bind, writable: content the same",
    "stage bind: another path, content the same",
    "stage bind: content changed",
    "stage bind: content the same",
    "stage bind: result changed",
    "stage: result changed",
    "stage: result the same",
];

/// The same for the classic builder.
const OPEN_CLASSIC: [&str; 2] = ["stage: result changed", "stage: result the same"];

fn predict(case: &Case, builder: Builder) -> Vec<String> {
    let before = digests(&case.before, builder);
    let recorded: Vec<_> = before.iter().flat_map(|stage| &stage.steps).collect();
    let after = digests(&case.after, builder);
    let is_alone = after.iter().filter(|stage| stage.needed).count() == 1;
    let stages = after.iter().filter(|stage| stage.needed);
    stages
        .flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
        .map(|(stage, step)| {
            let digest = recorded.iter().any(|known| known.digest == step.digest);
            let outline = recorded.iter().any(|known| known.outline == step.outline);
            let result = match (step.certainty, digest, outline) {
                (Certainty::Certain, true, _) => "hit",
                (Certainty::Open, true, _) | (_, false, true) => "maybe",
                _ => "run",
            };
            let name = if is_alone { "" } else { &stage.name };
            format!("{name} {} {} {result}", step.place, step.keyword)
        })
        .collect()
}

fn digests(build: &Build, builder: Builder) -> Vec<StageDigest> {
    let evaluation = evaluate(&build.dockerfile.replace('@', "s1"));
    let entries = build.files.iter().map(|(path, file)| {
        let (content, mode) = match file {
            File::Plain(_, mode) => (ContextContent::File(None), mode.as_str()),
            File::Link(target) => (ContextContent::Symlink(target.clone()), "777"),
            File::Folder(mode) => (ContextContent::Folder, mode.as_str()),
        };
        ContextEntry {
            path: path.clone(),
            content,
            mode: u32::from_str_radix(mode, 8).expect("an octal number"),
        }
    });
    let mut tree = ContextTree::new(entries);
    for path in builder.files_to_digest(&evaluation, &tree) {
        if let Some(File::Plain(text, _)) = build.files.get(&path) {
            tree.set_digest(&path, Digest::of(text.as_bytes()));
        }
    }
    builder.stage_digests(&evaluation, &tree, None, |reference, _| {
        Some(Digest::of(reference.to_string().as_bytes()))
    })
}

fn evaluate(text: &str) -> Evaluation {
    let dockerfile = Dockerfile::parse(text.as_bytes()).expect("a Dockerfile");
    dockerfile
        .evaluate(&EvaluateOptions::new())
        .expect("an evaluation")
}

/// A date for files is part of every step that makes files, as three builds told.
#[test]
fn a_source_date_changes_steps_that_make_files() {
    let evaluation =
        evaluate("FROM busybox\nRUN true\nWORKDIR /w\nFROM busybox\nCOPY --from=0 /w /\n");
    let told = |builder: Builder, date: Option<&str>| -> Vec<Digest> {
        builder
            .stage_digests(&evaluation, &ContextTree::default(), date, |_, _| None)
            .into_iter()
            .flat_map(|stage| stage.steps)
            .map(|step| step.outline)
            .collect()
    };
    let (one, two) = (Some("100000"), Some("200000"));
    let [first, second] = [one, two].map(|date| told(Builder::BuildKit, date));
    let same: Vec<bool> = first.iter().zip(&second).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, false, false]);
    assert_eq!(told(Builder::Classic, one), told(Builder::Classic, two));
}
