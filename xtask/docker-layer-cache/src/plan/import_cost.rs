//! What bringing layers into an engine costs.

use serde::{Deserialize, Serialize};

/// What is imported faster than this, in seconds, is always offered.
const FREE_SECONDS: f64 = 0.1;
/// Fewer bytes than this are always offered.
const FREE_BYTES: u64 = 1_000_000;

/// How fast layers come in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImportCost {
    /// How many bytes of blobs the engine brings in a second.
    pub bytes_per_second: f64,
    /// What bringing in anything costs besides, in seconds.
    pub overhead_seconds: f64,
}

impl ImportCost {
    /// Returns how long it takes to bring in so many bytes, in seconds; nothing where that is too
    /// little to be weighed.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn seconds(self, bytes: u64) -> f64 {
        let seconds = bytes as f64 / self.bytes_per_second.max(1.0);
        if bytes < FREE_BYTES || seconds < FREE_SECONDS {
            0.0
        } else {
            self.overhead_seconds + seconds
        }
    }
}
