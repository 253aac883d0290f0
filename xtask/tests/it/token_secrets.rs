//! No secret gets out on the way to a token: every kind of credentials, on every kind of failure,
//! at a registry that repeats in its errors whatever it was told.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::secrets::{base64, contains, read_all};
use crate::support::{HostileRegistry, Mood, Outcome, Project, Run};

/// A test that needs no engine.
type Test = (&'static str, fn() -> Outcome);

pub(crate) const TESTS: &[Test] = &[
    ("tokens_get_out_on_no_failure", failures),
    ("proxies_and_tls_tell_none", proxies),
    ("urls_with_a_password_tell_none", urls),
];

const ACCESS_TOKEN: &str = "planted-access-token-7b62";
const REFRESH_TOKEN: &str = "planted-refresh-token-8c73";
const HELPER_SECRET: &str = "planted-helper-secret-9d84";
const AUTH_CONFIG: &str = "planted-auth-config-ae95";
const PROXY_PASSWORD: &str = "planted-proxy-password-bfa6";
const URL_PASSWORD: &str = "planted-url-password-c0b7";
const PLANTED: &[&str] = &[
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    HELPER_SECRET,
    AUTH_CONFIG,
    PROXY_PASSWORD,
    URL_PASSWORD,
];

/// Where the credentials lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    IdentityToken,
    Helper,
    HelperIdentityToken,
    /// A helper that prints the secret, and fails.
    FailingHelper,
    AuthConfig,
}

struct Case {
    project: Project,
    client: TempDir,
    helpers: TempDir,
}

impl Case {
    fn new(dockerfile: &str) -> Result<Self, Failed> {
        Ok(Case {
            project: Project::with_dockerfile(dockerfile)?,
            client: TempDir::with_prefix("dlc-test-client-")?,
            helpers: TempDir::with_prefix("dlc-test-helpers-")?,
        })
    }

    /// Returns `docker-key` with credentials for `host`, without an engine.
    fn command(&self, host: &str, place: Place) -> Result<Command, Failed> {
        let user = |secret: &str| base64(format!("user:{secret}").as_bytes());
        let helper = || serde_json::json!({ "credHelpers": { host: "planted" } });
        let (config, helper_user) = match place {
            Place::IdentityToken => {
                let auth = serde_json::json!({ "auth": user(""), "identitytoken": REFRESH_TOKEN });
                (serde_json::json!({ "auths": { host: auth } }), None)
            }
            Place::Helper | Place::FailingHelper => (helper(), Some("user")),
            Place::HelperIdentityToken => (helper(), Some("<token>")),
            Place::AuthConfig => (serde_json::json!({}), None),
        };
        fs::write(self.client.path().join("config.json"), config.to_string())?;
        let mut command = self.project.command(&["docker-key", "--json", "--explain"]);
        command
            .env("DOCKER_CONFIG", self.client.path())
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .env_remove("DOCKER_CONTEXT");
        if let Some(name) = helper_user {
            let answer = serde_json::json!({ "Username": name, "Secret": HELPER_SECRET });
            let code = u8::from(place == Place::FailingHelper);
            let script = format!("#!/bin/sh\necho '{answer}'\nexit {code}\n");
            write_program(
                &self.helpers.path().join("docker-credential-planted"),
                &script,
            )?;
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut folders = vec![self.helpers.path().to_owned()];
            folders.extend(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders)?);
        }
        if place == Place::AuthConfig {
            let auth = serde_json::json!({ "auths": { host: { "auth": user(AUTH_CONFIG) } } });
            command.env("DOCKER_AUTH_CONFIG", auth.to_string());
        }
        Ok(command)
    }

    /// Fails where a planted text is in what was said or written.
    fn check(&self, run: &Run) -> Outcome {
        let mut texts = vec![
            ("stdout".to_owned(), run.stdout.clone().into_bytes()),
            ("stderr".to_owned(), run.stderr.clone().into_bytes()),
        ];
        read_all(&self.project.root().join("target"), &mut texts)?;
        for (place, text) in &texts {
            for &planted in PLANTED {
                let encoded = base64(format!("user:{planted}").as_bytes());
                if contains(text, planted) || contains(text, &encoded) {
                    return Err(run.failure(&format!("`{planted}` is in {place}")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn write_program(path: &Path, script: &str) -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn failures() -> Outcome {
    const PLACES: [(Place, &str); 4] = [
        (Place::IdentityToken, REFRESH_TOKEN),
        (Place::Helper, HELPER_SECRET),
        (Place::HelperIdentityToken, HELPER_SECRET),
        (Place::AuthConfig, AUTH_CONFIG),
    ];
    // Waiting for retries is most of it.
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = PLACES
            .iter()
            .map(|&(place, secret)| scope.spawn(move || failures_of(place, secret)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome>| thread.join();
        threads
            .into_iter()
            .map(|thread| join(thread).unwrap_or_else(|_| Err("a check panicked".into())))
            .collect()
    });
    outcomes.into_iter().collect::<Outcome>()?;
    let registry = HostileRegistry::start(ACCESS_TOKEN)?;
    let case = Case::new(&format!("FROM {}/team/base:1\n", registry.host))?;
    let mut command = case.command(&registry.host, Place::FailingHelper)?;
    let run = Run::of(&mut command)?;
    case.check(&run)
}

fn failures_of(place: Place, secret: &str) -> Outcome {
    let registry = HostileRegistry::start(ACCESS_TOKEN)?;
    let case = Case::new(&format!("FROM {}/team/base:1\n", registry.host))?;
    let run = || Run::of(&mut case.command(&registry.host, place)?);
    let good = run()?.success()?;
    case.check(&good)?;
    let told = registry.told().join("\n");
    let encoded = base64(format!("user:{secret}").as_bytes());
    if !told.contains(secret) && !told.contains(&encoded) {
        return Err(good.failure(&format!("does not use {place:?}, but tells: {told}")));
    }
    let moods = [401, 403, 404, 429, 500].map(Mood::Status).into_iter();
    let of_token = [401, 403, 404, 429, 500].map(Mood::TokenStatus);
    for mood in moods.chain(of_token).chain([Mood::HangUp]) {
        registry.be(mood);
        let run = run()?;
        if run.code == Some(0) {
            return Err(run.failure(&format!("succeeds although {mood:?}")));
        }
        case.check(&run)?;
    }
    Ok(())
}

fn proxies() -> Outcome {
    let proxy = HostileRegistry::start(ACCESS_TOKEN)?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let case = Case::new("FROM registry.invalid/team/base:1\n")?;
    for (host, mood) in [
        (&proxy.host, Mood::NoTls),
        (&proxy.host, Mood::HangUp),
        (&proxy.host, Mood::Good),
        (&closed, Mood::Good),
    ] {
        proxy.be(mood);
        let mut command = case.command("registry.invalid", Place::AuthConfig)?;
        command
            .env(
                "HTTPS_PROXY",
                format!("http://user:{PROXY_PASSWORD}@{host}"),
            )
            .env_remove("https_proxy")
            .env_remove("NO_PROXY")
            .env_remove("no_proxy");
        let run = Run::of(&mut command)?.exit(3)?;
        case.check(&run)?;
    }
    let told = proxy.told().join("\n");
    let encoded = base64(format!("user:{PROXY_PASSWORD}").as_bytes());
    assert!(told.contains(&encoded), "the proxy is used: {told}");
    Ok(())
}

fn urls() -> Outcome {
    let url = |path: &str| format!("https://user:{URL_PASSWORD}@registry.invalid/{path}");
    let dockerfile = format!(
        "FROM scratch\nADD {} /\nADD {} /git\nCOPY --from=src / /src\n",
        url("a.tar"),
        url("a.git#main")
    );
    let case = Case::new(&dockerfile)?;
    let context = format!("src={}", url("b.git"));
    for flags in [&["--json", "--explain"][..], &["--refs-json"]] {
        for bad in ["", "FROM\n"] {
            case.project
                .write("docker/Dockerfile", &format!("{dockerfile}{bad}"))?;
            let mut command = case.project.command(&["docker-key"]);
            command.args(flags).args(["--build-context", &context]);
            let run = Run::of(command.env("DOCKER_HOST", "tcp://127.0.0.1:1"))?;
            case.check(&run)?;
        }
    }
    Ok(())
}
