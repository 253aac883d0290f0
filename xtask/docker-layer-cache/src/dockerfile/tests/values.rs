//! What an evaluation holds besides the references.

use std::collections::BTreeMap;

use serde_json::json;

use super::evaluate;
use crate::dockerfile::{
    Action, Dockerfile, EvaluateOptions, Source, StageBase, VolatileInput, VolatileKind,
};

fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    owned.collect()
}

#[test]
fn references_know_where_they_are_used() {
    let text = "FROM alpine AS a\nFROM debian\nCOPY --from=alpine / /\nCOPY --from=a / /\n";
    let evaluation = evaluate(text, &EvaluateOptions::new()).expect("a good Dockerfile");
    assert_eq!(
        evaluation.refs_json(),
        json!([
            {
                "ref": "docker.io/library/alpine:latest", "platform": "linux/amd64", "kind": "base",
                "used_by": [{"stage": "a", "line": 1}, {"stage": "1", "line": 3}],
            },
            {
                "ref": "docker.io/library/debian:latest", "platform": "linux/amd64", "kind": "base",
                "used_by": [{"stage": "1", "line": 2}],
            },
        ])
    );
    let written: Vec<_> = evaluation
        .base_references
        .iter()
        .map(|base| base.written.as_str())
        .collect();
    assert_eq!(written, ["alpine", "debian"]);
}

#[test]
fn only_build_args_that_matter_are_used() {
    let text = "ARG BASE=alpine\nARG TAG\nARG IMAGE=$BASE:${TAG:-3}\nARG UNUSED\nFROM $IMAGE AS a\nARG A\nARG UNUSED_TOO\nFROM debian AS b\nARG B\n";
    let mut options = EvaluateOptions::new();
    options.target = Some("a".into());
    options.build_args = given(&[
        ("TAG", "3.20"),
        ("UNUSED", "1"),
        ("A", "1"),
        ("B", "1"),
        ("UNDECLARED", "1"),
    ]);
    let evaluation = evaluate(text, &options).expect("a good Dockerfile");
    let used: Vec<_> = evaluation
        .used_build_args
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(used, ["A", "TAG"]);
    assert!(evaluation.stages[0].needed && !evaluation.stages[1].needed);
}

#[test]
fn steps_are_expanded() {
    let text = "FROM alpine AS base\nARG V=1\nENV D=/srv/$V\nWORKDIR $D\nFROM base\nCOPY --from=nginx a$V b/\nADD https://x.example/y https://x.example/z.git /z/\nRUN --mount=type=cache,target=/c$V make $V\n";
    let evaluation = evaluate(text, &EvaluateOptions::new()).expect("a good Dockerfile");
    let stage = &evaluation.stages[1];
    assert_eq!(stage.base, StageBase::Stage(0));
    let Action::Copy(copy) = &stage.instructions[0].action else {
        panic!("{:?}", stage.instructions[0]);
    };
    assert_eq!(copy.sources, ["a1"]);
    assert_eq!(copy.destination, "/srv/1/b/");
    assert!(
        matches!(&copy.from, Some(Source::Image(image, _)) if image.familiar() == "nginx:latest")
    );
    let Action::Run(run) = &stage.instructions[2].action else {
        panic!("{:?}", stage.instructions[2]);
    };
    assert_eq!(run.command, ["make $V"]);
    assert_eq!(run.mounts[0].target, "/c1");
    let volatile: Vec<_> = evaluation
        .volatile_inputs
        .iter()
        .map(|input| (input.address.as_str(), input.kind, input.line))
        .collect();
    assert_eq!(
        volatile,
        [
            ("https://x.example/y", VolatileKind::Http, 7),
            ("https://x.example/z.git", VolatileKind::Git, 7),
        ]
    );
}

#[test]
fn triggers_of_base_images_bring_more_images() {
    let mut options = EvaluateOptions::new();
    options.onbuild.insert(
        "docker.io/library/node:onbuild".into(),
        vec!["COPY --from=busybox / /".into(), "RUN npm install".into()],
    );
    let evaluation = evaluate("FROM node:onbuild\nRUN x\n", &options).expect("a good Dockerfile");
    assert_eq!(evaluation.base_references.len(), 2);
    let instructions = &evaluation.stages[0].instructions;
    let keywords: Vec<_> = instructions.iter().map(|i| i.keyword.as_str()).collect();
    assert_eq!(keywords, ["COPY", "RUN", "RUN"]);
    assert!(instructions[0].from_onbuild && !instructions[2].from_onbuild);
}

#[test]
fn every_stage_can_have_a_name() {
    for (text, expected, names) in [
        (
            "FROM a\r\nRUN x\r\nFROM b AS b\n\nFROM c   ",
            "FROM a AS unnamed-stage-0\r\nRUN x\r\nFROM b AS b\n\nFROM c AS unnamed-stage-2   ",
            vec!["unnamed-stage-0", "b", "unnamed-stage-2"],
        ),
        (
            "FROM a \\\n  # c\n",
            "FROM a AS unnamed-stage-0 \\\n  # c\n",
            vec!["unnamed-stage-0"],
        ),
        (
            "FROM x AS a\nFROM a AS b\nFROM --platform=p y AS a\nFROM a\nCOPY --from=a / /\n",
            "FROM x AS unnamed-stage-0\nFROM unnamed-stage-0 AS b\nFROM --platform=p y AS a\nFROM a AS unnamed-stage-3\nCOPY --from=a / /\n",
            vec!["unnamed-stage-0", "b", "a", "unnamed-stage-3"],
        ),
        (
            "FROM unnamed-stage-0\n",
            "FROM unnamed-stage-0 AS unnamed-stage-0-x\n",
            vec!["unnamed-stage-0-x"],
        ),
    ] {
        let dockerfile = Dockerfile::parse(text.as_bytes()).expect(text);
        let named = dockerfile.with_named_stages();
        assert_eq!(named.text, expected);
        assert_eq!(named.names, names);
    }
}

#[test]
fn refusals_say_where_and_what_next() {
    for (text, line, column) in [
        ("FROM alpine\nFOO x\n", 2, 1),
        ("FROM alpine\n  RUN <<EOF\nx\n", 2, 3),
        ("FROM alpine AS a\nFROM   Debian\n", 2, 8),
        ("ARG A\n\nFROM x:${A:?unset}\n", 3, 6),
        ("FROM a AS a\nCOPY --from=a / /\n", 2, 1),
    ] {
        let error = evaluate(text, &EvaluateOptions::new()).expect_err(text);
        assert_eq!(
            (error.line(), error.column()),
            (line, column),
            "{text:?}: {error}"
        );
    }
    let error = evaluate("FROM alpine # c\n", &EvaluateOptions::new()).expect_err("refused");
    assert_eq!(error.hint(), Some("a comment needs a line of its own"));
}

#[test]
fn late_refusals_keep_the_references() {
    for (instruction, message) in [
        ("STOPSIGNAL foo", "invalid signal: foo"),
        ("EXPOSE foo", "invalid containerPort: foo"),
        (
            "COPY https://x.example/y /z",
            "source can't be a URL for COPY",
        ),
        (
            "COPY ${A:?unset} /z",
            "failed to process \"${A:?unset}\": A: unset",
        ),
    ] {
        let text = format!("FROM alpine\n{instruction}\n");
        let error = evaluate(&text, &EvaluateOptions::new()).expect_err(&text);
        assert_eq!(error.to_string(), message);
        assert!(error.refs_complete());
        assert_eq!(error.references().len(), 1);
    }
    for signal in ["9", "SIGKILL", "sigterm", "RTMIN+3"] {
        let text = format!("FROM alpine\nSTOPSIGNAL {signal}\n");
        evaluate(&text, &EvaluateOptions::new()).expect(&text);
    }
}

#[test]
fn addresses_are_shown_without_secrets() {
    let text = "FROM scratch\nADD https://user:secret@x.example/a@b.tar?token=secret /\nADD https://secret@x.example /\nADD git@x.example:a/b.git /\nADD https://x.example/y.git#main:dir@1 /\n";
    let evaluation = evaluate(text, &EvaluateOptions::new()).expect("a good file");
    let shown: Vec<String> = evaluation
        .volatile_inputs
        .iter()
        .map(VolatileInput::shown_address)
        .collect();
    let expected = [
        "https://***@x.example/a@b.tar?***",
        "https://***@x.example",
        "git@x.example:a/b.git",
        "https://x.example/y.git#main:dir@1",
    ];
    assert_eq!(shown, expected);
}
