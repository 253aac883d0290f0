//! What engine it is: version, image store, builder, registries.

use serde::Deserialize;

use super::{Docker, EngineError, EngineErrorKind, builders};
use crate::oci::Platform;

/// The engine that `docker` reaches, and the builder that `docker build` uses on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// The server's version as it says, such as `28.5.2`.
    pub server_version: String,
    /// The first number of it; 0 where it is none.
    pub server_major: u32,
    /// Where images are kept.
    pub image_store: ImageStore,
    /// What builds.
    pub builder: Builder,
    /// The platform of the engine, which is what is built where no other is asked for.
    pub platform: Platform,
    /// Mirrors of Docker Hub that the engine uses, in order.
    pub mirrors: Vec<String>,
    /// Registries (`host`, `host:port` or CIDR) that the engine talks to without verified TLS.
    pub insecure_registries: Vec<String>,
}

/// Where an engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStore {
    /// A graph driver such as overlay2: layers unpacked, named by chain ID.
    GraphDriver,
    /// containerd: layers as they were pulled, and snapshots of them.
    Containerd,
}

/// What `docker build` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Builder {
    /// The builder of old: one container, then one image a step.
    Classic,
    /// `BuildKit` in the engine, without the buildx plugin (a client before 23.0).
    EmbeddedBuildkit,
    /// `DOCKER_BUILDKIT=1` asks for `BuildKit`, and the plugin that this client needs for it is
    /// not there: `docker build` refuses.
    BuildxMissing,
    /// `BuildKit` through the buildx plugin.
    Buildx {
        /// The plugin's version.
        version: String,
        /// The driver of the current builder: `docker` is the engine's own `BuildKit`.
        driver: String,
    },
}

impl Engine {
    /// Asks `docker` for its engine.
    ///
    /// `docker_buildkit` is the value of the environment variable `DOCKER_BUILDKIT`.
    ///
    /// # Errors
    /// Where there is no `docker`, or no engine answers.
    pub fn detect(docker: &Docker, docker_buildkit: Option<&str>) -> Result<Engine, EngineError> {
        let info_args = ["info", "--format", "{{json .}}"].map(str::to_owned);
        let inspect_args = ["buildx", "inspect"].map(str::to_owned);
        let (info, builder) = std::thread::scope(|scope| {
            let builder = (!builders::only_default(|name| std::env::var_os(name)))
                .then(|| scope.spawn(|| docker.output(&inspect_args)));
            (
                docker.output(&info_args),
                builder.map(|builder| builder.join().expect("the thread does not panic")),
            )
        });
        let info = info?;
        let stderr = String::from_utf8_lossy(&info.stderr);
        let mut engine = Engine::from_info(&info.stdout, docker_buildkit).map_err(|error| {
            if stderr.trim().is_empty() {
                error
            } else {
                EngineError::from_stderr("docker info", &stderr)
            }
        })?;
        if let Builder::Buildx { driver, .. } = &mut engine.builder
            && let Some(Ok(output)) = builder
            && output.status.success()
            && let Some(found) = driver_of(&String::from_utf8_lossy(&output.stdout))
        {
            *driver = found;
        }
        Ok(engine)
    }

    /// Reads the answer of `docker info --format '{{json .}}'`.
    ///
    /// # Errors
    /// Where the answer is not JSON, or no server stands behind it.
    pub fn from_info(json: &[u8], docker_buildkit: Option<&str>) -> Result<Engine, EngineError> {
        let protocol =
            |detail: String| EngineError::new(EngineErrorKind::Protocol, "docker info", detail);
        let info: Info =
            serde_json::from_slice(json).map_err(|error| protocol(error.to_string()))?;
        if info.server_version.is_empty() {
            let errors = info.server_errors.unwrap_or_default().join("; ");
            return Err(if errors.is_empty() {
                EngineError::new(
                    EngineErrorKind::Unreachable,
                    "docker info",
                    "no server version in its answer",
                )
            } else {
                EngineError::from_stderr("docker info", &errors)
            });
        }
        let containerd = info
            .driver_status
            .unwrap_or_default()
            .iter()
            .any(|(name, value)| {
                name == "driver-type" && value.starts_with("io.containerd.snapshotter")
            });
        let registries = info.registry_config.unwrap_or_default();
        let mut insecure_registries = registries.insecure_registry_cidrs.unwrap_or_default();
        for (name, index) in registries.index_configs.unwrap_or_default() {
            if !index.secure {
                insecure_registries.push(name);
            }
        }
        let server_major = leading_number(&info.server_version);
        Ok(Engine {
            builder: builder(
                server_major,
                &info.client.unwrap_or_default(),
                docker_buildkit,
            ),
            image_store: if containerd {
                ImageStore::Containerd
            } else {
                ImageStore::GraphDriver
            },
            platform: platform(&info.os_type, &info.architecture),
            mirrors: registries.mirrors.unwrap_or_default(),
            insecure_registries,
            server_major,
            server_version: info.server_version,
        })
    }
}

/// What `docker build` starts, by the rules of the client: `DOCKER_BUILDKIT=0` is the classic
/// builder, buildx is the default since client 23.0, before it only with `DOCKER_BUILDKIT=1`.
///
/// Source: <https://github.com/docker/cli/blob/v28.5.2/cmd/docker/builder.go>
fn builder(server_major: u32, client: &ClientInfo, docker_buildkit: Option<&str>) -> Builder {
    let asked = docker_buildkit
        .filter(|value| !value.is_empty())
        .map(|value| !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False"));
    let buildx = client
        .plugins
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|plugin| plugin.name == "buildx" && plugin.err.is_none());
    // Clients before 23.0 do not tell their version here, and are as old as their server or older.
    let client_major = if client.version.is_empty() {
        server_major.min(20)
    } else {
        leading_number(&client.version)
    };
    match (asked, buildx) {
        (Some(false), _) => Builder::Classic,
        (_, Some(plugin)) => Builder::Buildx {
            version: plugin.version.clone(),
            driver: "docker".to_owned(),
        },
        (Some(true), None) if client_major < 23 => Builder::EmbeddedBuildkit,
        (Some(true), None) => Builder::BuildxMissing,
        _ => Builder::Classic,
    }
}

fn platform(os: &str, architecture: &str) -> Platform {
    let (architecture, variant) = match architecture {
        "x86_64" | "" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "armv7l" => ("arm", "v7"),
        "armv6l" => ("arm", "v6"),
        "i386" | "i686" => ("386", ""),
        other => (other, ""),
    };
    let os = if os.is_empty() { "linux" } else { os };
    Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        os_version: String::new(),
    }
}

fn driver_of(inspect: &str) -> Option<String> {
    inspect
        .lines()
        .find_map(|line| line.strip_prefix("Driver:"))
        .map(|driver| driver.trim().to_owned())
}

fn leading_number(version: &str) -> u32 {
    let digits = version.trim_start_matches('v');
    digits[..digits.bytes().take_while(u8::is_ascii_digit).count()]
        .parse()
        .unwrap_or(0)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    server_version: String,
    #[serde(default)]
    server_errors: Option<Vec<String>>,
    #[serde(default)]
    driver_status: Option<Vec<(String, String)>>,
    #[serde(default, rename = "OSType")]
    os_type: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    registry_config: Option<RegistryConfig>,
    #[serde(default, rename = "ClientInfo")]
    client: Option<ClientInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegistryConfig {
    #[serde(default)]
    mirrors: Option<Vec<String>>,
    #[serde(default, rename = "InsecureRegistryCIDRs")]
    insecure_registry_cidrs: Option<Vec<String>>,
    #[serde(default)]
    index_configs: Option<std::collections::BTreeMap<String, IndexConfig>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexConfig {
    #[serde(default)]
    secure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ClientInfo {
    #[serde(default)]
    version: String,
    #[serde(default)]
    plugins: Option<Vec<Plugin>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plugin {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    err: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(server: &str, client: &str, plugins: &str, driver_status: &str) -> Vec<u8> {
        format!(
            r#"{{"ServerVersion":"{server}","DriverStatus":{driver_status},"OSType":"linux","Architecture":"x86_64",
            "RegistryConfig":{{"Mirrors":["http://127.0.0.1:5000/"],"InsecureRegistryCIDRs":["127.0.0.0/8"],
            "IndexConfigs":{{"docker.io":{{"Secure":true}},"reg.local:80":{{"Secure":false}}}}}},
            "ClientInfo":{{"Version":"{client}","Plugins":{plugins}}}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn engines_of_several_generations() {
        let buildx = r#"[{"Name":"buildx","Version":"0.29.1"}]"#;
        let check = |server, client, plugins, status, asked, store, builder: Builder| {
            let engine = Engine::from_info(&info(server, client, plugins, status), asked)
                .expect("a good answer");
            assert_eq!(
                (engine.image_store, engine.builder),
                (store, builder),
                "{server} {client} {plugins} {asked:?}"
            );
        };
        let with_buildx = || Builder::Buildx {
            version: "0.29.1".into(),
            driver: "docker".into(),
        };
        let containerd = r#"[["driver-type","io.containerd.snapshotter.v1"]]"#;
        check(
            "28.5.2",
            "28.5.2",
            buildx,
            "null",
            None,
            ImageStore::GraphDriver,
            with_buildx(),
        );
        check(
            "28.5.2",
            "28.5.2",
            buildx,
            containerd,
            None,
            ImageStore::Containerd,
            with_buildx(),
        );
        check(
            "28.5.2",
            "28.5.2",
            buildx,
            "[]",
            Some("0"),
            ImageStore::GraphDriver,
            Builder::Classic,
        );
        check(
            "20.10.24",
            "28.2.2",
            "[]",
            "null",
            None,
            ImageStore::GraphDriver,
            Builder::Classic,
        );
        check(
            "20.10.24",
            "20.10.24",
            "[]",
            "null",
            Some("1"),
            ImageStore::GraphDriver,
            Builder::EmbeddedBuildkit,
        );
        check(
            "20.10.24",
            "28.2.2",
            "[]",
            "null",
            Some("1"),
            ImageStore::GraphDriver,
            Builder::BuildxMissing,
        );
        check(
            "20.10.24",
            "",
            "null",
            "null",
            Some("1"),
            ImageStore::GraphDriver,
            Builder::EmbeddedBuildkit,
        );
        check(
            "20.10.24",
            "",
            "null",
            "null",
            Some(""),
            ImageStore::GraphDriver,
            Builder::Classic,
        );
    }

    #[test]
    fn registries_and_platform() {
        let engine = Engine::from_info(&info("26.1.5", "26.1.5", "null", "null"), None)
            .expect("a good answer");
        assert_eq!(engine.mirrors, ["http://127.0.0.1:5000/"]);
        assert_eq!(engine.insecure_registries, ["127.0.0.0/8", "reg.local:80"]);
        assert_eq!(engine.platform, Platform::linux_amd64());
        assert_eq!(engine.server_major, 26);
    }

    #[test]
    fn no_server_is_unreachable() {
        let error = Engine::from_info(br#"{"ServerVersion":"","ServerErrors":["Cannot connect to the Docker daemon at unix:///x"]}"#, None);
        assert_eq!(
            error.expect_err("no server").kind(),
            EngineErrorKind::Unreachable
        );
    }
}
