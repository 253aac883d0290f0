use super::super::finding::Level;
use super::*;

fn info(server: &str, client: &str, plugins: &str, containerd: bool) -> String {
    let status = if containerd {
        r#"[["driver-type","io.containerd.snapshotter.v1"]]"#
    } else {
        "[]"
    };
    format!(
        r#"{{"ServerVersion":"{server}","DriverStatus":{status},"OSType":"linux","Architecture":"x86_64",
        "ClientInfo":{{"Version":"{client}","Plugins":{plugins}}}}}"#
    )
}

fn facts(info: &str, docker_buildkit: Option<&str>) -> EngineFacts {
    EngineFacts {
        engine: Engine::from_info(info.as_bytes(), docker_buildkit),
        details: EngineDetails {
            client: "Docker version 28.5.2".into(),
            context: "default".into(),
            endpoint: "unix:///var/run/docker.sock".into(),
            ..EngineDetails::default()
        },
        docker_buildkit: docker_buildkit.map(str::to_owned),
    }
}

const BUILDX: &str = r#"[{"Name":"buildx","Version":"0.29.1"}]"#;

#[test]
fn builders_and_strategies() {
    use Level::{Advice, Ok, Problem};
    // Engine, level of the builder, strategy (none where it is refused), exit code.
    for (info, buildkit, level, strategy, code) in [
        (
            info("28.5.2", "28.5.2", BUILDX, false),
            None,
            Ok,
            "written-build-cache",
            0,
        ),
        (
            info("28.5.2", "28.5.2", BUILDX, true),
            None,
            Ok,
            "exported-build-cache",
            0,
        ),
        (
            info("28.5.2", "28.5.2", BUILDX, false),
            Some("0"),
            Advice,
            "stage-images",
            0,
        ),
        (
            info("28.5.2", "28.5.2", "[]", false),
            None,
            Advice,
            "stage-images",
            0,
        ),
        (
            info("28.5.2", "28.5.2", BUILDX, true),
            Some("0"),
            Problem,
            "",
            2,
        ),
        (
            info("28.5.2", "28.5.2", "[]", true),
            Some("1"),
            Problem,
            "",
            2,
        ),
        (
            info("20.10.24", "20.10.24", "[]", false),
            None,
            Ok,
            "stage-images",
            0,
        ),
        (
            info("20.10.24", "20.10.24", "[]", false),
            Some("1"),
            Ok,
            "inline-stage-images",
            0,
        ),
    ] {
        let findings = facts(&info, buildkit).judge(None);
        let of = |check: &str| findings.iter().find(|finding| finding.check == check);
        assert_eq!(
            of("builder").map(|one| one.level),
            Some(level),
            "{info} {buildkit:?}"
        );
        let said = of("strategy").map_or("", |one| one.what.split(':').next().unwrap_or(""));
        assert_eq!(said, strategy, "{info} {buildkit:?}");
        assert_eq!(
            super::super::finding::exit_code_of(&findings),
            code,
            "{info}"
        );
    }
}

#[test]
fn off_names_the_variable_and_how_to_end_it() {
    let findings = facts(&info("28.5.2", "28.5.2", BUILDX, true), Some("0")).judge(None);
    let builder = findings
        .iter()
        .find(|one| one.check == "builder")
        .expect("judged");
    assert!(
        builder.what.contains("DOCKER_BUILDKIT=0"),
        "{}",
        builder.what
    );
    assert_eq!(builder.mend.as_deref(), Some("`unset DOCKER_BUILDKIT`"));
}

#[test]
fn another_driver_is_untested() {
    let mut facts = facts(&info("28.5.2", "28.5.2", BUILDX, false), None);
    if let Ok(engine) = &mut facts.engine {
        engine.builder = Builder::Buildx {
            version: "0.29.1".into(),
            driver: "kubernetes".into(),
        };
    }
    let findings = facts.judge(None);
    assert!(
        findings
            .iter()
            .any(|one| one.level == Level::Advice && one.what.contains("kubernetes"))
    );
    assert!(
        findings
            .iter()
            .any(|one| one.what.starts_with("exported-build-cache"))
    );
}

#[test]
fn a_strategy_that_the_engine_cannot_do_is_a_problem() {
    let facts = facts(&info("28.5.2", "28.5.2", BUILDX, false), None);
    let findings = facts.judge(Some(Strategy::ExportedBuildCache));
    let strategy = findings
        .iter()
        .find(|one| one.check == "strategy")
        .expect("judged");
    assert_eq!(strategy.level, Level::Problem);
    let findings = facts.judge(Some(Strategy::InlineStageImages));
    assert!(
        findings
            .iter()
            .any(|one| one.what.contains("forced") && one.level == Level::Ok)
    );
}

#[test]
fn without_an_engine_the_kind_tells_what_to_do() {
    for (said, check, hint) in [
        (
            "Cannot connect to the Docker daemon at unix:///x",
            "engine",
            "systemctl start docker",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "engine",
            "usermod -aG docker",
        ),
        ("client version 1.52 is too new", "engine", "docker info"),
    ] {
        let info = format!(r#"{{"ServerVersion":"","ServerErrors":["{said}"]}}"#);
        let findings = facts(&info, None).judge(None);
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert_eq!(
            (finding.check, finding.level),
            (check, Level::Problem),
            "{said}"
        );
        let mend = finding.mend.as_deref().unwrap_or_default();
        assert!(mend.contains(hint), "{said}: {mend}");
    }
}

#[test]
fn podman_is_told_from_docker() {
    let mut command = facts(r#"{"host":{},"version":{}}"#, None);
    command.details.client = "podman version 4.9.3".into();
    let findings = command.judge(None);
    assert!(findings[0].what.contains("Podman") && findings[0].level == Level::Problem);
    let mut service = facts(&info("4.9.3", "28.5.2", "[]", false), Some("0"));
    service.details.server_component = "Podman Engine".into();
    let findings = service.judge(None);
    assert!(
        findings
            .iter()
            .any(|one| one.what.contains("Podman") && one.level == Level::Advice)
    );
}

#[test]
fn where_the_engine_is_stands_in_its_line() {
    let mut facts = facts(&info("28.5.2", "28.5.2", BUILDX, false), None);
    facts.details.endpoint = "ssh://build.example".into();
    facts.details.context = "ci".into();
    facts.details.is_rootless = true;
    let what = facts.judge(None)[0].what.clone();
    for part in ["rootless", "remote at ssh://build.example", "context `ci`"] {
        assert!(what.contains(part), "{what}");
    }
}
