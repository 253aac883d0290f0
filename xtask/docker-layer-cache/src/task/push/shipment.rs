//! All that a command pushed: printed, written to a file, noted for `docker-deploy`.

use camino::{Utf8Path, Utf8PathBuf};
use xshell::Shell;

use super::super::Workspace;
use super::super::images::{Image, slug};
use super::super::job::Job;
use super::super::notes::write_file;
use super::Pushed;
use super::platforms::put_list;
use crate::cli::TaskArgs;
use crate::error::Error;
use crate::ui;

/// What a command pushed so far.
#[derive(Debug)]
pub(in crate::task) struct Shipment {
    pushed: Vec<Pushed>,
    digest_file: Option<Utf8PathBuf>,
    prints: bool,
}

impl Shipment {
    /// Begins with nothing. A digest file of an earlier job is taken away: one that does not tell of
    /// this job must not be deployed.
    pub(in crate::task) fn new(
        sh: &Shell,
        args: &TaskArgs,
        digest_file: Option<&Utf8Path>,
    ) -> Result<Self, Error> {
        let current = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
        let digest_file = digest_file.map(|file| current.join(file));
        if let Some(file) = &digest_file
            && let Err(error) = std::fs::remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::usage(format_args!(
                "cannot write the digest file `{file}`: {error}"
            )));
        }
        Ok(Self {
            pushed: Vec::new(),
            digest_file,
            prints: !args.json,
        })
    }

    /// Adds what an image got for one platform; behind the last of several their list is pushed.
    /// Returns all of it.
    pub(in crate::task) fn add(
        &mut self,
        job: &Job<'_>,
        image: &Image,
        mut pushed: Vec<Pushed>,
    ) -> Result<Vec<Pushed>, Error> {
        self.pushed.extend(pushed.iter().cloned());
        if image.is_last_platform() {
            let lists = put_list(job, image, &self.pushed)?;
            self.pushed.extend(lists.iter().cloned());
            pushed.extend(lists);
        }
        if image.all_platforms.is_empty() || image.is_last_platform() {
            let mut of_image = self.pushed.iter().filter(|one| one.image == image.name);
            let of_image: Vec<&Pushed> = of_image.by_ref().collect();
            let json = serde_json::to_vec_pretty(&of_image).expect("pushes are JSON");
            write_file(&last_push(&job.workspace, &image.name), &json)?;
        }
        if self.prints {
            for one in &pushed {
                for tag in &one.tags {
                    ui::data(format_args!("{tag}@{}", one.digest))?;
                }
            }
        }
        Ok(pushed)
    }

    /// Returns all that was pushed.
    pub(in crate::task) fn pushed(&self) -> &[Pushed] {
        &self.pushed
    }

    /// Writes the digest file, and where `json` asks for it a line for each repository on stdout.
    pub(in crate::task) fn end(&self, job: &Job<'_>, json: bool) -> Result<(), Error> {
        if let Some(file) = &self.digest_file {
            let json = serde_json::to_vec_pretty(&self.pushed).expect("pushes are JSON");
            write_file(file, &[&json[..], b"\n"].concat())?;
            job.talk.say(format_args!("the digests are in `{file}`"));
        }
        if json {
            for one in &self.pushed {
                ui::data(serde_json::to_string(one).expect("a push is JSON"))?;
            }
        }
        Ok(())
    }
}

/// Returns the file that notes what was pushed last of an image.
pub(in crate::task) fn last_push(workspace: &Workspace, image: &str) -> Utf8PathBuf {
    workspace
        .key_dir
        .join(".work")
        .join(slug(image))
        .join("pushed.json")
}

/// Reads a digest file, or what [`last_push`] notes.
pub(in crate::task) fn read_digest_file(path: &Utf8Path) -> Result<Vec<Pushed>, Error> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::usage(format_args!("cannot read `{path}`: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::usage(format_args!("`{path}` is no digest file: {error}")))
}
