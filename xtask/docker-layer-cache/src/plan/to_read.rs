//! What of a plan the engine will read: what has to be on this machine.

use std::collections::BTreeSet;

use super::RestorePlan;
use super::layer_chain::Verdict;
use crate::cache_key::StageDigest;
use crate::oci::Digest;

/// Instructions that leave files, and so a layer.
const WITH_LAYER: [&str; 3] = ["RUN", "COPY", "ADD"];

impl RestorePlan<'_> {
    /// Returns the uppermost blobs of what the engine is expected to read. Nothing where it is not
    /// known which layer a step made: it can be any.
    pub fn blobs_to_read(&self, stages: &[StageDigest]) -> Option<BTreeSet<Digest>> {
        let mut blobs = BTreeSet::new();
        for chain in self.chains.iter().filter(|chain| is_read(chain.verdict)) {
            let in_chain = |stage: usize, ordinal: usize| {
                stages[stage].name == chain.stage && (chain.first..=chain.last).contains(&ordinal)
            };
            let steps = self.steps.iter();
            for step in steps.filter(|step| in_chain(step.stage, step.ordinal)) {
                if let Some(layer) = step.recorded.and_then(|known| known.layer.as_ref()) {
                    blobs.insert(layer.blob.clone());
                    continue;
                }
                let mut steps = stages[step.stage].steps.iter();
                let same = steps.find(|known| known.ordinal == step.ordinal)?;
                if WITH_LAYER.contains(&same.keyword.to_ascii_uppercase().as_str()) {
                    return None;
                }
            }
        }
        Some(blobs)
    }

    /// Returns the seconds that what the engine will read spares.
    pub fn spared_seconds(&self) -> f64 {
        let read = self.chains.iter().filter(|chain| is_read(chain.verdict));
        read.map(|chain| chain.spared_seconds).sum()
    }
}

fn is_read(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pays | Verdict::Present | Verdict::Forced)
}
