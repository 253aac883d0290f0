//! What the steps of one command share: the repository, the engine, the flags.

use std::cell::OnceCell;
use std::fs::File;

use camino::Utf8PathBuf;
use xshell::Shell;

use super::Workspace;
use super::images::{Definitions, Image};
use super::remote::Remote;
use super::tags::Facts;
use crate::cli::{OfferArgs, TaskArgs};
use crate::engine::{Docker, Engine, Strategy};
use crate::error::Error;
use crate::ui::Talk;

/// One run of a command.
pub(super) struct Job<'a> {
    pub(super) workspace: Workspace,
    pub(super) docker: Docker,
    pub(super) talk: Talk,
    pub(super) args: &'a TaskArgs,
    pub(super) offer: OfferArgs,
    /// Nothing is laid out, loaded or noted.
    pub(super) dry_run: bool,
    /// What placeholders in tags stand for.
    pub(super) facts: Facts,
    engine: OnceCell<Engine>,
    remote: Option<Remote>,
}

impl<'a> Job<'a> {
    /// Opens the repository that the flags name.
    pub(super) fn open(sh: &Shell, args: &'a TaskArgs) -> Result<Job<'a>, Error> {
        let place = &args.place;
        let workspace = Workspace::open(&sh.current_dir(), &place.store, place.key_dir.as_deref())?;
        let remote = Remote::of(args.remote.as_deref(), &workspace.images, args.offline)?;
        Ok(Job {
            remote,
            docker: Docker::new().in_directory(workspace.root.as_std_path()),
            facts: Facts::new(&workspace.root),
            workspace,
            talk: Talk::new(args.quiet),
            args,
            offer: OfferArgs::default(),
            dry_run: false,
            engine: OnceCell::new(),
        })
    }

    /// Returns the job with the flags that rule what is offered.
    pub(super) fn with_offer(self, offer: &OfferArgs, dry_run: bool) -> Self {
        Job {
            offer: offer.clone(),
            dry_run,
            ..self
        }
    }

    /// Returns the remote store, where there is one and it is to be asked.
    pub(super) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Returns the URL of the remote store.
    pub(super) fn remote_url(&self) -> Option<String> {
        self.remote().map(Remote::url)
    }

    /// Returns the images that the command line names, with its flags put over them, each once for
    /// every platform.
    pub(super) fn images(&self, sh: &Shell) -> Result<Vec<Image>, Error> {
        let names = &self.args.images;
        let flags = &self.args.build;
        let current = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
        let workspace = &self.workspace;
        let selected = match Definitions::of_flags(flags, &current, workspace)? {
            Some(definitions) => definitions.images(names, workspace, &self.docker, self.talk)?,
            None => workspace
                .images
                .select(names)?
                .into_iter()
                .cloned()
                .collect(),
        };
        let several = selected.len() > 1;
        if several
            && (flags.dockerfile.is_some() || flags.target.is_some() || !flags.tag.is_empty())
        {
            return Err(Error::usage(
                "--dockerfile, --target and --tag are for one image; name it before them",
            ));
        }
        let images: Result<Vec<Vec<Image>>, Error> = selected
            .into_iter()
            .map(|image| image.with_flags(flags, sh))
            .collect();
        Ok(images?.into_iter().flatten().collect())
    }

    /// Waits until no other command works on `image` in this key folder: the view of one must not
    /// be laid out anew under the build of another. The lock ends with the file.
    pub(super) fn lock(&self, image: &Image) -> Result<File, Error> {
        let path = self.workspace.work_file(image, "lock");
        let cannot =
            |error: std::io::Error| Error::usage(format_args!("cannot lock `{path}`: {error}"));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(cannot)?;
        }
        let file = File::create(&path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        Ok(file)
    }

    /// Returns the engine; it is asked once.
    pub(super) fn engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let buildkit = std::env::var("DOCKER_BUILDKIT").ok();
        let engine = Engine::detect(&self.docker, buildkit.as_deref())?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// Tells whether the engine was asked already.
    pub(super) fn knows_engine(&self) -> bool {
        self.engine.get().is_some()
    }

    /// Returns the strategy for `image` on this engine.
    pub(super) fn strategy(&self, image: &Image) -> Result<Strategy, Error> {
        Strategy::choose(self.engine()?, image.strategy).map_err(Error::usage)
    }
}
