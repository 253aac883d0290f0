//! Blobs, as they arrive.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use reqwest::{Method, StatusCode};

use super::endpoint::Endpoint;
use super::exchange::{Exchange, Message, Target, Task};
use super::token::Access;
use super::transport::Answer;
use super::verify::Verifier;
use super::{ErrorKind, RegistryError};
use crate::oci::{Descriptor, Reference};

/// A blob that is being downloaded.
///
/// A connection that breaks is taken up again where it broke, as often as the client retries.
/// The read that would return the end fails instead when size or digest are not those of the
/// descriptor; the [`io::Error`] wraps a [`RegistryError`].
pub struct BlobReader {
    exchange: Arc<Exchange>,
    endpoint: Endpoint,
    reference: Reference,
    descriptor: Descriptor,
    /// None at the end, and while a new connection is made: it needs the old one's permit.
    answer: Option<Answer>,
    /// Taken when the end was reached and found good.
    verifier: Option<Verifier>,
    n_bytes: u64,
    n_resumed: u32,
    /// An error at this download's place.
    failure: RegistryError,
}

/// Asks for a blob.
pub(super) fn get(
    exchange: &Arc<Exchange>,
    task: &Task,
    endpoint: &Endpoint,
    descriptor: &Descriptor,
) -> Result<BlobReader, RegistryError> {
    let answer = request(exchange, task, endpoint, descriptor, 0)?;
    let failure = answer
        .error(ErrorKind::Protocol)
        .for_reference(task.reference);
    let verifier = Verifier::new(&descriptor.digest).ok_or_else(|| {
        failure.clone().with_cause(format!(
            "digests like `{}` are not supported",
            descriptor.digest
        ))
    })?;
    Ok(BlobReader {
        exchange: Arc::clone(exchange),
        endpoint: endpoint.clone(),
        reference: task.reference.clone(),
        descriptor: descriptor.clone(),
        answer: Some(answer),
        verifier: Some(verifier),
        n_bytes: 0,
        n_resumed: 0,
        failure,
    })
}

/// Asks for a blob from byte `start` on; what comes before is read past where the registry does
/// not know ranges.
fn request(
    exchange: &Exchange,
    task: &Task,
    endpoint: &Endpoint,
    descriptor: &Descriptor,
    start: u64,
) -> Result<Answer, RegistryError> {
    let range = format!("bytes={start}-");
    let headers = [("range", range.as_str())];
    let message = Message {
        method: Method::GET,
        target: Target::Path(&["blobs", descriptor.digest.as_str()]),
        headers: if start == 0 { &[] } else { &headers },
        body: &[],
    };
    let mut answer = exchange.send(task, endpoint, &message)?;
    if start > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
        let skipped = io::copy(&mut answer.by_ref().take(start), &mut io::sink())
            .map_err(|cause| answer.broken(&cause))?;
        if skipped < start {
            let cause = "the blob is shorter than before";
            return Err(answer.error(ErrorKind::Protocol).with_cause(cause));
        }
    }
    Ok(answer)
}

impl BlobReader {
    /// Reads all of a small blob.
    pub(super) fn read_whole(mut self, deadline: Instant) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            match self.read_checked(&mut chunk)? {
                0 => return Ok(bytes),
                n => bytes.extend_from_slice(&chunk[..n]),
            }
            if Instant::now() > deadline {
                return Err(self.error(ErrorKind::Timeout));
            }
        }
    }

    fn read_checked(&mut self, buf: &mut [u8]) -> Result<usize, RegistryError> {
        if self.verifier.is_none() || buf.is_empty() {
            return Ok(0);
        }
        let n = self.read_or_resume(buf)?;
        let Some(verifier) = &mut self.verifier else {
            return Ok(0);
        };
        verifier.update(&buf[..n]);
        self.n_bytes += n as u64;
        let size = self.descriptor.size;
        if self.n_bytes > size || (n == 0 && self.n_bytes < size) {
            let cause = format!(
                "{} bytes came where the descriptor says {size}",
                self.n_bytes
            );
            let kind = ErrorKind::DigestMismatch {
                expected: self.descriptor.digest.clone(),
                found: None,
            };
            return Err(self.error(kind).with_cause(cause));
        }
        if n == 0
            && let Some(verifier) = self.verifier.take()
        {
            // The connection is free for others, though the reader may live on.
            self.answer = None;
            verifier.finish().map_err(|found| {
                self.error(ErrorKind::DigestMismatch {
                    expected: self.descriptor.digest.clone(),
                    found,
                })
            })?;
        }
        Ok(n)
    }

    fn read_or_resume(&mut self, buf: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            let Some(answer) = &mut self.answer else {
                return Err(self.error(ErrorKind::Connect));
            };
            let cause = match answer.read(buf) {
                Ok(n) => return Ok(n),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => answer.broken(&cause),
            };
            if self.n_resumed >= self.exchange.retries {
                return Err(cause.for_reference(&self.reference));
            }
            self.n_resumed += 1;
            self.answer = None;
            let task = self.exchange.task(&self.reference, Access::Pull);
            let retries = self.exchange.retries - self.n_resumed;
            let answer = self.exchange.with_retries(&task, retries, || {
                request(
                    &self.exchange,
                    &task,
                    &self.endpoint,
                    &self.descriptor,
                    self.n_bytes,
                )
            });
            self.answer = Some(answer.map_err(|error| error.for_reference(&self.reference))?);
        }
    }

    fn error(&self, kind: ErrorKind) -> RegistryError {
        RegistryError {
            kind,
            ..self.failure.clone()
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_checked(buf).map_err(|error| {
            let kind = match error.kind() {
                ErrorKind::DigestMismatch { .. } => io::ErrorKind::InvalidData,
                ErrorKind::Timeout => io::ErrorKind::TimedOut,
                _ => io::ErrorKind::UnexpectedEof,
            };
            io::Error::new(kind, error)
        })
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("descriptor", &self.descriptor)
            .field("n_bytes", &self.n_bytes)
            .finish_non_exhaustive()
    }
}
