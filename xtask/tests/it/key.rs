//! What `docker-key` does besides the key: inputs that are required, locked bases, no network,
//! explanations. No engine is needed.

use docker_layer_cache_demo::{Base, BaseImage, Fault, Registry};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::support::{Outcome, Project, Run, unique};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("required_input_has_to_match", required_input),
    ("locked_bases_stay_until_the_update", locked_bases),
    ("lock_without_a_registry_is_enough", lock_without_registry),
    ("lock_with_a_wrong_line_names_it", wrong_lock),
    ("offline_takes_the_last_recipe", offline_last_recipe),
    (
        "offline_without_a_recipe_fails_with_a_hint",
        offline_nothing,
    ),
    ("explain_names_base_input_and_stages", explain_moves),
    ("explain_compares_with_any_recipe", explain_file),
];

const USAGE: i32 = 2;
const REGISTRY: i32 = 3;

struct Case {
    registry: Registry,
    base: Base,
    project: Project,
}

impl Case {
    /// A project of two stages on one base; the second copies from the first.
    fn new() -> Result<Self, Failed> {
        let registry = Registry::start()?;
        let base = Base::at_registry(&registry, &unique("base"), &BaseImage::make()?)?;
        let reference = &base.reference;
        let project = Project::with_dockerfile(&format!(
            "FROM {reference} AS deps\nCOPY app.lock /\nRUN true\nFROM scratch AS docs\nCOPY docs /\nFROM docs\nCOPY --from=deps /app.lock /\n"
        ))?;
        project.configure("inputs = [\"app.lock\", \"docs/**\"]\n")?;
        project.write("app.lock", "1\n")?;
        project.write("docs/index", "1\n")?;
        Ok(Case {
            registry,
            base,
            project,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<Run, Failed> {
        let mut arguments = arguments.to_vec();
        arguments.insert(0, "docker-key");
        // Nobody answers there: keys are the same on every machine that tests.
        Run::of(
            self.project
                .command(&arguments)
                .env("DOCKER_HOST", "tcp://127.0.0.1:1")
                .env_remove("DOCKER_CONTEXT"),
        )
    }

    fn key(&self) -> Result<String, Failed> {
        Ok(self.run(&[])?.success()?.stdout)
    }
}

fn json(run: &Run) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&run.stdout)?)
}

fn required_input() -> Outcome {
    let case = Case::new()?;
    let configure = |glob: &str| {
        let inputs = format!("inputs = [{{ glob = \"{glob}\", required = true }}]\n");
        case.project.configure(&inputs)
    };
    configure("app.lock")?;
    case.key()?;
    configure("ap.lock")?;
    let run = case.run(&[])?.exit(USAGE)?;
    run.says(&["`ap.lock`", "required", "hint: "])?;
    case.project.configure("inputs = [\"ap.lock\"]\n")?;
    case.run(&[])?.success()?.says(&["warning", "`ap.lock`"])?;
    Ok(())
}

fn locked_bases() -> Outcome {
    let mut case = Case::new()?;
    let before = case.key()?;
    case.run(&["--lock"])?.success()?.says(&["locked 1 base"])?;
    let lock = case.project.read("docker/bases.lock")?;
    let line = format!("{} {}\n", case.base.reference, case.base.digest());
    assert!(lock.starts_with('#') && lock.ends_with(&line), "{lock}");
    let old = case.base.digest().clone();

    case.base.move_to(1)?;
    let run = case
        .run(&["--json"])?
        .success()?
        .says(&["newer", "--update"])?;
    let object = json(&run)?;
    assert_eq!(object["key"]["full"], before.trim());
    assert_eq!(object["bases"][0]["from"], "lock");
    assert_eq!(object["bases"][0]["digest"], old.as_str());
    assert_eq!(
        object["newer"][0]["current"],
        case.base.digest().as_str(),
        "{object}"
    );
    // Locking once more keeps what is locked.
    case.run(&["--lock"])?.success()?;
    assert_eq!(case.project.read("docker/bases.lock")?, lock);

    let updated = case.run(&["--update"])?.success()?.stdout;
    assert_ne!(updated, before);
    assert!(
        case.project
            .read("docker/bases.lock")?
            .contains(case.base.digest().as_str())
    );
    let run = case.run(&[])?.success()?;
    assert_eq!(run.stdout, updated);
    assert!(!run.stderr.contains("newer"), "{}", run.stderr);
    case.run(&["--update", "--offline"])?.exit(USAGE)?;
    Ok(())
}

fn lock_without_registry() -> Outcome {
    let case = Case::new()?;
    let before = case.key()?;
    case.run(&["--lock"])?.success()?;
    case.registry.fail(Fault::NotFound);
    let run = case.run(&[])?.success()?.says(&["is not known"])?;
    assert_eq!(run.stdout, before);
    Ok(())
}

fn wrong_lock() -> Outcome {
    let case = Case::new()?;
    case.project
        .write("docker/bases.lock", "# ok\nnonsense\n")?;
    let run = case.run(&[])?.exit(USAGE)?;
    run.says(&["bases.lock", "line 2", "--update"])?;
    // And the way out of it.
    case.run(&["--update"])?.success()?;
    case.run(&[])?.success().map(drop)
}

fn offline_last_recipe() -> Outcome {
    let mut case = Case::new()?;
    let before = case.key()?;
    case.base.move_to(1)?;
    let asked = case.registry.served().len();
    let run = case.run(&["--offline", "--json"])?.success()?;
    let run = run.says(&["offline", &case.base.reference, "last recipe"])?;
    let object = json(&run)?;
    assert_eq!(object["key"]["full"], before.trim());
    assert_eq!(object["bases"][0]["from"], "last-recipe");
    assert_eq!(case.registry.served().len(), asked, "nobody was asked");

    let mut command = case.project.command(&["docker-key"]);
    command
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .env("DOCKER_LAYER_CACHE_OFFLINE", "1");
    assert_eq!(Run::of(&mut command)?.success()?.stdout, before);
    assert_ne!(case.key()?, before);
    Ok(())
}

fn offline_nothing() -> Outcome {
    let case = Case::new()?;
    let run = case.run(&["--offline"])?.exit(REGISTRY)?;
    run.says(&[&case.base.reference, "line 1", "offline", "hint: "])
        .map(drop)
}

fn explain_moves() -> Outcome {
    let mut case = Case::new()?;
    case.run(&["--explain"])?
        .success()?
        .says(&["no earlier recipe"])?;
    case.run(&["--explain"])?
        .success()?
        .says(&["nothing moved"])?;

    let old = case.base.digest().clone();
    case.base.move_to(1)?;
    case.project.write("docs/index", "2\n")?;
    let run = case.run(&["--explain", "--json"])?.success()?;
    let new = case.base.digest().clone();
    let run = run.says(&[
        old.as_str(),
        new.as_str(),
        "`docs/index`",
        "no run recorded",
    ])?;
    let object = json(&run)?;
    let changes = object["explain"]["changes"].as_array().cloned();
    let stages: Vec<(String, Vec<String>)> = changes
        .unwrap_or_default()
        .iter()
        .map(|change| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let stages = change["invalidates"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            (
                text(&change["ingredient"]),
                stages.iter().map(|one| text(&one["stage"])).collect(),
            )
        })
        .collect();
    let stages: Vec<(&str, Vec<&str>)> = stages
        .iter()
        .map(|(kind, stages)| (kind.as_str(), stages.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        stages,
        [
            ("base", vec!["deps", "stage-2"]),
            ("input", vec!["docs", "stage-2"])
        ]
    );
    Ok(())
}

fn explain_file() -> Outcome {
    let case = Case::new()?;
    case.key()?;
    let recipe = case
        .project
        .read("target/docker-layer-cache-key/app.json")?;
    case.project.write("old.json", &recipe)?;
    case.project.write("app.lock", "2\n")?;
    case.key()?;
    let file = case.project.root().join("old.json");
    let flag = format!("--explain={}", file.display());
    case.run(&[&flag])?
        .success()?
        .says(&["`app.lock` changed", "old.json"])?;
    case.project.write("old.json", "{}")?;
    case.run(&[&flag])?
        .exit(USAGE)?
        .says(&["not a recipe", "hint: "])
        .map(drop)
}
