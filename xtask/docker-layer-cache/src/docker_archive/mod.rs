//! The tar that `docker save` writes and `docker load` reads, as a stream.
//!
//! Two generations are in use, and both carry the same `manifest.json`:
//!
//! ```text
//! until 24   <image ID>.json            config
//!            <v1 ID>/layer.tar          uncompressed; a repeated layer is a symlink ../<v1 ID>/layer.tar
//!            manifest.json              [{Config, RepoTags, Layers}], at the end of the stream
//! since 25   blobs/sha256/<digest>      configs, manifests and layers side by side
//!            index.json, oci-layout     an OCI image layout
//!            manifest.json              as before, its paths point into blobs/
//! ```
//!
//! With the graph drivers the layers are uncompressed and a blob's digest is the layer's diff ID;
//! with containerd's image store the blobs are as they were pulled or built: gzip, zstd or plain.
//!
//! [`read`] hands each layer to a [`LayerSink`] as it passes and returns the images only when every
//! byte that they need was seen and checked. [`write()`] produces either layout without seeking.
//! Neither keeps more than one buffer and the images' JSON in memory, and neither touches a file.
//!
//! Source: <https://github.com/moby/moby/blob/v28.5.2/image/tarexport/save.go>,
//! <https://github.com/moby/moby/blob/v20.10.24/image/tarexport/save.go>

mod error;
mod manifest_json;
mod entry_path;
mod layer_stream;
mod read;
mod write;

pub use error::{ArchiveError, ArchiveErrorKind};
pub use read::{LayerName, LayerSink, SavedImage, read};
pub use write::{ArchiveImage, ArchiveLayer, ArchiveLayout, Written, write};

#[cfg(test)]
mod tests;
