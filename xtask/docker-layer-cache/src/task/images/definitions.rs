//! Images of a bake or compose file, with what `images.toml` adds to them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::super::Workspace;
use super::super::notes::write_file;
use super::{
    Image, InputGlob, RawImage, cache_mounts_max_bytes, clean, is_folder, only_platform, slug,
    strategy,
};
use crate::cli::BuildArgs;
use crate::engine::{
    BuildDefinition, DefinitionError, Docker, EngineErrorKind, LINK, bake_definitions,
    compose_definitions,
};
use crate::error::Error;
use crate::ui::Talk;

/// Files that define images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Definitions {
    Bake(Vec<Utf8PathBuf>),
    Compose(Vec<Utf8PathBuf>),
}

/// What `images.toml` says of an image that is defined elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    inputs: Vec<InputGlob>,
    strategy: Option<String>,
    build_cache: Option<BTreeMap<String, String>>,
    reuse_with_secrets: bool,
    cache_mounts: bool,
    cache_mounts_max_size: Option<String>,
    /// A field that the other file defines.
    defined: Option<&'static str>,
}

impl Settings {
    pub(super) fn of(raw: &RawImage) -> Settings {
        let defined = [
            ("dockerfile", raw.dockerfile.is_some()),
            ("context", raw.context.is_some()),
            ("target", raw.target.is_some()),
            ("platforms", !raw.platforms.is_empty()),
            ("tags", !raw.tags.is_empty()),
            ("build-args", !raw.build_args.is_empty()),
            ("build-contexts", !raw.build_contexts.is_empty()),
            ("secrets", !raw.secrets.is_empty()),
            ("ssh", !raw.ssh.is_empty()),
        ];
        Settings {
            inputs: raw.inputs.clone(),
            strategy: raw.strategy.clone(),
            build_cache: raw.build_cache.clone(),
            reuse_with_secrets: raw.reuse_with_secrets,
            cache_mounts: raw.cache_mounts,
            cache_mounts_max_size: raw.cache_mounts_max_size.clone(),
            defined: defined
                .iter()
                .find(|(_, is_set)| *is_set)
                .map(|(field, _)| *field),
        }
    }
}

impl Definitions {
    /// Returns the files that are named; none where none is.
    pub(super) fn new(
        bake: &[Utf8PathBuf],
        compose: &[Utf8PathBuf],
        folder: &Utf8Path,
    ) -> Result<Option<Definitions>, Error> {
        let files =
            |list: &[Utf8PathBuf]| list.iter().map(|file| clean(&folder.join(file))).collect();
        match (bake, compose) {
            ([], []) => Ok(None),
            (bake, []) => Ok(Some(Definitions::Bake(files(bake)))),
            ([], compose) => Ok(Some(Definitions::Compose(files(compose)))),
            _ => Err(Error::usage(
                "images come from `bake` or from `compose`, not from both",
            )),
        }
    }

    /// Returns the files that the flags name, or else `images.toml`.
    pub(crate) fn of_flags(
        flags: &BuildArgs,
        current: &Utf8Path,
        workspace: &Workspace,
    ) -> Result<Option<Definitions>, Error> {
        let named = Definitions::new(&flags.bake, &flags.compose, current)?;
        Ok(named.or_else(|| workspace.images.definitions.clone()))
    }

    /// Reads the named images, or all that the file builds by itself; before each what it builds on.
    ///
    /// # Errors
    /// Where a file, an image or a plugin is missing, or the file asks for what cannot be done.
    pub(crate) fn images(
        &self,
        names: &[String],
        workspace: &Workspace,
        docker: &Docker,
        talk: Talk,
    ) -> Result<Vec<Image>, Error> {
        let (Definitions::Bake(files) | Definitions::Compose(files)) = self;
        for file in files {
            std::fs::File::open(file)
                .map_err(|error| Error::usage(format_args!("cannot read `{file}`: {error}")))?;
        }
        let definitions = self.read(files, names, docker)?;
        let settings = &workspace.images.settings;
        if names.is_empty() {
            let is_defined = |name: &&String| definitions.iter().any(|one| one.name == **name);
            for name in settings.keys().filter(|name| !is_defined(name)) {
                talk.warn(format_args!(
                    "`[image.{name}]` of `docker/images.toml` is not used: {} does not build `{name}` by default",
                    quoted(files)
                ));
            }
        }
        let links: BTreeSet<&str> = definitions
            .iter()
            .flat_map(BuildDefinition::links)
            .collect();
        definitions
            .iter()
            .map(|definition| {
                for note in &definition.notes {
                    talk.say(note);
                }
                for left_out in &definition.left_out {
                    talk.warn(left_out);
                }
                let mut image = image(definition, settings.get(&definition.name), workspace)
                    .map_err(|error| error.during(quoted(files)))?;
                image.is_linked = links.contains(definition.name.as_str());
                Ok(image)
            })
            .collect()
    }

    fn read(
        &self,
        files: &[Utf8PathBuf],
        names: &[String],
        docker: &Docker,
    ) -> Result<Vec<BuildDefinition>, Error> {
        let refused = |error: &DefinitionError| {
            let found = Error::usage(format_args!("{}: {error}", quoted(files)));
            match error.hint() {
                Some(hint) => found.with_hint(hint),
                None => found,
            }
        };
        let printed = match self {
            Definitions::Bake(_) => docker
                .print_bake(files, names)
                .map(|print| bake_definitions(&print)),
            Definitions::Compose(_) => docker
                .print_compose(files)
                .map(|json| compose_definitions(&json, names)),
        };
        printed
            .map_err(|error| match error.kind() {
                EngineErrorKind::Definition => {
                    Error::usage(format_args!("{}: {error}", quoted(files)))
                }
                _ => error.into(),
            })?
            .map_err(|error| refused(&error))
    }
}

fn quoted(files: &[Utf8PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
    files.join(", ")
}

fn image(
    definition: &BuildDefinition,
    settings: Option<&Settings>,
    workspace: &Workspace,
) -> Result<Image, Error> {
    let name = definition.name.clone();
    let about = |error: String| Error::usage(format_args!("image `{name}`: {error}"));
    if let Some(field) = settings.and_then(|settings| settings.defined) {
        return Err(about(format!(
            "`{field}` of `docker/images.toml` is defined here too"
        ))
        .with_hint(format_args!(
            "leave only `inputs`, `strategy`, `build-cache` and `cache-mounts` in `[image.{name}]`"
        )));
    }
    if !is_folder(&definition.context) {
        return Err(about(format!(
            "the context `{}` is no folder, and the key cannot follow it",
            shown(&definition.context)
        ))
        .with_hint("check the sources out, and name their folder"));
    }
    let root = &workspace.root;
    let absolute = |path: &str| clean(&root.join(path));
    let (strategy, build_cache) = strategy(
        settings.and_then(|settings| settings.strategy.as_deref()),
        settings.and_then(|settings| settings.build_cache.clone()),
    )
    .map_err(about)?;
    let mounts_max_size = settings.and_then(|settings| settings.cache_mounts_max_size.as_deref());
    let context = |(name, value): (&String, &String)| {
        let value = if is_folder(value) {
            absolute(value).into_string()
        } else {
            value.clone()
        };
        (name.clone(), value)
    };
    let mut image = Image {
        dockerfile: absolute(&definition.dockerfile),
        context: absolute(&definition.context),
        target: definition.target.clone(),
        platform: None,
        all_platforms: only_platform(&definition.platforms)
            .map_err(about)?
            .into_iter()
            .collect(),
        // What was only linked was not asked for: no tag of that name may move.
        tags: if definition.tags.is_empty() && !definition.only_linked {
            vec![format!("{}:latest", slug(&name))]
        } else {
            definition.tags.clone()
        },
        build_args: definition.build_args.clone(),
        build_contexts: definition.build_contexts.iter().map(context).collect(),
        labels: definition.labels.clone(),
        is_linked: false,
        secrets: definition.secrets.clone(),
        ssh: definition.ssh.clone(),
        inputs: settings.map_or_else(Vec::new, |settings| settings.inputs.clone()),
        strategy,
        build_cache,
        reuse_with_secrets: settings.is_some_and(|settings| settings.reuse_with_secrets),
        cache_mounts: settings.is_some_and(|settings| settings.cache_mounts),
        cache_mounts_max_bytes: cache_mounts_max_bytes(mounts_max_size).map_err(about)?,
        name,
    };
    if let Some(text) = &definition.dockerfile_inline {
        image.dockerfile = workspace.work_file(&image, "Dockerfile.inline");
        write_file(&image.dockerfile, text.as_bytes())?;
    }
    Ok(image)
}

/// Returns an address without what may be a password in it.
fn shown(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => address.to_owned(),
    }
}

impl Image {
    /// Returns the images that this one builds on, each with the name of the context that it is.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.build_contexts
            .iter()
            .filter_map(|(context, value)| Some((context.as_str(), value.strip_prefix(LINK)?)))
    }
}
