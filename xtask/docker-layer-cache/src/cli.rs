//! The command line: the tasks, their flags, and which code they run.

mod setup;
mod ship;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use xshell::Shell;

use crate::engine::Strategy;
use crate::error::Error;
use crate::task;
use crate::task::quantity::{parse_age, parse_size};

pub use setup::{DoctorArgs, InitArgs};
pub(crate) use ship::ShipArgs;
pub use ship::{DeployArgs, PushArgs};

/// Docker layer caching for CI.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// The tasks. A team with an xtask of its own puts them among its own with `#[command(flatten)]`.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Set a repository up: images.toml, the tasks, CI files; shows what it would write, and asks
    DockerInit(InitArgs),
    /// Print the cache key: the Dockerfile, the registry's digests of every base, the lock files
    DockerKey(KeyArgs),
    /// Offer the builder what it can still use
    DockerRestore(RestoreArgs),
    /// Build against what was restored, on the base digests of the key
    DockerBuild(TaskArgs),
    /// Store what the last build added
    DockerSave(TaskArgs),
    /// Push the tags of the last build; only the tags, where the registry has the image
    DockerPush(PushArgs),
    /// Deploy what was pushed last: to a Swarm service, or by a command
    DockerDeploy(DeployArgs),
    /// Do the whole job: key, restore, build, save; also push and deploy
    DockerCi(CiArgs),
    /// Remove from the store what is not worth keeping
    DockerGc(GcArgs),
    /// Look into the store: list it, show and verify what it holds, remove entries
    DockerStore(StoreArgs),
    /// Report on the last job: one HTML file, Markdown or JSON
    DockerReport(ReportArgs),
    /// Check the engine, the store, registries, CI and Cargo, and prove on the spot that caching works
    DockerDoctor(DoctorArgs),
    /// Show the whole job on a small repository, with a registry of its own
    DockerDemo(DemoArgs),
    /// Read or fill cache mounts: what we call ourselves within a container
    #[command(hide = true)]
    DockerCarryMounts(CarryArgs),
}

/// What every task takes.
#[derive(Debug, Clone, Args)]
pub struct TaskArgs {
    /// The images of `docker/images.toml` to work on [default: all]
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Say only what needs attention
    #[arg(long, short)]
    pub quiet: bool,
    /// Fail where the store cannot be used, instead of going on without it
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_STRICT",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub strict: bool,
    /// Ask no registry: digests come from the last recipe, or from the engine's images
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_OFFLINE",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub offline: bool,
    /// Save nothing, neither here nor at the remote store (for forks and pull requests)
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_READ_ONLY",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub read_only: bool,
    /// The store that is shared with other machines: `oci://HOST/REPOSITORY`,
    /// `s3://BUCKET/PREFIX`, `gs://` or `az://` [default: `store.remote` of images.toml]
    #[arg(long, value_name = "URL", env = "DOCKER_LAYER_CACHE_REMOTE")]
    pub remote: Option<String>,
}

/// Where things are.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub store: StorePlaceArgs,
    /// Where key files are written [default: target/docker-layer-cache-key]
    #[arg(long, value_name = "DIR", env = "DOCKER_LAYER_CACHE_KEY_DIR")]
    pub key_dir: Option<Utf8PathBuf>,
}

/// Where the store is.
#[derive(Debug, Clone, Args)]
pub(crate) struct StorePlaceArgs {
    /// The repository [default: found upwards from the current directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub root: Option<Utf8PathBuf>,
    /// The store [default: `store.path` of images.toml, or target/docker-layer-cache]
    #[arg(
        long,
        value_name = "DIR",
        env = "DOCKER_LAYER_CACHE_STORE",
        global = true
    )]
    pub store: Option<Utf8PathBuf>,
}

/// Flags that beat `images.toml`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BuildArgs {
    /// Take the images from this bake file (several times: from all of them together)
    #[arg(long, value_name = "FILE")]
    pub bake: Vec<Utf8PathBuf>,
    /// Take the images from this Compose file (several times: from all of them together)
    #[arg(long, value_name = "FILE", conflicts_with = "bake")]
    pub compose: Vec<Utf8PathBuf>,
    /// The Dockerfile
    #[arg(long, value_name = "FILE")]
    pub dockerfile: Option<Utf8PathBuf>,
    /// The stage to build
    #[arg(long)]
    pub target: Option<String>,
    /// The platforms to build for, such as linux/amd64,linux/arm64
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// A build arg; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub build_arg: Vec<String>,
    /// Another build context, such as docs=./docs or alpine=docker-image://alpine:3.20
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub build_context: Vec<String>,
    /// A secret for the build, as `docker build --secret` takes it
    #[arg(long)]
    pub secret: Vec<String>,
    /// An SSH agent or key for the build, as `docker build --ssh` takes it
    #[arg(long)]
    pub ssh: Vec<String>,
    /// A tag for the result
    #[arg(long)]
    pub tag: Vec<String>,
    /// Force a strategy: exported-build-cache, written-build-cache, stage-images or
    /// inline-stage-images [default: the best one that the engine can do]
    #[arg(long, env = "DOCKER_LAYER_CACHE_STRATEGY", value_parser = clap::value_parser!(Strategy))]
    pub strategy: Option<Strategy>,
    /// Keep the files of cache mounts (`RUN --mount=type=cache`) in the store
    #[arg(long)]
    pub cache_mounts: bool,
}

/// What `docker-restore` takes.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) offer: OfferArgs,
    /// Print the plan, and lay out nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `docker-ci` takes.
#[derive(Debug, Clone, Args)]
pub struct CiArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) offer: OfferArgs,
    #[command(flatten)]
    pub(crate) ship: ShipArgs,
}

/// What the builder is offered.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OfferArgs {
    /// Offer all that can hit, also where running the steps again is faster
    #[arg(long)]
    pub all: bool,
    /// How many MB of layers the engine brings in a second [default: measured by earlier builds]
    #[arg(
        long,
        value_name = "MB",
        env = "DOCKER_LAYER_CACHE_IMPORT_RATE",
        value_parser = parse_import_rate
    )]
    pub import_rate: Option<f64>,
}

/// What `docker-key` takes.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Print the base references as JSON, without any network
    #[arg(long)]
    pub refs_json: bool,
    /// Say what moved since the last recipe, or the one in RECIPE; without any, since the store's
    /// nearest entry
    #[arg(
        long,
        value_name = "RECIPE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub explain: Option<String>,
    /// Write the digests into `docker/bases.lock`: every command then builds on them
    #[arg(long)]
    pub lock: bool,
    /// Ask the registries anew and rewrite `docker/bases.lock`
    #[arg(long)]
    pub update: bool,
}

/// What the tasks on the store itself take.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreTaskArgs {
    #[command(flatten)]
    pub place: StorePlaceArgs,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Never write to the store (for forks and pull requests)
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_READ_ONLY",
        value_parser = clap::builder::FalseyValueParser::new(),
        global = true
    )]
    pub read_only: bool,
    /// Work on the store that is shared with other machines, and not on this machine's [default
    /// URL: `DOCKER_LAYER_CACHE_REMOTE`, or `store.remote` of images.toml]
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        global = true
    )]
    pub remote: Option<String>,
}

/// What `docker-gc` takes.
#[derive(Debug, Clone, Args)]
pub struct GcArgs {
    #[command(flatten)]
    pub(crate) task: StoreTaskArgs,
    /// Drop the least recently used entries until the store is not larger, such as 2GB or 500MiB
    /// [default: `store.max-size` of images.toml]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// Drop entries that were not used for longer, such as 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_age: Option<Duration>,
    /// Keep the newest N entries of each image, platform, engine class and stage: those used last
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// With --remote: leave blobs alone that are younger, since another machine may be about to name
    /// them [default: 24h]
    #[arg(long, value_name = "AGE", value_parser = parse_age, requires = "remote")]
    pub grace: Option<Duration>,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `docker-store` takes.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[command(flatten)]
    pub(crate) task: StoreTaskArgs,
    #[command(subcommand)]
    pub(crate) action: StoreAction,
}

/// What can be done with a store.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum StoreAction {
    /// List the entries, their sizes and what they share
    Ls,
    /// Show all of one entry: keys, steps with seconds, layers and who shares them
    Show {
        /// The entry's name, or the start of its last part
        entry: String,
    },
    /// Read every blob, and name those that are missing or damaged
    Verify,
    /// Remove entries, and the blobs that no other entry needs
    Rm {
        /// The entries' names, or the starts of their last parts
        #[arg(value_name = "ENTRY", required = true)]
        entries: Vec<String>,
    },
}

/// What `docker-report` takes.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The images of `docker/images.toml` to report on [default: all]
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Where the HTML goes [default: target/docker-layer-cache-report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Write Markdown, too, for a job summary; `-` prints it on stdout
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub markdown: Option<Utf8PathBuf>,
    /// Print the report as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Say only what needs attention
    #[arg(long, short)]
    pub quiet: bool,
}

/// What `docker-demo` takes; all of it goes to the demo.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Flags of the demo, such as --keep
    #[arg(
        value_name = "FLAG",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub flags: Vec<OsString>,
}

/// What `docker-carry-mounts` takes.
#[derive(Debug, Clone, Args)]
pub struct CarryArgs {
    /// The folder with the order
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Runs the task that `args` name; the first one is the program's name. Paths are relative to the
/// shell's current directory.
///
/// # Errors
/// Whatever ends the task; [`Error::exit_code`] tells the exit code.
pub fn run<I, T>(sh: &Shell, args: I) -> Result<(), Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Cli::try_parse_from(args) {
        Ok(cli) => cli.task.run(sh),
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            Err(Error::usage(text.trim_start_matches("error: ").trim_end()))
        }
        Err(help) => crate::ui::data(help.to_string().trim_end()),
    }
}

impl Task {
    /// Returns the command that has this program run `name`, a task of ours, behind the program's
    /// name: the words that stand before the task on the command line of now, in an xtask that has
    /// our tasks below another of its own, and then that task. None where no task of ours is on it.
    pub(crate) fn to_run(name: &str, words: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
        let tasks = Self::augment_subcommands(clap::Command::new(""));
        let is_task = |word: &str| tasks.get_subcommands().any(|task| task.get_name() == word);
        let mut before = Vec::new();
        for word in words.skip(1) {
            let word = word.into_string().ok()?;
            if is_task(&word) {
                before.push(name.to_owned());
                return Some(before);
            }
            before.push(word);
        }
        None
    }

    /// Runs the task.
    ///
    /// # Errors
    /// Whatever ends the task; [`Error::exit_code`] tells the exit code.
    pub fn run(&self, sh: &Shell) -> Result<(), Error> {
        match self {
            Task::DockerInit(args) => task::init::run(sh, args),
            Task::DockerKey(args) => task::key::run(sh, args),
            Task::DockerRestore(args) => task::restore::run(sh, args),
            Task::DockerBuild(args) => task::build::run(sh, args),
            Task::DockerSave(args) => task::save::run(sh, args),
            Task::DockerPush(args) => task::push::run(sh, args),
            Task::DockerDeploy(args) => task::deploy::run(sh, args),
            Task::DockerCi(args) => task::ci::run(sh, args),
            Task::DockerGc(args) => task::gc::run(sh, args),
            Task::DockerStore(args) => task::store::run(sh, args),
            Task::DockerReport(args) => task::report::run(sh, args),
            Task::DockerDoctor(args) => task::doctor::run(sh, args),
            Task::DockerDemo(args) => task::demo::run(sh, args),
            Task::DockerCarryMounts(args) => task::cache_mounts::carry(&args.folder),
        }
    }
}

/// Reads how many MB a second come in.
fn parse_import_rate(text: &str) -> Result<f64, String> {
    let rate = text.trim().parse::<f64>().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number of MB a second above 0, such as `40`"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flags_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn carrying_mounts_is_asked_for_as_the_task_was() {
        let command = |words: &str| {
            let words = words.split(' ').map(Into::into);
            super::Task::to_run("docker-carry-mounts", words).map(|words| words.join(" "))
        };
        let expected = Some("docker-carry-mounts".to_owned());
        assert_eq!(command("xtask docker-ci --json app"), expected);
        let expected = Some("ci docker-carry-mounts".to_owned());
        assert_eq!(command("xtask ci docker-save"), expected);
        assert_eq!(command("own-tool build"), None);
    }

    #[test]
    fn import_rates_are_finite_and_above_nothing() {
        for text in ["40", " 0.5", "1e4"] {
            assert!(super::parse_import_rate(text).is_ok(), "{text}");
        }
        for text in ["", "0", "-1", "NaN", "inf", "1e999", "40MB"] {
            let error = super::parse_import_rate(text).err().unwrap_or_default();
            assert!(error.starts_with(&format!("`{text}` is not")), "{text}");
        }
    }
}
