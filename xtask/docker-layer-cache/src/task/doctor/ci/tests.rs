use super::super::finding::Level;
use super::*;

const STORE: &str = "target/docker-layer-cache";

fn facts(variables: &[&str], files: &[(&str, &str)]) -> CiFacts {
    CiFacts {
        variables: variables.iter().map(|&name| name.to_owned()).collect(),
        is_terminal: false,
        files: files
            .iter()
            .map(|&(path, text)| (path.into(), text.to_owned()))
            .collect(),
        store: STORE.into(),
        key_dir: "target/docker-layer-cache-key".into(),
        has_remote: false,
        images: ["app".to_owned()].into(),
    }
}

#[test]
fn which_ci() {
    for (variables, terminal, expected) in [
        (&[][..], false, "none"),
        (&["CI"], false, "not known by name"),
        (&["CI", "CIRCLECI"], false, "CircleCI"),
        (&["CI", "GITHUB_ACTIONS"], false, "GitHub Actions"),
        (&["GITLAB_CI"], false, "GitLab CI"),
        (&["BUILDKITE"], false, "Buildkite"),
        (&["CI", "CIRCLECI"], true, "this is a terminal"),
        (
            &["DOCKER_LAYER_CACHE_READ_ONLY"],
            false,
            "DOCKER_LAYER_CACHE_READ_ONLY",
        ),
    ] {
        let facts = CiFacts {
            is_terminal: terminal,
            ..facts(variables, &[])
        };
        let found = facts.judge();
        assert!(found[0].what.contains(expected), "{variables:?}: {found:?}");
    }
}

#[test]
fn cache_paths_of_several_grammars() {
    let store = Utf8Path::new(STORE);
    for (text, expected) in [
        ("paths:\n  - target/docker-layer-cache\n", true),
        ("paths:\n  - ./target/docker-layer-cache/\n", true),
        ("paths:\n  - ~/project/target\n", true),
        ("path: 'target'\n", true),
        (
            "paths: [\"~/.cargo\", \"target/docker-layer-cache\"]\n",
            true,
        ),
        ("path: |\n  ~/.cargo\n  target/**\n", true),
        ("paths:\n  - target/debug\n", false),
        ("# - target\n", false),
        ("paths:\n  - .\n", false),
        (
            "run: cargo xtask docker-ci --store target/docker-layer-cache\n",
            false,
        ),
        ("- target/docker-layer-cache-key\n", false),
    ] {
        assert_eq!(caches(text, store), expected, "{text}");
    }
}

#[test]
fn only_files_that_save_are_judged() {
    for (text, expected) in [
        ("command: cargo xtask docker-ci", true),
        ("- run: \"cargo xtask docker-save app\"", true),
        ("# cargo xtask docker-ci", false),
        ("cargo xtask docker-key", false),
        ("cargo xtask test && ./docker-ci-old", false),
    ] {
        assert_eq!(saves(text), expected, "{text}");
    }
}

#[test]
fn a_store_that_no_job_keeps_is_advice_with_the_lines_to_add() {
    for (path, part) in [
        (".circleci/config.yml", "save_cache"),
        (".github/workflows/ci.yml", "actions/cache"),
        (".gitlab-ci.yml", "cache:"),
        (".buildkite/pipeline.yml", "cache:"),
    ] {
        let findings = facts(&[], &[(path, "run: cargo xtask docker-ci")]).judge();
        assert_eq!(findings[1].level, Level::Advice);
        let mend = findings[1].mend.as_deref().unwrap_or_default();
        assert!(mend.contains(part) && mend.contains(STORE), "{mend}");
        let files = [(path, "run: cargo xtask docker-ci")];
        let remote = CiFacts {
            has_remote: true,
            ..facts(&[], &files)
        };
        assert_eq!(remote.judge()[1].level, Level::Ok);
        let kept = format!("run: cargo xtask docker-ci\npath: {STORE}");
        let findings = facts(&[], &[(path, &kept)]).judge();
        assert_eq!(findings[1].level, Level::Ok, "{findings:?}");
    }
}

#[test]
fn key_files_of_images_that_are_not() {
    let text = format!(
        "cargo xtask docker-ci\n- {STORE}\nkey: {{{{ checksum \"{STORE}-key/app.base\" }}}}-{{{{ checksum \"{STORE}-key/ap.full\" }}}}"
    );
    let findings = facts(&[], &[(".circleci/config.yml", &text)]).judge();
    let found: Vec<&Finding> = findings
        .iter()
        .filter(|one| one.level == Level::Advice)
        .collect();
    assert_eq!(found.len(), 1, "{findings:?}");
    assert!(found[0].what.contains("`ap`"), "{findings:?}");
    assert_eq!(found[0].mend.as_deref(), Some("did you mean `app`?"));
}

#[test]
fn variables_that_mean_nothing() {
    let findings = facts(
        &[
            "DOCKER_LAYER_CACHE_STORES",
            "DOCKER_LAYER_CACHE_AUTH_REG_LOCAL",
            "DOCKER_LAYER_CACHE_STORE",
        ],
        &[],
    )
    .judge();
    let unknown: Vec<&Finding> = findings
        .iter()
        .filter(|one| one.level == Level::Advice)
        .collect();
    assert_eq!(unknown.len(), 1, "{findings:?}");
    let mend = unknown[0].mend.as_deref().unwrap_or_default();
    assert!(
        mend.ends_with("did you mean DOCKER_LAYER_CACHE_STORE?"),
        "{mend}"
    );
}
