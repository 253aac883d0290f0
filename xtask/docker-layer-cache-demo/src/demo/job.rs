//! One job: the real `docker-ci` as a child process, and what it reported.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::repository::Repository;

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) time: Duration,
    pub(super) hits: usize,
    pub(super) n_steps: usize,
    pub(super) result: String,
}

/// The part of the report of `docker-ci --json` that the table shows.
#[derive(Debug, Deserialize)]
struct Report {
    steps: Vec<Step>,
    result: String,
}

#[derive(Debug, Deserialize)]
struct Step {
    result: String,
}

impl Job {
    /// Runs key, restore, build and save on the repository.
    pub(super) fn run(
        name: &'static str,
        xtask: &Path,
        repository: &Repository,
    ) -> Result<Self, String> {
        let started = Instant::now();
        let output = Command::new(xtask)
            .args(["docker-ci", "--json", "--root"])
            .arg(repository.root())
            .arg("--store")
            .arg(repository.store())
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| format!("failed to run `{}`: {cause}", xtask.display()))?;
        let time = started.elapsed();
        let talk = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("the {name} failed with {}\n{talk}", output.status));
        }
        Self::from_report(name, time, &output.stdout)
            .map_err(|cause| format!("the {name} reported no JSON: {cause}\n{talk}"))
    }

    fn from_report(
        name: &'static str,
        time: Duration,
        json: &[u8],
    ) -> Result<Self, serde_json::Error> {
        let report: Report = serde_json::from_slice(json)?;
        Ok(Self {
            name,
            time,
            hits: report
                .steps
                .iter()
                .filter(|step| step.result == "hit")
                .count(),
            n_steps: report.steps.len(),
            result: report.result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_report_by_its_contract() {
        let json = br#"{"image":"app","key":{"base":"b","full":"f"},"result":"partial","phases":[],
            "steps":[{"stage":"a","step":1,"instruction":"RUN true","result":"hit","seconds":0.1},
                     {"stage":"a","step":2,"instruction":"RUN false","result":"run","seconds":0.1}]}"#;
        let job = Job::from_report("warm job", Duration::from_secs(1), json).expect("valid");
        assert_eq!(
            (job.hits, job.n_steps, job.result.as_str()),
            (1, 2, "partial")
        );
    }
}
