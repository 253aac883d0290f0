//! Layers out of the store: uncompressed, every digest checked on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use crate::oci::{Descriptor, Digest, DigestWriter, media_type};

use super::blob::BUFFER_BYTES;
use super::{ImageLayout, StoreError, UNCOMPRESSED};

/// Reads a layer's uncompressed tar. The end is reached without error only if the blob and the tar
/// are what the descriptor says: what was read must not be used before.
pub struct LayerReader {
    decoder: Option<Decoder>,
    tar: DigestWriter<io::Sink>,
    layout: ImageLayout,
    digest: Digest,
    /// From the descriptor's annotation; a layer that we did not store may have none.
    diff_id: Option<Digest>,
}

enum Decoder {
    None(Blob),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Blob>>),
    Zstd(zstd::stream::read::Decoder<'static, Blob>),
}

type Blob = BufReader<DigestReader>;

struct DigestReader {
    file: File,
    digest: DigestWriter<io::Sink>,
}

impl ImageLayout {
    /// Opens a layer: gzip, zstd or uncompressed, as its media type says.
    ///
    /// # Errors
    /// Returns an error if the blob is missing, has another size, or is not a file. Other damage
    /// is found while reading.
    pub fn open_layer(&self, descriptor: &Descriptor) -> Result<LayerReader, StoreError> {
        let file = self.open_blob(descriptor)?;
        let digest = DigestWriter::new(io::sink());
        let blob = BufReader::with_capacity(BUFFER_BYTES, DigestReader { file, digest });
        let decoder = match descriptor.media_type.as_str() {
            media_type::OCI_LAYER_ZSTD => {
                Decoder::Zstd(zstd::stream::read::Decoder::with_buffer(blob).map_err(
                    StoreError::io("decompress", self.blob_path(&descriptor.digest)),
                )?)
            }
            media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => {
                Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(blob)))
            }
            _ => Decoder::None(blob),
        };
        Ok(LayerReader {
            decoder: Some(decoder),
            tar: DigestWriter::new(io::sink()),
            layout: self.clone(),
            digest: descriptor.digest.clone(),
            diff_id: descriptor
                .annotations
                .get(UNCOMPRESSED)
                .and_then(|diff_id| diff_id.parse().ok()),
        })
    }
}

impl Read for LayerReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = match &mut self.decoder {
            Some(Decoder::None(blob)) => blob.read(buf)?,
            Some(Decoder::Gzip(gzip)) => gzip.read(buf)?,
            Some(Decoder::Zstd(zstd)) => zstd.read(buf)?,
            None => 0,
        };
        if n == 0 {
            self.check()?;
        } else if self.diff_id.is_some() {
            self.tar.write_all(&buf[..n])?;
        }
        Ok(n)
    }
}

impl LayerReader {
    /// Compares the digests, once, at the end.
    fn check(&mut self) -> io::Result<()> {
        let blob = match self.decoder.take() {
            Some(Decoder::None(blob)) => blob,
            Some(Decoder::Gzip(gzip)) => gzip.into_inner(),
            Some(Decoder::Zstd(zstd)) => zstd.finish(),
            None => return Ok(()),
        };
        let tar = std::mem::replace(&mut self.tar, DigestWriter::new(io::sink()));
        let (_, tar, _) = tar.finish();
        let right = digest_of_all(blob)? == self.digest
            && self.diff_id.as_ref().is_none_or(|diff_id| *diff_id == tar);
        if right {
            Ok(())
        } else {
            let error = self.layout.damaged(&self.digest, "other bytes");
            Err(error.into())
        }
    }
}

impl Read for DigestReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.digest.write_all(&buf[..n])?;
        Ok(n)
    }
}

/// Reads what the decoder did not need, and returns the digest of the whole blob.
fn digest_of_all(mut blob: Blob) -> io::Result<Digest> {
    loop {
        let n = blob.fill_buf()?.len();
        if n == 0 {
            let (_, digest, _) = blob.into_inner().digest.finish();
            return Ok(digest);
        }
        blob.consume(n);
    }
}
