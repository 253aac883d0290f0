use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::cache_key::{Builder, Certainty, StageDigest, StepDigest};
use crate::oci::{ChainId, Digest, ImageConfig};

/// A stage: name, the stage below it, and steps such as `hit 3s 280M`, `maybe …`, `run`; `<0`
/// takes files from stage 0.
type StageText<'a> = (&'a str, Option<usize>, &'a [&'a str]);

struct Build {
    stages: Vec<StageDigest>,
    recorded: Vec<RecordedStep>,
}

fn build(stages: &[StageText<'_>]) -> Build {
    let mut build = Build {
        stages: Vec::new(),
        recorded: Vec::new(),
    };
    for (index, (name, base, steps)) in stages.iter().enumerate() {
        let mut stage = StageDigest {
            index,
            name: (*name).to_owned(),
            base: *base,
            needed: true,
            digest: Digest::of(name.as_bytes()),
            steps: Vec::new(),
        };
        for (ordinal, text) in (1..).zip(*steps) {
            let words: Vec<&str> = text.split(' ').collect();
            let id = |what: &str| Digest::of(format!("{what} {name} {ordinal}").as_bytes());
            let number = |unit: char| {
                words
                    .iter()
                    .find_map(|word| word.strip_suffix(unit)?.parse::<f64>().ok())
            };
            let step = StepDigest {
                ordinal,
                place: ordinal,
                keyword: "RUN".to_owned(),
                line: ordinal,
                digest: id("digest"),
                outline: id("outline"),
                certainty: match words[0] {
                    "maybe" => Certainty::Open,
                    _ => Certainty::Certain,
                },
                sources: words
                    .iter()
                    .filter_map(|word| word.strip_prefix('<')?.parse().ok())
                    .collect(),
            };
            if words[0] != "run" {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the numbers of the tables are small"
                )]
                let layer = number('M').map(|megabytes| RecordedLayer {
                    chain_id: ChainId(id("chain")),
                    blob: id("blob"),
                    bytes: (megabytes * 1e6) as u64,
                });
                let seconds = number('s').unwrap_or_default();
                build
                    .recorded
                    .push(RecordedStep::new(name, &step, Some(seconds), layer));
            }
            stage.steps.push(step);
        }
        build.stages.push(stage);
    }
    build
}

/// Plans for an engine that imports 40 MB a second, and tells the chains in words.
fn plan(build: &Build, engine_layers: &BTreeSet<ChainId>, all: bool) -> String {
    plan_for(build, engine_layers, all, true)
}

fn plan_for(build: &Build, engine_layers: &BTreeSet<ChainId>, all: bool, lazy: bool) -> String {
    let entries = [build.recorded.as_slice()];
    let planned = restore(&RestoreRequest {
        stages: &build.stages,
        target: build.stages.len() - 1,
        entries: &entries,
        engine_layers,
        import: ImportCost {
            bytes_per_second: 40e6,
            overhead_seconds: 0.2,
        },
        all,
        lazy,
    });
    let mut text = String::new();
    for chain in &planned.chains {
        let verdict = format!("{:?}", chain.verdict);
        let steps = format!("{} {}-{}", chain.stage, chain.first, chain.last);
        write!(text, "{steps} {verdict}; ").expect("a String takes all");
    }
    text.trim_end_matches("; ").to_owned()
}

#[test]
fn only_what_pays_is_offered() {
    for (name, stages, expected) in [
        (
            "a slow step with a small layer",
            &[("a", None, &["hit 60s 80M"][..])][..],
            "a 1-1 Pays",
        ),
        (
            "a cheap step with a big layer",
            &[("a", None, &["hit 3s 280M"])],
            "a 1-1 DoesNotPay",
        ),
        (
            "a slow step, then a cheap one with a big layer",
            &[("a", None, &["hit 60s 80M", "hit 1s 280M"])],
            "a 1-1 Pays; a 2-2 DoesNotPay",
        ),
        (
            "a slow step above a cheap big one: both or none",
            &[("a", None, &["hit 1s 280M", "hit 60s 1M"])],
            "a 1-2 Pays",
        ),
        (
            "the source of a copy that hits is not read",
            &[
                ("a", None, &["hit 3s 280M"]),
                ("b", None, &["hit 1s 10M <0"]),
            ],
            "b 1-1 Pays; a 1-1 NotRead",
        ),
        (
            "a cheap copy of an expensive stage is imported for what it spares",
            &[
                ("a", None, &["hit 30s 4000M"]),
                ("b", None, &["hit 0.1s 80M <0"]),
            ],
            "b 1-1 Pays; a 1-1 NotRead",
        ),
        (
            "a step that runs needs what it stands on, and the stage that it takes files from",
            &[
                ("a", None, &["hit 60s 80M"]),
                ("b", None, &["hit 60s 80M", "run <0"]),
            ],
            "b 1-1 Pays; a 1-1 Pays",
        ),
        (
            "the source of a copy that may hit is compared, so it must be there",
            &[
                ("a", None, &["hit 60s 80M", "run"]),
                ("b", None, &["maybe 60s 80M <0"]),
            ],
            "b 1-1 Pays; a 1-1 Pays",
        ),
        (
            "a shared stage below is brought in once",
            &[
                ("base", None, &["hit 60s 80M"]),
                ("a", Some(0), &["run"]),
                ("b", Some(0), &["run <1"]),
            ],
            "base 1-1 Pays",
        ),
        (
            "nothing stands on layers that are left out",
            &[
                ("base", None, &["hit 1s 280M"]),
                ("a", Some(0), &["hit 60s 280M"]),
                ("b", Some(0), &["run <1"]),
            ],
            "base 1-1 DoesNotPay; a 1-1 DoesNotPay",
        ),
        (
            "no layer, no cost",
            &[("a", None, &["hit 0s"])],
            "a 1-1 Present",
        ),
    ] {
        let build = build(stages);
        assert_eq!(plan(&build, &BTreeSet::new(), false), expected, "{name}");
    }
}

#[test]
fn all_is_offered_where_asked() {
    let build = build(&[("a", None, &["hit 3s 280M", "hit 1s 280M"])]);
    assert_eq!(plan(&build, &BTreeSet::new(), true), "a 1-2 Forced");
}

#[test]
fn layers_that_the_engine_holds_cost_nothing() {
    let build = build(&[("a", None, &["hit 3s 280M", "hit 1s 10M"])]);
    let layer = build.recorded[0].layer.as_ref().expect("it has one");
    let engine_layers = BTreeSet::from([layer.chain_id.clone()]);
    assert_eq!(plan(&build, &engine_layers, false), "a 1-2 Pays");
}

#[test]
fn left_out_blobs_are_named_and_said_in_words() {
    let build = build(&[("deps", None, &["hit 60s 80M", "hit 3.1s 280M"])]);
    let entries = [build.recorded.as_slice()];
    let engine_layers = BTreeSet::new();
    let planned = restore(&RestoreRequest {
        stages: &build.stages,
        target: 0,
        entries: &entries,
        engine_layers: &engine_layers,
        import: ImportCost {
            bytes_per_second: 40e6,
            overhead_seconds: 0.0,
        },
        all: false,
        lazy: true,
    });
    assert_eq!(planned.entries, [0]);
    let layer = build.recorded[1].layer.as_ref().expect("it has one");
    assert_eq!(planned.left_out, BTreeSet::from([layer.blob.clone()]));
    let texts: Vec<String> = planned.chains.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "`deps` step 1: importing 80.0 MB takes about 2.0 s, the steps that it spares took 60.0 s",
            "`deps` step 2: importing 280.0 MB takes about 7.0 s, the steps that it spares took 3.1 s",
        ]
    );
}

#[test]
fn the_best_entry_that_knows_a_step_is_taken() {
    let first = build(&[("a", None, &["hit 60s 1M", "run"])]);
    let second = build(&[("a", None, &["hit 60s 1M", "hit 60s 1M"])]);
    let steps = predict(&second.stages, &[&first.recorded, &second.recorded]);
    let entries: Vec<_> = steps.iter().map(|step| step.entry).collect();
    assert_eq!(entries, [Some(0), Some(1)]);
}

#[test]
fn other_digests_with_the_same_outline_may_hit() {
    let mut changed = build(&[("a", None, &["hit 1s 1M"])]);
    changed.stages[0].steps[0].digest = Digest::of(b"other");
    let outcome = |build: &Build| predict(&build.stages, &[&build.recorded])[0].outcome;
    assert_eq!(outcome(&changed), Outcome::Maybe);
    changed.stages[0].steps[0].outline = Digest::of(b"other");
    assert_eq!(outcome(&changed), Outcome::Run);
}

#[test]
fn recorded_steps_keep_their_form() {
    let build = build(&[("a", None, &["hit 1.5s 1M"])]);
    let json = serde_json::to_string(&build.recorded).expect("steps are text and numbers");
    let read: Vec<RecordedStep> = serde_json::from_str(&json).expect("what was written");
    assert_eq!(read, build.recorded);
}

fn image(history: &[(&str, bool)], n_layers: usize) -> ImageConfig {
    let history: Vec<_> = history
        .iter()
        .map(|(text, is_empty)| serde_json::json!({"created_by": text, "empty_layer": is_empty}))
        .collect();
    let diff_ids: Vec<_> = (0..n_layers)
        .map(|n| Digest::of(n.to_string().as_bytes()))
        .collect();
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": diff_ids});
    serde_json::from_value(serde_json::json!({"history": history, "rootfs": rootfs}))
        .expect("a config")
}

#[test]
fn an_images_history_tells_the_layers_of_its_steps() {
    let buildkit = image(
        &[
            ("base", false),
            ("WORKDIR /srv", false),
            ("ENV A=b", true),
            ("RUN |1 A=b /bin/sh -c true # buildkit", false),
            ("WORKDIR /", true),
            ("COPY a b # buildkit", false),
        ],
        4,
    );
    let of = |keywords: &[&str]| layers_of_steps(&buildkit, keywords, Builder::BuildKit);
    let all = Some(vec![Some(1), Some(2), Some(3)]);
    assert_eq!(of(&["WORKDIR", "RUN", "COPY"]), all);
    assert_eq!(of(&["COPY"]), Some(vec![Some(3)]));
    assert_eq!(of(&[]), Some(vec![]));
    assert_eq!(of(&["RUN", "RUN", "COPY"]), None);
    assert_eq!(of(&["RUN", "WORKDIR", "RUN", "COPY"]), None);

    let classic = image(
        &[
            ("base", false),
            ("/bin/sh -c #(nop) WORKDIR /srv", true),
            ("/bin/sh -c #(nop)  ENV A=b", true),
            ("|1 A=b /bin/sh -c make", false),
            ("/bin/sh -c true", true),
            ("/bin/sh -c #(nop) COPY file:12 in /b ", false),
            ("/bin/sh -c #(nop)  CMD [\"a\"]", true),
        ],
        3,
    );
    assert_eq!(
        layers_of_steps(
            &classic,
            &["WORKDIR", "RUN", "RUN", "COPY"],
            Builder::Classic
        ),
        Some(vec![None, Some(1), None, Some(2)])
    );
    let cut = image(&[("base", false)], 2);
    assert_eq!(layers_of_steps(&cut, &[], Builder::Classic), None);
}

#[test]
fn images_are_loaded_whole_or_not_at_all() {
    for (name, stages, expected) in [
        (
            "all that pays, in the order of the Dockerfile",
            &[
                ("a", None, &["hit 60s 80M", "run"][..]),
                ("b", None, &["hit 60s 80M <0"]),
            ][..],
            "a 1-1 Pays; b 1-1 Pays",
        ),
        (
            "a big cheap stage, which nothing needs but the build makes all the same",
            &[("a", None, &["hit 1s 280M"]), ("b", None, &["hit 60s 80M"])],
            "a 1-1 DoesNotPay; b 1-1 Pays",
        ),
        (
            "a big cheap stage that spares an expensive one above it",
            &[
                ("a", None, &["hit 1s 280M"]),
                ("b", None, &["hit 60s 80M <0"]),
            ],
            "a 1-1 Forced; b 1-1 Pays",
        ),
        (
            "what stands on a stage that is left out goes with it",
            &[
                ("a", None, &["hit 1s 280M"]),
                ("b", Some(0), &["hit 1s 1M"]),
            ],
            "a 1-1 DoesNotPay; b 1-1 DoesNotPay",
        ),
    ] {
        let build = build(stages);
        assert_eq!(
            plan_for(&build, &BTreeSet::new(), false, false),
            expected,
            "{name}"
        );
    }
}

#[test]
fn images_of_which_nothing_can_hit_are_not_loaded() {
    for (name, stages, expected) in [
        (
            "a stage whose steps all run, and what stands on it",
            &[
                ("a", None, &["run", "run"][..]),
                ("b", Some(0), &["run"]),
                ("c", Some(0), &[]),
                ("d", None, &["hit 60s 80M"]),
            ][..],
            &["d"][..],
        ),
        (
            "a stage that hits in part; above it nothing does",
            &[("a", None, &["hit 60s 80M", "run"]), ("b", Some(0), &[])],
            &["a"],
        ),
        (
            "what may hit is loaded",
            &[("a", None, &["maybe 60s 80M"])],
            &["a"],
        ),
        (
            "a stage that does not pay, and what stands on it and runs or has no steps",
            &[
                ("a", None, &["hit 1s 280M"]),
                ("b", Some(0), &["run"]),
                ("c", Some(0), &[]),
            ],
            &[],
        ),
        (
            "stages without steps, whose images others stand on",
            &[
                ("a", None, &[]),
                ("b", Some(0), &[]),
                ("c", Some(1), &["hit 60s 80M"]),
                ("d", Some(2), &[]),
            ],
            &["a", "b", "c", "d"],
        ),
    ] {
        let build = build(stages);
        let entries = [build.recorded.as_slice()];
        let planned = restore(&RestoreRequest {
            stages: &build.stages,
            target: build.stages.len() - 1,
            entries: &entries,
            engine_layers: &BTreeSet::new(),
            import: ImportCost {
                bytes_per_second: 40e6,
                overhead_seconds: 0.2,
            },
            all: false,
            lazy: false,
        });
        let loaded: Vec<&str> = (0..build.stages.len())
            .filter(|&stage| is_worth_loading(&planned, &build.stages, stage))
            .map(|stage| build.stages[stage].name.as_str())
            .collect();
        assert_eq!(loaded, expected, "{name}");
    }
}

#[test]
fn what_is_small_is_always_offered() {
    let build = build(&[
        ("a", None, &["hit 0.01s 3M"]),
        ("b", None, &["hit 0s 0.9M <0"]),
    ]);
    assert_eq!(
        plan(&build, &BTreeSet::new(), false),
        "b 1-1 Pays; a 1-1 NotRead"
    );
}

#[test]
fn what_stands_on_a_step_that_did_not_pay_is_saved_where_it_pays_with_it() {
    let import = ImportCost {
        bytes_per_second: 40e6,
        overhead_seconds: 0.0,
    };
    for (steps, hits, expected) in [
        // The same step again.
        (
            &["hit 60s 1M", "hit 3s 280M"][..],
            &[true, false][..],
            &["a"][..],
        ),
        // A cheap one above it.
        (&["hit 3s 280M", "run 2s"], &[false, false], &["a"]),
        // An expensive one above it.
        (&["hit 3s 280M", "run 20s"], &[false, false], &[]),
        // Only what was not left out.
        (&["hit 3s 1M", "run 2s"], &[true, false], &[]),
    ] {
        let mut build = build(&[("a", None, steps)]);
        let left_out: Vec<RecordedStep> = build.recorded.clone();
        for step in &build.stages[0].steps[left_out.len()..] {
            let seconds = steps[step.ordinal - 1]
                .trim_start_matches("run ")
                .trim_end_matches('s');
            let seconds: f64 = seconds.parse().expect("a number");
            build
                .recorded
                .push(RecordedStep::new("a", step, Some(seconds), None));
        }
        let real: Vec<RealStep<'_>> = (1..)
            .zip(hits)
            .map(|(ordinal, &hit)| RealStep {
                stage: "a",
                ordinal,
                hit,
            })
            .collect();
        let found = not_worth_saving(&build.stages, import, &build.recorded, &left_out, &real);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{steps:?}");
    }
}

#[test]
fn steps_whose_time_is_not_known_are_offered_and_saved() {
    let mut build = build(&[("a", None, &["hit 1s 280M"])]);
    let import = ImportCost {
        bytes_per_second: 40e6,
        overhead_seconds: 0.0,
    };
    let real = [RealStep {
        stage: "a",
        ordinal: 1,
        hit: false,
    }];
    let verdict = |build: &Build| {
        let entries = [build.recorded.as_slice()];
        let planned = restore(&RestoreRequest {
            stages: &build.stages,
            target: 0,
            entries: &entries,
            engine_layers: &BTreeSet::new(),
            import,
            all: false,
            lazy: true,
        });
        let told = planned.chains[0].to_string();
        (planned.chains[0].verdict, told)
    };
    assert_eq!(verdict(&build).0, Verdict::DoesNotPay);
    let left_out = build.recorded.clone();
    build.recorded[0].seconds = None;
    let (offered, told) = verdict(&build);
    assert_eq!(offered, Verdict::Pays);
    assert!(
        told.ends_with("how long its steps take is not known"),
        "{told}"
    );
    assert!(dear_to_save(&build.stages, &build.recorded, &real, 1e6).is_empty());
    // The step was recorded as a cheap one, and this time it was not.
    build.recorded[0].seconds = Some(60.0);
    let found = not_worth_saving(&build.stages, import, &build.recorded, &left_out, &real);
    assert!(found.is_empty());
}

#[test]
fn a_save_that_takes_longer_than_what_ran_is_dear() {
    let build = build(&[
        ("deps", None, &["hit 60s 280M"]),
        ("cheap", Some(0), &["hit 1s 1M", "hit 2s 1M"]),
        ("costly", Some(0), &["hit 3s 1M"]),
        ("small", None, &["hit 0.1s 1M"]),
    ]);
    let step = |stage, ordinal, hit| RealStep {
        stage,
        ordinal,
        hit,
    };
    let dear = |real: &[RealStep<'_>]| -> Vec<String> {
        let found = dear_to_save(&build.stages, &build.recorded, real, 100e6);
        found.into_iter().collect()
    };
    // What ran below it, and what hits in it, spares nothing of its own.
    let late = [
        step("deps", 1, true),
        step("cheap", 1, false),
        step("cheap", 2, true),
        step("costly", 1, false),
        step("small", 1, false),
    ];
    assert_eq!(dear(&late), ["cheap"]);
    assert!(dear(&[step("deps", 1, false)]).is_empty());
    assert!(dear(&[step("cheap", 1, true)]).is_empty());
}

#[test]
fn disagreements_are_told_in_words() {
    let build = build(&[(
        "a",
        None,
        &["hit 60s 1M", "hit 60s 1M", "hit 1s 280M", "run"],
    )]);
    let entries = [build.recorded.as_slice()];
    let engine_layers = BTreeSet::new();
    let planned = restore(&RestoreRequest {
        stages: &build.stages,
        target: 0,
        entries: &entries,
        engine_layers: &engine_layers,
        import: ImportCost {
            bytes_per_second: 40e6,
            overhead_seconds: 0.0,
        },
        all: false,
        lazy: true,
    });
    let real = |hits: [bool; 4]| {
        let step = |(ordinal, hit)| RealStep {
            stage: "a",
            ordinal,
            hit,
        };
        (1..).zip(hits).map(step).collect::<Vec<_>>()
    };
    let told = |lost: bool, hits| -> Vec<String> {
        let expected = expected(&planned, &build.stages, |_| lost);
        disagreements(&expected, &build.stages, &real(hits))
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    // The third step was left out: that it runs was meant.
    assert!(told(false, [true, true, false, false]).is_empty());
    assert_eq!(
        told(false, [true, false, false, true]),
        [
            "`a` step 2 (line 2) was predicted to hit, and ran",
            "`a` step 4 (line 4) was predicted to run, and hit",
        ]
    );
    assert!(told(true, [true, false, false, false]).is_empty());
}

#[test]
fn nothing_is_certain_of_what_takes_files_from_a_step_that_is_left_out() {
    let build = build(&[
        ("a", None, &["hit 3s 280M"]),
        ("b", None, &["hit 60s 1M", "hit 60s 1M <0", "hit 60s 1M"]),
        ("c", Some(1), &["hit 60s 1M", "run <0"]),
    ]);
    let entries = [build.recorded.as_slice()];
    let engine_layers = BTreeSet::new();
    let planned = restore(&RestoreRequest {
        stages: &build.stages,
        target: 2,
        entries: &entries,
        engine_layers: &engine_layers,
        import: ImportCost {
            bytes_per_second: 40e6,
            overhead_seconds: 0.0,
        },
        all: false,
        lazy: true,
    });
    let outcomes: Vec<Outcome> = expected(&planned, &build.stages, |_| false)
        .iter()
        .map(|step| step.outcome)
        .collect();
    let [hit, maybe, run] = [Outcome::Hit, Outcome::Maybe, Outcome::Run];
    assert_eq!(outcomes, [maybe, hit, maybe, maybe, maybe, run]);
}
