//! A push with the login that Amazon ECR documents, against moto's ECR.
//!
//! moto answers as the AWS interface that gives out passwords; the registry itself, which takes such
//! a password by Basic auth, is the test's own. Both programs (`PyPI`: `moto[server]` and `awscli`) are
//! looked for in `DOCKER_LAYER_CACHE_TEST_MOTO`, a folder, or else in `PATH`.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Scenario;
use crate::push::{project, task_with_config};
use crate::support::{Bench, Outcome};

pub(crate) const SCENARIO: Scenario = ("push_to_ecr_logs_in_by_aws", to_ecr);

const FOLDER: &str = "DOCKER_LAYER_CACHE_TEST_MOTO";
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns why there is nothing to test with; nothing where there is.
pub(crate) fn obstacle() -> Option<String> {
    let missing = ["moto_server", "aws"].into_iter().find(|name| {
        let run = Command::new(program(name)).arg("--version").output();
        run.is_err()
    })?;
    Some(format!("no {missing}"))
}

fn program(name: &str) -> PathBuf {
    std::env::var_os(FOLDER).map_or_else(|| name.into(), |folder| PathBuf::from(folder).join(name))
}

/// moto, until it is dropped.
struct Moto {
    child: Child,
    url: String,
}

impl Moto {
    fn start() -> Result<Self, Failed> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let moto = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > PATIENCE {
                return Err("moto did not start".into());
            }
            std::thread::yield_now();
        }
        Ok(moto)
    }

    /// Returns what `aws ecr WORDS` prints.
    fn ecr(&self, words: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new(program("aws"));
        command
            .args(["--endpoint-url", &self.url, "ecr"])
            .args(words);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
        ] {
            command.env(name, value);
        }
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(text);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("aws ecr {}: {stderr}", words.join(" ")).into())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It has ended already where that fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to_ecr(bench: &Bench<'_>) -> Outcome {
    let moto = Moto::start()?;
    let query = "authorizationData[0].authorizationToken";
    let arguments = [
        "get-authorization-token",
        "--output",
        "text",
        "--query",
        query,
    ];
    let token = moto.ecr(&arguments)?;
    bench.registry.ask_for(&format!("Basic {token}"));
    let project = project(bench, "")?;
    let folder = tempfile::tempdir()?;
    task_with_config(bench, &project, folder.path(), &["docker-build"])?.success()?;
    task_with_config(bench, &project, folder.path(), &["docker-push"])?
        .exit(3)?
        .says(&["docker login"])?;

    // aws ecr get-login-password | docker login --username AWS --password-stdin HOST
    let host = bench.registry.host();
    let arguments = ["login", "--username", "AWS", "--password-stdin", &host];
    let mut login = bench.engine.docker(&arguments);
    let mut login = login
        .env("DOCKER_CONFIG", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let password = moto.ecr(&["get-login-password"])?;
    let mut stdin = login.stdin.take().ok_or("no stdin")?;
    stdin.write_all(password.as_bytes())?;
    drop(stdin);
    if !login.wait()?.success() {
        return Err("docker login failed".into());
    }
    let run = task_with_config(bench, &project, folder.path(), &["docker-push"])?.success()?;
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    assert!(!run.stderr.contains(&password), "the password was told");
    Ok(())
}
