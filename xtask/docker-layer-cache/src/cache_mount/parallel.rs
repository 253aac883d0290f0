//! The same work for many things, on all cores.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More would only wait for the disk.
const THREADS_MAX: usize = 8;

/// Calls `work` for each number below `count` and returns the results in order; one of the errors
/// where there are any, and then not all were called.
pub(super) fn for_each<T: Send, E: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return done;
            }
            match work(at) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    next.store(count, Ordering::Relaxed);
                    failed
                        .lock()
                        .expect("no thread panics")
                        .get_or_insert(error);
                    return done;
                }
            }
        }
    };
    let mut results: Vec<(usize, T)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(THREADS_MAX).min(count))
            .map(|_| scope.spawn(run))
            .collect();
        let join =
            |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no thread panics");
        running.into_iter().flat_map(join).collect()
    });
    if let Some(error) = failed.into_inner().expect("no thread panics") {
        return Err(error);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
