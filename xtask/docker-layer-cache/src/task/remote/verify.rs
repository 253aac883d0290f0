//! `docker-store verify --remote`: every blob that an entry needs, byte for byte.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use xshell::Shell;

use super::command::Opened;
use super::fetch::Watched;
use super::{THREADS, of_remote};
use crate::cli::StoreTaskArgs;
use crate::error::{Error, exit_code};
use crate::oci::{Descriptor, Digest, DigestWriter, ImageManifest};
use crate::remote_store::{RemoteError, RemoteErrorKind, in_parallel, patiently};
use crate::ui::{self, Table, Talk, bytes, seconds};

/// More than any manifest.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Runs the command.
///
/// # Errors
/// Where something is missing or wrong, or the remote store cannot be asked.
pub(in crate::task) fn verify(sh: &Shell, args: &StoreTaskArgs) -> Result<(), Error> {
    let started = Instant::now();
    let opened = Opened::open(sh, args)?;
    let mut blobs: BTreeMap<Digest, (Descriptor, Vec<String>)> = BTreeMap::new();
    let mut problems: Vec<(Digest, String, Vec<String>)> = Vec::new();
    let mut good = (0, 0);
    let failed = |error| of_remote(exit_code::STORE, &error);
    let manifests = in_parallel(&opened.entries, THREADS, |entry| {
        opened.manifest(&entry.descriptor)
    });
    for (entry, manifest) in opened.entries.iter().zip(manifests.map_err(failed)?) {
        let name = entry.name().to_owned();
        let digest = entry.descriptor.digest.clone();
        match manifest {
            Err(problem) => problems.push((digest, problem, vec![name])),
            Ok(manifest) => {
                good.0 += 1;
                good.1 += entry.descriptor.size;
                for blob in std::iter::once(manifest.config).chain(manifest.layers) {
                    let names = &mut blobs
                        .entry(blob.digest.clone())
                        .or_insert_with(|| (blob, Vec::new()))
                        .1;
                    if names.last() != Some(&name) {
                        names.push(name.clone());
                    }
                }
            }
        }
    }
    let blobs: Vec<(Descriptor, Vec<String>)> = blobs.into_values().collect();
    let states = in_parallel(&blobs, THREADS, |(blob, _)| opened.read(blob, false));
    for ((blob, names), state) in blobs.into_iter().zip(states.map_err(failed)?) {
        match state {
            Ok(_) => {
                good.0 += 1;
                good.1 += blob.size;
            }
            Err(problem) => problems.push((blob.digest, problem, names)),
        }
    }
    let url = opened.remote.url();
    if args.json {
        let damaged: Vec<_> = problems
            .iter()
            .map(|(digest, problem, entries)| {
                json!({ "digest": digest, "problem": problem, "entries": entries })
            })
            .collect();
        ui::data(json!({
            "store": url,
            "entries": opened.entries.len(),
            "good_blobs": good.0,
            "good_bytes": good.1,
            "damaged": damaged,
        }))?;
    } else if !problems.is_empty() {
        let mut table = Table::new(&["blob", "problem", "entries"]).uncut();
        for (digest, problem, entries) in &problems {
            table.row([digest.as_str(), problem, &entries.join(" ")]);
        }
        ui::data(table)?;
    }
    Talk::default().say(format_args!(
        "{} entries: {} blobs are good, {} in {}",
        opened.entries.len(),
        good.0,
        bytes(good.1),
        seconds(started.elapsed().as_secs_f64())
    ));
    if problems.is_empty() {
        return Ok(());
    }
    let message = format_args!("remote store `{url}` is damaged: {} blobs", problems.len());
    Err(Error::new(exit_code::STORE, message).with_hint(
        "builds leave out what is damaged; `docker-gc --remote --keep N` drops older entries",
    ))
}

impl Opened {
    /// Reads a manifest, or says what is wrong with it.
    fn manifest(
        &self,
        descriptor: &Descriptor,
    ) -> Result<Result<ImageManifest, String>, RemoteError> {
        if descriptor.size > MAX_MANIFEST_BYTES {
            return Ok(Err("it is too large for a manifest".to_owned()));
        }
        let bytes = self.read(descriptor, true)?;
        Ok(bytes.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("it is no manifest: {error}"))
        }))
    }

    /// Reads a blob to its end, and says what is wrong with it. Its bytes are returned where they
    /// are asked for.
    fn read(&self, blob: &Descriptor, kept: bool) -> Result<Result<Vec<u8>, String>, RemoteError> {
        let (store, of_thread) = (Arc::clone(&self.store), blob.clone());
        let read = patiently(self.remote.patience(Some(blob.size)), move |progress| {
            let content = store.get(&of_thread)?.take(of_thread.size + 1);
            let mut content = Watched { content, progress };
            let of_io = |error: io::Error| RemoteError::new(RemoteErrorKind::Wrong, error);
            if kept {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(of_io)?;
                let digest = Digest::of(&bytes);
                return Ok((digest, bytes));
            }
            let mut digest = DigestWriter::new(io::sink());
            io::copy(&mut content, &mut digest).map_err(of_io)?;
            Ok((digest.finish().1, Vec::new()))
        });
        match read {
            Ok((digest, bytes)) if digest == blob.digest => Ok(Ok(bytes)),
            Ok(_) => Ok(Err("other bytes".to_owned())),
            Err(error) if error.kind() == RemoteErrorKind::Missing => {
                Ok(Err("it is missing".to_owned()))
            }
            Err(error) if error.kind() == RemoteErrorKind::Wrong => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
