//! Why bytes are not a cache.

use std::fmt;

/// Why a cache config, or an image's inline cache, is refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum CacheConfigError {
    /// The bytes are not the JSON that the format asks for.
    Json {
        /// What was read, such as `cache config`.
        what: &'static str,
        /// What the JSON reader found.
        cause: serde_json::Error,
    },
    /// The inline cache is not base64.
    Base64 {
        /// What the decoder found.
        cause: base64::DecodeError,
    },
    /// The bytes are more than `BuildKit` reads.
    TooLarge {
        /// What was read or written, such as `cache config`.
        what: &'static str,
        /// Its size.
        size_bytes: u64,
        /// The most that `BuildKit` takes.
        max_bytes: u64,
    },
    /// A record names an input that is not in the list.
    LinkOutOfRange {
        /// The record's place in the list.
        record: usize,
        /// The place that it names.
        link: i64,
    },
    /// Records stand on one another in a circle.
    RecordCycle {
        /// One of these records.
        record: usize,
    },
    /// A result or a parent names a layer that is not in the list.
    LayerOutOfRange {
        /// Who names it: the place of a record, or of a layer.
        named_by: usize,
        /// The place that it names.
        layer: i64,
    },
    /// Layers stand on one another in a circle.
    LayerCycle {
        /// One of these layers.
        layer: usize,
    },
}

impl fmt::Display for CacheConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { what, cause } => write!(f, "{what} is not valid: {cause}"),
            Self::Base64 { cause } => write!(f, "inline cache is not base64: {cause}"),
            Self::TooLarge {
                what,
                size_bytes,
                max_bytes,
            } => write!(
                f,
                "{what} is too large for BuildKit: {size_bytes} bytes, of at most {max_bytes}"
            ),
            Self::LinkOutOfRange { record, link } => {
                write!(
                    f,
                    "record {record} names an input that is not there: {link}"
                )
            }
            Self::RecordCycle { record } => write!(f, "record {record} stands on itself"),
            Self::LayerOutOfRange { named_by, layer } => {
                write!(
                    f,
                    "entry {named_by} names a layer that is not there: {layer}"
                )
            }
            Self::LayerCycle { layer } => write!(f, "layer {layer} is its own ancestor"),
        }
    }
}

impl std::error::Error for CacheConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json { cause, .. } => Some(cause),
            Self::Base64 { cause } => Some(cause),
            _ => None,
        }
    }
}
