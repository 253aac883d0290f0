//! Services of Docker Swarm: another image, and back.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::read_stderr;
use super::{Docker, EngineError, EngineErrorKind};

/// What a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The image that its tasks are to run.
    pub image: String,
    /// Of the last update: `updating`, `completed`, `paused`, `rollback_completed` and the like;
    /// empty where there was none.
    pub update: String,
    /// What swarm says of it.
    pub message: String,
}

/// Why a service did not converge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceFailure {
    /// Docker gave up, with these words.
    Refused(String),
    /// It took longer than it may.
    TimedOut(Duration),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    spec: Spec,
    #[serde(default)]
    update_status: UpdateStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    task_template: TaskTemplate,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskTemplate {
    container_spec: ContainerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateStatus {
    state: String,
    message: String,
}

impl Docker {
    /// Returns what a service runs.
    ///
    /// # Errors
    /// Where there is no such service, or the engine is no manager of a swarm.
    pub fn service(&self, name: &str) -> Result<ServiceState, EngineError> {
        let args = ["service", "inspect", "--format", "{{json .}}", "--", name];
        let json = self.read(&args.map(str::to_owned))?;
        let inspected: Inspected = serde_json::from_slice(&json).map_err(|error| {
            EngineError::new(EngineErrorKind::Protocol, "docker service inspect", error)
        })?;
        Ok(ServiceState {
            image: inspected.spec.task_template.container_spec.image,
            update: inspected.update_status.state,
            message: inspected.update_status.message,
        })
    }

    /// Returns what the last task that failed says; nothing where none does.
    pub fn last_task_error(&self, name: &str) -> Option<String> {
        let args = [
            "service",
            "ps",
            "--no-trunc",
            "--format",
            "{{.Error}}",
            "--",
            name,
        ];
        let text = self.read(&args.map(str::to_owned)).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines = text.lines().map(|line| line.trim().trim_matches('"'));
        lines.find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Gives a service another image, with the credentials for its registry, and waits until its
    /// tasks run it and are stable.
    ///
    /// # Errors
    /// Where `docker` cannot be started; that the service does not converge is the inner one.
    pub fn update_service(
        &self,
        name: &str,
        image: &str,
        limit: Duration,
        print: &mut dyn FnMut(&str),
    ) -> Result<Result<(), ServiceFailure>, EngineError> {
        let image = format!("--image={image}");
        let args = [
            "service",
            "update",
            "--detach=false",
            "--with-registry-auth",
            &image,
        ];
        self.wait_for_service(&args, name, limit, print)
    }

    /// Gives a service back what it ran before its last update, and waits as
    /// [`Docker::update_service`].
    ///
    /// # Errors
    /// As there.
    pub fn roll_service_back(
        &self,
        name: &str,
        limit: Duration,
        print: &mut dyn FnMut(&str),
    ) -> Result<Result<(), ServiceFailure>, EngineError> {
        let args = ["service", "update", "--detach=false", "--rollback"];
        self.wait_for_service(&args, name, limit, print)
    }

    fn wait_for_service(
        &self,
        args: &[&str],
        name: &str,
        limit: Duration,
        print: &mut dyn FnMut(&str),
    ) -> Result<Result<(), ServiceFailure>, EngineError> {
        let mut args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        args.extend(["--".to_owned(), name.to_owned()]);
        let (mut child, stdout, stderr) = self.start(&args, Stdio::null())?;
        let (sender, lines) = channel::<String>();
        let readers = (
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                // Nobody listens any more where the time was over.
                for line in lines {
                    let _ = sender.send(line);
                }
            }),
            std::thread::spawn(move || read_stderr(stderr)),
        );
        let end = Instant::now() + limit;
        let mut last = String::new();
        let is_over = loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                // The progress repeats itself.
                Ok(line) if line == last => {}
                Ok(line) => {
                    print(&line);
                    last = line;
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => break true,
            }
        };
        if is_over {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| {
            EngineError::new(EngineErrorKind::Failed, "docker service update", error)
        })?;
        let _ = readers.0.join();
        let stderr = readers.1.join().unwrap_or_default();
        Ok(if is_over {
            Err(ServiceFailure::TimedOut(limit))
        } else if status.success() {
            Ok(())
        } else {
            let error = EngineError::from_stderr("docker service update", &stderr);
            if error.kind() != EngineErrorKind::Failed {
                return Err(error);
            }
            let words: Vec<&str> = stderr.lines().map(str::trim).collect();
            Err(ServiceFailure::Refused(words.join(" ").trim().to_owned()))
        })
    }
}
