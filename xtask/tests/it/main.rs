//! End-to-end tests: the real binary on real engines.
//!
//! Every scenario runs once per engine, as `<engine>::<scenario>`; on named engines the central ones
//! run with each other builder and strategy too, as `<engine>-<way>::<scenario>`. Engines come from
//! `DOCKER_LAYER_CACHE_TEST_ENGINES`: `name=DOCKER_HOST` pairs, separated by commas or white space,
//! each optionally followed by options behind semicolons:
//!
//! ```text
//! old=unix:///run/old.sock;path=/opt/docker-20/bin;config=/opt/docker-20/client, new=tcp://127.0.0.1:2375
//! ```
//!
//! - `path=DIR` is put in front of `PATH`, to choose the `docker` command;
//! - `config=DIR` becomes `DOCKER_CONFIG`, to choose its plugins and credentials;
//! - `lock=FILE` is locked while a test uses the engine, instead of a file in the temp folder.
//!
//! **An engine that is named there is wiped completely, again and again.** Without the variable the
//! tests use the engine that `docker` reaches, and remove from it only what they brought.
//! With `DOCKER_LAYER_CACHE_TEST_SHOW` set, what each job of an emulated CI did is printed, too.
//! Engines run in parallel with each other; the tests of one engine run one after another, also
//! against other test processes.

mod support;

mod bake;
mod build_cache;
mod base_moves;
mod cache_mounts;
mod ci_emulator;
mod ci_files;
mod ci_schemas;
mod cycle;
mod damaged_store;
mod doctor;
mod deploy;
mod errors;
mod init;
mod key;
mod partial_hits;
mod pass_through;
mod plan;
mod platforms;
mod push;
mod push_ecr;
mod registry;
mod remote;
mod report;
mod secrets;
mod shared_layers;
mod storage_errors;
mod store;
mod store_life;
mod tidy;
mod token_secrets;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use support::{Bench, Engine, Outcome, Turnstile};

/// A scenario that every engine has to pass.
type Scenario = (&'static str, fn(&Bench) -> Outcome);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let trials: Vec<Trial> = trials();
    // A test of an engine spends its life waiting for its turn, so each gets a thread; what may
    // really run at once is decided by the engines' turns and the turnstile.
    arguments.test_threads = arguments.test_threads.or(Some(trials.len().max(1)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> Vec<Trial> {
    let turnstile = Arc::new(Turnstile::new());
    let groups = [
        ("tidy", tidy::TESTS),
        ("errors", errors::TESTS),
        ("init", init::TESTS),
        ("bake", bake::TESTS),
        ("doctor", doctor::TESTS),
        ("key", key::TESTS),
        ("secrets", secrets::TESTS),
        ("secrets", token_secrets::TESTS),
    ];
    let mut trials: Vec<Trial> = groups
        .into_iter()
        .flat_map(|(group, tests)| tests.iter().map(move |test| (group, test)))
        .map(|(group, &(name, test))| {
            let turnstile = Arc::clone(&turnstile);
            Trial::test(format!("{group}::{name}"), move || {
                let _pass = turnstile.enter();
                test()
            })
        })
        .collect();
    trials.extend(store::TESTS.iter().map(|&(name, obstacle, test)| {
        let obstacle = obstacle();
        let turnstile = Arc::clone(&turnstile);
        let trial = Trial::test(format!("store::{name}"), move || {
            let _pass = turnstile.enter();
            test()
        });
        match obstacle {
            None => trial,
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        }
    }));
    let obstacle = ci_schemas::obstacle();
    trials.extend(ci_schemas::TESTS.iter().map(|&(name, test)| {
        let trial = Trial::test(format!("ci_schemas::{name}"), test);
        match &obstacle {
            None => trial,
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        }
    }));
    let scenarios = [
        registry::SCENARIOS,
        build_cache::SCENARIOS,
        report::SCENARIOS,
        cycle::SCENARIOS,
        base_moves::SCENARIOS,
        damaged_store::SCENARIOS,
        doctor::SCENARIOS,
        shared_layers::SCENARIOS,
        partial_hits::SCENARIOS,
        pass_through::SCENARIOS,
        plan::SCENARIOS,
        platforms::SCENARIOS,
        storage_errors::SCENARIOS,
        store_life::SCENARIOS,
        secrets::SCENARIOS,
        cache_mounts::SCENARIOS,
        remote::SCENARIOS,
        ci_files::SCENARIOS,
        push::SCENARIOS,
        deploy::SCENARIOS,
    ];
    let on_every_way = [
        cycle::SCENARIOS,
        base_moves::SCENARIOS,
        shared_layers::SCENARIOS,
        partial_hits::SCENARIOS,
        cache_mounts::SCENARIOS,
        remote::SCENARIOS,
    ];
    let engines = support::engines();
    // Each on one engine: what they show is no other on the next.
    for (&(name, scenario), engine) in init::FIXTURES.iter().zip(engines.iter().cycle()) {
        trials.push(engine_trial(engine, name, scenario));
    }
    for engine in engines {
        for &(name, scenario) in scenarios.into_iter().flatten() {
            trials.push(engine_trial(&engine, name, scenario));
        }
        for (plugin, scenarios) in [
            ("buildx", bake::BAKE_SCENARIOS),
            ("compose", bake::COMPOSE_SCENARIOS),
        ] {
            trials.extend(plugin_trials(&engine, plugin, scenarios));
        }
        let ecr = engine_trial(&engine, push_ecr::SCENARIO.0, push_ecr::SCENARIO.1);
        trials.push(match push_ecr::obstacle() {
            None => ecr,
            Some(reason) => ecr.with_kind(reason).with_ignored_flag(true),
        });
        for other in other_ways(&engine) {
            for &(name, scenario) in on_every_way.into_iter().flatten() {
                trials.push(engine_trial(&other, name, scenario));
            }
            trials.extend(plugin_trials(&other, "buildx", &[bake::THREE_TARGETS]));
        }
    }
    trials
}

/// Returns a named engine with each builder and strategy that is not its own best one.
fn other_ways(
    engine: &Result<Arc<Engine>, support::Absent>,
) -> Vec<Result<Arc<Engine>, support::Absent>> {
    let Some(engine) = engine.as_ref().ok().filter(|engine| engine.is_ours()) else {
        return Vec::new();
    };
    match engine.other_ways() {
        Ok(ways) => ways.into_iter().map(|way| Ok(Arc::new(way))).collect(),
        Err(error) => vec![Err(support::Absent {
            name: format!("{}-other", engine.name()),
            reason: error.message().unwrap_or_default().to_owned(),
        })],
    }
}

/// Returns the scenarios that need a plugin of the client; without it they are ignored.
fn plugin_trials(
    engine: &Result<Arc<Engine>, support::Absent>,
    plugin: &str,
    scenarios: &[Scenario],
) -> Vec<Trial> {
    let obstacle = engine
        .as_ref()
        .ok()
        .and_then(|engine| bake::obstacle(engine, plugin));
    let trial = |&(name, scenario): &Scenario| {
        let trial = engine_trial(engine, name, scenario);
        match &obstacle {
            None => trial,
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        }
    };
    scenarios.iter().map(trial).collect()
}

fn engine_trial(
    engine: &Result<Arc<Engine>, support::Absent>,
    name: &str,
    scenario: fn(&Bench) -> Outcome,
) -> Trial {
    match engine {
        Ok(engine) => {
            let engine = Arc::clone(engine);
            Trial::test(format!("{}::{name}", engine.name()), move || {
                let bench = Bench::new(&engine)?;
                scenario(&bench)
            })
        }
        Err(absent) => {
            let reason = absent.reason.clone();
            Trial::test(format!("{}::{name}", absent.name), move || {
                Err(reason.into())
            })
            .with_kind(absent.reason.clone())
            .with_ignored_flag(true)
        }
    }
}
