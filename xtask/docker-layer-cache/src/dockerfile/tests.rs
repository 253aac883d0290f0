//! Conformance: answers of `BuildKit`'s frontend, one JSON object a line.

mod values;

use std::collections::BTreeSet;

use serde_json::Value;

use super::invariants::check_invariants;
use super::{Dockerfile, DockerfileError, EvaluateOptions, Evaluation};

/// Answers of the frontend, and of a whole engine (`BuildKit` 0.25) to quirks and mutations.
const DOCKERFILES: &str = concat!(
    include_str!("../../tests/conformance/dockerfiles.jsonl"),
    include_str!("../../tests/conformance/dockerfiles-engine.jsonl"),
);

fn rows() -> Vec<Value> {
    DOCKERFILES
        .lines()
        .map(|row| serde_json::from_str(row).expect("a row is JSON"))
        .collect()
}

fn options(row: &Value) -> EvaluateOptions {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    let map = |key: &str| {
        let pairs = row[key].as_object().into_iter().flatten();
        pairs
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let platform = |key: &str| {
        let text = text(key).unwrap_or_else(|| "linux/amd64".to_owned());
        text.parse().expect("a platform")
    };
    EvaluateOptions {
        target: text("target"),
        platform: platform("platform"),
        build_platform: platform("build_platform"),
        build_args: map("build_args"),
        build_contexts: map("build_contexts"),
        ..EvaluateOptions::new()
    }
}

fn evaluate(text: &str, options: &EvaluateOptions) -> Result<Evaluation, DockerfileError> {
    Dockerfile::parse(text.as_bytes())?.evaluate(options)
}

type Refs = BTreeSet<(String, String, String)>;

fn refs(list: &Value) -> Refs {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = list.as_array().into_iter().flatten();
    entries
        .map(|entry| {
            (
                text(&entry["ref"]),
                text(&entry["platform"]),
                text(&entry["kind"]),
            )
        })
        .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are the result")]
fn agrees_with_buildkit() {
    let (mut agree, mut differences) = (0, Vec::new());
    for row in rows() {
        let text = row["dockerfile"].as_str().expect("a row has a Dockerfile");
        let expected_error = row["error"].as_str().map(str::to_owned);
        let result = evaluate(text, &options(&row));
        let (actual, complete, error) = match &result {
            Ok(evaluation) => (refs(&evaluation.refs_json()), true, None),
            Err(error) => (
                refs(&super::refs_json(error.references())),
                error.refs_complete(),
                Some(error.to_string()),
            ),
        };
        let complete_expected = row["refs_complete"].as_bool().unwrap_or_default();
        let same_refs = !complete_expected || actual == refs(&row["refs"]);
        if same_refs && error == expected_error && complete == complete_expected {
            agree += 1;
        } else {
            differences.push(format!(
                "{}: {actual:?} {complete} {error:?}\n    expected {} {complete_expected} {expected_error:?}",
                row["id"], row["refs"]
            ));
        }
    }
    println!("dockerfiles: {agree} agree, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn conformance_texts_print_and_name_well() {
    for row in rows() {
        check_invariants(row["dockerfile"].as_str().unwrap_or_default().as_bytes());
    }
}

/// What fuzzing found.
#[test]
fn what_keeps_a_backslash_from_continuing_the_line_is_printed() {
    for between in ["\x0c", "\t\r\t", "\u{2028} "] {
        let text = format!("FROM a\nADD b c\\{between}\nFROM a\n");
        check_invariants(text.as_bytes());
        let printed = Dockerfile::parse(text.as_bytes()).expect("it is valid");
        assert_eq!(printed.to_string().matches("FROM a\n").count(), 2);
    }
    for end in ["\\ \\", "\\\t\\", "\\\\ ", "\\\\ \\", "\\", " \\ \\ "] {
        check_invariants(format!("FROM a\nENV b c{end}").as_bytes());
        check_invariants(format!("FROM a\nENV b c{end}\n\n").as_bytes());
    }
}

/// A small generator: mutations need no quality, but must be the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).expect("below a usize")
    }
}

/// Mutates and splices the conformance texts: nothing panics, printing is stable, names are unique.
#[test]
fn survives_mutations() {
    const PIECES: [&[u8]; 25] = [
        b"\\\n",
        b"${",
        b"}",
        b"<<EOF\n",
        b"EOF\n",
        b"#",
        b"\n",
        b"\r\n",
        b" AS a\n",
        b"FROM ",
        b"COPY --from=",
        b"\"",
        b"'",
        b"ONBUILD ",
        b"\xff",
        b"`",
        b"# escape=`\n",
        b"$A",
        b":-",
        b"RUN --mount=",
        b"\xc3\xa0",
        b"/",
        b"\x85",
        b"\\\x0c\n",
        b"[\"",
    ];
    let texts: Vec<Vec<u8>> = rows()
        .iter()
        .map(|row| row["dockerfile"].as_str().unwrap_or_default().into())
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rounds = std::option_env!("DOCKERFILE_MUTATIONS").and_then(|n| n.parse().ok());
    for _ in 0..rounds.unwrap_or(2_500_usize) {
        let mut text = texts[random.below(texts.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() + 1);
            match random.below(4) {
                0 => {
                    let piece = PIECES[random.below(PIECES.len())];
                    text.splice(at..at, piece.iter().copied());
                }
                1 => text.truncate(at),
                2 => {
                    let other = &texts[random.below(texts.len())];
                    let from = random.below(other.len() + 1);
                    text.splice(at..at, other[from..].iter().copied());
                }
                _ => {
                    let end = (at + random.below(8)).min(text.len());
                    text.drain(at..end);
                }
            }
        }
        check_invariants(&text);
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        check_invariants(&bytes);
    }

    #[test]
    fn words_never_panic(word in "[$a-c{}:/#%*?'\"\\\\+=-]{0,24}") {
        check_invariants(format!("ARG a=xayb b=\nARG c={word}\nFROM alpine:{word}\n").as_bytes());
    }
}
