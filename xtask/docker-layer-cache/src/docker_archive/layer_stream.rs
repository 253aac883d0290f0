//! One layer on its way out of an archive: compression found by its magic, errors remembered.

use std::io::{self, BufReader, Cursor, Read};

use crate::oci::{Digest, DigestWriter};

/// Large, so that the code between two reads does not count even in a dev build.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// The size of a tar header.
const BLOCK_BYTES: usize = 512;

/// A reader that ends with an error, not silently, when fewer bytes come than were announced.
pub(super) struct Announced<R> {
    inner: R,
    missing_bytes: u64,
}

/// A reader that remembers that it failed, so that its error can be told from the sink's.
pub(super) struct Watched<'a> {
    inner: Box<dyn Read + 'a>,
    failure: Option<io::Error>,
}

/// Passes bytes on and digests them.
pub(super) struct DigestReader<R> {
    inner: R,
    digest: DigestWriter<io::Sink>,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl<R: Read> Announced<R> {
    pub(super) fn new(inner: R, size_bytes: u64) -> Self {
        Self {
            inner,
            missing_bytes: size_bytes,
        }
    }
}

impl<R: Read> Read for Announced<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n == 0 && !buf.is_empty() && self.missing_bytes > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.missing_bytes = self.missing_bytes.saturating_sub(n as u64);
        Ok(n)
    }
}

impl<'a> Watched<'a> {
    pub(super) fn new(inner: impl Read + 'a) -> Self {
        Self {
            inner: Box::new(inner),
            failure: None,
        }
    }

    /// Returns the first error that the reader itself gave.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted && self.failure.is_none() {
                self.failure = Some(io::Error::new(error.kind(), error.to_string()));
            }
        })
    }
}

impl<R: Read> DigestReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            digest: DigestWriter::new(io::sink()),
        }
    }

    /// Returns the reader below, whose bytes are then not digested.
    pub(super) fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads to the end and returns the digest of everything.
    pub(super) fn finish(mut self) -> io::Result<Digest> {
        drain(&mut self)?;
        let (_, digest, _) = self.digest.finish();
        Ok(digest)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        io::Write::write_all(&mut self.digest, &buf[..n])?;
        Ok(n)
    }
}

impl Compression {
    /// Returns how the bytes that begin with `head` are compressed.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns a reader of the uncompressed bytes.
    pub(super) fn decode<'a>(self, inner: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, inner);
        Ok(match self {
            Self::None => Box::new(buffered),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?),
        })
    }
}

/// Reads the first block, or less at the end, and returns it beside a reader of all bytes.
pub(super) fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::with_capacity(BLOCK_BYTES);
    reader
        .by_ref()
        .take(BLOCK_BYTES as u64)
        .read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Tells whether `head` can begin a tar: a header whose checksum is right, or the zeros at the end
/// of an empty one.
pub(super) fn begins_a_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK_BYTES>() else {
        return false;
    };
    if block.iter().all(|&byte| byte == 0) {
        return true;
    }
    // The sum of all bytes, with the checksum's own eight taken as spaces.
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, &byte)| u32::from(if (148..156).contains(&at) { b' ' } else { byte }))
        .sum();
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    header.cksum().is_ok_and(|stated| stated == sum)
}

/// Reads to the end.
pub(super) fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
