//! What is proposed for repositories of many kinds, and that a second run proposes nothing.

use camino::{Utf8Path, Utf8PathBuf};

use super::propose::{Ci, Found, FoundDockerfile, Proposal, Wishes, propose};

fn dockerfile(path: &str, stages: &[&str], sources: &[&str]) -> FoundDockerfile {
    let name = |stage: &&str| (!stage.is_empty()).then(|| (*stage).to_owned());
    FoundDockerfile {
        path: path.into(),
        stages: stages.iter().map(name).collect(),
        sources: sources.iter().map(|&source| source.to_owned()).collect(),
        ..FoundDockerfile::default()
    }
}

fn found(dockerfiles: Vec<FoundDockerfile>, others: &[&str], texts: &[(&str, &str)]) -> Found {
    Found {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        dockerfiles,
        others: others.iter().map(Utf8PathBuf::from).collect(),
        texts: texts
            .iter()
            .map(|&(path, text)| (path.into(), text.to_owned()))
            .collect(),
        ..Found::default()
    }
}

fn text<'a>(proposal: &'a Proposal, path: &str) -> &'a str {
    let change = proposal.changes.iter().find(|change| change.path == path);
    &change.expect(path).after
}

fn paths(proposal: &Proposal) -> Vec<&str> {
    proposal
        .changes
        .iter()
        .map(|change| change.path.as_str())
        .collect()
}

/// Returns what is found after the proposal was written.
fn written(mut found: Found, proposal: &Proposal) -> Found {
    for change in &proposal.changes {
        found
            .texts
            .insert(change.path.clone(), change.after.clone());
        for folder in change.path.ancestors().skip(1) {
            found.folders.insert(folder.to_string());
        }
    }
    found.others.insert("Cargo.lock".into());
    found
}

#[test]
fn a_repository_that_is_not_rust_gets_the_smallest_workspace() {
    let repository = found(
        vec![dockerfile("Dockerfile", &["deps", "app"], &["."])],
        &["Gemfile.lock", "engines/pay/Gemfile.lock", "config.ru"],
        &[(".gitignore", "log/")],
    );
    let wishes = Wishes {
        ci: Some(vec![Ci::Circleci]),
        library: Some("vendor/docker-layer-cache".into()),
        ..Wishes::default()
    };
    let proposal = propose(&repository, &wishes);
    assert_eq!(
        paths(&proposal),
        [
            "docker/images.toml",
            ".cargo/config.toml",
            "xtask/Cargo.toml",
            "xtask/src/main.rs",
            "Cargo.toml",
            ".gitignore",
            ".dockerignore",
            ".circleci/config.yml"
        ]
    );
    let images = text(&proposal, "docker/images.toml");
    for line in [
        "[image.shop]",
        "dockerfile = \"Dockerfile\"",
        "target = \"app\" # or: deps",
        "tags = [\"shop:latest\"]",
        "inputs = [\"Gemfile.lock\", \"engines/pay/Gemfile.lock\"]",
    ] {
        assert!(
            images.lines().any(|found| found == line),
            "{line}\n{images}"
        );
    }
    assert!(
        text(&proposal, "xtask/Cargo.toml").contains("{ path = \"../vendor/docker-layer-cache\" }")
    );
    assert_eq!(text(&proposal, ".gitignore"), "log/\n/target\n");
    assert_eq!(text(&proposal, ".dockerignore"), "target\n");
    assert!(proposal.notes.is_empty(), "{:?}", proposal.notes);

    let again = propose(&written(repository, &proposal), &wishes);
    assert!(again.changes.is_empty(), "{:?}", paths(&again));
    assert!(again.notes.is_empty(), "{:?}", again.notes);
}

#[test]
fn a_workspace_with_an_xtask_of_its_own_keeps_it() {
    let repository = found(
        vec![dockerfile(
            "docker/Dockerfile",
            &["app"],
            &["Cargo.toml", "src"],
        )],
        &["Cargo.lock"],
        &[
            ("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\n"),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n"),
            (
                ".cargo/config.toml",
                "[alias]\nxtask = \"run -p xtask --\"\n",
            ),
        ],
    );
    let wishes = Wishes {
        ci: Some(vec![Ci::Gitlab]),
        ..Wishes::default()
    };
    let proposal = propose(&repository, &wishes);
    let manifest = text(&proposal, "Cargo.toml");
    assert!(
        manifest.starts_with("[workspace]\nmembers = [\"xtask\", \"docker-xtask\"]\n"),
        "{manifest}"
    );
    assert!(
        manifest.contains("[profile.dev.package.sha2]"),
        "{manifest}"
    );
    let config = text(&proposal, ".cargo/config.toml");
    assert!(
        config.contains("docker-xtask = \"run --quiet --package docker-xtask --\"\nxtask"),
        "{config}"
    );
    assert!(text(&proposal, ".gitlab-ci.yml").contains("- cargo docker-xtask docker-ci\n"));
    assert!(text(&proposal, "docker/images.toml").contains("inputs = [\"Cargo.lock\"]"));
    assert_eq!(proposal.notes.len(), 2, "{:?}", proposal.notes);
    assert!(
        proposal.notes[1].contains("`COPY docker-xtask docker-xtask`"),
        "{:?}",
        proposal.notes
    );

    let again = propose(&written(repository, &proposal), &wishes);
    assert!(again.changes.is_empty(), "{:?}", paths(&again));
    assert!(again.notes.is_empty(), "{:?}", again.notes);
}

#[test]
fn ci_files_of_the_team_are_left_as_they_are() {
    let mut repository = found(
        vec![dockerfile("Dockerfile", &[""], &[])],
        &[],
        &[
            (".circleci/config.yml", "version: 2.1\n"),
            (".gitlab-ci.yml", "stages: [test]\n"),
            (".buildkite/pipeline.yml", "steps: []\n"),
        ],
    );
    for folder in [".circleci", ".github", ".github/workflows", ".buildkite"] {
        repository.folders.insert(folder.to_owned());
    }
    let proposal = propose(&repository, &Wishes::default());
    let ci: Vec<&str> = paths(&proposal)
        .into_iter()
        .filter(|path| Utf8Path::new(path).extension() == Some("yml"))
        .collect();
    assert_eq!(
        ci,
        [
            "docker/ci/circleci.yml",
            ".github/workflows/docker-layer-cache.yml",
            "docker/ci/gitlab.yml",
            "docker/ci/buildkite.yml"
        ]
    );
    assert_eq!(proposal.notes.len(), 3, "{:?}", proposal.notes);
    for (note, word) in proposal
        .notes
        .iter()
        .zip(["jobs", "include", "pipeline upload"])
    {
        assert!(
            note.contains("is left as it is") && note.contains(word),
            "{note}"
        );
    }
    let again = propose(&written(repository, &proposal), &Wishes::default());
    assert!(again.changes.is_empty(), "{:?}", paths(&again));
}

#[test]
fn contexts_names_and_lock_files_follow_the_dockerfile() {
    let mut api = dockerfile("services/api/Dockerfile", &["", ""], &["go.mod", "."]);
    api.n_sources_in_folder = 2;
    api.n_sources_in_root = 1;
    let mut worker = dockerfile("services/api/Dockerfile.worker", &[""], &["services/api"]);
    worker.n_sources_in_root = 1;
    let repository = found(
        vec![
            dockerfile("docker/web.Dockerfile", &[""], &["web"]),
            api,
            worker,
        ],
        &[
            "go.sum",
            "services/api/go.sum",
            "web/yarn.lock",
            "docs/yarn.lock",
        ],
        &[],
    );
    let proposal = propose(&repository, &Wishes::default());
    let images = text(&proposal, "docker/images.toml");
    let sections: Vec<Vec<&str>> = images
        .split("\n\n")
        .skip(2)
        .map(|section| section.lines().collect())
        .collect();
    assert_eq!(
        sections,
        [
            vec![
                "[image.web]",
                "dockerfile = \"docker/web.Dockerfile\"",
                "tags = [\"web:latest\"]",
                "inputs = [\"go.sum\", \"web/yarn.lock\"]",
            ],
            vec![
                "[image.api]",
                "dockerfile = \"services/api/Dockerfile\"",
                "context = \"services/api\"",
                "tags = [\"api:latest\"]",
                "inputs = [\"services/api/go.sum\"]",
            ],
            vec![
                "[image.api-worker]",
                "dockerfile = \"services/api/Dockerfile.worker\"",
                "tags = [\"api-worker:latest\"]",
                "inputs = [\"go.sum\", \"services/api/go.sum\"]",
            ],
        ]
    );
    assert!(proposal.notes[0].contains("--ci"), "{:?}", proposal.notes);
}

#[test]
fn what_is_ignored_already_is_not_ignored_again() {
    let repository = |sources: &[&str], dockerignore: &str| {
        found(
            vec![dockerfile("Dockerfile", &[""], sources)],
            &[],
            &[
                (".gitignore", "/target/\n"),
                (".dockerignore", dockerignore),
            ],
        )
    };
    let proposed = |sources: &[&str], dockerignore: &str| {
        let proposal = propose(&repository(sources, dockerignore), &Wishes::default());
        assert!(!paths(&proposal).contains(&".gitignore"));
        let change = proposal
            .changes
            .into_iter()
            .find(|change| change.path == ".dockerignore");
        change.map(|change| change.after)
    };
    for (dockerignore, expected) in [
        ("**\n!src\n", None),
        ("target/\n", None),
        ("*.log", Some("*.log\ntarget\n")),
        (
            "target\n!target/docker-layer-cache\n",
            Some("target\n!target/docker-layer-cache\ntarget\n"),
        ),
    ] {
        assert_eq!(
            proposed(&["src"], dockerignore).as_deref(),
            expected,
            "{dockerignore}"
        );
    }
    // What the image takes from there must stay.
    let expected = Some("*.log\ntarget/docker-layer-cache*\n");
    assert_eq!(
        proposed(&["target/release/app"], "*.log\n").as_deref(),
        expected
    );
}

#[test]
fn packages_below_stay_by_themselves() {
    let mut repository = found(
        vec![dockerfile("Dockerfile", &[""], &["."])],
        &["Cargo.lock"],
        &[],
    );
    repository.packages.insert("native".into(), false);
    repository.packages.insert("tools".into(), true);
    let proposal = propose(&repository, &Wishes::default());
    let manifest = text(&proposal, "Cargo.toml");
    assert!(
        manifest.contains("members = [\"xtask\"]\nexclude = [\"native\"]\n"),
        "{manifest}"
    );
    let again = propose(&written(repository, &proposal), &Wishes::default());
    assert!(again.changes.is_empty(), "{:?}", paths(&again));
}
