//! No secret gets out: passwords, tokens and values are planted wherever they may lie, and looked
//! for in all that a command says and writes, when it works and when it fails.

use std::fs;
use std::path::Path;
use std::process::Command;

use docker_layer_cache::oci::Digest;
use docker_layer_cache_demo::{Base, BaseImage, Fault, Registry};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run, unique};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("keys_hold_none", keys_hold_none),
    ("registry_failures_tell_none", registry_failures),
    ("registry_down_tells_none", registry_down),
    ("bad_dockerfile_tells_none", bad_dockerfile),
];

pub(crate) const SCENARIOS: &[Scenario] = &[("no_secret_leaves_the_whole_job", whole_job)];

/// What must be found nowhere.
const PASSWORD: &str = "planted-password-1f0c";
const TOKEN: &str = "planted-identity-token-2e1d";
const AUTH_CONFIG: &str = "planted-auth-config-3d2e";
const VARIABLE: &str = "planted-variable-4c3f";
const BUILD_SECRET: &str = "planted-build-secret-5b40";
const BUILD_ARG: &str = "planted-build-arg-6a51";
const PLANTED: &[&str] = &[
    PASSWORD,
    TOKEN,
    AUTH_CONFIG,
    VARIABLE,
    BUILD_SECRET,
    BUILD_ARG,
];

/// A project on a registry whose credentials lie in four places.
struct Case {
    registry: Registry,
    project: Project,
    client: TempDir,
    keys: TempDir,
}

impl Case {
    fn new(dockerfile: &str) -> Result<Self, Failed> {
        let registry = Registry::start()?;
        let base = Base::at_registry(&registry, &unique("base"), &BaseImage::make()?)?;
        Self::on(registry, &base.reference, dockerfile)
    }

    fn on(registry: Registry, base: &str, dockerfile: &str) -> Result<Self, Failed> {
        let project = Project::with_dockerfile(&dockerfile.replace("@base@", base))?;
        project.configure("secrets = [\"id=planted,env=PLANTED_BUILD_SECRET\"]\n")?;
        Ok(Case {
            registry,
            project,
            client: TempDir::with_prefix("dlc-test-client-")?,
            keys: TempDir::with_prefix("dlc-test-keys-")?,
        })
    }

    /// Returns the command with everything planted; `way` chooses the place that wins.
    fn command(&self, task: &str, way: usize) -> Result<Command, Failed> {
        let host = self.registry.host();
        let user = |password: &str| base64(format!("user:{password}").as_bytes());
        let auth = match way {
            0 => format!("{{ \"auth\": \"{}\" }}", user(PASSWORD)),
            _ => format!(
                "{{ \"auth\": \"{}\", \"identitytoken\": \"{TOKEN}\" }}",
                user("")
            ),
        };
        let config = format!("{{ \"auths\": {{ \"{host}\": {auth} }} }}");
        fs::write(self.client.path().join("config.json"), config)?;
        let mut command = self.project.command(&[task, "--json"]);
        command
            .arg("--build-arg")
            .arg(format!("PLANTED={BUILD_ARG}"))
            .arg("--key-dir")
            .arg(self.keys.path())
            .env("PLANTED_BUILD_SECRET", BUILD_SECRET);
        if way >= 2 {
            let auth = user(AUTH_CONFIG);
            let config = format!("{{ \"auths\": {{ \"{host}\": {{ \"auth\": \"{auth}\" }} }} }}");
            command.env("DOCKER_AUTH_CONFIG", config);
        }
        if way >= 3 {
            let name: String = host
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let name = format!("DOCKER_LAYER_CACHE_AUTH_{}", name.to_ascii_uppercase());
            command.env(name, format!("user:{VARIABLE}"));
        }
        Ok(command)
    }

    /// Runs `docker-key` without an engine.
    fn key(&self, way: usize) -> Result<Run, Failed> {
        let mut command = self.command("docker-key", way)?;
        command
            .env("DOCKER_CONFIG", self.client.path())
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .env_remove("DOCKER_CONTEXT");
        Run::of(&mut command)
    }

    /// Fails where a planted text is in what was said or written.
    fn check(&self, run: &Run) -> Outcome {
        let mut texts = vec![
            ("stdout".to_owned(), run.stdout.clone().into_bytes()),
            ("stderr".to_owned(), run.stderr.clone().into_bytes()),
        ];
        for folder in [self.keys.path(), self.project.store()] {
            read_all(folder, &mut texts)?;
        }
        let target = self.project.root().join("target");
        read_all(&target, &mut texts)?;
        for (place, text) in &texts {
            for &planted in PLANTED {
                // Docker itself writes build args into the history of an image.
                if planted == BUILD_ARG && place.contains("/blobs/") {
                    continue;
                }
                let encoded = base64(format!("user:{planted}").as_bytes());
                if contains(text, planted) || contains(text, &encoded) {
                    return Err(run.failure(&format!("`{planted}` is in {place}")));
                }
            }
        }
        Ok(())
    }
}

const WAYS: usize = 4;
const DOCKERFILE: &str = "\
FROM @base@
ARG PLANTED
RUN --mount=type=secret,id=planted true
";

fn keys_hold_none() -> Outcome {
    let case = Case::new(DOCKERFILE)?;
    for way in 0..WAYS {
        let run = case.key(way)?.success()?;
        case.check(&run)?;
        assert!(run.stdout.contains("PLANTED"), "the arg is in the recipe");
    }
    // The test itself must be able to find something.
    let digest = Digest::of(BUILD_ARG.as_bytes());
    let recipe = fs::read_to_string(case.keys.path().join("app.json"))?;
    assert!(recipe.contains(digest.as_str()), "{recipe}");
    Ok(())
}

fn registry_failures() -> Outcome {
    let case = Case::new(DOCKERFILE)?;
    for fault in [Fault::Unauthorized, Fault::NotFound] {
        for way in 0..WAYS {
            case.registry.fail(fault.clone());
            let run = case.key(way)?.exit(3)?;
            case.check(&run)?;
        }
    }
    Ok(())
}

fn registry_down() -> Outcome {
    let case = Case::on(
        Registry::start()?,
        "user-is-not-asked.invalid/base:1",
        DOCKERFILE,
    )?;
    let run = case.key(WAYS - 1)?.exit(3)?;
    case.check(&run)
}

fn bad_dockerfile() -> Outcome {
    for dockerfile in [
        "FROM @base@\nARG PLANTED\nRUNN true\n",
        "ARG PLANTED\nFROM @base@:$PLANTED:2\n",
        "ARG PLANTED\nFROM --platform=$PLANTED @base@\n",
    ] {
        let case = Case::new(dockerfile)?;
        let run = case.key(0)?.exit(2)?;
        // BuildKit prints the name that it refuses as well; what is not asked for must not show.
        if !dockerfile.contains("$PLANTED") {
            case.check(&run)?;
        }
    }
    Ok(())
}

/// The whole job on an engine: a build that works, and one that fails.
fn whole_job(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let classic = bench.engine.run(&["buildx", "version"]).is_err();
    let dockerfile = if classic {
        "FROM @base@\nARG PLANTED\nRUN echo x > /x\n"
    } else {
        "FROM @base@\nARG PLANTED\nRUN --mount=type=secret,id=planted test -s /run/secrets/planted\n"
    };
    let case = Case::on(Registry::start()?, &base.reference, dockerfile)?;
    if classic {
        case.project.configure("")?;
    }
    let run = |case: &Case| Run::of(bench.engine.environment(&mut case.command("docker-ci", 3)?));
    case.check(&run(&case)?.success()?)?;
    let failing = dockerfile.replace("@base@", &base.reference) + "RUN exit 7\n";
    case.project.write("docker/Dockerfile", &failing)?;
    let failed = run(&case)?;
    if failed.code == Some(0) {
        return Err(failed.failure("succeeds"));
    }
    case.check(&failed)
}

/// Adds the content of all files below `folder`.
pub(crate) fn read_all(folder: &Path, texts: &mut Vec<(String, Vec<u8>)>) -> Outcome {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, texts)?;
        } else if path.is_file() {
            texts.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}

pub(crate) fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for n in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(n).copied().unwrap_or_default());
        }
        for n in 0..4 {
            let digit = bits >> (18 - 6 * n) & 63;
            text.push(if n <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}
