//! A bucket of S3, Google Cloud Storage or Azure Blob as a remote store: the only async file.
//!
//! Callers block on a small runtime. Credentials come by each cloud's own chain from the environment
//! and the machine, as `object_store` has it.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
    RetryConfig, UpdateVersion, WriteMultipart,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::entry::merged;
use super::error::without_queries;
use super::sweep::{Janitor, random};
use super::{Lease, RemoteEntry, RemoteError, RemoteErrorKind, RemoteStore, Swept};
use crate::oci::{Descriptor, Digest, DigestWriter, ImageIndex};
use crate::registry::install_crypto_provider;

/// Blobs up to this size go up in one request.
const IN_ONE_BYTES: u64 = PART_BYTES as u64;
/// The parts of larger ones; S3 takes 10,000 of at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// How many parts of a blob are under way: so much memory a blob takes.
const PARTS: usize = 2;
/// How often the index is merged anew when others replace it at the same time.
const ATTEMPTS: u32 = 30;
/// Chunks between the network and the disk.
const CHUNKS: usize = 16;

/// A folder of a bucket.
pub(super) struct Objects {
    pub(super) runtime: Runtime,
    pub(super) store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    /// Opens `s3://BUCKET/PREFIX`, `gs://…` or `az://…`; nothing is asked of it.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, RemoteError> {
        install_crypto_provider();
        let client = ClientOptions::new()
            .with_connect_timeout(timeout)
            .with_read_timeout(timeout.saturating_mul(4))
            .with_timeout_disabled()
            .with_allow_http(may_be_plain(|name| std::env::var(name).unwrap_or_default()));
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 3,
            retry_timeout: timeout,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| RemoteError::new(RemoteErrorKind::Failed, error))?;
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
        let store: Arc<dyn ObjectStore> = match scheme {
            "s3" => Arc::new(
                AmazonS3Builder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(|error| of_store(&error))?,
            ),
            "gs" => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(|error| of_store(&error))?,
            ),
            _ => Arc::new(
                MicrosoftAzureBuilder::from_env()
                    .with_url(url)
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()
                    .map_err(|error| of_store(&error))?,
            ),
        };
        Ok(Self {
            runtime,
            store,
            prefix: Path::from(prefix),
        })
    }

    pub(super) fn path(&self, name: &str) -> Path {
        let parts = self.prefix.parts().map(|part| part.as_ref().to_owned());
        parts.chain(name.split('/').map(str::to_owned)).collect()
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> Path {
        self.path(&format!(
            "blobs/{}/{}",
            digest.algorithm(),
            digest.encoded()
        ))
    }

    /// Returns a small object; nothing where it is not there.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, RemoteError> {
        match self.store.get(path).await {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(&error)),
            Ok(found) => {
                let bytes = found.bytes().await.map_err(|error| of_store(&error))?;
                Ok(Some(bytes.to_vec()))
            }
        }
    }

    /// Returns the index and the version to replace; none where there is none yet.
    pub(super) async fn index(&self) -> Result<(ImageIndex, Option<UpdateVersion>), RemoteError> {
        let found = match self.store.get(&self.path("index.json")).await {
            Err(Error::NotFound { .. }) => return Ok((ImageIndex::new(Vec::new()), None)),
            found => found.map_err(|error| of_store(&error))?,
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = found.bytes().await.map_err(|error| of_store(&error))?;
        let index: ImageIndex = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format_args!("its `index.json` cannot be read: {error}");
            RemoteError::new(RemoteErrorKind::Failed, message)
        })?;
        Ok((index, Some(version)))
    }

    async fn change_index(
        &self,
        add: &[Descriptor],
        remove: &[RemoteEntry],
    ) -> Result<(), RemoteError> {
        for attempt in 0..ATTEMPTS {
            let (mut index, version) = self.index().await?;
            index.manifests = merged(index.manifests, add, remove);
            let bytes = serde_json::to_vec(&index).expect("an index is JSON");
            let mode = version.map_or(PutMode::Create, PutMode::Update);
            if matches!(mode, PutMode::Create) {
                let layout = PutPayload::from_static(br#"{"imageLayoutVersion":"1.0.0"}"#);
                let marker = self.path("oci-layout");
                self.store
                    .put(&marker, layout)
                    .await
                    .map_err(|error| of_store(&error))?;
            }
            let path = self.path("index.json");
            match self.store.put_opts(&path, bytes.into(), mode.into()).await {
                Ok(_) => return Ok(()),
                Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(of_store(&error)),
            }
            // Apart from the others that lost.
            let wait = (random() % 50 + 10) * u64::from(attempt.min(8) + 1);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let message = "others replace its `index.json` again and again";
        Err(RemoteError::new(RemoteErrorKind::Busy, message))
    }

    async fn put_in_one(
        &self,
        blob: &Descriptor,
        content: &mut dyn Read,
    ) -> Result<(), RemoteError> {
        let mut bytes = Vec::new();
        content
            .take(blob.size + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| local(&error))?;
        if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest {
            return Err(damaged(blob));
        }
        let path = self.blob_path(&blob.digest);
        let put = self.store.put(&path, bytes.into()).await;
        put.map(|_| ()).map_err(|error| of_store(&error))
    }

    async fn put_in_parts(
        &self,
        blob: &Descriptor,
        content: &mut dyn Read,
    ) -> Result<(), RemoteError> {
        let path = self.blob_path(&blob.digest);
        let upload = self
            .store
            .put_multipart(&path)
            .await
            .map_err(|error| of_store(&error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut digest = DigestWriter::new(io::sink());
        let read = loop {
            if let Err(error) = upload.wait_for_capacity(PARTS).await {
                break Err(of_store(&error));
            }
            let mut part = Vec::with_capacity(PART_BYTES);
            match content.take(PART_BYTES as u64).read_to_end(&mut part) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(local(&error)),
            }
            if let Err(error) = io::Write::write_all(&mut digest, &part) {
                break Err(local(&error));
            }
            upload.put(part.into());
        };
        let (_, found, size_bytes) = digest.finish();
        let is_right = found == blob.digest && size_bytes == blob.size;
        if let Err(error) = read.and_then(|()| is_right.then_some(()).ok_or_else(|| damaged(blob)))
        {
            // What is left of it costs money: a lifecycle rule removes what this could not.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload
            .finish()
            .await
            .map(|_| ())
            .map_err(|error| of_store(&error))
    }
}

impl RemoteStore for Objects {
    fn has(&self, blob: &Descriptor) -> Result<bool, RemoteError> {
        let path = self.blob_path(&blob.digest);
        match self.runtime.block_on(self.store.head(&path)) {
            Ok(found) => Ok(found.size == blob.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(of_store(&error)),
        }
    }

    fn get(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, RemoteError> {
        let path = self.blob_path(&blob.digest);
        let found = self.runtime.block_on(self.store.get(&path));
        let mut stream = found.map_err(|error| of_store(&error))?.into_stream();
        let (sender, receiver) = mpsc::channel(CHUNKS);
        self.runtime.spawn(async move {
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| of_store(&error));
                let is_end = chunk.is_err();
                // The reader may be gone.
                if sender.send(chunk).await.is_err() || is_end {
                    return;
                }
            }
        });
        Ok(Box::new(Chunks {
            receiver,
            chunk: Cursor::default(),
        }))
    }

    fn put(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), RemoteError> {
        self.runtime.block_on(async {
            if blob.size <= IN_ONE_BYTES {
                self.put_in_one(blob, content).await
            } else {
                self.put_in_parts(blob, content).await
            }
        })
    }

    fn list(&self, _known: &[RemoteEntry]) -> Result<Vec<RemoteEntry>, RemoteError> {
        let (index, _) = self.runtime.block_on(self.index())?;
        Ok(index.manifests.into_iter().map(RemoteEntry::new).collect())
    }

    fn name(&self, add: &[Descriptor], remove: &[RemoteEntry]) -> Result<(), RemoteError> {
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        self.runtime.block_on(self.change_index(add, remove))
    }

    fn lease(&self, blobs: &[Digest]) -> Result<Lease, RemoteError> {
        self.runtime.block_on(Janitor(self).lease(blobs))
    }

    fn release(&self, lease: &Lease) {
        self.runtime.block_on(Janitor(self).release(lease));
    }

    fn sweep(&self, grace: Duration, dry_run: bool) -> Result<Option<Swept>, RemoteError> {
        self.runtime
            .block_on(Janitor(self).sweep(grace, dry_run))
            .map(Some)
    }
}

/// The bytes of an object as they arrive.
struct Chunks<B> {
    receiver: mpsc::Receiver<Result<B, RemoteError>>,
    chunk: Cursor<Vec<u8>>,
}

impl<B: AsRef<[u8]>> Read for Chunks<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.chunk.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => self.chunk = Cursor::new(chunk.as_ref().to_vec()),
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }
}

pub(super) fn of_store(error: &Error) -> RemoteError {
    let kind = match error {
        Error::NotFound { .. } => RemoteErrorKind::Missing,
        _ => RemoteErrorKind::Failed,
    };
    let text = without_queries(&error.to_string());
    // The server's answer can be a page of XML.
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(400).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    RemoteError::new(kind, short)
}

fn local(error: &io::Error) -> RemoteError {
    RemoteError::new(
        RemoteErrorKind::Local,
        format_args!("the blob cannot be read: {error}"),
    )
}

fn damaged(blob: &Descriptor) -> RemoteError {
    let message = format_args!("the blob {} is damaged here", blob.digest);
    RemoteError::new(RemoteErrorKind::Wrong, message)
}

/// Tells whether plain HTTP is allowed: by the environment's word, or because the endpoint is on this
/// machine.
fn may_be_plain(variable: impl Fn(&str) -> String) -> bool {
    let starts = ["http://127.", "http://localhost", "http://[::1]"];
    let is_loopback = |name: &&str| {
        let endpoint = variable(name);
        starts.iter().any(|start| endpoint.starts_with(start))
    };
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().any(is_loopback)
        || variable("AWS_ALLOW_HTTP").eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    #[test]
    fn plain_http_is_for_this_machine_or_by_word() {
        for (name, value, expected) in [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000", true),
            ("AWS_ENDPOINT", "http://minio.example.com", false),
            ("AWS_ALLOW_HTTP", "true", true),
            ("AWS_ALLOW_HTTP", "", false),
        ] {
            let variable = |asked: &str| {
                if asked == name {
                    value.to_owned()
                } else {
                    String::new()
                }
            };
            assert_eq!(super::may_be_plain(variable), expected, "{name}={value}");
        }
    }
}
