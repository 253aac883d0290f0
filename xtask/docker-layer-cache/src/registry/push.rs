//! Blobs and manifests up.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#push>

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use reqwest::{Method, Url};

use super::client::Client;
use super::endpoint::Endpoint;
use super::exchange::{Exchange, Message, Target, Task};
use super::token::Access;
use super::transport::Stream;
use super::verify::Verifier;
use super::{ErrorKind, RegistryError};
use crate::oci::{Descriptor, Digest, Reference};

/// Blobs up to this size are kept in memory while they go up, so that a failed upload can be
/// repeated. Larger ones are sent as they are read.
const IN_MEMORY_BYTES: u64 = 8 << 20;
const CHUNK_BYTES: usize = 128 << 10;

impl Client {
    /// Returns whether the reference's registry (not a mirror of it) holds a blob.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked; that it has no such blob is not an error.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        let task = self.exchange.task(reference, Access::Pull);
        let found = self.exchange.write(&task, |endpoint| {
            let path = ["blobs", digest.as_str()];
            let message = message(Method::HEAD, Target::Path(&path), &[], &[]);
            self.exchange.send(&task, endpoint, &message).map(|_| ())
        });
        match found {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob of known digest and size. Whether it is there already is
    /// [`Client::has_blob`]'s question.
    ///
    /// A blob of more than 8 MiB is sent as it is read and in one request, since not every
    /// registry takes chunks; it is not repeated when the connection breaks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`] when `content` is not what the descriptor says, and whatever
    /// the registry refuses.
    pub fn put_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        mut content: impl Read,
    ) -> Result<(), RegistryError> {
        let task = self.exchange.task(reference, Access::Push);
        let place = |kind| RegistryError::new(kind, reference.domain()).for_reference(reference);
        if descriptor.size <= IN_MEMORY_BYTES {
            let mut bytes = Vec::new();
            content
                .by_ref()
                .take(descriptor.size + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| place(ErrorKind::Options).with_cause(unreadable(&error)))?;
            check(descriptor, &bytes).map_err(|found| {
                place(ErrorKind::DigestMismatch {
                    expected: descriptor.digest.clone(),
                    found,
                })
            })?;
            return self.exchange.write(&task, |endpoint| {
                let url = self.start_upload(&task, endpoint, &descriptor.digest)?;
                let octets = [("content-type", "application/octet-stream")];
                let message = message(Method::PUT, Target::Url(&url), &octets, &bytes);
                self.exchange.send(&task, endpoint, &message).map(|_| ())
            });
        }
        let (url, endpoint) = self.exchange.write(&task, |endpoint| {
            let url = self.start_upload(&task, endpoint, &descriptor.digest)?;
            Ok((url, endpoint.clone()))
        })?;
        self.stream_blob(&task, &endpoint, &url, descriptor, &mut content)
            .map_err(|error| error.for_reference(reference))
    }

    /// Uploads a manifest or index under the reference's digest, or else its tag, and returns
    /// its digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`] when the reference's digest is another one, and whatever the
    /// registry refuses, such as a manifest whose blobs it does not have.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        if let Some(expected) = reference.digest()
            && *expected != digest
        {
            let kind = ErrorKind::DigestMismatch {
                expected: expected.clone(),
                found: Some(digest),
            };
            return Err(RegistryError::new(kind, reference.domain()).for_reference(reference));
        }
        let name = match (reference.digest(), reference.tag()) {
            (None, Some(tag)) => tag.to_owned(),
            _ => digest.to_string(),
        };
        let task = self.exchange.task(reference, Access::Push);
        self.exchange.write(&task, |endpoint| {
            let headers = [("content-type", media_type)];
            let path = ["manifests", name.as_str()];
            let message = message(Method::PUT, Target::Path(&path), &headers, bytes);
            self.exchange.send(&task, endpoint, &message).map(|_| ())
        })?;
        Ok(digest)
    }

    /// Opens an upload and returns the URL that takes the blob.
    fn start_upload(
        &self,
        task: &Task,
        endpoint: &Endpoint,
        digest: &Digest,
    ) -> Result<Url, RegistryError> {
        // The empty last segment is the slash that the specification wants.
        let path = ["blobs", "uploads", ""];
        let message = message(Method::POST, Target::Path(&path), &[], &[]);
        let answer = self.exchange.send(task, endpoint, &message)?;
        let mut url = answer
            .header("location")
            .and_then(|location| answer.url.join(location).ok())
            .ok_or_else(|| {
                answer
                    .error(ErrorKind::Protocol)
                    .with_cause("the upload has no location")
            })?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        Ok(url)
    }

    fn stream_blob(
        &self,
        task: &Task,
        endpoint: &Endpoint,
        url: &Url,
        descriptor: &Descriptor,
        content: &mut dyn Read,
    ) -> Result<(), RegistryError> {
        let exchange: &Exchange = &self.exchange;
        // The HTTP client wants a body that owns what it reads: the bytes go through a channel.
        let (sender, receiver) = sync_channel::<io::Result<Vec<u8>>>(4);
        std::thread::scope(|scope| {
            let upload = scope.spawn(move || {
                let octets = [("content-type", "application/octet-stream")];
                let message = message(Method::PUT, Target::Url(url), &octets, &[]);
                let stream = Stream {
                    content: Box::new(ChannelReader {
                        receiver,
                        chunk: Vec::new(),
                        at: 0,
                    }),
                    size_bytes: descriptor.size,
                };
                exchange.send_stream(task, endpoint, &message, url, stream)
            });
            let mut unread = None;
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let sent = match content.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => {
                        chunk.truncate(n);
                        sender.send(Ok(chunk))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        unread = Some(unreadable(&error));
                        let _ = sender.send(Err(error));
                        break;
                    }
                };
                // Nobody listens any more: the upload failed and says why.
                if sent.is_err() {
                    break;
                }
            }
            drop(sender);
            let result = upload.join().expect("an upload does not panic");
            match (result, unread) {
                (Ok(_), _) => Ok(()),
                (Err(error), None) => Err(error),
                (Err(error), Some(cause)) => Err(RegistryError {
                    kind: ErrorKind::Options,
                    ..error.with_cause(cause)
                }),
            }
        })
    }
}

/// The reading end of a channel of chunks.
struct ChannelReader {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for ChannelReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.chunk.len() - self.at);
        buf[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn message<'a>(
    method: Method,
    target: Target<'a>,
    headers: &'a [(&'static str, &'a str)],
    body: &'a [u8],
) -> Message<'a> {
    Message {
        method,
        target,
        headers,
        body,
    }
}

fn check(descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Option<Digest>> {
    let Some(mut verifier) = Verifier::new(&descriptor.digest) else {
        // The registry checks what we cannot.
        return Ok(());
    };
    verifier.update(bytes);
    verifier.finish()
}

fn unreadable(error: &io::Error) -> String {
    format!("the blob cannot be read: {error}")
}
