//! The flags of what comes behind a build: push and deploy.

use camino::Utf8PathBuf;
use clap::Args;
use clap::builder::FalseyValueParser;

use super::{PlaceArgs, TaskArgs};

/// What `docker-push` takes.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Write what was pushed to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub digest_file: Option<Utf8PathBuf>,
    /// Push what was built, also where the registry has the very same image
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_ALWAYS_BUILD",
        value_parser = FalseyValueParser::new()
    )]
    pub always_build: bool,
}

/// What `docker-ci` takes for what comes behind the build.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ShipArgs {
    /// Push the tags; what was pushed before and has not changed is not built again
    #[arg(long)]
    pub push: bool,
    /// Deploy what was pushed, as the `[deploy.NAME]` of images.toml say
    #[arg(long, requires = "push")]
    pub deploy: bool,
    /// Write what was pushed to this file, as JSON
    #[arg(long, value_name = "FILE", requires = "push")]
    pub digest_file: Option<Utf8PathBuf>,
    /// Build, also where the registry has the very same image
    #[arg(
        long,
        env = "DOCKER_LAYER_CACHE_ALWAYS_BUILD",
        value_parser = FalseyValueParser::new()
    )]
    pub always_build: bool,
    /// Build, and compare with what was pushed before of the very same
    #[arg(long)]
    pub verify: bool,
}

/// What `docker-deploy` takes.
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// The images to deploy [default: all]
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Only this `[deploy.NAME]` (several times: these) [default: all]
    #[arg(long, value_name = "NAME")]
    pub to: Vec<String>,
    /// Deploy what this file says, and not what was pushed last
    #[arg(long, value_name = "FILE")]
    pub digest_file: Option<Utf8PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Say only what needs attention
    #[arg(long, short)]
    pub quiet: bool,
}
