//! Layers into the store: hashed and compressed in one pass.

use std::io::{self, Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tempfile::NamedTempFile;

use crate::oci::{Descriptor, DiffId, Digest, DigestWriter, media_type};

use super::blob::BUFFER_BYTES;
use super::{StoreError, StoreErrorKind, Writer};

/// The annotation with a layer's diff ID. `BuildKit` reads it too.
///
/// Source: <https://github.com/containerd/containerd/blob/v2.1.0/pkg/labels/labels.go>
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The annotation with the size of a layer's uncompressed tar in bytes.
pub const UNCOMPRESSED_SIZE: &str = "dev.docker-layer-cache.uncompressed-size";
/// The annotation with other names of a layer, separated by spaces: those by which engines call it
/// in an archive, so that it is recognised before it is read.
pub const KNOWN_AS: &str = "dev.docker-layer-cache.known-as";

/// The level at which compression keeps up with `docker save` on two cores.
const LEVEL: i32 = 3;
/// More would cost 20 MB of memory each, and the disk is the limit before.
const WORKERS_MAX: usize = 4;
/// Compressed chunks between the compressor and the disk.
const CHUNKS: usize = 8;

/// A layer that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// The layer's diff ID.
    pub diff_id: DiffId,
    /// The blob: zstd, with [`UNCOMPRESSED`] and [`UNCOMPRESSED_SIZE`] in its annotations.
    pub descriptor: Descriptor,
}

impl Writer {
    /// Reads an uncompressed layer to its end and stores it.
    ///
    /// The calling thread reads and computes the diff ID, the compressor has threads of its own,
    /// and another one digests and writes what comes out. Memory is bounded, about 80 MB at four
    /// workers.
    ///
    /// # Errors
    /// Returns [`StoreErrorKind::Source`] if `tar` fails, or an error if the store cannot be
    /// written. Nothing is stored then.
    pub fn put_layer(&self, tar: &mut dyn Read) -> Result<StoredLayer, StoreError> {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        self.put_layer_with(tar, workers.min(WORKERS_MAX))
    }

    pub(super) fn put_layer_with(
        &self,
        tar: &mut dyn Read,
        workers: usize,
    ) -> Result<StoredLayer, StoreError> {
        let file = self.temporary_file()?;
        let (sender, receiver) = sync_channel(CHUNKS);
        let (fed, written) = thread::scope(|scope| {
            let writing = scope.spawn(move || write_chunks(file, receiver));
            let fed = compress(tar, sender, workers);
            (fed, writing.join().expect("writing chunks does not panic"))
        });
        // A failed write also ends the feeding, so it is the cause where there are both.
        let (file, digest, size_bytes) = written?;
        let (diff_id, uncompressed_bytes) =
            fed.map_err(|error| StoreError::new(file.path(), StoreErrorKind::Source(error)))?;
        self.name_blob(file, &digest)?;
        let descriptor = Descriptor::new(media_type::OCI_LAYER_ZSTD, digest, size_bytes)
            .with_annotation(UNCOMPRESSED, diff_id.to_string())
            .with_annotation(UNCOMPRESSED_SIZE, uncompressed_bytes.to_string());
        Ok(StoredLayer {
            diff_id,
            descriptor,
        })
    }
}

/// Compresses `tar` into `chunks` and returns its diff ID and size.
fn compress(
    tar: &mut dyn Read,
    chunks: SyncSender<Vec<u8>>,
    workers: usize,
) -> io::Result<(DiffId, u64)> {
    let mut encoder = zstd::stream::write::Encoder::new(ChunkWriter::new(chunks), LEVEL)?;
    // With any number of workers but zero the bytes are the same, whatever the machine.
    encoder.multithread(u32::try_from(workers.max(1)).expect("a few workers"))?;
    let mut encoder = DigestWriter::new(encoder);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => encoder.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (encoder, digest, size_bytes) = encoder.finish();
    encoder.finish()?.flush()?;
    Ok((DiffId(digest), size_bytes))
}

fn write_chunks(
    file: NamedTempFile,
    chunks: Receiver<Vec<u8>>,
) -> Result<(NamedTempFile, Digest, u64), StoreError> {
    let path = file.path().to_owned();
    // The file below: a `NamedTempFile` would name the path a second time in every error.
    let mut writer = DigestWriter::new(file.as_file());
    for chunk in chunks {
        writer
            .write_all(&chunk)
            .map_err(StoreError::io("write", &path))?;
    }
    let (_, digest, size_bytes) = writer.finish();
    Ok((file, digest, size_bytes))
}

/// Gathers bytes into chunks and sends them.
struct ChunkWriter {
    chunks: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    fn new(chunks: SyncSender<Vec<u8>>) -> Self {
        Self {
            chunks,
            chunk: Vec::with_capacity(BUFFER_BYTES),
        }
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BUFFER_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&buf[..n]);
        if self.chunk.len() == BUFFER_BYTES {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(BUFFER_BYTES));
        self.chunks
            .send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
