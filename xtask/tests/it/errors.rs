//! What goes wrong before an engine is needed, and when there is none: the exit code, and a text
//! that names the place and the next step.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use docker_layer_cache_demo::{Base, BaseImage, Fault, Registry};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::support::{Outcome, Project, Run, unique};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("no_docker_command", no_docker_command),
    ("engine_that_refuses", engine_that_refuses),
    (
        "engine_on_a_port_where_nothing_listens",
        engine_on_a_dead_port,
    ),
    ("no_dockerfile", no_dockerfile),
    ("syntax_error_names_file_and_line", syntax_error),
    (
        "unknown_stage_in_copy_from_is_a_reference",
        copy_from_an_image,
    ),
    ("unknown_target", unknown_target),
    ("unset_argument_in_from", unset_argument),
    ("unknown_image_names_the_known_ones", unknown_image),
    ("unknown_field_names_line_and_nearest", unknown_field),
    ("wrong_type_in_images_toml_names_the_line", wrong_type),
    ("unknown_flag", unknown_flag),
    ("registry_down", registry_down),
    ("registry_says_401", registry_says_401),
    ("registry_says_404", registry_says_404),
    ("registry_says_429_for_good", registry_says_429_for_good),
    (
        "registry_says_429_twice_and_then_answers",
        registry_says_429_twice,
    ),
    (
        "registry_says_503_once_and_then_answers",
        registry_says_503_once,
    ),
    ("slow_registry_is_waited_for", slow_registry),
    ("digest_in_from_needs_no_network", digest_needs_no_network),
    (
        "each_reference_is_asked_once_with_head",
        asked_once_with_head,
    ),
    ("refs_json_needs_no_network", refs_json),
];

/// Exit codes of the contract.
const USAGE: i32 = 2;
const REGISTRY: i32 = 3;
const ENGINE: i32 = 4;

/// A project of one `FROM`, with a client configuration of its own.
struct Case {
    project: Project,
    client: TempDir,
}

impl Case {
    fn new(dockerfile: &str) -> Result<Self, Failed> {
        Ok(Self {
            project: Project::with_dockerfile(dockerfile)?,
            client: TempDir::with_prefix("dlc-test-client-")?,
        })
    }

    fn from(reference: &str) -> Result<Self, Failed> {
        Self::new(&format!("FROM {reference}\nRUN true\n"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        command.env("DOCKER_CONFIG", self.client.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Run, Failed> {
        Run::of(&mut self.command(arguments))
    }

    /// Runs `docker-key`, which must print a key.
    fn good_key(&self) -> Result<Run, Failed> {
        let run = self.key()?;
        if run.stdout.split_whitespace().count() == 1 {
            Ok(run)
        } else {
            Err(run.failure("does not print one key"))
        }
    }

    fn key(&self) -> Result<Run, Failed> {
        self.run(&["docker-key"])
    }

    fn on_engine(&self, host: &str, task: &str) -> Result<Run, Failed> {
        let mut command = self.command(&[task]);
        command
            .env("DOCKER_HOST", host)
            .env_remove("DOCKER_CONTEXT");
        Run::of(&mut command)
    }
}

/// A registry with one image.
fn registry_with_base() -> Result<(Registry, Base), Failed> {
    let registry = Registry::start()?;
    let base = Base::at_registry(&registry, &unique("base"), &BaseImage::make()?)?;
    Ok((registry, base))
}

/// A reference by digest, which needs no registry.
fn pinned() -> String {
    format!("127.0.0.1:1/base@sha256:{}", "ab".repeat(32))
}

fn no_docker_command() -> Outcome {
    let empty = TempDir::new()?;
    let case = Case::from(&pinned())?;
    let mut command = case.command(&["docker-build"]);
    command.env("PATH", empty.path());
    let run = Run::of(&mut command)?.exit(ENGINE)?;
    assert!(run.stdout.is_empty(), "stdout is data");
    run.says(&["docker", "hint: "]).map(drop)
}

fn engine_that_refuses() -> Outcome {
    let folder = TempDir::new()?;
    let socket = folder.path().join("docker.sock");
    // Bound and closed: the file is there, and refuses.
    drop(UnixListener::bind(&socket)?);
    let case = Case::from(&pinned())?;
    let host = format!("unix://{}", socket.display());
    for task in ["docker-restore", "docker-build", "docker-ci"] {
        case.on_engine(&host, task)?
            .exit(ENGINE)?
            .says(&["docker", "hint: "])?;
    }
    Ok(())
}

fn engine_on_a_dead_port() -> Outcome {
    let host = format!("tcp://127.0.0.1:{}", dead_port()?);
    let run = Case::from(&pinned())?.on_engine(&host, "docker-build")?;
    run.exit(ENGINE)?.says(&["docker", "hint: "]).map(drop)
}

fn no_dockerfile() -> Outcome {
    let case = Case::from(&pinned())?;
    std::fs::remove_file(case.project.root().join("docker/Dockerfile"))?;
    case.key()?
        .exit(USAGE)?
        .says(&["docker/Dockerfile"])
        .map(drop)
}

fn syntax_error() -> Outcome {
    let case = Case::new(&format!("FROM {}\nRUN true\n\nCOPI a b\n", pinned()))?;
    let run = case
        .key()?
        .exit(USAGE)?
        .says(&["docker/Dockerfile", "COPI"])?;
    run.says_one_of(&["Dockerfile:4", "line 4"]).map(drop)
}

fn copy_from_an_image() -> Outcome {
    let dockerfile = format!("FROM {}\nCOPY --from=127.0.0.1:1/nope:1 /a /b\n", pinned());
    let run = Case::new(&dockerfile)?.key()?.exit(REGISTRY)?;
    run.says(&["127.0.0.1:1/nope:1"]).map(drop)
}

fn unknown_target() -> Outcome {
    let case = Case::new(&format!("FROM {} AS build\nRUN true\n", pinned()))?;
    case.project.configure("target = \"biuld\"\n")?;
    case.key()?.exit(USAGE)?.says(&["biuld", "build"]).map(drop)
}

fn unset_argument() -> Outcome {
    let run = Case::new("ARG RUBY\nFROM ${RUBY}\nRUN true\n")?
        .key()?
        .exit(USAGE)?;
    run.says_one_of(&["Dockerfile:2", "line 2"]).map(drop)
}

fn unknown_image() -> Outcome {
    let run = Case::from(&pinned())?.run(&["docker-key", "ap"])?;
    run.exit(USAGE)?.says(&["`ap`", "app"]).map(drop)
}

fn unknown_field() -> Outcome {
    let case = Case::from(&pinned())?;
    case.project.configure("tagret = \"build\"\n")?;
    let run = case
        .key()?
        .exit(USAGE)?
        .says(&["images.toml", "tagret", "target"])?;
    run.says_one_of(&["images.toml:5", "line 5"]).map(drop)
}

fn wrong_type() -> Outcome {
    let case = Case::from(&pinned())?;
    case.project.configure("target = 7\n")?;
    let run = case.key()?.exit(USAGE)?.says(&["images.toml", "string"])?;
    run.says_one_of(&["images.toml:5", "line 5"]).map(drop)
}

fn unknown_flag() -> Outcome {
    let run = Case::from(&pinned())?.run(&["docker-key", "--no-such-flag"])?;
    run.exit(USAGE)?.says(&["--no-such-flag"]).map(drop)
}

fn registry_down() -> Outcome {
    let reference = format!("127.0.0.1:{}/base:1", dead_port()?);
    Case::from(&reference)?
        .key()?
        .exit(REGISTRY)?
        .says(&[&reference])
        .map(drop)
}

fn registry_says_401() -> Outcome {
    let (registry, base) = registry_with_base()?;
    registry.fail(Fault::Unauthorized);
    let run = Case::from(&base.reference)?.key()?.exit(REGISTRY)?;
    run.says(&[&base.reference, "401", "docker login"])
        .map(drop)
}

fn registry_says_404() -> Outcome {
    let registry = Registry::start()?;
    let reference = format!("{}/no-such-image:1", registry.host());
    let run = Case::from(&reference)?.key()?.exit(REGISTRY)?;
    run.says(&[&reference])?
        .says_one_of(&["404", "not found", "no such"])
        .map(drop)
}

fn registry_says_429_for_good() -> Outcome {
    let (registry, base) = registry_with_base()?;
    registry.fail(Fault::TooManyRequests {
        retry_after: Duration::from_secs(1),
    });
    let run = Case::from(&base.reference)?.key()?.exit(REGISTRY)?;
    if run.time > Duration::from_secs(60) {
        return Err(run.failure("tries for more than a minute"));
    }
    run.says(&[&base.reference, "429"]).map(drop)
}

fn registry_says_429_twice() -> Outcome {
    let (registry, base) = registry_with_base()?;
    registry.fail_times(
        2,
        Fault::TooManyRequests {
            retry_after: Duration::from_secs(1),
        },
    );
    let run = Case::from(&base.reference)?.good_key()?;
    if run.time < Duration::from_secs(2) {
        return Err(run.failure("does not wait as long as Retry-After says"));
    }
    Ok(())
}

fn registry_says_503_once() -> Outcome {
    let (registry, base) = registry_with_base()?;
    registry.fail_times(1, Fault::Unavailable);
    Case::from(&base.reference)?.good_key().map(drop)
}

fn slow_registry() -> Outcome {
    let (registry, base) = registry_with_base()?;
    registry.fail(Fault::Slow(Duration::from_millis(1500)));
    Case::from(&base.reference)?.good_key().map(drop)
}

fn digest_needs_no_network() -> Outcome {
    Case::from(&pinned())?.good_key().map(drop)
}

fn asked_once_with_head() -> Outcome {
    let (registry, base) = registry_with_base()?;
    let reference = &base.reference;
    let dockerfile =
        format!("FROM {reference} AS a\nRUN true\nFROM {reference}\nCOPY --from=a /x /x\n");
    let asked_before = registry.count("GET", "/manifests/1");
    Case::new(&dockerfile)?.good_key()?;
    assert_eq!(
        registry.count("HEAD", "/manifests/1"),
        1,
        "{:?}",
        registry.served()
    );
    assert_eq!(
        registry.count("GET", "/manifests/1"),
        asked_before,
        "Docker Hub counts GETs"
    );
    Ok(())
}

fn refs_json() -> Outcome {
    let dead = format!("127.0.0.1:{}", dead_port()?);
    let case = Case::new(&format!(
        "ARG TAG=1\nFROM {dead}/a:${{TAG}} AS a\nRUN true\nFROM {dead}/b:1\nCOPY --from=a /x /x\nCOPY --from={dead}/c:1 /x /y\n"
    ))?;
    let arguments = ["docker-key", "--refs-json", "--build-arg", "TAG=2"];
    let run = case.run(&arguments)?.success()?;
    let value: serde_json::Value = serde_json::from_str(&run.stdout)?;
    let text = value.to_string();
    for reference in ["a:2", "b:1", "c:1"] {
        assert!(
            text.contains(&format!("{dead}/{reference}")),
            "{reference} in {text}"
        );
    }
    assert!(
        !text.contains("a:1"),
        "the default of an ARG that is given: {text}"
    );
    Ok(())
}

/// Returns a port on which nothing listens.
fn dead_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
