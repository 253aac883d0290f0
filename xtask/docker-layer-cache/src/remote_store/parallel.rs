//! Several requests at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::RemoteError;

/// Calls `act` for every item, several at a time; the results are in the order of the items.
///
/// # Errors
/// The first failure; what is under way is awaited.
pub fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    threads: usize,
    act: impl Fn(&I) -> Result<T, RemoteError> + Sync,
) -> Result<Vec<T>, RemoteError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, act(item)?)),
                None => return Ok(done),
            }
        }
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a request does not panic"))
            .collect::<Result<Vec<_>, RemoteError>>()
            .map(|parts| parts.into_iter().flatten().collect())
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}
