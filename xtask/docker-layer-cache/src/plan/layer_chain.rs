//! Layers that stand on one another, and whether they are worth being brought in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::recorded_step::UNKNOWN_SECONDS;

/// Steps of one stage in a row that hit, and their layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerChain {
    /// The stage, as builders name it.
    pub stage: String,
    /// The first step, by its place in the stage.
    pub first: usize,
    /// The last step.
    pub last: usize,
    /// What the engine would have to read.
    pub bytes: u64,
    /// How long that would take, in seconds.
    pub import_seconds: f64,
    /// How long the steps took when they ran, with what they in turn would need.
    pub spared_seconds: f64,
    /// What becomes of the chain.
    pub verdict: Verdict,
}

/// What becomes of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Offered: it saves more than it costs.
    Pays,
    /// Offered: the engine holds the layers already.
    Present,
    /// Offered: nothing that runs needs the files, so that nothing is read.
    NotRead,
    /// Offered although it does not pay.
    Forced,
    /// Not offered: running the steps again is faster.
    DoesNotPay,
}

impl Verdict {
    /// Tells whether the engine is offered the layers.
    pub fn is_offered(self) -> bool {
        self != Self::DoesNotPay
    }
}

impl fmt::Display for LayerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "`{}` step {first}: ", self.stage)?,
            (first, last) => write!(f, "`{}` steps {first} to {last}: ", self.stage)?,
        }
        match self.verdict {
            Verdict::NotRead => f.write_str("nothing that runs needs their files"),
            Verdict::Present => f.write_str("the engine holds their layers"),
            _ if self.spared_seconds >= UNKNOWN_SECONDS => write!(
                f,
                "importing {} takes about {:.1} s, how long its steps take is not known",
                Bytes(self.bytes),
                self.import_seconds,
            ),
            Verdict::Pays | Verdict::Forced | Verdict::DoesNotPay => write!(
                f,
                "importing {} takes about {:.1} s, the steps that it spares took {:.1} s",
                Bytes(self.bytes),
                self.import_seconds,
                self.spared_seconds
            ),
        }
    }
}

/// Bytes for people, in powers of ten.
struct Bytes(u64);

impl fmt::Display for Bytes {
    #[expect(
        clippy::cast_precision_loss,
        reason = "three digits are shown of numbers below 2^53"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 0..1_000 => write!(f, "{n} B"),
            n @ 1_000..1_000_000 => write!(f, "{:.1} kB", n as f64 / 1e3),
            n @ 1_000_000..1_000_000_000 => write!(f, "{:.1} MB", n as f64 / 1e6),
            n => write!(f, "{:.1} GB", n as f64 / 1e9),
        }
    }
}
