//! Laws of caches, and the records of real images.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::oci::{Descriptor, Digest, media_type};

use super::*;

mod conformance;
mod laws;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn layer(name: &str) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_ZSTD, digest(name), 10).with_annotation(
        UNCOMPRESSED_ANNOTATION,
        digest(&format!("{name} diff")).as_str(),
    )
}

fn layer_made(name: &str, at: &str) -> Descriptor {
    layer(name).with_annotation(CREATED_AT_ANNOTATION, at)
}

fn inline(records: Value) -> InlineCache {
    InlineCache {
        records: serde_json::from_value(records).expect("records"),
    }
}

fn config(value: &Value) -> Result<CacheConfig, CacheConfigError> {
    CacheConfig::parse(value.to_string().as_bytes())
}

/// Base → RUN, with one result on the second of two layers.
fn deps() -> InlineCache {
    inline(json!([
        {"digest": "sha256:base"},
        {"digest": "sha256:run", "inputs": [[{"link": 0}]],
         "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:02Z"}]},
    ]))
}

fn deps_graph() -> CacheGraph {
    CacheGraph::from_inline(&deps(), &[layer("base"), layer("run")]).expect("valid")
}

#[test]
fn an_image_becomes_a_cache_config() {
    let (config, blobs) = deps_graph().to_config();
    assert_eq!(
        serde_json::to_value(&config).expect("json"),
        json!({
            "layers": [
                {"blob": digest("base"), "parent": -1},
                {"blob": digest("run"), "parent": 0},
            ],
            "records": [
                {"digest": "sha256:base"},
                {"digest": "sha256:run", "inputs": [[{"link": 0}]],
                 "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:02Z"}]},
            ],
        })
    );
    assert_eq!(blobs.len(), 2);
    assert_eq!(
        deps_graph().stats(),
        GraphStats {
            records: 2,
            records_with_results: 1,
            blobs: 2,
            size_bytes: 20
        }
    );
}

/// As `BuildKit` 0.25 exports it: a copy names the content of what it takes, and the step that
/// made that.
#[test]
fn an_export_tells_the_layers_of_the_stages() {
    let names = ["base", "deps", "build", "workdir", "copy", "linked", "top"];
    let blobs: Vec<Descriptor> = names.iter().map(|name| layer(name)).collect();
    let chain = |blob: &str, parent: i32| json!({"blob": digest(blob), "parent": parent});
    let made = |layer: usize| json!([{"layer": layer, "createdAt": "2026-01-01T00:00:02Z"}]);
    let config = config(&json!({
        "layers": [
            chain("base", -1), chain("deps", 0), chain("build", 1), chain("workdir", 0),
            chain("copy", 3), chain("linked", -1), chain("linked", 4), chain("top", 6),
        ],
        "records": [
            {"digest": "sha256:base"},
            {"digest": "sha256:content"},
            {"digest": "sha256:deps", "inputs": [[{"link": 0}]], "layers": made(1)},
            {"digest": "sha256:build", "inputs": [[{"link": 2}]], "layers": made(2)},
            {"digest": "sha256:workdir", "inputs": [[{"link": 0}]], "layers": made(3)},
            {"digest": "sha256:copy", "layers": made(4),
             "inputs": [[{"link": 4}], [{"link": 1}, {"link": 3, "selector": "a"}]]},
            {"digest": "sha256:linked", "layers": made(5),
             "inputs": [[{"link": 1}, {"link": 2, "selector": "b"}]]},
            {"digest": "sha256:merge", "layers": made(6), "inputs": [[{"link": 5}], [{"link": 6}]]},
            {"digest": "sha256:top", "layers": made(7), "inputs": [[{"link": 7}]]},
        ],
    }))
    .expect("valid");
    let graph = CacheGraph::from_config(&config, &blobs).expect("valid");
    let stages: [StageSources; 4] = [
        vec![vec![]],
        vec![vec![], vec![]],
        vec![vec![]],
        vec![vec![], vec![1], vec![0], vec![]],
    ];
    let found: BTreeMap<usize, Vec<Digest>> = graph
        .stage_layers(&stages, 3)
        .into_iter()
        .map(|(stage, layers)| (stage, layers.iter().map(|one| one.digest.clone()).collect()))
        .collect();
    let of = |names: &[&str]| names.iter().map(|name| digest(name)).collect::<Vec<_>>();
    assert_eq!(
        found,
        BTreeMap::from([
            (0, of(&["base", "deps"])),
            (1, of(&["base", "deps", "build"])),
            (3, of(&["base", "workdir", "copy", "linked", "top"])),
        ])
    );
    // More steps than layers: nothing is known.
    assert!(graph.stage_layers(&[vec![vec![]; 6]], 0).is_empty());
}

#[test]
fn reads_the_inline_cache_of_an_image_config() {
    // `[{"digest":"sha256:aa"}]`
    let image = br#"{"rootfs":{},"moby.buildkit.cache.v0":"W3siZGlnZXN0Ijoic2hhMjU2OmFhIn1d"}"#;
    let cache = InlineCache::from_image_config(image)
        .expect("valid")
        .expect("some");
    assert_eq!(cache.records[0].digest, "sha256:aa");
    for none in ["{}", r#"{"moby.buildkit.cache.v0":null}"#] {
        assert_eq!(
            InlineCache::from_image_config(none.as_bytes()).expect("valid"),
            None
        );
    }
    for bad in [
        "",
        "7",
        r#"{"moby.buildkit.cache.v0":"*"}"#,
        r#"{"moby.buildkit.cache.v0":"AAAA"}"#,
    ] {
        assert!(
            InlineCache::from_image_config(bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn go_leaves_zeros_out_and_writes_null() {
    let config = config(&json!({
        "layers": [{"blob": digest("a"), "parent": -1}, {"blob": digest("b")}],
        "records": [{"digest": "sha256:a", "inputs": null, "layers": [{"layer": 1}]}],
    }))
    .expect("valid");
    assert_eq!(config.layers[1].parent, 0);
    assert_eq!(config.records[0].results[0].created_at, CreatedAt::ZERO);
}

#[test]
fn keeps_fields_that_it_does_not_know() {
    let value = json!({
        "layers": [{"blob": digest("a"), "parent": -1, "annotations": {"size": 3}}],
        "records": [{"digest": "sha256:a", "new": true}],
        "version": 1,
    });
    let config = config(&value).expect("valid");
    assert_eq!(serde_json::to_value(config).expect("json"), value);
}

#[test]
fn refuses_indexes_that_name_nothing_and_circles() {
    let blob = digest("a");
    for (value, expected) in [
        (
            json!({"records": [{"inputs": [[{"link": 1}]]}]}),
            "record 0 names an input that is not there: 1",
        ),
        (
            json!({"records": [{"inputs": [[{"link": -1}]]}]}),
            "record 0 names an input that is not there: -1",
        ),
        (
            json!({"records": [{"inputs": [[{"link": 0}]]}]}),
            "record 0 stands on itself",
        ),
        (
            json!({"records": [{}, {"inputs": [[{"link": 2}]]}, {"inputs": [[{"link": 1}]]}]}),
            "record 1 stands on itself",
        ),
        (
            json!({"records": [{"layers": [{"layer": 0}]}]}),
            "entry 0 names a layer that is not there: 0",
        ),
        (
            json!({"records": [{"chains": [{"layers": [7]}]}]}),
            "entry 0 names a layer that is not there: 7",
        ),
        (
            json!({"layers": [{"blob": blob, "parent": 0}]}),
            "layer 0 is its own ancestor",
        ),
        (
            json!({"layers": [{"blob": blob, "parent": -2}]}),
            "entry 0 names a layer that is not there: -2",
        ),
    ] {
        let error = config(&value).expect_err(&value.to_string());
        assert_eq!(error.to_string(), expected, "{value}");
    }
    for value in [
        json!({"layers": [{"blob": "../../etc/passwd", "parent": -1}]}),
        json!({"records": [{"layers": [{"layer": 0, "createdAt": "yesterday"}]}]}),
        json!([]),
        json!({"records": [[]]}),
    ] {
        assert!(config(&value).is_err(), "{value}");
    }
}

#[test]
fn refuses_what_buildkit_finds_too_large() {
    let bytes = vec![b' '; 1 << 20 | 1];
    let error = CacheConfig::parse(&bytes).expect_err("too large");
    assert!(
        matches!(error, CacheConfigError::TooLarge { .. }),
        "{error}"
    );
}

#[test]
fn random_records_and_what_stands_on_nothing_are_left_out() {
    let graph = CacheGraph::from_inline(
        &inline(json!([
            {"digest": "random:1"},
            {"digest": "sha256:a", "inputs": [[{"link": 0}]]},
            {"digest": "sha256:b", "inputs": [[]]},
            {"digest": "sha256:c", "inputs": [[{"link": 0}, {"link": 4}]]},
            {"digest": "sha256:d"},
        ])),
        &[],
    )
    .expect("valid");
    let (config, _) = graph.to_config();
    let digests: Vec<&str> = config.records.iter().map(|r| r.digest.as_str()).collect();
    assert_eq!(digests, ["sha256:c", "sha256:d"]);
    assert_eq!(config.records[0].inputs[0].len(), 1);
}

/// A test stage `FROM base; RUN true` and an image `FROM base; RUN make; RUN true`: both end with
/// the same empty layer. `BuildKit` then finds the chain base + empty "in" the image, at height 1.
#[test]
fn a_claim_on_a_layer_of_another_stage_is_refused() {
    let records = inline(json!([
        {"digest": "sha256:base"},
        {"digest": "sha256:make", "inputs": [[{"link": 0}]],
         "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:05.1Z"}]},
        {"digest": "sha256:other-stage", "inputs": [[{"link": 0}]],
         "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:09Z"}]},
    ]));
    let with_result = |layers: &[Descriptor]| {
        let (config, _) = CacheGraph::from_inline(&records, layers)
            .expect("valid")
            .to_config();
        let with: Vec<String> = config
            .records
            .into_iter()
            .filter(|r| !r.results.is_empty())
            .map(|r| r.digest)
            .collect();
        with
    };
    let made = layer_made("make", "2026-01-01T00:00:05Z");
    assert_eq!(with_result(&[layer("base"), made]), ["sha256:make"]);
    assert!(with_result(&[layer("base"), layer("make")]).is_empty());
}

#[test]
fn merging_keeps_both_results_and_filling_only_the_newer() {
    let older = CacheGraph::from_inline(&deps(), &[layer("base"), layer("older")]).expect("valid");
    let newer = deps_graph();
    let results = |graph: &CacheGraph| graph.to_config().0.records[1].results.len();

    let mut merged = newer.clone();
    merged.merge(&older);
    assert_eq!((results(&merged), merged.stats().blobs), (2, 3));

    let mut filled = newer.clone();
    filled.fill(&older);
    assert_eq!(filled, newer);

    let mut hollow = newer.clone();
    hollow.prune(|blob| *blob != digest("run"));
    assert!(hollow.is_empty());
    hollow.fill(&older);
    assert_eq!(hollow, older);
}

#[test]
fn prune_takes_out_what_needs_a_missing_blob() {
    let mut graph = CacheGraph::from_inline(
        &inline(json!([
            {"digest": "sha256:base"},
            {"digest": "sha256:1", "inputs": [[{"link": 0}]], "layers": [{"layer": 1}]},
            {"digest": "sha256:2", "inputs": [[{"link": 1}]], "layers": [{"layer": 2}]},
            {"digest": "sha256:source"},
            {"digest": "sha256:3", "inputs": [[{"link": 2}], [{"link": 3}]], "layers": [{"layer": 3}]},
        ])),
        &[layer("base"), layer("1"), layer("2"), layer("3")],
    )
    .expect("valid");
    let pruned = graph.prune(|blob| *blob != digest("2"));
    assert_eq!(
        (pruned.results, pruned.records, pruned.missing_blobs.len()),
        (2, 3, 1)
    );
    let (config, blobs) = graph.to_config();
    assert_eq!(
        (config.records.len(), config.layers.len(), blobs.len()),
        (2, 2, 2)
    );
}

/// Seen on `BuildKit` 0.25: a base that was a hit lacks its content key in the next build's records.
#[test]
fn the_same_step_with_fewer_alternatives_is_the_same_step() {
    let first = inline(json!([
        {"digest": "sha256:base"}, {"digest": "sha256:base-content"},
        {"digest": "sha256:run", "inputs": [[{"link": 0}, {"link": 1}]], "layers": [{"layer": 1}]},
        {"digest": "sha256:copy", "inputs": [[{"link": 2}]], "layers": [{"layer": 2}]},
    ]));
    let second = inline(json!([
        {"digest": "sha256:base"},
        {"digest": "sha256:run", "inputs": [[{"link": 0}]]},
        {"digest": "sha256:copy", "inputs": [[{"link": 1}]]},
    ]));
    let layers = [layer("base"), layer("run"), layer("copy")];
    let first = CacheGraph::from_inline(&first, &layers).expect("valid");
    let second = CacheGraph::from_inline(&second, &layers).expect("valid");
    let mut merged = second.clone();
    merged.merge(&first);
    assert_eq!(merged.stats().records, 6);
    merged.unify();
    assert_eq!(merged, first);
    let mut filled = second;
    filled.fill(&first);
    assert_eq!(filled, first);
}

#[test]
fn a_circle_that_unifying_closes_is_opened() {
    // `b` stands on `a`; in the other cache `a` stands on `b` as well as on `base`.
    let graph = |records: Value| CacheGraph::from_inline(&inline(records), &[]).expect("valid");
    let mut merged = graph(json!([
        {"digest": "sha256:base"},
        {"digest": "sha256:a", "inputs": [[{"link": 0}]]},
        {"digest": "sha256:b", "inputs": [[{"link": 1}]]},
    ]));
    merged.merge(&graph(json!([
        {"digest": "sha256:base"},
        {"digest": "sha256:a", "inputs": [[{"link": 0}]]},
        {"digest": "sha256:b", "inputs": [[{"link": 1}]]},
        {"digest": "sha256:a", "inputs": [[{"link": 0}, {"link": 2}]]},
    ])));
    merged.unify();
    assert_eq!(merged.stats().records, 3);
    let (config, blobs) = merged.to_config();
    let again = CacheGraph::from_config(&config, &blobs).expect("no circle");
    assert_eq!(again, merged);
}

#[test]
fn an_entry_carries_stages_over_and_drops_those_that_are_gone() {
    let image = |stage: &str, generation: &str| {
        let records = inline(json!([
            {"digest": "sha256:base"},
            {"digest": format!("sha256:{stage}{generation}"), "inputs": [[{"link": 0}]],
             "layers": [{"layer": 1}]},
        ]));
        let top = format!("{stage}{generation}");
        CacheGraph::from_inline(&records, &[layer("base"), layer(&top)]).expect("valid")
    };
    let images = |list: &[(&str, &str)]| -> BTreeMap<String, CacheGraph> {
        list.iter()
            .map(|&(stage, n)| (stage.to_owned(), image(stage, n)))
            .collect()
    };
    let digests = |entry: &CacheEntry| -> Vec<String> {
        let records = entry.graph.to_config().0.records;
        records
            .into_iter()
            .map(|r| r.digest)
            .filter(|d| d != "sha256:base")
            .collect()
    };
    let first = CacheEntry::after_build(
        &images(&[("deps", "1"), ("tool", "1"), ("app", "1")]),
        ["app", "deps", "tool"],
        None,
    );
    assert_eq!(
        digests(&first),
        ["sha256:app1", "sha256:deps1", "sha256:tool1"]
    );
    let second = CacheEntry::after_build(&images(&[("app", "2")]), ["app", "deps"], Some(&first));
    assert_eq!(digests(&second), ["sha256:app2", "sha256:deps1"]);
    assert_eq!(second.stages.stages().collect::<Vec<_>>(), ["app", "deps"]);
    assert_eq!(second.graph.stats().blobs, 3);
    let third = CacheEntry::after_build(&images(&[("app", "3")]), ["app", "deps"], Some(&second));
    assert_eq!(digests(&third), ["sha256:app3", "sha256:deps1"]);
}

#[test]
fn a_view_takes_as_many_caches_as_buildkit_reads() {
    let many = |name: &str, n: usize| {
        let records: Vec<Value> = (0..n)
            .map(|n| json!({"digest": format!("{}{n}", name.repeat(1000)), "layers": [{"layer": 0}]}))
            .collect();
        CacheGraph::from_inline(&inline(json!(records)), &[layer("base")]).expect("valid")
    };
    let (small, half, other_half) = (many("a", 10), many("b", 600), many("c", 600));
    assert_eq!(
        CacheGraph::view([&half, &other_half, &small])
            .stats()
            .records,
        610
    );
    assert_eq!(CacheGraph::view([]), CacheGraph::default());
    assert_eq!(CacheGraph::view([&small, &small]), small);
}

#[test]
fn deep_caches_take_neither_the_stack_nor_all_day() {
    const DEPTH: usize = 10_000;
    let records: Vec<CacheRecord> = (0..DEPTH)
        .map(|n| CacheRecord {
            digest: format!("sha256:{n}"),
            // Twice the same link by two selectors: a walk over paths would never end.
            inputs: (0..n.min(1))
                .map(|_| {
                    let link = |selector: &str| CacheInput {
                        selector: selector.to_owned(),
                        link: i64::try_from(n).expect("small") - 1,
                        other: BTreeMap::new(),
                    };
                    vec![link("a"), link("b")]
                })
                .collect(),
            results: vec![CacheResult {
                layer: i64::try_from(n).expect("small"),
                created_at: CreatedAt::ZERO,
                other: BTreeMap::new(),
            }],
            ..CacheRecord::default()
        })
        .rev()
        .collect();
    let last = i64::try_from(DEPTH).expect("small") - 1;
    let reversed = records.into_iter().map(|mut record| {
        for input in record.inputs.iter_mut().flatten() {
            input.link = last - input.link;
        }
        record
    });
    let inline = InlineCache {
        records: reversed.collect(),
    };
    let layers: Vec<Descriptor> = (0..DEPTH).map(|n| layer(&n.to_string())).collect();
    let mut graph = CacheGraph::from_inline(&inline, &layers).expect("valid");
    graph.unify();
    let pruned = graph.prune(|blob| *blob != digest("5000"));
    assert_eq!(pruned.results, DEPTH - 5000);
    let (config, blobs) = graph.to_config();
    assert_eq!((config.records.len(), config.layers.len()), (5000, 5000));
    assert_eq!(
        CacheGraph::from_config(&config, &blobs).expect("valid"),
        graph
    );
    let error = graph.write().expect_err("more than 1 MiB");
    assert!(
        matches!(error, CacheConfigError::TooLarge { .. }),
        "{error}"
    );
}
