//! Images that bake and Compose files define.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::Scenario;
use crate::support::{Bench, Files, Outcome, Project, Run, TestedBuilder, unique, xtask};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("compose_config_is_what_is_built", compose_is_wired),
    ("missing_plugins_and_files_are_named", missing_things),
];

/// On each other way of these engines too.
pub(crate) const THREE_TARGETS: Scenario = ("three_baked_targets_hit_after_a_wipe", three_targets);

/// On engines whose client has buildx.
pub(crate) const BAKE_SCENARIOS: &[Scenario] = &[
    THREE_TARGETS,
    ("bake_and_images_toml_are_merged", merged),
    ("what_bake_refuses_is_said", refused),
];

/// On engines whose client has the compose plugin.
pub(crate) const COMPOSE_SCENARIOS: &[Scenario] = &[("compose_services_are_built", services)];

const BAKE_FILE: &str = r#"
variable "VERSION" { default = "1" }
group "default" { targets = ["web", "worker"] }
target "shared" {
  context = "shared"
  target = "tools"
}
target "web" {
  context = "web"
  contexts = { shared = "target:shared" }
  dockerfile = "docker/Dockerfile"
  args = { VERSION = VERSION }
  labels = { "org.example.text" = "two words $${x}" }
  tags = ["@tag@:web"]
}
target "worker" {
  context = "."
  dockerfile-inline = "FROM @base@\nCOPY deps.lock /in/\nRUN mkdir /out && echo '$${x}' > /out/text && cat /proc/sys/kernel/random/uuid > /out/worker.id\n"
  tags = ["@tag@:worker"]
}
"#;

const SHARED: &str = "\
FROM @base@ AS tools
ENV SHARED=from-shared
RUN mkdir /out && cat /proc/sys/kernel/random/uuid > /out/tools.id
COPY tools.txt /out/tools.txt

FROM tools
RUN exit 1
";

const WEB: &str = "\
FROM shared
COPY web.txt /in/web.txt
RUN cat /in/web.txt > /out/web.txt && cat /proc/sys/kernel/random/uuid > /out/web.id
ARG VERSION
RUN echo \"$VERSION $SHARED\" > /out/version && cat /proc/sys/kernel/random/uuid > /out/version.id
";

/// What the images hold.
struct Images {
    web: Files,
    worker: Files,
}

/// Makes a repository with a bake file of three targets, and no `images.toml`.
fn project(bench: &Bench<'_>) -> Result<Project, Failed> {
    let base = bench.base("base")?.reference;
    let mut project = Project::with_dockerfile("")?;
    project.tag = unique("baked");
    fs::remove_file(project.root().join("docker/images.toml"))?;
    let with = |text: &str| text.replace("@base@", &base).replace("@tag@", &project.tag);
    project.write("docker-bake.hcl", &with(BAKE_FILE))?;
    project.write("shared/Dockerfile", &with(SHARED))?;
    project.write("shared/tools.txt", "tools 1\n")?;
    project.write("web/docker/Dockerfile", WEB)?;
    project.write("web/web.txt", "web 1\n")?;
    project.write("deps.lock", "dependency 1.0\n")?;
    Ok(project)
}

/// Runs a task with the bake file and these variables.
fn baked(
    project: &Project,
    bench: &Bench<'_>,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Run, Failed> {
    let mut command = project.command(arguments);
    command
        .arg("--bake")
        .arg(project.root().join("docker-bake.hcl"));
    command.envs(variables.iter().copied());
    Run::of(bench.engine.environment(&mut command))
}

fn images(project: &Project, bench: &Bench<'_>) -> Result<Images, Failed> {
    Ok(Images {
        web: bench.files(&format!("{}:web", project.tag))?,
        worker: bench.files(&format!("{}:worker", project.tag))?,
    })
}

/// Returns `hits of steps` of an image.
fn hits(run: &Run, image: &str) -> Result<(usize, usize), Failed> {
    Ok(run.report(image)?.hits())
}

fn three_targets(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let job = |variables: &[(&str, &str)]| {
        let run = baked(&project, bench, &["docker-ci", "--json"], variables)?.success()?;
        for image in ["shared", "web", "worker"] {
            let wrong = run.report(image)?.disagreements;
            if !wrong.is_empty() {
                return Err(run.failure(&format!("`{image}` was forecast otherwise: {wrong:?}")));
            }
        }
        Ok::<_, Failed>((run, images(&project, bench)?))
    };
    let (cold_run, cold) = job(&[])?;
    assert_eq!(cold.web.text("version"), "1 from-shared\n");
    assert_eq!(cold.web.text("tools.txt"), "tools 1\n");
    assert_eq!(cold.worker.text("text"), "${x}\n");
    let label = bench.engine.run(&[
        "image",
        "inspect",
        "--format={{index .Config.Labels \"org.example.text\"}}",
        &format!("{}:web", project.tag),
    ])?;
    assert_eq!(label.trim(), "two words ${x}");
    let untold = bench.engine.run(&["images", "--quiet", "shared"])?;
    assert_eq!(untold.trim(), "", "nobody asked for a tag `shared`");
    // All hits, on an engine that has nothing.
    bench.wipe()?;
    let (run, warm) = job(&[])?;
    for image in ["shared", "web", "worker"] {
        let (found, steps) = hits(&run, image)?;
        if (found, steps) != (steps, steps) || steps == 0 {
            let what = format!("hits {found} of {steps} steps of `{image}`");
            return Err(run.failure(&what));
        }
        let key = |run: &Run| run.report(image).map(|report| report.full_key);
        assert_eq!(key(&run)?, key(&cold_run)?);
    }
    for id in ["tools.id", "web.id", "version.id"] {
        assert_eq!(warm.web.text(id), cold.web.text(id), "{id} was made anew");
    }
    assert_eq!(warm.worker.text("worker.id"), cold.worker.text("worker.id"));
    // An arg moves the key of what uses it, and only steps that follow it run.
    bench.wipe()?;
    let (run, moved) = job(&[("VERSION", "2")])?;
    assert_eq!(moved.web.text("version"), "2 from-shared\n");
    assert_eq!(moved.web.text("web.id"), cold.web.text("web.id"));
    for (image, moves) in [("shared", false), ("web", true), ("worker", false)] {
        let (old, new) = (cold_run.report(image)?, run.report(image)?);
        assert_eq!(old.full_key != new.full_key, moves, "{image}");
    }
    // What a linked target copies moves what builds on it.
    bench.wipe()?;
    project.write("shared/tools.txt", "tools 2\n")?;
    let (_, moved) = job(&[])?;
    assert_eq!(moved.web.text("tools.txt"), "tools 2\n");
    assert_eq!(moved.web.text("tools.id"), cold.web.text("tools.id"));
    assert_ne!(moved.web.text("web.id"), cold.web.text("web.id"));
    Ok(())
}

fn merged(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let toml = "bake = \"docker-bake.hcl\"\n[image.worker]\ninputs = [\"deps.lock\"]\n";
    project.write("docker/images.toml", toml)?;
    let key = |image: &str| {
        let run = project.xtask(bench, &["docker-key", image])?.success()?;
        Ok::<_, Failed>(run.stdout)
    };
    let (worker, web) = (key("worker")?, key("web")?);
    assert_eq!(worker.lines().count(), 1);
    assert_eq!(web.lines().count(), 2, "`web` builds on `shared`");
    project.write("deps.lock", "dependency 1.1\n")?;
    assert_ne!(
        key("worker")?,
        worker,
        "its inputs are those of images.toml"
    );
    assert_eq!(key("web")?, web);
    // One by one, as CI runs them; a link holds from command to command.
    for task in [
        "docker-key",
        "docker-restore",
        "docker-build",
        "docker-save",
    ] {
        project.xtask(bench, &[task, "web"])?.success()?;
    }
    bench.wipe()?;
    let run = project
        .xtask(bench, &["docker-ci", "web", "--json"])?
        .success()?;
    let (found, steps) = hits(&run, "web")?;
    assert_eq!((found, steps > 0), (steps, true));
    // What both files define is refused, what neither builds is told.
    project.write("docker/images.toml", &format!("{toml}target = \"x\"\n"))?;
    project
        .xtask(bench, &["docker-key"])?
        .exit(2)?
        .says(&["`target`", "[image.worker]"])?;
    project.write("docker/images.toml", &format!("{toml}[image.wbe]\n"))?;
    project
        .xtask(bench, &["docker-key"])?
        .success()?
        .says(&["`[image.wbe]`", "is not used"])?;
    Ok(())
}

fn refused(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let file = project.read("docker-bake.hcl")?;
    baked(&project, bench, &["docker-key", "wbe"], &[])?
        .exit(2)?
        .says(&["docker-bake.hcl", "failed to find target wbe"])?;
    let with = |line: &str| {
        file.replace(
            "context = \"web\"\n",
            &format!("context = \"web\"\n{line}\n"),
        )
    };
    for (line, parts) in [
        ("no-cache = true", ["`web`", "`no-cache`"]),
        (
            "platforms = [\"linux/amd64\", \"linux/arm64\"]",
            ["`web`", "platform"],
        ),
        ("output = [\"type=local,dest=out\"]", ["`web`", "`output`"]),
        ("args = {", ["docker-bake.hcl", "refuses it"]),
    ] {
        project.write("docker-bake.hcl", &with(line))?;
        baked(&project, bench, &["docker-key"], &[])?
            .exit(2)?
            .says(&parts)?;
    }
    project.write("docker-bake.hcl", &with("annotations = [\"a=b\"]"))?;
    baked(&project, bench, &["docker-key"], &[])?
        .success()?
        .says(&["warning", "`annotations`"])?;
    // The classic builder would leave the link out, and build something else.
    let classic = [("DOCKER_BUILDKIT", "0")];
    project.write("docker-bake.hcl", &file)?;
    let mut command = project.command(&["docker-build", "web"]);
    command
        .arg("--bake")
        .arg(project.root().join("docker-bake.hcl"));
    bench.engine.environment(&mut command).envs(classic);
    Run::of(&mut command)?.exit(2)?.says(&["buildx"])?;
    // A linked target that fails leaves nothing that is built on the last one of it.
    let job = || baked(&project, bench, &["docker-ci"], &[]);
    job()?.success()?;
    let image = format!("{}:web", project.tag);
    bench.engine.run(&["image", "rm", &image])?;
    let shared = project.read("shared/Dockerfile")?;
    project.write("shared/Dockerfile", &shared.replace("mkdir /out", "exit 7"))?;
    let run = job()?;
    assert_ne!(run.code, Some(0));
    run.says(&["`web`: not built, as `shared` failed"])?;
    let images = bench.engine.run(&["images", "--quiet", &image])?;
    assert_eq!(images.trim(), "", "`web` was built on the last `shared`");
    Ok(())
}

fn services(bench: &Bench<'_>) -> Outcome {
    let project = project(bench)?;
    let compose = format!(
        "name: shop\nservices:\n  shared:\n    build: {{ context: shared, target: tools }}\n  web:\n    image: {}:web\n    build:\n      context: web\n      dockerfile: docker/Dockerfile\n      args: {{ VERSION: \"${{VERSION:-1}}\" }}\n      additional_contexts: {{ shared: \"service:shared\" }}\n  db:\n    image: postgres:16\n",
        project.tag
    );
    project.write("compose.yaml", &compose)?;
    project.write("docker/images.toml", "compose = \"compose.yaml\"\n")?;
    let job = || {
        let run = project.xtask(bench, &["docker-ci", "--json"])?.success()?;
        let web = bench.files(&format!("{}:web", project.tag))?;
        assert_eq!(web.text("version"), "1 from-shared\n");
        hits(&run, "web")
    };
    let (found, steps) = job()?;
    assert_eq!((found, steps > 0), (0, true));
    bench.wipe()?;
    assert_eq!(job()?, (steps, steps));
    Ok(())
}

/// Returns why a scenario cannot run: the client has no such plugin.
pub(crate) fn obstacle(engine: &crate::support::Engine, plugin: &str) -> Option<String> {
    if plugin == "buildx" && engine.builder() != TestedBuilder::Buildkit {
        return Some("needs BuildKit, by the buildx plugin".to_owned());
    }
    let has = engine.run(&[plugin, "version"]).is_ok();
    (!has).then(|| format!("needs the {plugin} plugin"))
}

/// Writes a `docker` that answers as the script does, and returns its folder.
fn fake_docker(project: &Project, script: &str) -> Result<PathBuf, Failed> {
    let folder = project.root().join("../bin");
    fs::create_dir_all(&folder)?;
    let path = folder.join("docker");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn with_fake(project: &Project, bin: &Path, arguments: &[&str]) -> Result<Run, Failed> {
    let mut command = xtask();
    command.args(arguments).arg("--root").arg(project.root());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", bin.display()));
    command.env("DOCKER_CONFIG", bin);
    command.current_dir(project.root());
    Run::of(&mut command)
}

fn compose_is_wired() -> Outcome {
    let project = Project::with_dockerfile("FROM scratch\nCOPY a /\n")?;
    project.write("compose.yaml", "")?;
    let root = project.root();
    let root = root.display();
    let config = format!(
        r#"{{"name":"shop","services":{{"db":{{"image":"postgres:16"}},"web":{{"build":{{"context":"{root}","dockerfile":"docker/Dockerfile","cache_from":["x"]}}}}}}}}"#
    );
    // Only the very arguments of a real compose are answered.
    let script = format!(
        "[ \"$*\" = 'compose --file={root}/compose.yaml config --format=json' ] && echo '{config}' && exit 0\necho \"unexpected: $*\" >&2; exit 1"
    );
    let bin = fake_docker(&project, &script)?;
    let run = with_fake(
        &project,
        &bin,
        &["docker-key", "--refs-json", "--compose", "compose.yaml"],
    )?
    .success()?
    .says(&["service `web`: `cache_from` is not used"])?;
    assert_eq!(
        run.stdout.trim(),
        "[]",
        "one service is built, from nothing"
    );
    with_fake(
        &project,
        &bin,
        &["docker-key", "db", "--compose", "compose.yaml"],
    )?
    .exit(2)?
    .says(&["`db` has no `build`", "there is `web`"])?;
    Ok(())
}

fn missing_things() -> Outcome {
    let project = Project::with_dockerfile("FROM scratch\n")?;
    let bin = fake_docker(&project, "echo \"unknown flag: $2\" >&2; exit 125")?;
    for (flag, file) in [("--bake", "docker-bake.hcl"), ("--compose", "compose.yaml")] {
        with_fake(&project, &bin, &["docker-key", flag, file])?
            .exit(2)?
            .says(&["cannot read", file])?;
        project.write(file, "")?;
        let plugin = if flag == "--bake" {
            "buildx"
        } else {
            "compose"
        };
        with_fake(&project, &bin, &["docker-key", flag, file])?
            .exit(4)?
            .says(&[&format!("the {plugin} plugin is not there"), "install"])?;
    }
    with_fake(
        &project,
        &bin,
        &["docker-key", "--bake", "a", "--compose", "b"],
    )?
    .exit(2)?
    .says(&["cannot be used with"])?;
    let both = "bake = \"docker-bake.hcl\"\ncompose = \"compose.yaml\"\n";
    project.write("docker/images.toml", both)?;
    with_fake(&project, &bin, &["docker-key"])?
        .exit(2)?
        .says(&["images.toml", "not from both"])?;
    Ok(())
}
