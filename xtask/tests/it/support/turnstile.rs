//! Lets as many tests run at once as the machine has cores.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// A counter of free places.
pub(crate) struct Turnstile {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place, until it is dropped.
pub(crate) struct Pass<'a>(&'a Turnstile);

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self {
            free: Mutex::new(thread::available_parallelism().map_or(2, usize::from)),
            freed: Condvar::new(),
        }
    }

    pub(crate) fn enter(&self) -> Pass<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Pass(self)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
