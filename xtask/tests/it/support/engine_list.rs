//! Which engines there are to test on.

use std::sync::Arc;

use super::Engine;

const VARIABLE: &str = "DOCKER_LAYER_CACHE_TEST_ENGINES";

/// An engine that cannot be tested on, and why.
#[derive(Debug)]
pub(crate) struct Absent {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// Returns the engines that the environment names, or the one that `docker` reaches.
pub(crate) fn engines() -> Vec<Result<Arc<Engine>, Absent>> {
    let list = std::env::var(VARIABLE).unwrap_or_default();
    let mut engines: Vec<_> = parse(&list)
        .into_iter()
        .map(|parsed| parsed.and_then(probe))
        .collect();
    if engines.is_empty() {
        engines.push(probe(Engine::reached_by_docker()));
    }
    engines
}

fn probe(engine: Engine) -> Result<Arc<Engine>, Absent> {
    match engine.docker_text(&["version", "--format", "{{.Server.Version}}"]) {
        Ok(_) => Ok(Arc::new(engine)),
        Err(error) => {
            let line = error.lines().last().unwrap_or("no answer");
            let cause = line
                .rsplit_once("failed: ")
                .map_or(line, |(_, cause)| cause);
            Err(Absent {
                name: engine.name().to_owned(),
                reason: format!("no engine: {}", cause.trim()),
            })
        }
    }
}

fn parse(list: &str) -> Vec<Result<Engine, Absent>> {
    list.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .map(parse_entry)
        .collect()
}

fn parse_entry(entry: &str) -> Result<Engine, Absent> {
    let absent = |reason: &str| Absent {
        name: entry.split('=').next().unwrap_or(entry).to_owned(),
        reason: format!("{VARIABLE}: {reason} in `{entry}`"),
    };
    let mut parts = entry.split(';');
    let (name, host) = parts
        .next()
        .and_then(|pair| pair.split_once('='))
        .ok_or_else(|| absent("no `name=DOCKER_HOST`"))?;
    let mut engine = Engine::named(name, host);
    for option in parts {
        match option.split_once('=') {
            Some(("path", folder)) => engine.path = Some(folder.to_owned()),
            Some(("config", folder)) => engine.config = Some(folder.to_owned()),
            Some(("lock", file)) => engine.lock = file.into(),
            _ => return Err(absent("unknown option")),
        }
    }
    Ok(engine)
}
