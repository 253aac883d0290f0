//! What the demo and the end-to-end tests need where nothing else is there: a registry on
//! loopback and a base image made on the spot, without internet, mirror or image.
//!
//! ```text
//! busybox or sh, cat, … with their libraries ──▶ BaseImage ──push──▶ Registry ◀──pull── docker
//!                                                   └── variant(n): the same tag, moved
//! ```
//!
//! A package of its own, so that its dependencies never burden `cargo xtask`.

mod base;
mod base_image;
mod engine_snapshot;
mod push;
mod registry;

pub use base::Base;
pub use base_image::{BaseImage, BaseImageError, Blob};
pub use engine_snapshot::{Docker, EngineSnapshot};
pub use push::{PushError, push_blob, push_manifest};
pub use registry::{Fault, Registry, Served};
