//! `docker-init` on repositories of five languages: what it writes, that it writes it once, and that
//! the CI file which it makes is warm the second time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::Scenario;
use crate::ci_emulator::{Cargo, Ci};
use crate::ci_files::Pipeline;
use crate::support::{Bench, Outcome, Run, unique, xtask};

/// Each runs on one of the engines.
pub(crate) const FIXTURES: &[Scenario] = &[
    ("init_sets_a_ruby_repository_up_for_circleci", ruby),
    ("init_sets_a_node_repository_up_for_github", node),
    ("init_sets_a_python_repository_up_for_gitlab", python),
    ("init_sets_a_go_repository_up_for_buildkite", go),
    ("init_sets_a_rust_workspace_up_for_remote_docker", rust),
];

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("diff_is_what_is_written", diff_is_what_is_written),
    ("nothing_is_written_without_a_yes", nothing_without_a_yes),
    ("this_repository_is_set_up", this_repository_is_set_up),
    ("repositories_without_dockerfile_are_refused", refused),
    ("template_of_the_shim_is_our_own_shim", shim),
];

/// A copy of a repository of `tests/fixtures`.
pub(crate) struct Fixture {
    _folder: TempDir,
    pub(crate) root: PathBuf,
    /// The folder's name, which the image is named by.
    name: String,
}

impl Fixture {
    /// Copies the repository, with its images on `base`.
    pub(crate) fn of(language: &str, base: &str) -> Result<Self, Failed> {
        let folder = TempDir::with_prefix("dlc-test-")?;
        let name = unique(language);
        let root = folder.path().join(&name);
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(language);
        for (path, text) in tree(&from)? {
            let to = root.join(&path);
            fs::create_dir_all(to.parent().unwrap_or(&root))?;
            fs::write(to, text.replace("@base@", base))?;
        }
        Ok(Self {
            _folder: folder,
            root,
            name,
        })
    }

    /// Runs `docker-init` on it, with the library of this repository.
    pub(crate) fn init(&self, arguments: &[&str]) -> Result<Run, Failed> {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-layer-cache");
        let mut command = xtask();
        command.args(["docker-init", "--root"]).arg(&self.root);
        command.arg("--library").arg(library).args(arguments);
        Run::of(&mut command)
    }

    /// Sets the repository up, checks that this is said and done once, and returns what was said.
    fn set_up(&self, arguments: &[&str]) -> Result<Run, Failed> {
        let mut with_yes = vec!["--yes"];
        with_yes.extend(arguments);
        let before = tree(&self.root)?;
        let run = self.init(&with_yes)?.success()?;
        let after = tree(&self.root)?;
        for (path, text) in &before {
            let lines_stay = text.lines().all(|line| after[path].contains(line));
            assert!(lines_stay, "{path} lost a line:\n{}", after[path]);
        }
        let again = self.init(&with_yes)?.success()?.says(&["nothing to do"])?;
        assert_eq!(again.stdout, "", "a second run has no diff");
        assert_eq!(tree(&self.root)?, after, "a second run changes nothing");
        // What the first `cargo xtask` would write.
        let lock = self.root.join("Cargo.lock");
        if !lock.exists() {
            fs::copy(repository().join("Cargo.lock"), lock)?;
        }
        Ok(run)
    }

    /// Fails unless the file at `path` has all of these lines.
    fn check(&self, path: &str, lines: &[&str]) -> Outcome {
        let text = fs::read_to_string(self.root.join(path))
            .map_err(|cause| format!("`{path}`: {cause}"))?;
        for line in lines {
            let line = line.replace("@name@", &self.name);
            if !text.lines().any(|found| found == line) {
                return Err(format!("`{path}` has no line `{line}`:\n{text}").into());
            }
        }
        Ok(())
    }

    fn pipeline<'a>(&'a self, bench: &'a Bench<'a>, ci: Ci, file: &'a str) -> Pipeline<'a> {
        Pipeline {
            bench,
            repository: &self.root,
            ci,
            file,
            job: "docker-images",
            cargo: Cargo::Wrapper,
        }
    }
}

/// With the real cargo: the workspace that was made for the tasks alone.
fn ruby(bench: &Bench<'_>) -> Outcome {
    let fixture = Fixture::of("ruby", &bench.base("base")?.reference)?;
    fixture.set_up(&["--ci", "circleci"])?;
    fixture.check(
        "docker/images.toml",
        &[
            "[image.@name@]",
            "dockerfile = \"Dockerfile\"",
            "target = \"app\" # or: gems",
            "inputs = [\"Gemfile.lock\"]",
        ],
    )?;
    fixture.check("Cargo.toml", &["members = [\"xtask\"]"])?;
    fixture.check(".gitignore", &["/log", "/target"])?;
    fixture.check(".dockerignore", &["target"])?;
    let pipeline = Pipeline {
        cargo: Cargo::Real,
        ..fixture.pipeline(bench, Ci::Circleci, ".circleci/config.yml")
    };
    pipeline.check("layers-v1-", |root| {
        Ok(fs::write(root.join("app.rb"), "2\n")?)
    })
}

fn node(bench: &Bench<'_>) -> Outcome {
    let fixture = Fixture::of("node", &bench.base("base")?.reference)?;
    fixture.set_up(&[])?;
    fixture.check(
        "docker/images.toml",
        &[
            "[image.@name@]",
            "[image.worker]",
            "dockerfile = \"worker.Dockerfile\"",
            "target = \"worker\" # or: deps",
            "inputs = [\"package-lock.json\"]",
        ],
    )?;
    fixture.check(".dockerignore", &["node_modules", "*.md", "target"])?;
    let file = ".github/workflows/docker-layer-cache.yml";
    // The tag of a developer's own `worker` is not ours to move.
    let images = fixture.root.join("docker/images.toml");
    let tag = format!("{}-worker:latest", fixture.name);
    let text = fs::read_to_string(&images)?.replace("worker:latest", &tag);
    fs::write(&images, text)?;
    let pipeline = fixture.pipeline(bench, Ci::Github, file);
    pipeline.check("layers-v1-", |root| {
        Ok(fs::write(root.join("src/index.js"), "2\n")?)
    })
}

fn python(bench: &Bench<'_>) -> Outcome {
    let fixture = Fixture::of("python", &bench.base("base")?.reference)?;
    let run = fixture.set_up(&[])?;
    run.says(&["`.gitlab-ci.yml` is yours", "include:"])?;
    // In a folder of its own: the Dockerfile copies what lies there.
    let app = fixture.root.join("app");
    let images = fixture.root.join("docker/images.toml");
    fixture.check(
        "docker/images.toml",
        &[
            "[image.app]",
            "dockerfile = \"app/Dockerfile\"",
            "context = \"app\"",
            "inputs = [\"app/uv.lock\"]",
        ],
    )?;
    assert!(!fixture.root.join(".dockerignore").exists());
    assert!(!app.join(".dockerignore").exists());
    let tag = format!("{}:latest", fixture.name);
    let text = fs::read_to_string(&images)?.replace("app:latest", &tag);
    fs::write(&images, text)?;
    let pipeline = fixture.pipeline(bench, Ci::Gitlab, "docker/ci/gitlab.yml");
    pipeline.check("layers-v1-", |root| {
        Ok(fs::write(root.join("app/main.py"), "2\n")?)
    })
}

fn go(bench: &Bench<'_>) -> Outcome {
    let fixture = Fixture::of("go", &bench.base("base")?.reference)?;
    fixture.set_up(&["--ci", "buildkite"])?;
    fixture.check(
        "docker/images.toml",
        &[
            "[image.@name@]",
            "dockerfile = \"build/Dockerfile\"",
            "inputs = [\"go.sum\"]",
        ],
    )?;
    let pipeline = fixture.pipeline(bench, Ci::Buildkite, ".buildkite/pipeline.yml");
    pipeline.check("docker-layer-cache", |root| {
        Ok(fs::write(root.join("cmd/server/main.go"), "2\n")?)
    })
}

fn rust(bench: &Bench<'_>) -> Outcome {
    let fixture = Fixture::of("rust", &bench.base("base")?.reference)?;
    let run = fixture.set_up(&["--remote-docker"])?;
    run.says(&[
        "`cargo xtask` is yours already",
        "add `COPY docker-xtask docker-xtask`",
        "`.circleci/config.yml` is yours",
    ])?;
    fixture.check(
        "Cargo.toml",
        &[
            "    \"xtask\", # release tasks",
            "    \"docker-xtask\",",
            "[profile.dev.package.sha2]",
        ],
    )?;
    fixture.check("docker/images.toml", &["inputs = [\"Cargo.lock\"]"])?;
    let file = "docker/ci/circleci.yml";
    fixture.check(file, &["      - setup_remote_docker"])?;
    let pipeline = fixture.pipeline(bench, Ci::Circleci, file);
    pipeline.check("layers-v1-", |root| {
        Ok(fs::write(
            root.join("crates/app/src/main.rs"),
            "fn main() {}\n",
        )?)
    })
}

/// The diff is what `git apply` makes the same files of.
fn diff_is_what_is_written() -> Outcome {
    for language in ["ruby", "node", "python", "go", "rust"] {
        let fixture = Fixture::of(language, "busybox")?;
        let before = tree(&fixture.root)?;
        let run = fixture.init(&["--dry-run"])?.success()?;
        assert_eq!(tree(&fixture.root)?, before, "--dry-run writes nothing");
        let patched = TempDir::with_prefix("dlc-test-")?;
        for (path, text) in &before {
            let to = patched.path().join(path);
            fs::create_dir_all(to.parent().unwrap_or(patched.path()))?;
            fs::write(to, text)?;
        }
        let patch = patched.path().join("patch");
        fs::write(&patch, &run.stdout)?;
        let mut git = Command::new("git");
        git.args(["apply", "patch"])
            .current_dir(patched.path())
            .env("GIT_CEILING_DIRECTORIES", std::env::temp_dir());
        Run::of(&mut git)?.success()?;
        fs::remove_file(&patch)?;
        fixture.init(&["--yes"])?.success()?;
        assert_eq!(tree(patched.path())?, tree(&fixture.root)?, "{language}");
    }
    Ok(())
}

fn nothing_without_a_yes() -> Outcome {
    let fixture = Fixture::of("ruby", "busybox")?;
    let before = tree(&fixture.root)?;
    let run = fixture.init(&[])?.exit(2)?;
    assert!(run.stdout.starts_with("--- /dev/null\n"), "{}", run.stdout);
    run.says(&["nothing was written", "--yes", "no CI was found"])?;
    assert_eq!(tree(&fixture.root)?, before);
    Ok(())
}

fn this_repository_is_set_up() -> Outcome {
    let mut command = xtask();
    command
        .args(["docker-init", "--dry-run", "--root"])
        .arg(repository());
    let run = Run::of(&mut command)?.success()?;
    assert_eq!(run.stdout, "");
    run.says(&["nothing to do"])?;
    Ok(())
}

fn refused() -> Outcome {
    let folder = TempDir::with_prefix("dlc-test-")?;
    let mut command = xtask();
    command
        .args(["docker-init", "--yes", "--root"])
        .arg(folder.path());
    Run::of(&mut command)?
        .exit(2)?
        .says(&["there is no Dockerfile below", "hint: name the repository"])?;
    Ok(())
}

fn shim() -> Outcome {
    let fixture = Fixture::of("ruby", "busybox")?;
    fixture.init(&["--yes", "--ci", "none"])?.success()?;
    let read = |root: &Path, path: &str| fs::read_to_string(root.join(path));
    for path in ["xtask/src/main.rs", ".cargo/config.toml"] {
        assert_eq!(read(&fixture.root, path)?, read(&repository(), path)?);
    }
    let profile = |text: String| {
        let lines = text.lines().skip_while(|line| *line != "[profile.dev]");
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        profile(read(&fixture.root, "Cargo.toml")?),
        profile(read(&repository(), "Cargo.toml")?)
    );
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the texts of all files below a folder, by path.
fn tree(folder: &Path) -> Result<BTreeMap<String, String>, Failed> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                texts.insert(name, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(texts)
}
