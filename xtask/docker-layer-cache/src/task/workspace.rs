//! The repository that a command works on, and the folders that it uses.

use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};

use super::images::{Image, Images};
use crate::cli::StorePlaceArgs;
use crate::error::Error;

/// A repository, with what its `docker/images.toml` says and the flags that beat it.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The repository's folder, absolute.
    pub(crate) root: Utf8PathBuf,
    /// The store.
    pub(crate) store: Utf8PathBuf,
    /// Where key files, recipes, views and the notes from one command to the next are.
    pub(crate) key_dir: Utf8PathBuf,
    /// The images.
    pub(crate) images: Images,
}

impl Workspace {
    /// Opens the repository at `root`, or the one that the folder `current` is in; relative paths
    /// are relative to `current`.
    ///
    /// # Errors
    /// Where there is no such folder, or its `images.toml` is wrong.
    pub(crate) fn open(
        current: &Path,
        place: &StorePlaceArgs,
        key_dir: Option<&Utf8Path>,
    ) -> Result<Workspace, Error> {
        let current = utf8(current.to_owned())?;
        let root = match &place.root {
            Some(root) => utf8(std::fs::canonicalize(current.join(root)).map_err(|error| {
                Error::usage(format_args!(
                    "`--root {root}` is no folder that can be opened: {error}"
                ))
            })?)?,
            None => find_root(&current),
        };
        let images = Images::read(&root)?;
        let store = place.store.as_ref();
        let store = store.map_or_else(|| images.store.clone(), |store| current.join(store));
        let key_dir = key_dir.map_or_else(
            || root.join("target/docker-layer-cache-key"),
            |dir| current.join(dir),
        );
        Ok(Workspace {
            root,
            store,
            key_dir,
            images,
        })
    }

    /// Returns the path of a file of our own about `image`, from one command to the next.
    pub(crate) fn work_file(&self, image: &Image, name: &str) -> Utf8PathBuf {
        self.key_dir
            .join(".work")
            .join(image.file_stem())
            .join(name)
    }

    /// Returns the path of a file about `image`, such as its key file, in the key folder: one for
    /// all of its platforms.
    pub(crate) fn key_file(&self, image: &Image, extension: &str) -> Utf8PathBuf {
        self.key_dir.join(format!("{}.{extension}", image.slug()))
    }

    /// Returns the path of the recipe of `image` for its platform.
    pub(crate) fn recipe_file(&self, image: &Image) -> Utf8PathBuf {
        self.key_dir.join(format!("{}.json", image.file_stem()))
    }
}

/// Returns the nearest folder upwards with a `docker/images.toml`; without one the nearest with a
/// repository or a workspace; without one the current directory.
fn find_root(current: &Utf8Path) -> Utf8PathBuf {
    let nearest = |names: &[&str]| {
        current
            .ancestors()
            .find(|dir| names.iter().any(|name| dir.join(name).exists()))
            .map(Utf8Path::to_owned)
    };
    nearest(&["docker/images.toml"])
        .or_else(|| nearest(&[".git", "Cargo.lock"]))
        .unwrap_or_else(|| current.to_owned())
}

fn utf8(path: std::path::PathBuf) -> Result<Utf8PathBuf, Error> {
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| Error::usage(format_args!("the path `{}` is not UTF-8", path.display())))
}
