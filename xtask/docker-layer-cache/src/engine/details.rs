//! What a person should know of an installation, beyond what a build needs.
//!
//! ```text
//! docker --version   the client, or Podman in its place
//! docker version     versions of both sides, and of the API that they speak
//! docker context     where the engine is
//! docker info        driver, data root, rootless, operating system
//! ```
//! None of it fails: what cannot be had is empty.

use serde::Deserialize;

use super::Docker;

/// A client and the engine that it reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineDetails {
    /// The first line of `docker --version`.
    pub client: String,
    /// The client's version, such as `28.5.2`.
    pub client_version: String,
    /// The version of the API that the client speaks with this engine.
    pub client_api: String,
    /// The newest version of the API that the engine speaks.
    pub server_api: String,
    /// What answers, such as `Engine` or `Podman Engine`.
    pub server_component: String,
    /// The docker context in use, such as `default`.
    pub context: String,
    /// Where the engine is, such as `unix:///var/run/docker.sock`; without user and password.
    pub endpoint: String,
    /// The storage driver or snapshotter, such as `overlay2`.
    pub storage_driver: String,
    /// The engine's folder, on the engine's machine.
    pub data_root: String,
    /// The engine's operating system, such as `Docker Desktop`.
    pub operating_system: String,
    /// The engine runs without root.
    pub is_rootless: bool,
}

/// Where an engine is, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnginePlace {
    /// A socket or pipe of this machine.
    Local,
    /// Docker Desktop: on this machine, in a virtual machine of its own.
    DockerDesktop,
    /// Over the network.
    Remote,
}

impl EngineDetails {
    /// Asks `docker`, all at once.
    pub fn read(docker: &Docker) -> Self {
        let ask = |args: &[&str]| -> Option<String> {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            let output = docker.output(&args).ok()?;
            // `docker version` tells of the client even where no engine answers.
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (client, version, context, info) = std::thread::scope(|scope| {
            let client = scope.spawn(|| ask(&["--version"]));
            let version = scope.spawn(|| ask(&["version", "--format", "{{json .}}"]));
            let context = scope.spawn(|| {
                ask(&[
                    "context",
                    "inspect",
                    "--format",
                    "{{.Name}} {{.Endpoints.docker.Host}}",
                ])
            });
            let info = ask(&["info", "--format", "{{json .}}"]);
            let joined = |thread: std::thread::ScopedJoinHandle<'_, Option<String>>| {
                thread.join().expect("asking does not panic")
            };
            (joined(client), joined(version), joined(context), info)
        });
        let text = Option::unwrap_or_default;
        Self::of(&text(client), &text(version), &text(context), &text(info))
    }

    fn of(client: &str, version: &str, context: &str, info: &str) -> Self {
        let version: Version = serde_json::from_str(version).unwrap_or_default();
        let info: Info = serde_json::from_str(info).unwrap_or_default();
        let server = version.server.unwrap_or_default();
        let component = server.components.unwrap_or_default();
        let (context, endpoint) = context.trim().split_once(' ').unwrap_or_default();
        let options = info.security_options.unwrap_or_default();
        EngineDetails {
            client: client.lines().next().unwrap_or_default().to_owned(),
            client_version: version.client.version,
            client_api: version.client.api_version,
            server_api: server.api_version,
            server_component: component
                .into_iter()
                .next()
                .map(|component| component.name)
                .unwrap_or_default(),
            context: context.to_owned(),
            endpoint: without_user(endpoint.trim()),
            storage_driver: info.driver,
            data_root: info.docker_root_dir,
            operating_system: info.operating_system,
            is_rootless: options.iter().any(|option| option == "name=rootless"),
        }
    }

    /// Tells whether the command is Podman's, which understands docker's words and is none.
    pub fn is_podman_command(&self) -> bool {
        self.client.to_ascii_lowercase().starts_with("podman")
    }

    /// Tells whether Podman answers docker's command.
    pub fn is_podman_service(&self) -> bool {
        self.server_component
            .to_ascii_lowercase()
            .contains("podman")
    }

    /// Returns where the engine is.
    pub fn place(&self) -> EnginePlace {
        let remote = ["tcp://", "ssh://", "http://", "https://"];
        if self.operating_system.contains("Docker Desktop") {
            EnginePlace::DockerDesktop
        } else if remote
            .iter()
            .any(|scheme| self.endpoint.starts_with(scheme))
        {
            EnginePlace::Remote
        } else {
            EnginePlace::Local
        }
    }
}

/// Returns the URL without what may be secret.
fn without_user(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => endpoint.to_owned(),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Version {
    client: Side,
    server: Option<Side>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Side {
    version: String,
    api_version: String,
    components: Option<Vec<Component>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Component {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Info {
    driver: String,
    docker_root_dir: String,
    operating_system: String,
    security_options: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = r#"{"Client":{"Platform":{"Name":""},"Version":"28.5.2","ApiVersion":"1.51"},
        "Server":{"Components":[{"Name":"Engine","Version":"28.5.2"}],"Version":"28.5.2","ApiVersion":"1.51"}}"#;

    #[test]
    fn a_whole_installation() {
        let info = r#"{"Driver":"overlay2","DockerRootDir":"/var/lib/docker","OperatingSystem":"Debian",
            "SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}"#;
        let details = EngineDetails::of(
            "Docker version 28.5.2, build 1\nmore",
            VERSION,
            "ci ssh://me:secret@build.example:22\n",
            info,
        );
        let expected = EngineDetails {
            client: "Docker version 28.5.2, build 1".into(),
            client_version: "28.5.2".into(),
            client_api: "1.51".into(),
            server_api: "1.51".into(),
            server_component: "Engine".into(),
            context: "ci".into(),
            endpoint: "ssh://build.example:22".into(),
            storage_driver: "overlay2".into(),
            data_root: "/var/lib/docker".into(),
            operating_system: "Debian".into(),
            is_rootless: true,
        };
        assert_eq!(details, expected);
        assert_eq!(details.place(), EnginePlace::Remote);
    }

    #[test]
    fn podman_in_either_place() {
        let command = EngineDetails::of("podman version 4.9.3", "{}", "", "{}");
        assert!(command.is_podman_command() && !command.is_podman_service());
        let version = VERSION.replace("\"Engine\"", "\"Podman Engine\"");
        let service = EngineDetails::of("Docker version 28.5.2", &version, "", "{}");
        assert!(service.is_podman_service() && !service.is_podman_command());
    }

    #[test]
    fn places() {
        for (endpoint, system, expected) in [
            ("unix:///var/run/docker.sock", "Debian", EnginePlace::Local),
            ("npipe:////./pipe/docker_engine", "", EnginePlace::Local),
            ("tcp://10.0.0.1:2376", "Alpine", EnginePlace::Remote),
            (
                "unix:///x.sock",
                "Docker Desktop",
                EnginePlace::DockerDesktop,
            ),
            ("", "", EnginePlace::Local),
        ] {
            let details = EngineDetails {
                endpoint: endpoint.into(),
                operating_system: system.into(),
                ..EngineDetails::default()
            };
            assert_eq!(details.place(), expected, "{endpoint} {system}");
        }
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(EngineDetails::of("", "", "", ""), EngineDetails::default());
        let down = EngineDetails::of("Docker version 1", r#"{"Client":{},"Server":null}"#, "", "");
        assert_eq!(down.server_api, "");
    }
}
