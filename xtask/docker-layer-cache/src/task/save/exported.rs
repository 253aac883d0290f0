//! BuildKit that exports: its folder adopted blob by blob.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::build::Builder;
use super::super::export;
use super::super::restore::{of_store, read_graph};
use super::{Save, of_cache};
use crate::buildkit_cache::{CacheConfig, CacheGraph};
use crate::engine::{BuildRequest, CacheSource, CacheTarget, Failure, Output};
use crate::error::{Error, exit_code};
use crate::oci::{Descriptor, Digest, ImageIndex, ImageManifest};

impl Save<'_> {
    /// BuildKit that exports: its folder adopted blob by blob. The build itself has filled it where
    /// that was of use; otherwise one more build does.
    pub(super) fn exported_build_cache(&mut self) -> Result<(), Error> {
        let along = self.built.export.clone();
        let along = along.filter(|folder| export::is_whole(folder));
        let adopted = along.map(|folder| {
            let adopted = self.adopt(&folder);
            // What was not adopted is not needed.
            let _ = std::fs::remove_dir_all(&folder);
            adopted
        });
        let graph = match adopted {
            Some(Ok(graph)) => graph,
            // What it links to can have gone from the store since the build.
            Some(Err(_)) | None => self.export_by_itself()?,
        };
        self.record_export(&graph);
        self.put_build_cache(&graph, None)
    }

    fn export_by_itself(&mut self) -> Result<CacheGraph, Error> {
        let root = Utf8Path::from_path(self.writer.root())
            .ok_or_else(|| Error::usage("the store's path is not UTF-8"))?;
        let folder = root.join("tmp").join(format!("export-{}", self.unique));
        export::prepare(&folder, &self.writer, &[]).map_err(|error| {
            let message = format!("cannot prepare `{folder}`: {error}");
            Error::new(exit_code::STORE, message)
        })?;
        let exported = self.export(&folder).and_then(|()| self.adopt(&folder));
        let _ = std::fs::remove_dir_all(&folder);
        exported
    }

    fn export(&self, folder: &Utf8Path) -> Result<(), Error> {
        let builder = Builder::new(self.job, self.keyed, self.built.strategy)?;
        let request = BuildRequest {
            cache_from: self
                .restored
                .view
                .iter()
                .cloned()
                .map(CacheSource::View)
                .collect(),
            cache_to: Some(CacheTarget::Folder {
                path: folder.to_owned(),
                ignore_error: false,
            }),
            output: Output::CacheOnly,
            ..builder.request()
        };
        let outcomes = builder.run_for_saving(&[request])?;
        if let Some(failure) = outcomes.into_iter().find_map(|outcome| outcome.failure) {
            return Err(self.of_failure(&failure));
        }
        Ok(())
    }

    fn adopt(&mut self, folder: &Utf8Path) -> Result<CacheGraph, Error> {
        let read = |path: Utf8PathBuf| {
            std::fs::read(&path).map_err(|error| {
                Error::new(
                    exit_code::ENGINE,
                    format_args!("BuildKit's export lacks `{path}`: {error}"),
                )
            })
        };
        let blob = |descriptor: &Descriptor| {
            read(
                folder
                    .join("blobs/sha256")
                    .join(descriptor.digest.encoded()),
            )
        };
        let broken = |error: serde_json::Error| {
            Error::new(
                exit_code::ENGINE,
                format_args!("BuildKit's export is not what we know: {error}"),
            )
        };
        let index: ImageIndex =
            serde_json::from_slice(&read(folder.join("index.json"))?).map_err(broken)?;
        let [manifest] = index.manifests.as_slice() else {
            return Err(Error::new(
                exit_code::ENGINE,
                "BuildKit's export names not one manifest",
            ));
        };
        let manifest: ImageManifest = serde_json::from_slice(&blob(manifest)?).map_err(broken)?;
        let config = CacheConfig::parse(&blob(&manifest.config)?).map_err(of_cache)?;
        let mut graph = CacheGraph::from_config(&config, &manifest.layers).map_err(of_cache)?;
        let stored: BTreeSet<Digest> = self
            .layers
            .by_diff_id
            .values()
            .map(|blob| blob.digest.clone())
            .collect();
        let unwanted = &self.not_worth_storing(&graph) - &stored;
        // A layer of `COPY --link` is listed once for each chain that it is in.
        let layers: BTreeSet<&Digest> = manifest.layers.iter().map(|layer| &layer.digest).collect();
        for digest in layers
            .into_iter()
            .filter(|digest| !stored.contains(digest) && !unwanted.contains(digest))
        {
            let path = folder.join("blobs/sha256").join(digest.encoded());
            let (_, size) = self
                .writer
                .adopt_file(path.as_std_path(), Some(digest))
                .map_err(|error| of_store(&error))?;
            self.saved.bytes += size;
            self.saved.layers += 1;
        }
        if !unwanted.is_empty() {
            graph.prune(|digest| !unwanted.contains(digest));
        }
        // What was not fetched of a remote store is not in the export either.
        if !unwanted.is_empty() || self.job.remote_url().is_some() {
            self.take_served_results(&mut graph);
        }
        Ok(graph)
    }

    /// What did not pay ran again; its results of before stay.
    fn take_served_results(&self, graph: &mut CacheGraph) {
        let entries = self.writer.entries().unwrap_or_default();
        for stored in entries.iter().filter(|stored| {
            self.restored.entries.contains(&stored.descriptor.digest) && self.is_ours(stored)
        }) {
            if let Ok(mut served) = read_graph(&self.writer, stored) {
                served.prune(|digest| self.writer.has(digest));
                graph.take_results(&served);
            }
        }
    }

    /// The client writes the export into the store's folder: its disk can be what failed.
    fn of_failure(&self, failure: &Failure) -> Error {
        let text = failure.errors.join("; ");
        let of_disk = [
            (
                "no space left on device",
                "free disk space, or lower `max-size` under `[store]`",
            ),
            (
                "read-only file system",
                "use `--read-only`, or choose a writable store with `--store`",
            ),
        ];
        for (symptom, hint) in of_disk {
            if text.contains(symptom) {
                let store = self.writer.root().display();
                let message = format!("the export into the store `{store}` failed: {symptom}");
                return Error::new(exit_code::STORE, message).with_hint(hint);
            }
        }
        let code = failure.exit_code;
        Error::new(
            exit_code::ENGINE,
            format_args!("BuildKit could not export its cache (exit code {code})"),
        )
    }
}
