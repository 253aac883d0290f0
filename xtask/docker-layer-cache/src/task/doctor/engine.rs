//! Docker: the command, the engine, the builder, and the strategy that follows from them.

use std::fmt::Write as _;

use super::finding::Finding;
use crate::engine::{
    Builder, Docker, Engine, EngineDetails, EngineError, EngineErrorKind, EnginePlace, ImageStore,
    Strategy, StrategyError,
};
use crate::error::exit_code;

/// What is known of Docker here.
pub(super) struct EngineFacts {
    /// The engine, or why there is none.
    pub(super) engine: Result<Engine, EngineError>,
    pub(super) details: EngineDetails,
    /// The variable `DOCKER_BUILDKIT`.
    pub(super) docker_buildkit: Option<String>,
}

impl EngineFacts {
    /// Asks `docker`.
    pub(super) fn gather(docker: &Docker) -> Self {
        let docker_buildkit = std::env::var("DOCKER_BUILDKIT").ok();
        let (engine, details) = std::thread::scope(|scope| {
            let details = scope.spawn(|| EngineDetails::read(docker));
            (
                Engine::detect(docker, docker_buildkit.as_deref()),
                details.join().expect("asking does not panic"),
            )
        });
        EngineFacts {
            engine,
            details,
            docker_buildkit,
        }
    }

    /// Returns the strategy that a build would take.
    pub(super) fn strategy(
        &self,
        forced: Option<Strategy>,
    ) -> Option<Result<Strategy, StrategyError>> {
        let engine = self.engine.as_ref().ok()?;
        Some(Strategy::choose(engine, forced))
    }

    /// Judges all of it; `forced` is a strategy that the images ask for.
    pub(super) fn judge(&self, forced: Option<Strategy>) -> Vec<Finding> {
        let details = &self.details;
        if details.is_podman_command() {
            let what = format!("`docker` is Podman in disguise ({})", details.client);
            let why = "its builds keep their cache otherwise, and nothing of ours works on it";
            return vec![
                Finding::problem(exit_code::ENGINE, "docker", what, why).mend(
                    "install Docker's own command (`docker-ce-cli`, or `docker-cli`), and point DOCKER_HOST at an engine",
                ),
            ];
        }
        let engine = match &self.engine {
            Ok(engine) => engine,
            Err(error) => return vec![absent(error, details)],
        };
        let mut findings = vec![reached(engine, details)];
        findings.extend(peculiar(details));
        findings.push(builder(engine, self.docker_buildkit.as_deref()));
        if let Some(strategy) = self.strategy(forced) {
            findings.extend(strategy_finding(engine, strategy));
        }
        findings
    }
}

/// Judges that no engine answers.
fn absent(error: &EngineError, details: &EngineDetails) -> Finding {
    let why = match error.kind() {
        EngineErrorKind::NoClient => "everything here runs through the docker command",
        EngineErrorKind::PermissionDenied => "the engine is there, and this user may not use it",
        _ => "without an engine nothing is built, restored or saved",
    };
    let check = match error.kind() {
        EngineErrorKind::NoClient => "docker",
        _ => "engine",
    };
    let at = match details.endpoint.as_str() {
        "" => String::new(),
        endpoint => format!(" (context `{}`, {endpoint})", details.context),
    };
    let finding = Finding::problem(exit_code::ENGINE, check, format!("{error}{at}"), why);
    match error.kind() {
        EngineErrorKind::Unreachable if details.endpoint.starts_with("unix://") => finding.mend(
            "`sudo systemctl start docker`, or point DOCKER_HOST (or `docker context use NAME`) at an engine that runs",
        ),
        _ => finding.mend(error.hint().unwrap_or("`docker info` says more")),
    }
}

/// Tells which engine it is, and where.
fn reached(engine: &Engine, details: &EngineDetails) -> Finding {
    let store = match engine.image_store {
        ImageStore::GraphDriver => format!("graph driver {}", details.storage_driver),
        ImageStore::Containerd => format!("containerd image store ({})", details.storage_driver),
    };
    let mut what = format!(
        "Docker {} (API {}), client {} (API {}), {store}, {}",
        engine.server_version,
        details.server_api,
        details.client_version,
        details.client_api,
        engine.platform,
    );
    if details.is_rootless {
        what.push_str(", rootless");
    }
    let endpoint = &details.endpoint;
    // Writing to a text cannot fail.
    let _ = match details.place() {
        EnginePlace::Local => Ok(()),
        EnginePlace::DockerDesktop => write!(what, ", Docker Desktop"),
        EnginePlace::Remote => write!(
            what,
            ", remote at {endpoint}: what it is offered goes over the network, and is measured"
        ),
    };
    if !matches!(details.context.as_str(), "" | "default") {
        let _ = write!(what, ", context `{}`", details.context);
    }
    Finding::ok("engine", what)
}

/// Advises on engines that work otherwise than those that this was tested on.
fn peculiar(details: &EngineDetails) -> Option<Finding> {
    details.is_podman_service().then(|| {
        Finding::advice(
            "engine",
            "Podman answers docker's command",
            "untested: its builder keeps its cache otherwise, and may reuse nothing of ours",
        )
        .mend("point DOCKER_HOST at Docker's engine, or trust the proof below")
    })
}

/// Judges what `docker build` is.
fn builder(engine: &Engine, docker_buildkit: Option<&str>) -> Finding {
    let check = "builder";
    // Before 23.0 the classic builder is what everybody had, and the better of the two.
    let has_buildkit = engine.server_major >= 23;
    match &engine.builder {
        Builder::Classic if engine.image_store == ImageStore::Containerd => Finding::problem(
            exit_code::USAGE,
            check,
            format!("the classic builder{} on the containerd image store", by(docker_buildkit)),
            "it loses images there, so `docker-ci` refuses it",
        )
        .mend(buildkit_on(docker_buildkit)),
        Builder::Classic if has_buildkit => Finding::advice(
            check,
            format!("the classic builder{}: BuildKit is off", by(docker_buildkit)),
            "this engine has BuildKit, which builds stages side by side, brings in only the layers that a build needs, and knows mounts and here-documents; the classic builder loads whole images",
        )
        .mend(buildkit_on(docker_buildkit)),
        Builder::Classic => Finding::ok(check, "the classic builder"),
        Builder::EmbeddedBuildkit => Finding::ok(check, "BuildKit of the engine, without buildx"),
        Builder::BuildxMissing => Finding::problem(
            exit_code::USAGE,
            check,
            format!(
                "DOCKER_BUILDKIT={} asks for BuildKit, and the buildx plugin is not there",
                docker_buildkit.unwrap_or_default()
            ),
            "`docker build` refuses to build without it",
        )
        .mend("`sudo apt-get install docker-buildx-plugin` (or `docker-buildx`), or `unset DOCKER_BUILDKIT`"),
        Builder::Buildx { version, driver } if driver == "docker" => Finding::ok(
            check,
            format!("BuildKit of the engine, through buildx {version} (driver docker)"),
        ),
        Builder::Buildx { version, driver } => Finding::advice(
            check,
            format!("BuildKit through buildx {version} (driver {driver})"),
            "this driver takes BuildKit's own export, and is untested so far: trust the proof below",
        )
        .mend("`docker buildx use default` takes the engine's own BuildKit"),
    }
}

fn by(docker_buildkit: Option<&str>) -> String {
    match docker_buildkit {
        Some(value) if !value.is_empty() => format!(" (DOCKER_BUILDKIT={value})"),
        _ => " (no buildx plugin)".to_owned(),
    }
}

fn buildkit_on(docker_buildkit: Option<&str>) -> &'static str {
    match docker_buildkit {
        Some(value) if !value.is_empty() => "`unset DOCKER_BUILDKIT`",
        _ => "`sudo apt-get install docker-buildx-plugin` (or `docker-buildx`)",
    }
}

/// Tells the strategy, and why it is this one; nothing where the builder was refused already.
fn strategy_finding(engine: &Engine, strategy: Result<Strategy, StrategyError>) -> Option<Finding> {
    let check = "strategy";
    match strategy {
        Ok(strategy) => {
            let forced = Strategy::choose(engine, None).is_ok_and(|best| best != strategy);
            let why = match strategy {
                _ if forced => "it is forced; the engine's best one is another",
                Strategy::ExportedBuildCache => "BuildKit exports and imports every step",
                Strategy::WrittenBuildCache => {
                    "BuildKit imports every step here, but cannot export them, so that we write its cache"
                }
                Strategy::RemoteBuildCache => "`build-cache` of the image says where BuildKit keeps it",
                Strategy::StageImages => "the classic builder takes steps from images alone",
                Strategy::InlineStageImages => {
                    "BuildKit of this age takes steps from images with inline records alone"
                }
            };
            Some(Finding::ok(check, format!("{strategy}: {why}")))
        }
        Err(error) if Strategy::choose(engine, None).is_ok() => Some(
            Finding::problem(
                exit_code::USAGE,
                check,
                error,
                "builds end before they begin",
            )
            .mend("take `strategy` out of docker/images.toml, and `unset DOCKER_LAYER_CACHE_STRATEGY`"),
        ),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
