//! The flags of the commands that set a repository up and look after it.

use camino::Utf8PathBuf;
use clap::Args;

use super::TaskArgs;
use crate::task::init::Ci;

/// What `docker-init` takes.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The repository to set up [default: found upwards from the current directory]
    #[arg(long, value_name = "DIR")]
    pub root: Option<Utf8PathBuf>,
    /// The CI to write a file for (several times: for each) [default: those that the repository has]
    #[arg(long, value_name = "CI", value_enum)]
    pub(crate) ci: Vec<Ci>,
    /// On CircleCI, use remote docker instead of a machine
    #[arg(long)]
    pub remote_docker: bool,
    /// Depend on the library in this folder, such as a vendored one, instead of its repository
    #[arg(long, value_name = "DIR", env = "DOCKER_LAYER_CACHE_LIBRARY")]
    pub library: Option<Utf8PathBuf>,
    /// Write without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Print the diff, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the files and notes as JSON on stdout, in place of the diff
    #[arg(long)]
    pub json: bool,
}

/// What `docker-doctor` takes: what `docker-ci` does, to judge what that would do.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Read every blob of the store, not only the sizes
    #[arg(long)]
    pub deep: bool,
    /// Build nothing: leave out the proof that caching works here
    #[arg(long)]
    pub no_proof: bool,
}
