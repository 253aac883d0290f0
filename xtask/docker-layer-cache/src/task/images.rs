//! `docker/images.toml`: which images there are, and where they are kept.

mod build_cache;
mod definitions;
mod deploy;
mod input_glob;
mod mistake;
mod platforms;

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use xshell::Shell;

use super::quantity::{parse_age, parse_size};
use super::tags::Template;
use crate::cli::BuildArgs;
use crate::engine::{RemoteCache, Strategy};
use crate::error::Error;
use crate::oci::{Platform, PlatformError};

pub(crate) use definitions::Definitions;
pub(crate) use deploy::{Deploy, Way};
pub(crate) use input_glob::InputGlob;

use build_cache::{check_build_caches, strategy};
use definitions::Settings;
use deploy::RawDeploy;
pub(super) use mistake::nearest;
use mistake::of_toml;

/// What `docker/images.toml` says, with defaults filled in and paths made absolute.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    /// Where the store is.
    pub(crate) store: Utf8PathBuf,
    /// How large the store may grow, in bytes.
    pub(crate) max_size_bytes: Option<u64>,
    /// The store that is shared with other machines.
    pub(crate) remote: Option<String>,
    /// How long to wait for its first byte.
    pub(crate) remote_timeout: Duration,
    /// The images, by name.
    pub(crate) list: Vec<Image>,
    /// Where they are deployed, by name.
    pub(crate) deploys: Vec<Deploy>,
    /// Where images are defined otherwise.
    pub(crate) definitions: Option<Definitions>,
    /// What is said of images that are defined otherwise.
    settings: BTreeMap<String, Settings>,
}

/// One image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its name in `images.toml`.
    pub(crate) name: String,
    /// The Dockerfile, absolute.
    pub(crate) dockerfile: Utf8PathBuf,
    /// The build context, absolute.
    pub(crate) context: Utf8PathBuf,
    /// The stage that is built; the last where there is none.
    pub(crate) target: Option<String>,
    /// The platform, where it is not the engine's.
    pub(crate) platform: Option<Platform>,
    /// All platforms that the image is built for, sorted, where there are several: this is one of
    /// the images that come of it.
    pub(crate) all_platforms: Vec<Platform>,
    /// Tags of the result.
    pub(crate) tags: Vec<String>,
    /// Build args.
    pub(crate) build_args: BTreeMap<String, String>,
    /// More build contexts.
    pub(crate) build_contexts: BTreeMap<String, String>,
    /// Labels of the result.
    pub(crate) labels: BTreeMap<String, String>,
    /// Another image builds on it.
    pub(crate) is_linked: bool,
    /// Secrets, as docker takes them.
    pub(crate) secrets: Vec<String>,
    /// SSH agents or keys, as docker takes them.
    pub(crate) ssh: Vec<String>,
    /// Globs of more key inputs.
    pub(crate) inputs: Vec<InputGlob>,
    /// The strategy, where one is forced.
    pub(crate) strategy: Option<Strategy>,
    /// Where `BuildKit` keeps a cache of its own, where that is wanted.
    pub(crate) build_cache: Option<RemoteCache>,
    /// What was pushed is taken again although secrets may have changed.
    pub(crate) reuse_with_secrets: bool,
    /// The files of its cache mounts are kept.
    pub(crate) cache_mounts: bool,
    /// How large each of them may be to be kept: its files, in bytes.
    pub(crate) cache_mounts_max_bytes: u64,
}

/// How large a cache mount may be to be kept, where nothing else is said.
const CACHE_MOUNTS_MAX_BYTES: u64 = 2 << 30;
/// How long to wait for a remote store, where nothing else is said.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(5);

impl Images {
    /// Reads `docker/images.toml` of the repository at `root`; without one there is one image,
    /// named as the folder, of `docker/Dockerfile` or `Dockerfile`.
    ///
    /// # Errors
    /// Where the file cannot be read, has a field that is not known, or a value that cannot be.
    pub(crate) fn read(root: &Utf8Path) -> Result<Images, Error> {
        let path = root.join("docker/images.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => Images::parse(&text, &path, root),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Images::parse("", &path, root)
            }
            Err(error) => Err(Error::usage(format_args!("cannot read `{path}`: {error}"))),
        }
    }

    /// Reads the text of an `images.toml`.
    ///
    /// # Errors
    /// As [`Images::read`].
    pub(crate) fn parse(text: &str, path: &Utf8Path, root: &Utf8Path) -> Result<Images, Error> {
        let file: File = toml::from_str(text).map_err(|error| of_toml(&error, text, path))?;
        let max_size_bytes = file
            .store
            .max_size
            .as_deref()
            .map(parse_size)
            .transpose()
            .map_err(|error| Error::usage(format_args!("`{path}`: `store.max-size`: {error}")))?;
        let remote_timeout = file
            .store
            .remote_timeout
            .as_deref()
            .map(parse_age)
            .transpose();
        let remote_timeout = remote_timeout.map_err(|error| {
            Error::usage(format_args!("`{path}`: `store.remote-timeout`: {error}"))
        })?;
        let definitions = Definitions::new(file.bake.as_slice(), file.compose.as_slice(), root)
            .map_err(|error| error.during(format_args!("`{path}`")))?;
        let settings = file.image.iter();
        let settings = settings.map(|(name, raw)| (name.clone(), Settings::of(raw)));
        let settings = settings.collect();
        let named = if file.image.is_empty() {
            BTreeMap::from([(default_name(root), RawImage::default())])
        } else {
            file.image
        };
        let list = named
            .into_iter()
            .map(|(name, raw)| {
                raw.into_image(name, root)
                    .map_err(|error| error.during(format_args!("`{path}`")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_build_caches(&list).map_err(|error| error.during(format_args!("`{path}`")))?;
        let known: Vec<&str> = list.iter().map(|image| image.name.as_str()).collect();
        let deploys = deploy::read(file.deploy, definitions.is_none().then_some(&known))
            .map_err(|error| error.during(format_args!("`{path}`")))?;
        Ok(Images {
            deploys,
            store: root.join(file.store.path),
            max_size_bytes,
            remote: file.store.remote,
            remote_timeout: remote_timeout.unwrap_or(REMOTE_TIMEOUT),
            list,
            definitions,
            settings,
        })
    }

    /// Returns the images by these names; all of them where none is named.
    ///
    /// # Errors
    /// Where there is no image of that name.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<&Image>, Error> {
        if names.is_empty() {
            return Ok(self.list.iter().collect());
        }
        let known = || self.list.iter().map(|image| image.name.as_str());
        names
            .iter()
            .map(|name| {
                self.list
                    .iter()
                    .find(|image| image.name == *name)
                    .ok_or_else(|| {
                        let error = Error::usage(format_args!(
                            "there is no image `{name}` in `docker/images.toml`"
                        ));
                        let list = known()
                            .map(|name| format!("`{name}`"))
                            .collect::<Vec<_>>()
                            .join(", ");
                        match nearest(name, known()) {
                            Some(near) => error
                                .with_hint(format_args!("did you mean `{near}`? there is {list}")),
                            None => error.with_hint(format_args!("there is {list}")),
                        }
                    })
            })
            .collect()
    }
}

impl Image {
    /// Returns the image with the flags of the command line put over it, once for each platform. A
    /// build arg without a value is taken from the environment, as docker does; where that has none,
    /// it is left out.
    pub(crate) fn with_flags(mut self, flags: &BuildArgs, sh: &Shell) -> Result<Vec<Image>, Error> {
        let current = Utf8PathBuf::from_path_buf(sh.current_dir()).unwrap_or_default();
        if let Some(dockerfile) = &flags.dockerfile {
            self.dockerfile = current.join(dockerfile);
        }
        if flags.target.is_some() {
            self.target.clone_from(&flags.target);
        }
        let mut platforms = std::mem::take(&mut self.all_platforms);
        if !flags.platform.is_empty() {
            platforms = parse_platforms(&flags.platform)
                .map_err(|error| Error::usage(format_args!("--platform: {error}")))?;
        }
        if platforms.is_empty() {
            // What docker itself takes as the default of --platform; said aloud, all builds agree.
            platforms = sh
                .var("DOCKER_DEFAULT_PLATFORM")
                .ok()
                .filter(|platform| !platform.is_empty())
                .map(|platform| parse_platforms(&[platform]))
                .transpose()
                .map_err(|error| Error::usage(format_args!("DOCKER_DEFAULT_PLATFORM: {error}")))?
                .unwrap_or_default();
        }
        for arg in &flags.build_arg {
            match arg.split_once('=') {
                Some((name, value)) => self.build_args.insert(name.to_owned(), value.to_owned()),
                None => sh
                    .var(arg)
                    .ok()
                    .and_then(|value| self.build_args.insert(arg.clone(), value)),
            };
        }
        for context in &flags.build_context {
            let Some((name, value)) = context.split_once('=') else {
                return Err(Error::usage(format_args!(
                    "--build-context `{context}` is not NAME=VALUE"
                )));
            };
            // Relative to the caller's folder, as docker takes it; docker itself runs in the root.
            let value = if is_folder(value) {
                current.join(value).into_string()
            } else {
                value.to_owned()
            };
            self.build_contexts.insert(name.to_owned(), value);
        }
        self.secrets.extend(
            flags
                .secret
                .iter()
                .map(|secret| with_absolute_source(secret, &current)),
        );
        self.ssh.extend(flags.ssh.iter().cloned());
        if !flags.tag.is_empty() {
            self.tags.clone_from(&flags.tag);
        }
        self.strategy = flags.strategy.or(self.strategy);
        self.cache_mounts |= flags.cache_mounts;
        Ok(self.for_each_platform(platforms))
    }

    /// Returns the name as part of a file name or a tag: lower-case letters, digits, `.`, `_`, `-`;
    /// a name that had to be changed is told from others by a few digits of its digest.
    pub(crate) fn slug(&self) -> String {
        slug(&self.name)
    }
}

fn parse_platforms(platforms: &[String]) -> Result<Vec<Platform>, PlatformError> {
    platforms.iter().map(|platform| platform.parse()).collect()
}

/// Tells whether the value of a build context is a folder of this machine.
fn is_folder(value: &str) -> bool {
    !value.contains("://")
        && !["docker-image:", "target:", "git@"]
            .iter()
            .any(|prefix| value.starts_with(prefix))
}

/// Returns a secret such as `id=npm,src=.npmrc` with its file made absolute.
fn with_absolute_source(secret: &str, folder: &Utf8Path) -> String {
    let field = |field: &str| match field.split_once('=') {
        Some((name @ ("src" | "source"), path)) => format!("{name}={}", folder.join(path)),
        _ => field.to_owned(),
    };
    secret.split(',').map(field).collect::<Vec<_>>().join(",")
}

/// See [`Image::slug`].
pub(super) fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let kept = |c: char| plain(c) || matches!(c, '.' | '_' | '-');
    let mut slug: String = name
        .chars()
        .map(|c| if kept(c) { c } else { '-' })
        .collect();
    let ends_plain = slug.starts_with(plain) && slug.ends_with(plain);
    if slug == name
        && ends_plain
        && !slug.contains("..")
        && !slug.contains("__")
        && slug.len() <= 64
    {
        return slug;
    }
    slug.retain(|c| plain(c) || c == '-');
    slug.truncate(40);
    format!(
        "x{}-{}",
        slug.trim_matches('-'),
        &crate::oci::Digest::of(name.as_bytes()).encoded()[..8]
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    bake: Option<Utf8PathBuf>,
    compose: Option<Utf8PathBuf>,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    image: BTreeMap<String, RawImage>,
    #[serde(default)]
    deploy: BTreeMap<String, RawDeploy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawStore {
    #[serde(default = "default_store")]
    path: Utf8PathBuf,
    #[serde(default)]
    max_size: Option<String>,
    remote: Option<String>,
    remote_timeout: Option<String>,
}

impl Default for RawStore {
    fn default() -> Self {
        Self {
            path: default_store(),
            max_size: None,
            remote: None,
            remote_timeout: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawImage {
    dockerfile: Option<Utf8PathBuf>,
    context: Option<Utf8PathBuf>,
    target: Option<String>,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    build_args: BTreeMap<String, String>,
    #[serde(default)]
    build_contexts: BTreeMap<String, String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    ssh: Vec<String>,
    #[serde(default)]
    inputs: Vec<InputGlob>,
    strategy: Option<String>,
    build_cache: Option<BTreeMap<String, String>>,
    #[serde(default)]
    reuse_with_secrets: bool,
    #[serde(default)]
    cache_mounts: bool,
    cache_mounts_max_size: Option<String>,
}

impl RawImage {
    fn into_image(self, name: String, root: &Utf8Path) -> Result<Image, Error> {
        let about = |error: String| Error::usage(format_args!("image `{name}`: {error}"));
        let dockerfile = match self.dockerfile {
            Some(path) => clean(&root.join(path)),
            None => default_dockerfile(root),
        };
        let all_platforms = parse_platforms(&self.platforms)
            .map_err(|error| about(format!("platforms: {error}")))?;
        let (strategy, build_cache) =
            strategy(self.strategy.as_deref(), self.build_cache).map_err(about)?;
        let cache_mounts_max_bytes =
            cache_mounts_max_bytes(self.cache_mounts_max_size.as_deref()).map_err(about)?;
        for tag in &self.tags {
            Template::parse(tag)
                .map_err(|error| error.during(format_args!("image `{name}`: tags")))?;
        }
        let tags = if self.tags.is_empty() {
            vec![format!("{}:latest", slug(&name))]
        } else {
            self.tags
        };
        Ok(Image {
            dockerfile,
            context: clean(&root.join(self.context.unwrap_or_default())),
            target: self.target,
            platform: None,
            all_platforms,
            tags,
            build_args: self.build_args,
            build_contexts: self.build_contexts,
            labels: BTreeMap::new(),
            is_linked: false,
            secrets: self.secrets,
            ssh: self.ssh,
            inputs: self.inputs,
            strategy,
            build_cache,
            reuse_with_secrets: self.reuse_with_secrets,
            cache_mounts: self.cache_mounts,
            cache_mounts_max_bytes,
            name,
        })
    }
}

/// Reads `cache-mounts-max-size`.
fn cache_mounts_max_bytes(text: Option<&str>) -> Result<u64, String> {
    text.map_or(Ok(CACHE_MOUNTS_MAX_BYTES), parse_size)
        .map_err(|error| format!("cache-mounts-max-size: {error}"))
}

fn only_platform(platforms: &[String]) -> Result<Option<Platform>, String> {
    match platforms {
        [] => Ok(None),
        [one] => one
            .parse()
            .map(Some)
            .map_err(|error| format!("platforms: {error}")),
        _ => Err("platforms: an image of a bake or Compose file has one platform".to_owned()),
    }
}

/// Returns the path without `.` and doubled or trailing slashes.
fn clean(path: &Utf8Path) -> Utf8PathBuf {
    path.components().collect()
}

fn default_store() -> Utf8PathBuf {
    "target/docker-layer-cache".into()
}

fn default_name(root: &Utf8Path) -> String {
    root.file_name().unwrap_or("image").to_owned()
}

fn default_dockerfile(root: &Utf8Path) -> Utf8PathBuf {
    let in_docker = root.join("docker/Dockerfile");
    let at_root = root.join("Dockerfile");
    if !in_docker.exists() && at_root.exists() {
        at_root
    } else {
        in_docker
    }
}

#[cfg(test)]
mod tests;
