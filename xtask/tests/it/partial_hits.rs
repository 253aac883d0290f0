//! Partial hits that hold: many kinds of steps, many kinds of changes, one generation after another.

use std::collections::BTreeSet;
use std::fs::File;

use libtest_mimic::Failed;

use crate::Scenario;
use crate::support::{Bench, Files, Outcome, Project, TestedBuilder};

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "every_kind_of_change_hits_what_it_leaves_alone",
    every_change,
)];

/// How often all is done; for finding what varies from run to run.
const ROUNDS: &str = "DOCKER_LAYER_CACHE_TEST_ROUNDS";

const DOCKERFILE: &str = "\
ARG LEVEL=1

FROM @base@ AS tools
ARG LEVEL
RUN mkdir /out && echo $LEVEL > /out/level.txt && cat /proc/sys/kernel/random/uuid > /out/tools.id

FROM @base@ AS deps
WORKDIR /work
ENV MODE=release
COPY deps.lock /in/deps.lock
RUN @cache@mkdir /out && cat /in/deps.lock > /out/deps.lock && cat /proc/sys/kernel/random/uuid > /out/deps.id
RUN true
@script@

FROM deps AS build
ADD vendor.tar /vendor/
COPY src /in/src
@build@

FROM @onbuild@ AS settings
WORKDIR /settings
ENV A=1 B=2

FROM settings AS runtime
COPY @link@--from=build /out /out
@extra@COPY late.txt /in/late.txt
RUN cat /in/late.txt > /out/late.txt && cat /proc/sys/kernel/random/uuid > /out/late.id
";
const EXTRA_STAGE: &str = "\
FROM @base@ AS extra
RUN cat /proc/sys/kernel/random/uuid > /extra.id

";
const RUN_BUILD: &str = "cat /tools/level.txt > /out/level.txt && cat /tools/tools.id > /out/tools.id && cat /base-etc/base-release > /out/build.base && cat /vendor/vendored.txt /in/src/main.txt > /out/main.txt && cat /proc/sys/kernel/random/uuid > /out/build.id";

fn every_change(bench: &Bench<'_>) -> Outcome {
    let rounds = std::env::var(ROUNDS).ok();
    let rounds = rounds.and_then(|n| n.parse().ok()).unwrap_or(1);
    for round in 1..=rounds {
        generations(bench).map_err(|error| {
            let what = error.message().unwrap_or_default();
            Failed::from(format!("round {round} of {rounds}: {what}"))
        })?;
        bench.wipe()?;
    }
    Ok(())
}

fn generations(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?.reference;
    let on_build = "RUN mkdir /out && cat /proc/sys/kernel/random/uuid > /out/onbuild.id";
    let on_build = bench.base_on_build("onbuild", &[on_build])?.reference;
    let text = dockerfile(bench.engine.builder())
        .replace("@base@", &base)
        .replace("@onbuild@", &on_build);
    let plain = text.replace("@extra@", "");
    let project = Project::with_dockerfile(&plain)?;
    project.configure("inputs = [\"deps.lock\"]\n")?;
    project.write("deps.lock", "dependency 1.0\n")?;
    project.write("src/main.txt", "source 1\n")?;
    project.write("late.txt", "late 1\n")?;
    vendor(&project)?;
    let job = |what: &str, before: &Files, expected: &[&str]| -> Result<Files, Failed> {
        bench.wipe()?;
        let built = project.ci(bench)?;
        let reused = built.files.reused_since(before);
        let expected: BTreeSet<String> = expected.iter().map(|&step| step.to_owned()).collect();
        if reused == expected {
            return Ok(built.files);
        }
        let what = format!("{what}: reused {reused:?}, not {expected:?}");
        Err(built.run.failure(&what))
    };
    let all = ["onbuild", "tools", "deps", "script", "build", "late"];
    let first = project.ci(bench)?.files;
    job("nothing", &first, &all)?;

    project.write("late.txt", "late 2\n")?;
    let late = job("late file", &first, &all[..5])?;

    project.write("deps.lock", "dependency 2.0\n")?;
    job("lock file", &late, &["onbuild", "tools"])?;
    project.write("deps.lock", "dependency 1.0\n")?;
    job("lock file back", &late, &all)?;

    project.configure("inputs = [\"deps.lock\"]\nbuild-args = { LEVEL = \"2\" }\n")?;
    let level = job("build arg", &late, &["onbuild", "deps", "script"])?;
    assert_eq!(level.text("level.txt"), "2\n");

    project.write("src/main.txt", "source 2\n")?;
    let source = job("source", &level, &["onbuild", "tools", "deps", "script"])?;
    assert_eq!(source.text("main.txt"), "vendored\nsource 2\n");

    let copy = "COPY --from=extra /extra.id /out/extra.id\n";
    let extra = EXTRA_STAGE.replace("@base@", &base) + &text.replace("@extra@", copy);
    // ARG before the first FROM stays first.
    let extra = format!("ARG LEVEL=1\n{}", extra.replacen("ARG LEVEL=1\n", "", 1));
    project.write("docker/Dockerfile", &extra)?;
    job("stage added", &source, &all[..5])?;
    project.write("docker/Dockerfile", &plain)?;
    job("stage removed", &source, &all)?;

    let target = |name| {
        format!("inputs = [\"deps.lock\"]\nbuild-args = {{ LEVEL = \"2\" }}\ntarget = \"{name}\"\n")
    };
    project.configure(&target("build"))?;
    job("another target", &source, &all[1..5])?;
    project.configure(&target("runtime"))?;
    job("the first target again", &source, &all).map(drop)
}

/// Returns the Dockerfile with all that the builder understands.
fn dockerfile(builder: TestedBuilder) -> String {
    let (cache, build) = if builder == TestedBuilder::Classic {
        let copies = "COPY --from=tools /out /tools\nCOPY --from=@base@ /etc /base-etc\nRUN ";
        ("", format!("{copies}{RUN_BUILD}"))
    } else {
        let mounts = "--mount=type=bind,from=tools,source=/out,target=/tools --mount=type=bind,from=@base@,source=/etc,target=/base-etc";
        (
            "--mount=type=cache,target=/cache ",
            format!("RUN {mounts} {RUN_BUILD}"),
        )
    };
    let (link, script) = if builder == TestedBuilder::Buildkit {
        (
            "--link ",
            "RUN <<EOF\ncat /proc/sys/kernel/random/uuid > /out/script.id\nEOF",
        )
    } else {
        ("", "RUN cat /proc/sys/kernel/random/uuid > /out/script.id")
    };
    DOCKERFILE
        .replace("@cache@", cache)
        .replace("@build@", &build)
        .replace("@link@", link)
        .replace("@script@", script)
}

fn vendor(project: &Project) -> Result<(), Failed> {
    let file = File::create(project.root().join("vendor.tar"))?;
    let mut archive = tar::Builder::new(file);
    let text = b"vendored\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "vendored.txt", text.as_slice())?;
    Ok(archive.finish()?)
}
