//! The vocabulary of images: values without I/O, shared by every other module.
//!
//! ```text
//! Reference ──▶ index ──▶ manifest ──▶ config   (rootfs.diff_ids: what the layers are uncompressed)
//!   (tag)      (per platform)   └────▶ layers   (descriptors: the compressed blobs)
//! ```
//!
//! Names are those of the [OCI image specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md).

mod digest;
mod descriptor;
mod layer;
mod manifest;
pub mod media_type;
mod image_config;
mod platform;
mod reference;

pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, DigestWriter};
pub use image_config::{History, ImageConfig, RootFs};
pub use layer::{ChainId, DiffId};
pub use manifest::{ImageIndex, ImageManifest, PlatformIndexError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
