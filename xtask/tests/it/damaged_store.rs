//! A store that is empty, half written or damaged costs hits, never the build.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Scenario;
use crate::support::{Bench, Outcome, Project};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("store_that_is_absent_builds", |bench| {
        check(bench, Talk::Any, |store| Ok(fs::remove_dir_all(store)?))
    }),
    ("store_that_is_empty_builds", |bench| {
        check(bench, Talk::Any, |store| {
            fs::remove_dir_all(store)?;
            Ok(fs::create_dir(store)?)
        })
    }),
    ("store_without_its_index_builds", |bench| {
        check(bench, Talk::Any, |store| {
            Ok(fs::remove_file(store.join("index.json"))?)
        })
    }),
    ("store_with_half_an_index_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| {
            truncate(&store.join("index.json"))
        })
    }),
    (
        "store_with_garbage_for_an_index_warns_and_builds",
        |bench| {
            check(bench, Talk::Warning, |store| {
                Ok(fs::write(store.join("index.json"), "\u{0}garbage")?)
            })
        },
    ),
    ("store_without_its_largest_blob_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| {
            Ok(fs::remove_file(largest_blob(store)?)?)
        })
    }),
    ("store_with_a_truncated_blob_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| {
            truncate(&largest_blob(store)?)
        })
    }),
    ("store_with_a_damaged_blob_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| damage(&largest_blob(store)?))
    }),
    ("store_with_a_folder_for_a_blob_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| {
            let blob = largest_blob(store)?;
            fs::remove_file(&blob)?;
            fs::create_dir(&blob)?;
            Ok(fs::write(blob.join("file"), "x")?)
        })
    }),
    (
        "store_with_a_symlink_for_a_blob_warns_and_builds",
        |bench| {
            check(bench, Talk::Warning, |store| {
                let blob = largest_blob(store)?;
                let aside = store.join("aside");
                fs::rename(&blob, &aside)?;
                Ok(std::os::unix::fs::symlink(&aside, &blob)?)
            })
        },
    ),
    (
        "store_with_damage_in_every_blob_warns_and_builds",
        |bench| {
            check(bench, Talk::Warning, |store| {
                blobs(store)?.iter().try_for_each(|(_, path)| damage(path))
            })
        },
    ),
    ("store_without_any_blob_warns_and_builds", |bench| {
        check(bench, Talk::Warning, |store| {
            blobs(store)?
                .iter()
                .try_for_each(|(_, path)| Ok(fs::remove_file(path)?))
        })
    }),
    (
        "store_left_by_a_killed_save_builds_and_saves_again",
        killed_save,
    ),
];

/// Engines take about 50 seconds per blob that they miss; with a view of verified blobs none does.
const NO_STALL: Duration = Duration::from_secs(40);

/// Whether the build has to say that something is wrong with the store.
#[derive(Clone, Copy)]
enum Talk {
    Any,
    Warning,
}

fn check(bench: &Bench<'_>, talk: Talk, harm: impl Fn(&Path) -> Outcome) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    project.ci(bench)?;

    bench.wipe()?;
    project.write("late.txt", "late 2\n")?;
    harm(project.store())?;
    let built = project.ci(bench)?;
    project.check_truth(&built, &base, &base)?;
    if built.run.time > NO_STALL {
        return Err(built.run.failure(&format!("took {:?}", built.run.time)));
    }
    if matches!(talk, Talk::Warning) && !built.run.stderr.to_lowercase().contains("warning") {
        return Err(built.run.failure("does not warn"));
    }

    // The save above mended what was broken.
    bench.wipe()?;
    let again = project.ci(bench)?;
    let all = ["tools", "deps", "build", "runtime", "late"];
    again.check_reused(&built.files, &all)?;
    project.check_truth(&again, &base, &base)
}

fn killed_save(bench: &Bench<'_>) -> Outcome {
    let base = bench.base("base")?;
    let project = Project::on(&base)?;
    let cold = project.restore_and_build(bench)?;
    let mut command = project.command(&["docker-save"]);
    let mut save = bench.engine.environment(&mut command).spawn()?;
    std::thread::sleep(Duration::from_millis(400));
    // It may have ended by then: also a state that a store can be in.
    let _ = save.kill();
    save.wait()?;

    let saved = project.ci(bench)?;
    saved.check_reused(&cold.files, &["tools", "deps", "build", "runtime", "late"])?;
    bench.wipe()?;
    let again = project.ci(bench)?;
    again.check_reused(&cold.files, &["tools", "deps", "build", "runtime", "late"])?;
    project.check_truth(&again, &base, &base)
}

/// Returns the blobs of a store with their sizes, smallest first.
fn blobs(store: &Path) -> Result<Vec<(u64, std::path::PathBuf)>, Failed> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(store.join("blobs/sha256"))? {
        let entry = entry?;
        blobs.push((entry.metadata()?.len(), entry.path()));
    }
    blobs.sort();
    Ok(blobs)
}

fn largest_blob(store: &Path) -> Result<std::path::PathBuf, Failed> {
    match blobs(store)?.pop() {
        Some((_, path)) => Ok(path),
        None => Err("the store has no blobs".into()),
    }
}

fn truncate(path: &Path) -> Outcome {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    Ok(file.set_len(length / 2)?)
}

/// Changes one byte in the middle; the size stays.
fn damage(path: &Path) -> Outcome {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x55;
    }
    // Blobs may be read-only or linked to: replaced, as a damaged disk would show them.
    fs::remove_file(path)?;
    Ok(fs::write(path, bytes)?)
}
