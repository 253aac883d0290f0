//! Views: one entry of the store as an engine may see it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest, media_type};

use super::blob::remove;
use super::{ImageLayout, StoreError, StoreErrorKind, annotation};

/// A small image layout of one manifest, for `--cache-from type=local,src=DIR`.
///
/// Its layers are links into the store. `BuildKit` locks and writes beside the index, and fails a
/// build on a damaged blob: so it is given a folder that is thrown away, and only blobs that were
/// verified.
#[derive(Debug)]
pub struct View {
    directory: PathBuf,
    manifest: Digest,
}

impl View {
    /// Lays out `directory` afresh with `manifest`, whose config has the bytes `config` and whose
    /// layers are in the store.
    ///
    /// # Errors
    /// Returns an error if a layer is missing or has another size, if the folder cannot be written,
    /// or if it holds something else than a view.
    pub fn create(
        directory: &Path,
        layout: &ImageLayout,
        manifest: &ImageManifest,
        config: &[u8],
    ) -> Result<Self, StoreError> {
        if Digest::of(config) != manifest.config.digest {
            return Err(layout.damaged(&manifest.config.digest, "other bytes"));
        }
        remove_old(directory)?;
        let blobs = directory.join("blobs").join("sha256");
        fs::create_dir_all(&blobs).map_err(StoreError::io("create", &blobs))?;
        // Written first: by it the folder is known as a view, should we be killed before the end.
        write(
            &directory.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        let store =
            fs::canonicalize(layout.root()).map_err(StoreError::io("open", layout.root()))?;
        for layer in &manifest.layers {
            layout.open_blob(layer)?;
            let blob = store
                .join("blobs")
                .join(layer.digest.algorithm())
                .join(layer.digest.encoded());
            link(&blob, &blobs.join(layer.digest.encoded()))?;
        }
        write(&blobs.join(manifest.config.digest.encoded()), config)?;
        let bytes = serde_json::to_vec(manifest).expect("strings, numbers and lists are JSON");
        let digest = Digest::of(&bytes);
        write(&blobs.join(digest.encoded()), &bytes)?;
        let descriptor =
            Descriptor::new(media_type::OCI_MANIFEST, digest.clone(), bytes.len() as u64)
                .with_annotation(annotation::REF_NAME, "latest");
        let index = serde_json::to_vec(&ImageIndex::new(vec![descriptor]))
            .expect("strings, numbers and lists are JSON");
        write(&directory.join("index.json"), &index)?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest: digest,
        })
    }

    /// Returns the folder, for `src=`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the digest of its manifest, for `digest=`.
    pub fn manifest(&self) -> &Digest {
        &self.manifest
    }
}

/// Removes an earlier view, and nothing that is not one.
fn remove_old(directory: &Path) -> Result<(), StoreError> {
    let metadata = match fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", directory)(error)),
    };
    let is_view = metadata.is_dir()
        && !directory.join("format").exists()
        && (directory.join("oci-layout").is_file() || holds_only_blobs(directory));
    if !is_view {
        return Err(StoreError::new(directory, StoreErrorKind::NotAView));
    }
    // The mark goes last: should we be killed before the end, the folder is still known as a view.
    let files = fs::read_dir(directory).map_err(StoreError::io("read", directory))?;
    for file in files {
        let file = file.map_err(StoreError::io("read", directory))?;
        if file.file_name() != "oci-layout" {
            remove(&file.path())?;
        }
    }
    remove(directory)
}

/// Tells whether the folder is empty, or a view of which only its first folder was made.
fn holds_only_blobs(directory: &Path) -> bool {
    fs::read_dir(directory)
        .is_ok_and(|mut files| files.all(|file| file.is_ok_and(|file| file.file_name() == "blobs")))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    fs::write(path, bytes).map_err(StoreError::io("write", path))
}

/// Links to a blob; copies nothing where links can be had. The same layer can occur twice.
fn link(blob: &Path, path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(blob, path);
    #[cfg(not(unix))]
    let linked = fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()));
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("link to a blob at", path)(error))
        }
        _ => Ok(()),
    }
}
