//! Which cache mounts pay for being brought in, and for being saved.
//!
//! A mount spares what the steps that mount it take longer without its files. That shows only when
//! they have run both ways: until then, a mount that is there is taken to spare all of it.

use serde::{Deserialize, Serialize};

/// What it takes to start a container and to get its report, in seconds: on a machine that has
/// built nothing yet.
const ROUND_TRIP_SECONDS: f64 = 0.7;
/// How fast files come in, in bytes of their size a second, until it is measured.
const IMPORT_BYTES_PER_SECOND: f64 = 120e6;
/// How fast files are read and compared with what is stored, in bytes of their size a second.
const EXPORT_BYTES_PER_SECOND: f64 = 250e6;
/// Slower or faster than any disk: something else was measured.
const RATES: std::ops::RangeInclusive<f64> = 1e6..=5e9;
/// Fewer bytes than this say nothing about the rate.
const RATE_BYTES_MIN: u64 = 16_000_000;

/// What the store knows of a cache mount. Seconds are those of all the steps that mount it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MountRecord {
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// How long the steps took when the mount was not brought in.
    #[serde(default)]
    pub without_seconds: Option<f64>,
    /// How long they took when it was.
    #[serde(default)]
    pub with_seconds: Option<f64>,
    /// How many bytes came in a second.
    #[serde(default)]
    pub import_rate: Option<f64>,
    /// How large it was when it was not saved for its size, in bytes.
    #[serde(default)]
    pub left_out_bytes: Option<u64>,
}

/// A mount that is stored, and that steps of this build will mount.
#[derive(Debug, Clone, Copy)]
pub struct MountNeed<'a> {
    /// What the store knows of it.
    pub record: &'a MountRecord,
    /// The steps that will run and mount it, by any numbers.
    pub steps: &'a [usize],
}

impl MountRecord {
    /// Returns what the mount spares by being brought in, in seconds: everything, where nobody
    /// has seen the steps run without it.
    fn spared_seconds(&self) -> f64 {
        let without = self.without_seconds.unwrap_or(f64::INFINITY);
        (without - self.with_seconds.unwrap_or(0.0)).max(0.0)
    }

    /// Returns how long it takes to bring the mount in, besides the round trip, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn import_seconds(&self) -> f64 {
        self.bytes as f64 / self.rate()
    }

    fn rate(&self) -> f64 {
        let measured = self.import_rate.filter(|rate| RATES.contains(rate));
        measured.unwrap_or(IMPORT_BYTES_PER_SECOND)
    }

    /// Notes how long the steps took: with the mount's files, where it was brought in.
    #[must_use]
    pub fn after_run(mut self, seconds: f64, was_filled: bool) -> Self {
        if was_filled {
            self.with_seconds = Some(seconds);
            return self;
        }
        // An engine that had the mount from an earlier build makes it look useless: that is
        // believed slowly.
        let before = self.without_seconds.map_or(0.0, |before| before * 0.8);
        self.without_seconds = Some(seconds.max(before));
        // The steps may have been slow for another reason when the mount was there: it is tried
        // again now and then.
        self.with_seconds = self.with_seconds.map(|with| with * 0.8);
        self
    }

    /// Notes that the mount, of so many bytes, was not saved for its size.
    #[must_use]
    pub fn after_left_out(self, bytes: u64) -> Self {
        Self {
            left_out_bytes: Some(bytes),
            ..self
        }
    }

    /// Notes that the mount was not looked at. What was too large is taken to shrink, so that it is
    /// looked at again after some builds.
    #[must_use]
    pub fn after_skipped_save(self) -> Self {
        Self {
            left_out_bytes: self.left_out_bytes.map(|bytes| bytes / 10 * 9),
            ..self
        }
    }

    /// Notes that mounts of so many bytes in all came in, in so many seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn after_import(mut self, bytes: u64, seconds: f64) -> Self {
        let rate = bytes as f64 / (seconds - ROUND_TRIP_SECONDS).max(0.01);
        if bytes >= RATE_BYTES_MIN && RATES.contains(&rate) {
            // One slow moment of the machine does not decide.
            self.import_rate = Some(f64::midpoint(self.rate(), rate));
        }
        self
    }
}

/// Tells of each mount whether it is brought in: those that steps mount together are weighed
/// together, and all of them must pay for the round trip.
pub fn worth_importing(needs: &[MountNeed<'_>]) -> Vec<bool> {
    let mut group: Vec<usize> = (0..needs.len()).collect();
    let shares = |a: &MountNeed<'_>, b: &MountNeed<'_>| a.steps.iter().any(|s| b.steps.contains(s));
    for (at, need) in needs.iter().enumerate() {
        for other in 0..at {
            if shares(need, &needs[other]) && group[at] != group[other] {
                let (from, to) = (group[at], group[other]);
                group
                    .iter_mut()
                    .filter(|of| **of == from)
                    .for_each(|of| *of = to);
            }
        }
    }
    let weigh = |of: usize| {
        let members = (0..needs.len()).filter(|at| group[*at] == of);
        members.fold((0.0, 0.0), |(cost, spared), at| {
            let record = needs[at].record;
            // The seconds are those of the same steps: they are not spared twice.
            (
                cost + record.import_seconds(),
                f64::max(spared, record.spared_seconds()),
            )
        })
    };
    let pays = |of: usize| {
        let (cost, spared) = weigh(of);
        spared > cost
    };
    let mut paying: Vec<usize> = group.iter().copied().filter(|of| pays(*of)).collect();
    paying.sort_unstable();
    paying.dedup();
    let gain: f64 = paying
        .iter()
        .map(|of| {
            let (cost, spared) = weigh(*of);
            spared - cost
        })
        .sum();
    let all = gain > ROUND_TRIP_SECONDS;
    group.iter().map(|of| all && paying.contains(of)).collect()
}

/// Returns how large the files of a mount may be, in bytes, for it to pay that they are saved: none
/// where it does not at any size. `seconds` is what the steps that ran took, and `was_filled` says
/// whether the mount had been brought in, or was there already.
///
/// What is saved must come in, the next time, in less than it spares, and what the steps took now is
/// the most that saving it anew can spare.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not below 0, and a size of this order"
)]
pub fn export_limit(seconds: f64, was_filled: bool, record: Option<&MountRecord>) -> Option<u64> {
    let after = record
        .copied()
        .unwrap_or_default()
        .after_run(seconds, was_filled);
    let to_import = after.spared_seconds() - ROUND_TRIP_SECONDS;
    let to_export = seconds - ROUND_TRIP_SECONDS;
    let bytes = f64::min(
        to_import * after.rate(),
        to_export * EXPORT_BYTES_PER_SECOND,
    );
    (bytes > 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(megabytes: u64, without: f64, with: Option<f64>) -> MountRecord {
        MountRecord {
            bytes: megabytes * 1_000_000,
            without_seconds: Some(without),
            with_seconds: with,
            ..MountRecord::default()
        }
    }

    #[test]
    fn what_spares_more_than_it_takes_is_brought_in() {
        let unknown = MountRecord {
            bytes: 5_000_000_000,
            ..MountRecord::default()
        };
        for (record, expected) in [
            (record(120, 2.0, None), true),
            (record(120, 1.5, None), false),
            (record(120, 20.0, Some(15.0)), true),
            (record(120, 20.0, Some(19.0)), false),
            (record(120, 1.0, Some(19.0)), false),
            (record(1, 0.5, None), false),
            (unknown, true),
        ] {
            let need = MountNeed {
                record: &record,
                steps: &[1],
            };
            assert_eq!(worth_importing(&[need]), [expected], "{record:?}");
        }
        assert!(worth_importing(&[]).is_empty());
    }

    #[test]
    fn mounts_of_the_same_steps_pay_together() {
        let cheap = record(12, 30.0, Some(20.0));
        let dear = record(6000, 30.0, Some(20.0));
        let need = |record, steps| MountNeed { record, steps };
        let decide = |needs: &[MountNeed<'_>]| worth_importing(needs);
        assert_eq!(
            decide(&[need(&cheap, &[1]), need(&dear, &[2])]),
            [true, false]
        );
        assert_eq!(
            decide(&[need(&cheap, &[1]), need(&dear, &[1])]),
            [false, false]
        );
        let between = need(&cheap, &[1, 2]);
        assert_eq!(
            decide(&[need(&dear, &[2]), need(&cheap, &[1]), between]),
            [false, false, false]
        );
        let small = record(1, 0.5, None);
        // Neither pays for the round trip alone.
        let both = [need(&small, &[1]), need(&small, &[2])];
        assert_eq!(decide(&both), [true, true]);
        assert_eq!(decide(&both[..1]), [false]);
    }

    #[test]
    fn what_can_spare_little_is_not_saved() {
        assert_eq!(export_limit(0.5, false, None), None);
        let limit = export_limit(10.7, false, None).expect("it pays");
        assert!((1_190_000_000..=1_210_000_000).contains(&limit), "{limit}");
        // Restored, and the steps were done in no time: nothing to win.
        assert_eq!(
            export_limit(0.6, true, Some(&record(100, 20.0, None))),
            None
        );
        // Of no use, however often it is brought in.
        assert_eq!(
            export_limit(20.0, true, Some(&record(100, 20.0, None))),
            None
        );
        let limit = export_limit(4.7, true, Some(&record(100, 20.0, None)));
        assert!(limit.is_some_and(|limit| limit >= 999_000_000), "{limit:?}");
    }

    #[test]
    fn one_bad_moment_does_not_stick() {
        let mut known = record(100, 20.0, Some(2.0)).after_run(30.0, true);
        assert!(known.spared_seconds() < 0.1);
        for _ in 0..5 {
            known = known.after_run(20.0, false);
        }
        assert!(known.spared_seconds() > 5.0, "{known:?}");
        // An engine that had the mount all the time.
        let persistent = record(100, 20.0, Some(2.0)).after_run(2.0, false);
        assert!(persistent.spared_seconds() > 10.0, "{persistent:?}");
    }

    #[test]
    fn rates_are_learned_from_what_can_be() {
        let rate = |record: MountRecord| record.import_rate.map(f64::round);
        let known = record(240, 20.0, None);
        assert_eq!(rate(known.after_import(240_000_000, 1.7)), Some(180e6));
        assert_eq!(rate(known.after_import(1000, 1.7)), None);
        assert_eq!(rate(known.after_import(240_000_000, 500.0)), None);
        let slow = known.after_import(240_000_000, 48.7);
        assert_eq!(rate(slow), Some(62_500_000.0));
        assert!(slow.import_seconds() > 3.0);
    }
}
