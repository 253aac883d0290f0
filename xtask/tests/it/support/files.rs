//! The files of a built image: what really came out, whatever anybody reports.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use docker_layer_cache::oci::Digest;
use libtest_mimic::Failed;

use super::Engine;

/// The files below one folder of an image, by name. A file `X.id` is a random text that the step X
/// wrote: the same text after another build means that X was not run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, String>);

impl Files {
    /// Reads `folder` of an image.
    pub(crate) fn of_image(engine: &Engine, tag: &str, folder: &str) -> Result<Self, Failed> {
        let archive = archive_of_image(engine, tag, folder)?;
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let mut entry = entry?;
            if entry.header().entry_type().is_file() {
                let path = entry.path()?.into_owned();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                files.insert(
                    name.into_owned(),
                    String::from_utf8_lossy(&bytes).into_owned(),
                );
            }
        }
        Ok(Self(files))
    }

    /// Returns the text of a file, which must be there.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(text) => text,
            None => panic!("the image has no /out/{name}, only {:?}", self.0.keys()),
        }
    }

    /// Returns the steps whose random text is the one of `before`: those that were not run again.
    pub(crate) fn reused_since(&self, before: &Self) -> BTreeSet<String> {
        self.0
            .iter()
            .filter(|(name, text)| before.0.get(*name) == Some(text))
            .filter_map(|(name, _)| name.strip_suffix(".id"))
            .map(str::to_owned)
            .collect()
    }
}

/// Returns all that is in a folder of an image, by path, with its kind, permissions, owner and time,
/// and where it leads or what text it has; `.` is the folder itself.
pub(crate) fn tree_of_image(
    engine: &Engine,
    tag: &str,
    folder: &str,
) -> Result<BTreeMap<String, String>, Failed> {
    let archive = archive_of_image(engine, tag, folder)?;
    let mut tree = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let below = path.trim_end_matches('/').split_once('/');
        let is_hard_link = entry.header().entry_type().is_hard_link();
        let link = entry.link_name()?.unwrap_or_default();
        let link = link.to_string_lossy();
        // A hard link is named from where the archive begins.
        let within = link.split_once('/').filter(|_| is_hard_link);
        let mut content = within.map_or(&*link, |(_, within)| within).to_owned();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            content = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => Digest::of(error.as_bytes()).to_string(),
            };
        }
        let header = entry.header();
        let said = format!(
            "{:?} {:o} {}:{} {} {content}",
            header.entry_type(),
            header.mode()? & 0o7777,
            header.uid()?,
            header.gid()?,
            header.mtime()?
        );
        tree.insert(below.map_or(".", |(_, below)| below).to_owned(), said);
    }
    Ok(tree)
}

/// Copies a folder out of an image, through a container that never runs.
fn archive_of_image(engine: &Engine, tag: &str, folder: &str) -> Result<Vec<u8>, Failed> {
    let container = engine.run(&["create", tag, "true"])?;
    let container = container.trim();
    let output = engine
        .docker(&["cp", &format!("{container}:{folder}"), "-"])
        .output()?;
    engine.run(&["rm", container])?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(output.stdout)
}
