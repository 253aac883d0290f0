//! What a job did, for the reader of a test.

use std::fmt;
use std::time::Duration;

/// One thing that a job did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A step was run.
    Ran { step: String, time: Duration },
    /// A step was left out.
    Skipped { step: String, reason: &'static str },
    /// A cache was restored: the key that was found.
    Restored { key: String, exact: bool },
    /// No cache was found.
    Missed { key: String },
    /// A cache was saved.
    Saved { key: String, bytes: u64 },
    /// A cache was not saved, since one of that key is there.
    Kept { key: String },
}

/// All that a job did, in its order.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobLog {
    pub(crate) events: Vec<Event>,
}

impl JobLog {
    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Returns the cache that was restored whose key begins so.
    pub(crate) fn restored(&self, prefix: &str) -> Option<&Event> {
        self.events
            .iter()
            .find(|event| matches!(event, Event::Restored { key, .. } if key.starts_with(prefix)))
    }

    /// Tells whether a cache was saved whose key begins so.
    pub(crate) fn has_saved(&self, prefix: &str) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Saved { key, .. } if key.starts_with(prefix)))
    }
}

impl fmt::Display for JobLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            match event {
                Event::Ran { step, time } => {
                    let line = step.lines().next().unwrap_or_default();
                    writeln!(f, "  ran      {:>5.1} s  {line}", time.as_secs_f64())?;
                }
                Event::Skipped { step, reason } => {
                    writeln!(f, "  skipped           {step}: {reason}")?;
                }
                Event::Restored { key, exact } => {
                    let how = if *exact { "exact" } else { "prefix" };
                    writeln!(f, "  restored {how:<8} {}", short(key))?;
                }
                Event::Missed { key } => writeln!(f, "  missed            {}", short(key))?,
                Event::Saved { key, bytes } => {
                    let kilobytes = bytes / 1000;
                    writeln!(f, "  saved    {kilobytes:>5} kB {}", short(key))?;
                }
                Event::Kept { key } => writeln!(f, "  kept              {}", short(key))?,
            }
        }
        Ok(())
    }
}

/// Returns a key with its digests cut short.
fn short(key: &str) -> String {
    let part = |part: &str| {
        let is_digest = part.len() > 16 && part.chars().all(|c| c.is_ascii_hexdigit());
        part[..if is_digest { 8 } else { part.len() }].to_owned()
    };
    key.split('-').map(part).collect::<Vec<_>>().join("-")
}
