//! At most so many connections to one host.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts open connections per host.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    open: Mutex<HashMap<String, usize>>,
    freed: Condvar,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    connections: Arc<Connections>,
    host: String,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            open: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Waits for a free connection to `host`, no longer than `patience`.
    pub(super) fn acquire(self: &Arc<Self>, host: &str, patience: Duration) -> Option<Permit> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut open, waited) = self
            .freed
            .wait_timeout_while(open, patience, |open| {
                open.get(host).is_some_and(|count| *count >= self.limit)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && open.get(host).is_some_and(|count| *count >= self.limit) {
            return None;
        }
        *open.entry(host.to_owned()).or_default() += 1;
        Some(Permit {
            connections: Arc::clone(self),
            host: host.to_owned(),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self
            .connections
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.host) {
            *count = count.saturating_sub(1);
        }
        drop(open);
        self.connections.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_per_host() {
        let connections = Connections::new(2);
        let patience = Duration::from_millis(1);
        let first = connections.acquire("a", patience);
        let second = connections.acquire("a", patience);
        assert!(first.is_some() && second.is_some());
        assert!(connections.acquire("a", patience).is_none());
        assert!(connections.acquire("b", patience).is_some());
        drop(first);
        assert!(connections.acquire("a", patience).is_some());
    }
}
