//! Emptying an engine: a test engine of everything, a developer's own only of what a test brought.

use std::thread;
use std::time::Duration;

use docker_layer_cache_demo::{BaseImage, EngineSnapshot};
use libtest_mimic::Failed;

use super::Engine;

/// Empties `engine`: completely where it was named for tests, otherwise of what `before` lacks.
pub(crate) fn wipe(engine: &Engine, before: &EngineSnapshot) -> Result<(), Failed> {
    if engine.is_ours() {
        everything(engine, before)
    } else {
        let lowest = [BaseImage::make()?, BaseImage::from_commands()?]
            .map(|image| image.lowest_diff_id().clone());
        let docker = |arguments: &[&str]| engine.docker_text(arguments);
        Ok(before.remove_what_appeared(&docker, &lowest)?)
    }
}

/// Notes what `engine` holds.
pub(crate) fn snapshot(engine: &Engine) -> Result<EngineSnapshot, Failed> {
    Ok(EngineSnapshot::take(&|arguments| {
        engine.docker_text(arguments)
    })?)
}

fn everything(engine: &Engine, before: &EngineSnapshot) -> Result<(), Failed> {
    let containers = engine.run(&["ps", "--all", "--quiet"])?;
    let mut arguments = vec!["rm", "--force", "--volumes"];
    arguments.extend(containers.split_whitespace());
    if arguments.len() > 3 {
        engine.run(&arguments)?;
    }
    // The build cache holds on to images and images to the build cache: each may need the other
    // to be gone first. A build that has just ended holds its records for a moment; records that
    // stay held are leaks of the engine (after a damaged import, say), which only its restart frees.
    for _ in 0..5 {
        engine.run(&["image", "prune", "--all", "--force"])?;
        engine.run(&["builder", "prune", "--all", "--force"])?;
        let left = snapshot(engine)?;
        if left.is_empty() && left.in_use().is_subset(before.in_use()) {
            engine.run(&["volume", "prune", "--force"])?;
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let left = snapshot(engine)?;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("{left:?} outlived the wipe").into())
    }
}
