//! `docker-deploy`: what was pushed last goes where `[deploy.NAME]` of `images.toml` says.

mod service;

use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use xshell::Shell;

use super::Workspace;
use super::images::{Deploy, Way, nearest};
use super::job::Job;
use super::push::{Pushed, last_push, read_digest_file};
use super::tags::fill;
use crate::cli::{DeployArgs, ShipArgs};
use crate::engine::Docker;
use crate::error::{Error, exit_code};
use crate::oci::{Digest, Reference};
use crate::ui::{self, Talk};

/// What deploys stand on.
struct Ground<'a> {
    docker: &'a Docker,
    talk: Talk,
    root: &'a Utf8Path,
    dry_run: bool,
}

/// What was deployed.
#[derive(Debug, Serialize)]
pub(super) struct Deployed {
    deploy: String,
    image: String,
    repository: String,
    tag: String,
    digest: Digest,
}

/// Runs the command.
pub(crate) fn run(sh: &Shell, args: &DeployArgs) -> Result<(), Error> {
    let place = &args.place;
    let workspace = Workspace::open(&sh.current_dir(), &place.store, place.key_dir.as_deref())?;
    let docker = Docker::new().in_directory(workspace.root.as_std_path());
    let ground = Ground {
        docker: &docker,
        talk: Talk::new(args.quiet),
        root: &workspace.root,
        dry_run: args.dry_run,
    };
    let deploys = chosen(&workspace, &args.images, &args.to)?;
    let current = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
    // All of it is known before the first is deployed.
    let mut deployed = Vec::new();
    for deploy in &deploys {
        let pushed = match &args.digest_file {
            Some(file) => read_digest_file(&current.join(file))?,
            None => pushed_last(&workspace, &deploy.image)?,
        };
        deployed.push(deploy.what_of(&pushed)?);
    }
    for (deploy, what) in deploys.iter().zip(deployed) {
        deploy.run(&ground, &what)?;
        if args.json {
            ui::data(serde_json::to_string(&what).expect("names and a digest"))?;
        }
    }
    Ok(())
}

/// Returns what `docker-ci` deploys.
///
/// # Errors
/// Where it is to deploy, and there is nothing for these images.
pub(super) fn planned(
    workspace: &Workspace,
    ship: &ShipArgs,
    images: &[String],
) -> Result<Vec<Deploy>, Error> {
    if !ship.deploy {
        return Ok(Vec::new());
    }
    chosen(workspace, images, &[])
}

fn chosen(workspace: &Workspace, images: &[String], to: &[String]) -> Result<Vec<Deploy>, Error> {
    let all = &workspace.images.deploys;
    let names = || all.iter().map(|deploy| deploy.name.as_str());
    if let Some(unknown) = to.iter().find(|name| !names().any(|known| known == *name)) {
        let error = Error::usage(format_args!(
            "there is no `[deploy.{unknown}]` in `docker/images.toml`"
        ));
        return Err(match nearest(unknown, names()) {
            Some(near) => error.with_hint(format_args!("did you mean `{near}`?")),
            None => error,
        });
    }
    let chosen: Vec<Deploy> = all
        .iter()
        .filter(|deploy| images.is_empty() || images.contains(&deploy.image))
        .filter(|deploy| to.is_empty() || to.contains(&deploy.name))
        .cloned()
        .collect();
    if chosen.is_empty() {
        return Err(Error::usage(
            "`docker/images.toml` says nowhere that this is deployed",
        )
        .with_hint("add a section such as `[deploy.web]` with `image = \"app\"` and `service = \"web\"`"));
    }
    Ok(chosen)
}

fn pushed_last(workspace: &Workspace, image: &str) -> Result<Vec<Pushed>, Error> {
    let path = last_push(workspace, image);
    if !path.exists() {
        return Err(not_pushed(image));
    }
    read_digest_file(&path)
}

fn not_pushed(image: &str) -> Error {
    Error::usage(format_args!("image `{image}` was not pushed")).with_hint(
        "run `cargo xtask docker-push` before, with the same --key-dir, or name its --digest-file",
    )
}

impl Deploy {
    /// Deploys what a job pushed.
    pub(super) fn run_with(&self, job: &Job<'_>, pushed: &[Pushed]) -> Result<(), Error> {
        let ground = Ground {
            docker: &job.docker,
            talk: job.talk,
            root: &job.workspace.root,
            dry_run: false,
        };
        self.run(&ground, &self.what_of(pushed)?)
    }

    /// Chooses from what was pushed: of several platforms their list, of several repositories the
    /// one that is named, or else the first.
    fn what_of(&self, pushed: &[Pushed]) -> Result<Deployed, Error> {
        let about = |error: Error| error.during(format_args!("deploy `{}`", self.name));
        let wanted = self.repository.as_ref().map(|repository| {
            let reference = repository.parse::<Reference>();
            reference.map_or_else(
                |_| repository.clone(),
                |reference| format!("{}/{}", reference.domain(), reference.path()),
            )
        });
        let mut of_image = pushed
            .iter()
            .filter(|one| one.image == self.image)
            .peekable();
        if of_image.peek().is_none() {
            return Err(about(not_pushed(&self.image)));
        }
        let mut chosen: Option<&Pushed> = None;
        let n_platforms = |one: &Pushed| one.platform.split(',').count();
        for one in of_image {
            let is_wanted = wanted
                .as_ref()
                .is_none_or(|wanted| *wanted == one.repository);
            let is_more = chosen.is_none_or(|chosen| n_platforms(one) > n_platforms(chosen));
            if is_wanted && is_more {
                chosen = Some(one);
            }
        }
        let chosen = chosen.ok_or_else(|| {
            about(Error::usage(format_args!(
                "image `{}` was not pushed to `{}`",
                self.image,
                wanted.unwrap_or_default()
            )))
        })?;
        let tag = chosen.tags.first().and_then(|tag| {
            let reference: Reference = tag.parse().ok()?;
            reference.tag().map(str::to_owned)
        });
        Ok(Deployed {
            deploy: self.name.clone(),
            image: self.image.clone(),
            repository: chosen.repository.clone(),
            tag: tag.unwrap_or_default(),
            digest: chosen.digest.clone(),
        })
    }

    fn run(&self, ground: &Ground<'_>, what: &Deployed) -> Result<(), Error> {
        let pinned = format!("{}@{}", what.repository, what.digest);
        let done = match &self.way {
            Way::Service { service, timeout } => {
                service::update(ground, service, &pinned, *timeout)
            }
            Way::Command(words) => command(ground, words, what),
        };
        done.map_err(|error| error.during(format_args!("deploy `{}`", self.name)))?;
        if !ground.dry_run {
            ground
                .talk
                .say(format_args!("{}: deployed `{pinned}`", self.name));
        }
        Ok(())
    }
}

/// Runs a program with its placeholders filled in; what it prints goes to stderr.
fn command(ground: &Ground<'_>, words: &[String], what: &Deployed) -> Result<(), Error> {
    let digest = what.digest.to_string();
    let known = [
        ("image", what.repository.as_str()),
        ("digest", digest.as_str()),
        ("tag", what.tag.as_str()),
    ];
    let words: Vec<String> = words
        .iter()
        .map(|word| fill("word", word, &known))
        .collect::<Result<_, _>>()?;
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    if ground.dry_run {
        ground.talk.say(format_args!("would run {words:?}"));
        return Ok(());
    }
    let status = Command::new(program)
        .args(arguments)
        .current_dir(ground.root)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .map_err(|error| Error::usage(format_args!("cannot run `{program}`: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Error::new(
        code.unwrap_or(exit_code::BUILD),
        format_args!("`{program}` failed ({status})"),
    ))
}
