//! Deploys of what was pushed: by a command, and to a Swarm of one node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use docker_layer_cache_demo::Registry;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Engine, Outcome, Project, Run, unique};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("deploy_runs_a_command_without_a_shell", by_command),
    (
        "deploy_updates_a_service_and_rolls_back_what_fails",
        to_swarm,
    ),
];

/// A program that writes down its arguments, one a line, and fails on the word `fail`.
const RECORDER: &str = "#!/bin/sh\nfor word in \"$@\"; do echo \"$word\" >> \"$RECORD\"; done\necho talk\n[ \"$1\" != fail ] || exit 9\n";

fn by_command(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::with_dockerfile(&format!("FROM {}\n", base.reference))?;
    project.write("deploy.sh", RECORDER)?;
    let script = project.root().join("deploy.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let configure = |first: &str| {
        project.write(
            "docker/images.toml",
            &format!(
                "[image.app]\ntags = [\"{}/team/app:1.2\"]\n[deploy.here]\nimage = \"app\"\ncommand = [\"./deploy.sh\", \"{first}\", \"x={{image}}@{{digest}}\", \"{{tag}} $HOME; true\"]\n",
                bench.registry.host()
            ),
        )
    };
    configure("set")?;
    let record = project.root().join("record");
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        bench
            .engine
            .environment(&mut command)
            .env("RECORD", &record);
        Run::of(&mut command)
    };
    run(&["docker-deploy"])?
        .exit(2)?
        .says(&["image `app` was not pushed", "docker-push"])?;
    run(&["docker-ci", "--push", "--deploy"])?
        .success()?
        .says(&["deploy here", "talk"])?;
    let digests = project
        .root()
        .join("target/docker-layer-cache-key/.work/app/pushed.json");
    let pushed: Value = serde_json::from_slice(&fs::read(&digests)?)?;
    let digest = pushed[0]["digest"].as_str().ok_or("no digest")?;
    let expected = format!(
        "set\nx={}/team/app@{digest}\n1.2 $HOME; true\n",
        bench.registry.host()
    );
    assert_eq!(fs::read_to_string(&record)?, expected);

    fs::remove_file(&record)?;
    run(&["docker-deploy", "--dry-run"])?
        .success()?
        .says(&[digest])?;
    assert!(!record.exists());
    let copied = project.root().join("copied.json");
    fs::copy(&digests, &copied)?;
    fs::remove_file(&digests)?;
    let json = run(&[
        "docker-deploy",
        "--json",
        "--digest-file",
        &copied.to_string_lossy(),
    ])?;
    let json: Value = serde_json::from_str(&json.success()?.stdout)?;
    assert_eq!(json["digest"], digest);
    assert_eq!(fs::read_to_string(&record)?, expected);

    fs::rename(&copied, &digests)?;
    configure("fail")?;
    run(&["docker-deploy", "--to", "here"])?
        .exit(9)?
        .says(&["deploy `here`: `./deploy.sh` failed"])?;
    run(&["docker-deploy", "--to", "her"])?
        .exit(2)?
        .says(&["did you mean `here`?"])?;
    Ok(())
}

/// A swarm that ends with the test.
struct Swarm<'a>(&'a Engine);

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        // What is left of it is the engine's affair; the next test says so.
        let _ = self.0.run(&["swarm", "leave", "--force"]);
    }
}

fn to_swarm(bench: &Bench<'_>) -> Outcome {
    // A swarm is of the whole engine: one that is not the tests' own keeps what it has.
    if !bench.engine.is_ours() {
        return Ok(());
    }
    let engine = bench.engine;
    engine.run(&["swarm", "init", "--advertise-addr", "127.0.0.1"])?;
    let _swarm = Swarm(engine);
    let base = bench.base("base")?;
    let project = Project::with_dockerfile("")?;
    let image = |command: &str| {
        let lines = format!("FROM {}\nCMD {command}\n", base.reference);
        project.write("docker/Dockerfile", &lines)
    };
    let service = unique("web");
    configure(&project, &bench.registry, &service)?;
    let run = |arguments: &[&str]| project.xtask(bench, arguments);
    let running = || {
        let format = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
        let found = engine.run(&["service", "inspect", "--format", format, &service])?;
        Ok::<_, Failed>(found.trim().to_owned())
    };
    image("[\"sleep\", \"1000\"]")?;
    let first = run(&["docker-ci", "--push"])?.success()?;
    run(&["docker-deploy"])?
        .exit(4)?
        .says(&["docker service ls"])?;
    let first = pinned(&first)?;
    // On the host's network: which image runs is to be seen without an ingress.
    let create = "service create --quiet --detach=false --network host --update-monitor 2s --stop-grace-period 1s --name";
    let mut create: Vec<&str> = create.split(' ').collect();
    create.extend([service.as_str(), first.as_str()]);
    engine.run(&create)?;

    image("[\"sleep\", \"2000\"]")?;
    let second = run(&["docker-ci", "--push", "--deploy"])?
        .success()?
        .says(&["deploy web", "done"])?;
    let second = pinned(&second)?;
    assert_ne!(first, second);
    assert_eq!(running()?, second);

    image("[\"/no/such/program\"]")?;
    let failed = run(&["docker-ci", "--push", "--deploy"])?.exit(4)?.says(&[
        &format!("rolled back to `{second}`"),
        "/no/such/program",
        "docker service ps",
    ])?;
    assert_ne!(pinned(&failed)?, second);
    assert_eq!(running()?, second);
    let format = "{{.Image}} {{.CurrentState}}";
    let filter = "desired-state=running";
    let tasks = engine.run(&[
        "service",
        "ps",
        "--no-trunc",
        "--filter",
        filter,
        "--format",
        format,
        &service,
    ])?;
    assert!(tasks.contains("Running"), "{tasks}");
    engine.run(&["service", "rm", &service])?;
    Ok(())
}

/// Returns `repository@digest` of the one tag that was pushed.
fn pinned(run: &Run) -> Result<String, Failed> {
    let found = run.stdout.trim().split_once("/app:1@");
    let (host, digest) = found.ok_or_else(|| run.failure("pushed no tag"))?;
    Ok(format!("{host}/app@{digest}"))
}

fn configure(project: &Project, registry: &Registry, service: &str) -> Result<(), Failed> {
    project.write(
        "docker/images.toml",
        &format!(
            "[image.app]\ntags = [\"{}/team/app:1\"]\n[deploy.web]\nimage = \"app\"\nservice = \"{service}\"\ntimeout = \"60s\"\n",
            registry.host()
        ),
    )
}
