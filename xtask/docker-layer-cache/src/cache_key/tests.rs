//! Tests of recipes, keys and explanations.

use proptest::prelude::*;

use super::*;
use crate::oci::{Digest, Platform, Reference};

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn base(written: &str, content: &str, stage: &str, line: usize) -> Base {
    Base {
        reference: reference(written),
        platform: Platform::linux_amd64(),
        digest: Digest::of(content.as_bytes()),
        platform_digest: None,
        written: written.to_owned(),
        used_by: vec![UsedBy {
            stage: stage.to_owned(),
            instruction: "FROM".to_owned(),
            line,
        }],
    }
}

fn input(path: &str, content: &str) -> Ingredient {
    Ingredient::Input {
        path: path.to_owned(),
        kind: InputKind::File,
        digest: Digest::of(content.as_bytes()),
    }
}

fn dockerfile(content: &str) -> Ingredient {
    Ingredient::Dockerfile {
        path: "docker/Dockerfile".to_owned(),
        digest: Digest::of(content.as_bytes()),
    }
}

fn ingredients() -> Vec<Ingredient> {
    vec![
        Ingredient::Image { name: "app".into() },
        Ingredient::Target {
            stage: "runtime".into(),
        },
        Ingredient::Platform {
            platform: Platform::linux_amd64(),
        },
        Ingredient::EngineClass {
            name: "buildkit".into(),
        },
        dockerfile("FROM ruby:3.3"),
        Ingredient::Frontend {
            reference: reference("docker/dockerfile:1"),
            digest: Digest::of(b"frontend"),
        },
        base("ruby:3.3", "ruby", "deps", 4).into(),
        base("debian:12", "debian", "runtime", 9).into(),
        Ingredient::build_arg("RUBY_VERSION", Some("3.3")),
        Ingredient::build_arg("UNSET", None),
        Ingredient::IgnoreRules {
            path: ".dockerignore".into(),
            digest: Digest::of(b"target"),
        },
        input("Gemfile.lock", "gems"),
        input("a b/\"ü\"\n.txt", "text"),
    ]
}

fn recipe() -> Recipe {
    Recipe::new(ingredients())
}

/// Keys are promised to be stable across releases, machines and platforms. If this test fails,
/// every cache out there goes cold: raise the format version, or find another way.
#[test]
fn keys_are_stable() {
    assert_eq!(
key_file(&recipe(), KeyKind::Full),
        "\
docker-layer-cache full v1
arg RUBY_VERSION sha256:8c92bebd740430af1b95f3b0deb80df3b03cc6f9d8417b1dffb75d5c37c707b5
arg UNSET unset
base docker.io/library/debian:12 linux/amd64 tag sha256:81d93757457f988523814ae0009837ae893f38d3fe123f2c37896f118b4c7804
base docker.io/library/ruby:3.3 linux/amd64 tag sha256:b9138194ffe9e7c8bb6d79d1ed56259553d18d9cb60b66e3ba5aa2e5b078055a
dockerfile docker/Dockerfile sha256:e1d379f3cca8316534fa029f75016c5f7d6cd3b7e0088b8650760b42509d4860
engine buildkit
frontend docker.io/docker/dockerfile:1 sha256:1cf387c012cd2d02f1923e589f86df4a4802427057dbc90f47b87f04d29d54bc
ignore .dockerignore sha256:34a04005bcaf206eec990bd9637d9fdb6725e0a0c0d4aebf003f17f4c956eb5c
image app
input \"a b/\\\"ü\\\"\\u{a}.txt\" file sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1
input Gemfile.lock file sha256:e8b3fe0d805522c3d9ff2fb1d95e5fa70f0194f59099426dd55a1756bc7fd5c5
platform linux/amd64
target runtime
"
    );
    let keys = recipe().keys();
    assert_eq!(
        keys.base.as_str(),
        "v1-d900eca519b484969ed9b4e9c36b83ca3a699d3b0eb1170ed2662836ce3aa525"
    );
    assert_eq!(
        keys.full.as_str(),
        "v1-69d65e1b421ccc89eb716379775525b418f8119c341aed47cf52b5b916f774a4"
    );
}

#[test]
fn base_key_does_not_know_of_inputs() {
    let keys = recipe().keys();
    assert_ne!(keys.base, keys.full);
    let without: Vec<Ingredient> = ingredients()
        .into_iter()
        .filter(Ingredient::is_in_base_key)
        .collect();
    let without = Recipe::new(without).keys();
    assert_eq!(without.base, keys.base);
    assert_ne!(without.full, keys.full);
    assert_ne!(without.full, without.base);
}

#[test]
fn every_ingredient_counts() {
    let all = ingredients();
    for index in 0..all.len() {
        let mut fewer = all.clone();
        let left_out = fewer.remove(index);
        let keys = Recipe::new(fewer).keys();
        assert_ne!(keys.full, recipe().keys().full, "{left_out:?}");
        assert_eq!(
            keys.base != recipe().keys().base,
            left_out.is_in_base_key(),
            "{left_out:?}"
        );
    }
}

#[test]
fn places_do_not_move_the_key() {
    let at = |line| Recipe::new([base("ruby:3.3", "ruby", "deps", line).into()]);
    assert_eq!(at(1).keys(), at(2).keys());
    assert_eq!(explain(&at(1), &at(2)), []);
    assert_ne!(at(1).to_text(), at(2).to_text());
}

#[test]
fn an_index_that_moves_for_another_platform_does_not_move_the_key() {
    let with = |index: &str, manifest: &str| {
        let mut base = base("ruby:3.3", index, "deps", 1);
        base.platform_digest = Some(Digest::of(manifest.as_bytes()));
        Recipe::new([base.into()])
    };
    assert_eq!(with("a", "x").keys(), with("b", "x").keys());
    assert_ne!(with("a", "x").keys(), with("a", "y").keys());
}

#[test]
fn a_base_is_kept_once_with_all_its_uses() {
    let recipe = Recipe::new([
        base("ruby:3.3", "ruby", "b", 7).into(),
        base("ruby:3.3", "ruby", "a", 3).into(),
        base("ruby:3.3", "ruby", "a", 3).into(),
    ]);
    let bases: Vec<&Base> = recipe.bases().collect();
    assert_eq!(bases.len(), 1);
    let lines: Vec<usize> = bases[0]
        .used_by
        .iter()
        .map(|used_by| used_by.line)
        .collect();
    assert_eq!(lines, [3, 7]);
}

#[test]
fn explanations_are_sentences() {
    let one = Digest::of(b"1");
    let two = Digest::of(b"2");
    let rows: Vec<(Vec<Ingredient>, Vec<Ingredient>, String)> = vec![
        (
            vec![base("ruby:3.3", "1", "deps", 4).into()],
            vec![base("ruby:3.3", "2", "deps", 4).into()],
            format!("`ruby:3.3` moved: {one} → {two} (used by stage `deps`, line 4)"),
        ),
        (
            vec![base("ruby:3.3", "1", "deps", 4).into()],
            vec![base("ruby:3.4", "2", "deps", 5).into()],
            "stage `deps` now uses base `ruby:3.4` in place of `ruby:3.3` (line 5)".to_owned(),
        ),
        (
            vec![],
            vec![base("ruby:3.3", "1", "deps", 4).into()],
            "base `ruby:3.3` is new (used by stage `deps`, line 4)".to_owned(),
        ),
        (
            vec![base("ruby:3.3", "1", "deps", 4).into()],
            vec![],
            "base `ruby:3.3` is gone (was used by stage `deps`, line 4)".to_owned(),
        ),
        (
            vec![input("Cargo.lock", "1")],
            vec![input("Cargo.lock", "2")],
            "`Cargo.lock` changed".to_owned(),
        ),
        (
            vec![],
            vec![input("Cargo.lock", "2")],
            "`Cargo.lock` is new".to_owned(),
        ),
        (
            vec![input("x", "1")],
            vec![Ingredient::Input {
                path: "x".into(),
                kind: InputKind::Executable,
                digest: one.clone(),
            }],
            "`x` changed: file → executable".to_owned(),
        ),
        (
            vec![Ingredient::build_arg("V", Some("hunter2"))],
            vec![Ingredient::build_arg("V", Some("hunter3"))],
            "build arg `V` changed".to_owned(),
        ),
        (
            vec![Ingredient::build_arg("V", Some("hunter2"))],
            vec![Ingredient::build_arg("V", None)],
            "build arg `V` is no longer set".to_owned(),
        ),
        (
            vec![],
            vec![Ingredient::LinkedImage {
                image: "base".into(),
                digest: one.clone(),
            }],
            "linked image `base` is new".to_owned(),
        ),
        (
            vec![Ingredient::Target { stage: "a".into() }],
            vec![Ingredient::Target { stage: "b".into() }],
            "target changed: `a` → `b`".to_owned(),
        ),
        (
            vec![],
            vec![Ingredient::Target { stage: "b".into() }],
            "target is now `b`".to_owned(),
        ),
        (
            vec![dockerfile("1")],
            vec![dockerfile("2")],
            "`docker/Dockerfile` changed".to_owned(),
        ),
        (
            vec![dockerfile("1")],
            vec![Ingredient::Dockerfile {
                path: "Dockerfile".into(),
                digest: one.clone(),
            }],
            "Dockerfile is now `Dockerfile`, not `docker/Dockerfile`".to_owned(),
        ),
    ];
    for (old, new, expected) in rows {
        let changes = explain(&Recipe::new(old), &Recipe::new(new));
        let text: Vec<String> = changes.iter().map(Change::to_string).collect();
        assert_eq!(text, [expected]);
        let json = serde_json::to_string(&changes).expect("JSON");
        assert!(!json.contains("hunter"), "{json}");
    }
}

#[test]
fn what_moves_the_base_key_comes_first() {
    let old = Recipe::new([input("a", "1"), dockerfile("1")]);
    let new = Recipe::new([input("a", "2"), dockerfile("2")]);
    let affects: Vec<Affects> = explain(&old, &new).iter().map(|c| c.affects).collect();
    assert_eq!(affects, [Affects::Base, Affects::Full]);
}

#[test]
fn unknown_recipes_are_refused() {
    let rows = [
        ("", "not a recipe: "),
        ("{}", "not a recipe: missing field `version`"),
        (
            r#"{"version":2,"whatever":[]}"#,
            "recipe has format version 2, this program reads version 1",
        ),
        (
            r#"{"version":1,"ingredients":[{"ingredient":"moon"}]}"#,
            "not a recipe: unknown variant `moon`",
        ),
        (
            r#"{"version":1,"ingredients":[{"ingredient":"image","name":"a","x":1}]}"#,
            "not a recipe: unknown field `x`",
        ),
    ];
    for (json, expected) in rows {
        let error = Recipe::from_json(json).expect_err(json).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn no_value_of_a_build_arg_is_ever_written() {
    let recipe = Recipe::new([Ingredient::build_arg("TOKEN", Some("hunter2"))]);
    for text in [
        recipe.to_json(),
        recipe.to_text(),
        key_file(&recipe, KeyKind::Full),
        format!("{recipe:?}"),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn keys_are_fit_for_ci() {
    let key = recipe().keys().full;
    assert!(key.as_str().len() <= 80);
    assert_eq!(key.as_str().parse(), Ok(key.clone()));
    let json = serde_json::to_string(&key).expect("JSON");
    assert_eq!(serde_json::from_str::<CacheKey>(&json).expect("a key"), key);
    for text in [
        "",
        "v1-",
        "v1-../x",
        "1-00",
        &format!("v-{}", "0".repeat(64)),
    ] {
        assert!(text.parse::<CacheKey>().is_err(), "{text}");
    }
}

/// Texts that try to break out of their line.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c/ ]{0,3}",
        "[\"\\\\ \n\r\t\u{0}\u{85}\u{2028}\u{202e}\u{feff}u{}ax0-9é]{0,6}",
        Just("x file sha256:0\ninput y".to_owned()),
        any::<String>(),
    ]
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (0u8..4).prop_map(|n| Digest::of(&[n]))
}

fn any_platform() -> impl Strategy<Value = Platform> {
    (text(), text(), text()).prop_map(|(os, architecture, variant)| Platform {
        os_version: String::new(),
        os,
        architecture,
        variant,
    })
}

fn any_base() -> impl Strategy<Value = Base> {
    let reference = prop_oneof![
        Just(reference("alpine:3.20")),
        Just(reference("ruby")),
        Just(reference("localhost:5000/a/b:c")),
    ];
    let used_by = (text(), text(), 0usize..9).prop_map(|(stage, instruction, line)| UsedBy {
        stage,
        instruction,
        line,
    });
    (
        reference,
        any_platform(),
        any_digest(),
        proptest::option::of(any_digest()),
        text(),
        proptest::collection::vec(used_by, 0..3),
    )
        .prop_map(
            |(reference, platform, digest, platform_digest, written, used_by)| Base {
                reference,
                platform,
                digest,
                platform_digest,
                written,
                used_by,
            },
        )
}

fn any_ingredient() -> impl Strategy<Value = Ingredient> {
    let kind = prop_oneof![
        Just(InputKind::File),
        Just(InputKind::Executable),
        Just(InputKind::Symlink)
    ];
    prop_oneof![
        text().prop_map(|name| Ingredient::Image { name }),
        text().prop_map(|stage| Ingredient::Target { stage }),
        any_platform().prop_map(|platform| Ingredient::Platform { platform }),
        text().prop_map(|name| Ingredient::EngineClass { name }),
        (text(), any_digest()).prop_map(|(path, digest)| Ingredient::Dockerfile { path, digest }),
        any_digest().prop_map(|digest| Ingredient::Frontend {
            reference: reference("docker/dockerfile:1"),
            digest
        }),
        any_base().prop_map(Ingredient::Base),
        (text(), any_digest())
            .prop_map(|(image, digest)| Ingredient::LinkedImage { image, digest }),
        (text(), proptest::option::of(any_digest()))
            .prop_map(|(name, digest)| Ingredient::BuildArg { name, digest }),
        (text(), any_digest()).prop_map(|(path, digest)| Ingredient::IgnoreRules { path, digest }),
        (text(), kind, any_digest()).prop_map(|(path, kind, digest)| Ingredient::Input {
            path,
            kind,
            digest
        }),
    ]
}

fn any_ingredients() -> impl Strategy<Value = Vec<Ingredient>> {
    proptest::collection::vec(any_ingredient(), 0..8)
}

/// Takes away what a key may not know.
fn keyed(ingredient: &Ingredient) -> Ingredient {
    let mut ingredient = ingredient.clone();
    if let Ingredient::Base(base) = &mut ingredient {
        base.written.clear();
        base.used_by.clear();
        if let Some(digest) = &base.platform_digest {
            base.digest = digest.clone();
        }
    }
    ingredient
}

proptest! {
    #[test]
    fn order_does_not_matter(
        (ingredients, shuffled) in any_ingredients().prop_flat_map(|ingredients| {
            (Just(ingredients.clone()), Just(ingredients).prop_shuffle())
        })
    ) {
        let recipe = Recipe::new(ingredients);
        prop_assert_eq!(&recipe, &Recipe::new(shuffled));
        prop_assert_eq!(&recipe, &Recipe::new(recipe.ingredients().to_vec()));
    }

    #[test]
    fn lines_are_told_apart(a in any_ingredient(), b in any_ingredient()) {
        prop_assert_eq!(a.key_line() == b.key_line(), keyed(&a) == keyed(&b));
        for line in [a.key_line(), a.text_line()] {
            let breaks = |char: char| char.is_control() || char == '\u{2028}';
            prop_assert!(!line.contains(breaks));
        }
    }

    #[test]
    fn json_round_trip(ingredients in any_ingredients()) {
        let recipe = Recipe::new(ingredients);
        let read = Recipe::from_json(&recipe.to_json());
        prop_assert_eq!(read.expect("what we wrote"), recipe);
    }

    #[test]
    fn explanations_and_keys_agree(a in any_ingredients(), b in any_ingredients()) {
        let (a, b) = (Recipe::new(a), Recipe::new(b));
        prop_assert_eq!(explain(&a, &a), []);
        let changes = explain(&a, &b);
        prop_assert_eq!(changes.is_empty(), a.keys().full == b.keys().full);
        let base_moves = changes.iter().any(|change| change.affects == Affects::Base);
        prop_assert_eq!(base_moves, a.keys().base != b.keys().base);
        for change in changes {
            prop_assert!(!change.to_string().is_empty());
        }
    }

    #[test]
    fn a_key_file_and_its_key_agree(a in any_ingredients(), b in any_ingredients()) {
        let (a, b) = (Recipe::new(a), Recipe::new(b));
        for kind in [KeyKind::Base, KeyKind::Full] {
            let same_text = key_file(&a, kind) == key_file(&b, kind);
            let key = |recipe: &Recipe| match kind {
                KeyKind::Base => recipe.keys().base,
                KeyKind::Full => recipe.keys().full,
            };
            prop_assert_eq!(same_text, key(&a) == key(&b));
        }
    }
}
