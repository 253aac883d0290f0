//! The build that has the mounts: its context laid out, run, its report read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::job::Job;
use super::super::key::{Keyed, host_platform};
use super::super::notes::write_file;
use super::super::stage_images::unique;
use super::carry::LISTING_BYTES_MAX;
use super::kept::{KeptMount, NAMESPACE};
use super::program;
use crate::cache_mount::{Listing, ORDER_FILE, Order, REPORT_FILE, Report};
use crate::cli::Task;
use crate::engine::{BuildArg, HelperBuild};
use crate::error::{Error, exit_code};

/// A mount that a build holds is waited for no longer than this; the build may take hours.
const WAIT: Duration = Duration::from_secs(10);
/// Hardly any machine is slower, in bytes a second.
const SLOWEST: u64 = 20_000_000;

/// A helper's build under way. Its folders are emptied when it ends.
pub(super) struct Helper<'a> {
    job: &'a Job<'a>,
    keyed: &'a Keyed,
    folder: Utf8PathBuf,
    command: Vec<String>,
}

impl<'a> Helper<'a> {
    /// Lays out the program.
    ///
    /// # Errors
    /// Where this program cannot run in the engine's containers, or the key folder cannot be
    /// written.
    pub(super) fn new(job: &'a Job<'a>, keyed: &'a Keyed) -> Result<Self, Error> {
        let (engine, host) = (&job.engine()?.platform, host_platform());
        let is_same = (&engine.os, &engine.architecture) == (&host.os, &host.architecture);
        if !cfg!(target_os = "linux") || !is_same {
            return Err(Error::usage(format_args!(
                "the engine runs programs of {engine}, and this program is another"
            )));
        }
        let Some(task) = Task::to_run("docker-carry-mounts", std::env::args_os()) else {
            return Err(Error::usage(
                "this program was not started by one of the docker tasks, and cannot start itself as one",
            ));
        };
        let folder = job.workspace.work_file(&keyed.image, "cache-mounts");
        let mut helper = Helper {
            job,
            keyed,
            command: Vec::new(),
            folder,
        };
        helper.clear();
        let place = format!("{}/program", HelperBuild::CONTEXT);
        let program = program::copy_to(&helper.context().join("program"), &place);
        helper.command = program.map_err(Error::usage)?;
        helper.command.extend(task);
        helper.command.push(HelperBuild::CONTEXT.to_owned());
        Ok(helper)
    }

    /// Puts a file of the store into the context, under its own name, and returns that name.
    pub(super) fn add(&self, file: &Path) -> Result<String, Error> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let folder = self.context().join("blobs");
        let path = folder.join(&*name);
        let added = fs::create_dir_all(&folder).and_then(|()| link_or_copy(file, &path));
        added.map_err(|error| Error::usage(format_args!("cannot write `{path}`: {error}")))?;
        Ok(format!("blobs/{name}"))
    }

    /// Runs the build, which has about so many bytes to move, and returns the report.
    pub(super) fn run(
        &self,
        mounts: &[&KeptMount],
        order: &Order,
        bytes: u64,
    ) -> Result<Report, Error> {
        let json = serde_json::to_vec(order).expect("paths and numbers are JSON");
        write_file(&self.context().join(ORDER_FILE), &json)?;
        let arg = self.keyed.image.build_args.get(NAMESPACE);
        let build = HelperBuild {
            context: self.context(),
            mounts: mounts.iter().map(|mount| mount.of_helper()).collect(),
            command: self.command.clone(),
            build_args: arg
                .map(|value| BuildArg {
                    name: NAMESPACE.to_owned(),
                    value: value.clone(),
                    is_in_environment: false,
                })
                .into_iter()
                .collect(),
            nonce: unique(),
            out: self.folder.join("out"),
        };
        let limit = WAIT + Duration::from_secs(bytes / SLOWEST);
        let builder = &self.job.engine()?.builder;
        let outcome = self.job.docker.run_helper(&build, builder, limit)?;
        if let Some(failure) = outcome.failure {
            let why = match failure.errors.last() {
                _ if outcome.duration >= limit => {
                    "it did not end in time; another build may hold the mounts"
                }
                Some(error) => error.as_str(),
                None => "docker does not say why",
            };
            return Err(Error::new(
                exit_code::ENGINE,
                format_args!("the build that has the mounts failed: {why}"),
            ));
        }
        let path = self.out().join(REPORT_FILE);
        let report = fs::read(&path).ok();
        let report = report.and_then(|report| serde_json::from_slice(&report).ok());
        let report: Option<Report> =
            report.filter(|report: &Report| report.mounts.len() == order.mounts.len());
        report.ok_or_else(|| {
            let message = format_args!("the build that has the mounts left no report at `{path}`");
            Error::new(exit_code::ENGINE, message)
        })
    }

    /// Returns the folder of what the program wrote.
    pub(super) fn out(&self) -> Utf8PathBuf {
        let below = HelperBuild::OUT.trim_start_matches('/');
        self.folder.join("out").join(below)
    }

    fn context(&self) -> Utf8PathBuf {
        self.folder.join("context")
    }

    /// Empties the folders; the program stays.
    fn clear(&self) {
        for folder in [self.context().join("blobs"), self.folder.join("out")] {
            // What cannot be removed is in the way of what is written there, and then is told.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The same blob can be in several mounts.
fn link_or_copy(file: &Path, path: &Utf8Path) -> io::Result<()> {
    match fs::hard_link(file, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(file, path).map(|_| ()),
        Ok(()) => Ok(()),
    }
}

/// Reads the file of a listing: zstd.
pub(super) fn read_listing(path: &Path) -> Result<Listing, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(File::open(path)?)?;
        decoder.take(LISTING_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    let cannot = |error: &dyn std::fmt::Display| {
        format!("cannot read the listing `{}`: {error}", path.display())
    };
    let text = read().map_err(|error| cannot(&error))?;
    Listing::parse(&text).map_err(|error| cannot(&error))
}
