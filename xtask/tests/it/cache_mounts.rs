//! The files of cache mounts go with the store: they are there for a step that runs again, and
//! nothing else changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project, Run, TestedBuilder, tree_of_image, unique};

/// What mounting, exporting and importing take at least: what a step takes less, is not kept.
const ROUND_TRIP_SECONDS: f64 = 0.7;

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("cache_mount_comes_back_as_it_was", comes_back),
    ("cache_mount_of_steps_that_hit_is_left_alone", nothing_ran),
    ("cache_mount_that_changed_stores_only_the_new", only_the_new),
    ("cache_mount_that_is_too_large_is_not_saved", too_large),
    ("cache_mount_with_a_damaged_blob_begins_empty", damaged),
    ("cache_mount_is_shared_by_images", shared),
    ("cache_mount_of_an_image_without_a_shell", without_a_shell),
    (
        "cache_mount_that_the_engine_has_is_left_alone",
        engine_has_it,
    ),
    (
        "cache_mount_that_another_build_holds_is_not_waited_for_long",
        held,
    ),
    (
        "cache_mount_that_spares_nothing_is_not_saved",
        spares_nothing,
    ),
    ("cache_mount_means_nothing_to_the_classic_builder", classic),
];

/// Puts something of everything into an empty mount.
const FILL: &str = "mkdir -p /cache/a/b /cache/empty \
&& echo one > /cache/a/one && cp -a /in/owned.txt /cache/a/owned && head -c 5000000 /dev/urandom > /cache/a/b/large \
&& ln /cache/a/one /cache/link && ln -s ../../etc/passwd /cache/a/outside && : > /cache/a/nothing \
&& chmod 4751 /cache/a/one && chmod 1777 /cache/empty && touch -d '2001-02-03 04:05:06' /cache/a/one /cache/a/b/large /cache/a/b /cache/a \
&& echo own > /own/file && chmod 711 /cache && sleep 2";

/// A repository whose step mounts `/cache` and takes two seconds where that is empty.
///
/// What a step finds in the mount goes to `/out/found`, so that it can be looked at.
fn project(bench: &Bench<'_>, more: &str) -> Result<Project, Failed> {
    let base = bench.base("base")?;
    // Engines of tests are emptied, but a developer's own has mounts by the same names.
    let id = unique("mount");
    let project = Project::with_dockerfile(&format!(
        "FROM {}\n\
         COPY early.txt /in/early.txt\n\
         COPY --chown=1234:2345 owned.txt /in/owned.txt\n\
         RUN --mount=type=cache,target=/cache,id={id} --mount=type=cache,target=/own,id={id},uid=1000,gid=1001,mode=0750,sharing=private \
         mkdir /out && cp -a /cache /out/found && cp -a /own /out/own \
         && if [ ! -e /cache/a ]; then {FILL}; fi {more} \
         && cp -a /cache /out/left && cp -a /own /out/own-left && cat /proc/sys/kernel/random/uuid > /out/ran.id\n",
        base.reference
    ))?;
    project.configure("cache-mounts = true\n")?;
    project.write("early.txt", "early 1\n")?;
    project.write("owned.txt", "owned\n")?;
    project.write(".dockerignore", "target\n")?;
    Ok(project)
}

/// Changes the file that the step stands on and has nothing to do with.
fn change(project: &Project, n: usize) -> Outcome {
    project.write("early.txt", &format!("early {n}\n"))
}

fn ci(bench: &Bench<'_>, project: &Project) -> Result<Run, Failed> {
    project.xtask(bench, &["docker-ci", "--json"])?.success()
}

fn silent(run: &Run, part: &str) -> Outcome {
    if run.stderr.contains(part) {
        return Err(run.failure(&format!("says `{part}`")));
    }
    Ok(())
}

fn is_classic(bench: &Bench<'_>) -> bool {
    bench.engine.builder() == TestedBuilder::Classic
}

fn comes_back(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "")?;
    let tree = |folder: &str| tree_of_image(bench.engine, &project.tag, folder);
    let first = ci(bench, &project)?.says(&["saved cache mount", "cache mounts saved in"])?;
    silent(&first, "warning")?;
    let (left, own) = (tree("/out/left")?, tree("/out/own-left")?);
    assert_eq!(tree("/out/found")?.len(), 1, "the mount begins empty");
    assert!(left["a/one"].contains("4751"), "{left:?}");
    assert!(left["a/owned"].contains("1234:2345"), "{left:?}");
    assert!(own["."].contains("750 1000:1001"), "{own:?}");

    for n in 2..=3 {
        bench.wipe()?;
        change(&project, n)?;
        let run = ci(bench, &project)?.says(&["filled cache mount", "uid=1000"])?;
        silent(&run, "warning")?;
        assert_eq!(tree("/out/found")?, left, "in job {n}");
        assert_eq!(tree("/out/own")?, own, "in job {n}");
    }
    Ok(())
}

fn nothing_ran(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "")?;
    ci(bench, &project)?;
    let before = project.blobs()?;
    let index = project.store().join("index.json");
    let entries = fs::read(&index)?;
    bench.wipe()?;
    let run = ci(bench, &project)?;
    silent(&run, "filled cache mount")?;
    silent(&run, "cache mounts saved")?;
    assert_eq!(project.blobs()?, before, "the blobs of the store");
    assert_eq!(fs::read(&index)?, entries, "the index of the store");
    Ok(())
}

fn only_the_new(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let more =
        "&& head -c 100000 /dev/urandom > /cache/$(wc -c < /in/early.txt) && sleep 2 && rm -rf /in";
    let project = project(bench, more)?;
    ci(bench, &project)?;
    let packs = mount_blobs(&project)?;
    bench.wipe()?;
    project.write("early.txt", "another length\n")?;
    ci(bench, &project)?.says(&["filled cache mount"])?;
    let now = mount_blobs(&project)?;
    let new: u64 = now
        .iter()
        .filter(|(name, _)| !packs.contains_key(*name))
        .map(|(_, size)| size)
        .sum();
    assert!((100_000..120_000).contains(&new), "{new} bytes are new");

    // It has changed in nothing but the times of folders.
    bench.wipe()?;
    let packs = mount_blobs(&project)?;
    let text = "a third one of another length\n";
    project.write("early.txt", &text[..15])?;
    ci(bench, &project)?;
    let large = mount_blobs(&project)?
        .into_iter()
        .filter(|(name, size)| !packs.contains_key(name) && *size > 120_000);
    assert_eq!(large.count(), 0);
    Ok(())
}

fn too_large(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "")?;
    let limit = |size: &str| {
        project.configure(&format!(
            "cache-mounts = true\ncache-mounts-max-size = \"{size}\"\n"
        ))
    };
    limit("4 MB")?;
    ci(bench, &project)?.says(&[
        "is not saved",
        "5.0 MB, more than 4.0 MB",
        "saved cache mount",
    ])?;
    bench.wipe()?;
    change(&project, 2)?;
    let run = ci(bench, &project)?.says(&["is not saved: it was too large before"])?;
    silent(&run, "warning")?;
    bench.wipe()?;
    limit("10 MB")?;
    change(&project, 3)?;
    ci(bench, &project)?.says(&["saved cache mount", "5.0 MB in"])?;
    bench.wipe()?;
    change(&project, 4)?;
    ci(bench, &project)?.says(&["filled cache mount", "5.0 MB"])?;
    Ok(())
}

fn damaged(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "")?;
    let found = || tree_of_image(bench.engine, &project.tag, "/out/found");
    ci(bench, &project)?;
    for (n, harm) in ["other bytes", "no bytes"].into_iter().enumerate() {
        let blobs = mount_blobs(&project)?;
        let (largest, _) = blobs
            .iter()
            .max_by_key(|(_, size)| **size)
            .ok_or("no blob")?;
        let blob = project.store().join("blobs/sha256").join(largest);
        let mut bytes = fs::read(&blob)?;
        fs::remove_file(&blob)?;
        if harm == "other bytes" {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(&blob, bytes)?;
        }
        bench.wipe()?;
        change(&project, 2 * n + 2)?;
        ci(bench, &project)?.says(&["warning: cache mount", "begins empty"])?;
        assert_eq!(found()?.len(), 1, "{harm}: the mount begins empty");

        // The job above mended what was broken.
        bench.wipe()?;
        change(&project, 2 * n + 3)?;
        let run = ci(bench, &project)?.says(&["filled cache mount"])?;
        silent(&run, "warning")?;
        assert_ne!(found()?.len(), 1, "{harm}: the mount begins filled");
    }
    Ok(())
}

fn shared(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "")?;
    let dockerfile = project.read("docker/Dockerfile")?;
    project.write(
        "docker/Dockerfile.web",
        &dockerfile.replace("&& cp -a /cache /out/left", "&& true"),
    )?;
    let web = format!("{}-web", project.tag);
    let image = "dockerfile = \"docker/Dockerfile.web\"\ncache-mounts = true\n";
    project.configure(&format!(
        "cache-mounts = true\n[image.web]\n{image}tags = [\"{web}\"]\n"
    ))?;
    let one = |image: &str| {
        let run = project.xtask(bench, &["docker-ci", image])?;
        run.success()
    };
    one("app")?.says(&["saved cache mount"])?;
    let left = tree_of_image(bench.engine, &project.tag, "/out/left")?;
    let n_entries = mounts(&project)?.len();
    bench.wipe()?;
    one("web")?.says(&["web: filled cache mount"])?;
    assert_eq!(tree_of_image(bench.engine, &web, "/out/found")?, left);
    assert_eq!(mounts(&project)?.len(), n_entries, "entries of mounts");
    let listed = project.xtask(bench, &["docker-store", "ls"])?.success()?;
    assert!(listed.stdout.contains("cache-mount"), "{}", listed.stdout);
    Ok(())
}

fn without_a_shell(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let base = bench.base("base")?;
    let id = unique("mount");
    // The first BuildKit takes ids as they are written.
    let id = if bench.engine.builder() == TestedBuilder::Buildkit {
        format!("{id}-$V")
    } else {
        id
    };
    let mount = format!("--mount=type=cache,target=/cache,id={id},sharing=locked");
    let project = Project::with_dockerfile(&format!(
        "FROM {} AS tools\n\
         RUN mkdir -p /slim/bin && cp /bin/cp /slim/bin/cp && for folder in /lib* /usr; do [ ! -e $folder ] || cp -a $folder /slim/; done\n\
         FROM scratch\n\
         ARG V=1\n\
         COPY --from=tools /slim /\n\
         COPY in /in\n\
         RUN {mount} [\"/bin/cp\", \"-a\", \"/in/.\", \"/cache/\"]\n\
         RUN {mount} [\"/bin/cp\", \"-a\", \"/cache\", \"/out\"]\n",
        base.reference
    ))?;
    let namespace = "build-args = { BUILDKIT_CACHE_MOUNT_NS = \"team\" }\n";
    project.configure(&format!("cache-mounts = true\n{namespace}"))?;
    project.write("in/one", "1\n")?;
    project
        .xtask(bench, &["docker-ci", "--all"])?
        .success()?
        .says(&["saved cache mount"])?;
    bench.wipe()?;
    fs::remove_file(project.root().join("in/one"))?;
    project.write("in/two", "2\n")?;
    project
        .xtask(bench, &["docker-ci", "--all"])?
        .success()?
        .says(&["filled cache mount `team/"])?;
    let files = bench.files(&project.tag)?;
    assert_eq!((files.text("one"), files.text("two")), ("1\n", "2\n"));
    Ok(())
}

fn engine_has_it(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let project = project(bench, "&& cat /in/early.txt >> /cache/log")?;
    ci(bench, &project)?;
    // A build of which the store knows nothing.
    change(&project, 2)?;
    project.xtask(bench, &["docker-build"])?.success()?;
    change(&project, 3)?;
    let run = ci(bench, &project)?.says(&["the engine has files in cache mount"])?;
    silent(&run, "filled cache mount")?;
    let log = |folder: &str| {
        let files = tree_of_image(bench.engine, &project.tag, folder)?;
        Ok::<_, Failed>(files.get("log").cloned().unwrap_or_default())
    };
    let content = log("/out/left")?;
    assert!(
        content.ends_with("early 1\nearly 2\nearly 3\n"),
        "{content}"
    );
    Ok(())
}

fn held(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let base = bench.base("base")?;
    let id = unique("mount");
    let mount = format!("--mount=type=cache,target=/cache,id={id}");
    let project = Project::with_dockerfile(&format!(
        "FROM {}\nCOPY early.txt /in/early.txt\nRUN {mount} cat /in/early.txt >> /cache/x && sleep 2\n",
        base.reference
    ))?;
    project.configure("cache-mounts = true\n")?;
    project.write("early.txt", "early 1\n")?;
    ci(bench, &project)?.says(&["saved cache mount"])?;
    change(&project, 2)?;

    // Which every engine has.
    let text = format!(
        "FROM {}\nRUN {mount} echo it is mine && sleep 600\n",
        project.tag
    );
    project.write("holder/Dockerfile", &text)?;
    let folder = project.root().join("holder");
    let folder = folder.to_string_lossy();
    let arguments = ["build", "--progress=plain", &folder];
    let mut holder = bench.engine.docker(&arguments);
    bench.engine.environment(&mut holder).stderr(Stdio::piped());
    let mut holder = holder.spawn()?;
    let talk = BufReader::new(holder.stderr.take().ok_or("no stderr")?);
    let mut lines = talk.lines().map_while(Result::ok);
    let is_held = lines.any(|line| line.ends_with(" it is mine"));
    let run = ci(bench, &project);
    holder.kill()?;
    holder.wait()?;
    assert!(is_held, "the other build has the mount");
    let run = run?.says(&["warning", "did not end in time", "is not saved"])?;
    if run.time > Duration::from_secs(40) {
        return Err(run.failure(&format!("took {:?}", run.time)));
    }
    Ok(())
}

fn spares_nothing(bench: &Bench<'_>) -> Outcome {
    if is_classic(bench) {
        return Ok(());
    }
    let base = bench.base("base")?;
    // On a machine that is busy elsewhere even this step can take long enough to be worth it.
    for _ in 0..8 {
        let project = Project::with_dockerfile(&format!(
            "FROM {}\nCOPY early.txt /in/early.txt\nRUN --mount=type=cache,target=/cache,id={} echo x > /cache/x\n",
            base.reference,
            unique("mount")
        ))?;
        project.configure("cache-mounts = true\n")?;
        project.write("early.txt", "early 1\n")?;
        let run = project.xtask(bench, &["docker-ci", "--json"])?.success()?;
        let report: Value = serde_json::from_str(run.stdout.trim())?;
        let seconds = report["steps"][1]["seconds"].as_f64();
        if seconds.ok_or("no seconds of the step")? > ROUND_TRIP_SECONDS {
            continue;
        }
        run.says(&["is not saved", "longer than it can spare"])?;
        assert!(mounts(&project)?.is_empty());
        let run = project.xtask(bench, &["docker-ci"])?.success()?;
        return silent(&run, "cache mount");
    }
    Err("the machine is too busy for a step that takes no time".into())
}

fn classic(bench: &Bench<'_>) -> Outcome {
    if !is_classic(bench) {
        return Ok(());
    }
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.configure("cache-mounts = true\n")?;
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    silent(&built.run, "cache mount")
}

/// Returns the manifests of the store's cache mounts.
fn mounts(project: &Project) -> Result<Vec<Value>, Failed> {
    let read = |path: PathBuf| -> Result<Value, Failed> {
        Ok(serde_json::from_slice(&fs::read(
            project.store().join(path),
        )?)?)
    };
    let index = read("index.json".into())?;
    let manifests = index["manifests"]
        .as_array()
        .ok_or("no list of manifests")?;
    let is_mount =
        |entry: &&Value| entry["annotations"]["dev.docker-layer-cache.kind"] == "cache-mount";
    manifests
        .iter()
        .filter(is_mount)
        .map(|entry| {
            let digest = entry["digest"].as_str().unwrap_or_default();
            read(format!("blobs/{}", digest.replace(':', "/")).into())
        })
        .collect()
}

/// Returns the blobs of the store's cache mounts, with their sizes in bytes.
fn mount_blobs(project: &Project) -> Result<BTreeMap<String, u64>, Failed> {
    let mut blobs = BTreeMap::new();
    for manifest in mounts(project)? {
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let digest = layer["digest"].as_str().unwrap_or_default();
            let name = digest.trim_start_matches("sha256:").to_owned();
            blobs.insert(name, layer["size"].as_u64().unwrap_or_default());
        }
    }
    Ok(blobs)
}
