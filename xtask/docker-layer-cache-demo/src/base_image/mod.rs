//! A small base image made on the spot, with `/bin/sh` and the everyday commands, so that `RUN`
//! works without network.
//!
//! ```text
//! index ─▶ manifest ─▶ config
//!              ├─────▶ layer 0: /bin/busybox with links, or /bin/sh, /bin/cat, … and libraries
//!              └─────▶ layer 1: /etc/base-release, which says the variant
//! ```
//!
//! The bytes depend on the machine's binaries alone: times, owners and order are fixed.

mod image;
mod layer;
mod tools;

pub use image::{BaseImage, Blob};
pub use tools::BaseImageError;
