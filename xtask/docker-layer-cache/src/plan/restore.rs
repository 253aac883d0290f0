//! What to offer to the engine: the layers that spare more time than they take.
//!
//! `BuildKit` is lazy. A layer of a step that hits is brought in only where a step that runs
//! stands on it or takes files from it, or where the result holds it. So the plan walks from the
//! target to what it needs: for each stage that must be there, the steps that hit are cut in two,
//! layers below the cut are brought in, steps above it run again, and the cheapest cut is taken.
//! What nothing needs is offered as well: it costs nothing.

use std::collections::BTreeSet;

use super::eager::eager;
use super::import_cost::ImportCost;
use super::layer_chain::{LayerChain, Verdict};
use super::prediction::{Outcome, PredictedStep, predict};
use super::recorded_step::RecordedStep;
use crate::cache_key::StageDigest;
use crate::oci::{ChainId, Digest};

/// What leaving out has to spare at least, in seconds: both sides are estimates.
pub(super) const MARGIN_SECONDS: f64 = 0.2;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct RestoreRequest<'r, 'a> {
    /// The stages of this build.
    pub stages: &'r [StageDigest],
    /// The stage that is built, by index.
    pub target: usize,
    /// The steps that entries of the store recorded, the best entry first.
    pub entries: &'r [&'a [RecordedStep]],
    /// The layers that the engine holds.
    pub engine_layers: &'r BTreeSet<ChainId>,
    /// What bringing in layers costs on this machine.
    pub import: ImportCost,
    /// Offer everything, whether it pays or not.
    pub all: bool,
    /// The engine reads only the layers that are needed. Else they are loaded, stage by stage.
    pub lazy: bool,
}

/// What to offer to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct RestorePlan<'a> {
    /// What will become of each step, in the order of the Dockerfile.
    pub steps: Vec<PredictedStep<'a>>,
    /// The layers, and why they are offered or not; from the target to what it needs.
    pub chains: Vec<LayerChain>,
    /// The entries that help, by place, sorted.
    pub entries: Vec<usize>,
    /// The steps whose layers are offered, by their place in `steps`.
    pub offered: BTreeSet<usize>,
    /// Blobs that the engine must not be offered.
    pub left_out: BTreeSet<Digest>,
}

impl<'a> RestorePlan<'a> {
    /// Returns what the store knows of the steps that would hit and are not offered.
    pub fn left_out_steps(&self) -> impl Iterator<Item = &'a RecordedStep> {
        let is_left_out = |at: &usize| !self.offered.contains(at);
        let left_out = (0..self.steps.len()).filter(is_left_out);
        left_out.filter_map(|at| self.steps[at].recorded)
    }

    /// Returns the bytes that the engine is expected to read.
    pub fn bytes_to_read(&self) -> u64 {
        let is_read =
            |chain: &&LayerChain| matches!(chain.verdict, Verdict::Pays | Verdict::Forced);
        self.chains
            .iter()
            .filter(is_read)
            .map(|chain| chain.bytes)
            .sum()
    }
}

/// Plans what to offer.
pub fn restore<'a>(request: &RestoreRequest<'_, 'a>) -> RestorePlan<'a> {
    let steps = predict(request.stages, request.entries);
    let (chains, offered) = if request.lazy {
        let mut planner = Planner::new(request, &steps);
        planner.bring(request.target);
        planner.offer_the_rest();
        (planner.chains, planner.offered)
    } else {
        eager(request, &steps)
    };
    let entries: BTreeSet<usize> = offered.iter().filter_map(|&at| steps[at].entry).collect();
    let left_out = left_out(request, &steps, &offered);
    RestorePlan {
        steps,
        chains,
        entries: entries.into_iter().collect(),
        offered,
        left_out,
    }
}

/// The blobs of steps that are not offered, in all entries, unless an offered step has them too.
fn left_out(
    request: &RestoreRequest<'_, '_>,
    steps: &[PredictedStep<'_>],
    offered: &BTreeSet<usize>,
) -> BTreeSet<Digest> {
    let recorded = |wanted: bool| {
        let digests: BTreeSet<&Digest> = (0..steps.len())
            .filter(|at| offered.contains(at) == wanted)
            .filter_map(|at| Some(&steps[at].recorded?.digest))
            .collect();
        let blobs: BTreeSet<Digest> = request
            .entries
            .iter()
            .flat_map(|entry| entry.iter())
            .filter(|recorded| digests.contains(&recorded.digest))
            .filter_map(|recorded| Some(recorded.layer.as_ref()?.blob.clone()))
            .collect();
        blobs
    };
    &recorded(false) - &recorded(true)
}

struct Planner<'r, 'a> {
    request: &'r RestoreRequest<'r, 'a>,
    steps: &'r [PredictedStep<'a>],
    /// For each stage, its steps and those of the stages below it, lowest first, by place.
    flat: Vec<Vec<usize>>,
    /// For each step, the stages that it takes files from.
    sources: Vec<Vec<usize>>,
    /// Stages that are or will be there.
    brought: BTreeSet<usize>,
    /// Steps whose files are or will be there.
    present: BTreeSet<usize>,
    offered: BTreeSet<usize>,
    weighed: BTreeSet<usize>,
    chains: Vec<LayerChain>,
}

impl<'r, 'a> Planner<'r, 'a> {
    fn new(request: &'r RestoreRequest<'r, 'a>, steps: &'r [PredictedStep<'a>]) -> Self {
        let mut flat: Vec<Vec<usize>> = Vec::new();
        let mut sources: Vec<Vec<usize>> = Vec::new();
        let mut next = 0;
        for stage in request.stages {
            let below = stage.base.and_then(|base| flat.get(base));
            let mut places = below.cloned().unwrap_or_default();
            places.extend(next..next + stage.steps.len());
            next += stage.steps.len();
            flat.push(places);
            sources.extend(stage.steps.iter().map(|step| step.sources.clone()));
        }
        Self {
            request,
            steps,
            flat,
            sources,
            brought: BTreeSet::new(),
            present: BTreeSet::new(),
            offered: BTreeSet::new(),
            weighed: BTreeSet::new(),
            chains: Vec::new(),
        }
    }

    /// Decides how the files at the end of a stage come to be there.
    fn bring(&mut self, stage: usize) {
        if stage >= self.flat.len() || !self.brought.insert(stage) {
            return;
        }
        let places = self.flat[stage].clone();
        // Layers above one that is left out have nothing to stand on.
        let is_cut = places.iter().any(|place| {
            let outcome = self.steps[*place].outcome;
            outcome == Outcome::Hit && self.weighed.contains(place) && !self.offered.contains(place)
        });
        let mut run: Vec<usize> = Vec::new();
        for (mut segment, outcome) in self.segments(&places) {
            segment.retain(|place| !self.weighed.contains(place));
            if outcome == Outcome::Run {
                self.weighed.extend(&segment);
                run.extend(&segment);
                continue;
            }
            // What may hit is weighed as one: where its first step runs, all of it does.
            let whole = if is_cut { 0 } else { segment.len() };
            let cuts = match outcome {
                Outcome::Hit => 0..=whole,
                _ => 0..=0,
            };
            let cost = |cut: usize| {
                self.import_seconds(&segment[..cut]) + self.run_seconds(&segment[cut..], 0)
            };
            let mut cut = whole;
            let mut least = cost(whole) - MARGIN_SECONDS;
            if !self.request.all {
                for shorter in cuts.rev() {
                    if cost(shorter) < least {
                        (cut, least) = (shorter, cost(shorter));
                    }
                }
            }
            self.add_chains(&segment, cut);
            run.extend(&segment[cut..]);
            if outcome == Outcome::Maybe {
                run.extend(&segment[..cut]);
            }
        }
        self.present.extend(&places);
        // Files that a step takes must be there while it runs, or while the builder compares them.
        let mut needed: BTreeSet<usize> = BTreeSet::new();
        for place in run {
            needed.extend(&self.sources[place]);
        }
        for source in needed.into_iter().rev() {
            self.bring(source);
        }
    }

    /// Offers the steps that hit and that nothing needs.
    fn offer_the_rest(&mut self) {
        for stage in 0..self.request.stages.len() {
            let rest: Vec<usize> = self.flat[stage]
                .iter()
                .copied()
                .filter(|place| !self.weighed.contains(place))
                .collect();
            for (segment, outcome) in self.segments(&rest) {
                self.weighed.extend(&segment);
                if outcome != Outcome::Run {
                    self.offered.extend(&segment);
                    self.push(&segment, Verdict::NotRead);
                }
            }
        }
    }

    /// Splits steps where the outcome changes.
    fn segments(&self, places: &[usize]) -> Vec<(Vec<usize>, Outcome)> {
        let mut segments: Vec<(Vec<usize>, Outcome)> = Vec::new();
        for &place in places {
            let outcome = self.steps[place].outcome;
            match segments.last_mut() {
                Some((segment, same)) if *same == outcome => segment.push(place),
                _ => segments.push((vec![place], outcome)),
            }
        }
        segments
    }

    /// Notes the two parts of a segment: brought in, and left out.
    fn add_chains(&mut self, segment: &[usize], cut: usize) {
        let (taken, left) = segment.split_at(cut);
        self.offered.extend(taken);
        let verdict = if self.bytes(taken) == 0 {
            Verdict::Present
        } else if self.import_seconds(taken) > self.run_seconds(taken, 0) {
            Verdict::Forced
        } else {
            Verdict::Pays
        };
        self.push(taken, verdict);
        self.push(left, Verdict::DoesNotPay);
        self.weighed.extend(segment);
    }

    /// Notes steps, one chain for each stage.
    fn push(&mut self, places: &[usize], verdict: Verdict) {
        let mut at = 0;
        while let Some(&first) = places.get(at) {
            let stage = self.steps[first].stage;
            let same = |place: &&usize| self.steps[**place].stage == stage;
            let n = places[at..].iter().take_while(same).count();
            let part = &places[at..at + n];
            at += n;
            if part.iter().all(|place| self.weighed.contains(place)) && verdict != Verdict::NotRead
            {
                continue;
            }
            let last = part[n - 1];
            self.chains.push(LayerChain {
                stage: self.request.stages[stage].name.clone(),
                first: self.steps[first].ordinal,
                last: self.steps[last].ordinal,
                bytes: self.bytes(part),
                import_seconds: self.import_seconds(part),
                spared_seconds: self.run_seconds(part, 0),
                verdict,
            });
        }
    }

    /// The bytes that the engine has to read for the steps' layers.
    fn bytes(&self, places: &[usize]) -> u64 {
        places
            .iter()
            .filter(|place| !self.present.contains(place))
            .filter_map(|&place| self.steps[place].recorded?.layer.as_ref())
            .filter(|layer| !self.request.engine_layers.contains(&layer.chain_id))
            .map(|layer| layer.bytes)
            .sum()
    }

    fn import_seconds(&self, places: &[usize]) -> f64 {
        self.request.import.seconds(self.bytes(places))
    }

    /// How long the steps take, and what it takes to have the files that they need.
    fn run_seconds(&self, places: &[usize], depth: usize) -> f64 {
        let mut sources: BTreeSet<usize> = BTreeSet::new();
        let mut seconds = 0.0;
        for &place in places.iter().filter(|place| !self.present.contains(place)) {
            seconds += self.steps[place]
                .recorded
                .map_or(0.0, RecordedStep::spared_seconds);
            sources.extend(&self.sources[place]);
        }
        for source in sources {
            if !self.brought.contains(&source) {
                seconds += self.cheapest(source, depth + 1);
            }
        }
        seconds
    }

    /// The least that it takes to have the files of a stage. An estimate: what two stages share
    /// is counted for both.
    fn cheapest(&self, stage: usize, depth: usize) -> f64 {
        /// Deeper chains of stages than this are not followed.
        const MAX_DEPTH: usize = 8;
        let Some(places) = self.flat.get(stage).filter(|_| depth <= MAX_DEPTH) else {
            return 0.0;
        };
        let n_hits = places
            .iter()
            .take_while(|&&place| self.steps[place].outcome == Outcome::Hit)
            .count();
        let (hits, others) = places.split_at(n_hits);
        let rest = self.run_seconds(others, depth);
        // All or nothing is near enough for what is only compared.
        let least = self.import_seconds(hits).min(self.run_seconds(hits, depth));
        least + rest
    }
}
