//! Patience: how long a remote store may take, whatever it does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{RemoteError, RemoteErrorKind};

/// What moves slower than this is as good as nothing: half an hour for 100 MB.
const MIN_BYTES_PER_SECOND: u64 = 64 << 10;
/// How fast a store digests what it was sent before it answers.
const SETTLING_BYTES_PER_SECOND: u64 = 20 << 20;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

/// How long to wait for one call.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To the first byte, and for anything to move after it.
    pub timeout: Duration,
    /// How many bytes will move, where that is known: after the last one, a store that was sent
    /// them may think for a while.
    pub expected_bytes: Option<u64>,
    /// When it is no longer worth it.
    pub deadline: Option<Instant>,
}

/// Bytes that a call has moved.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Notes that `n` bytes more have moved.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on a thread of its own, and gives up on it when patience is at its end. The thread
/// is left behind then: it ends with the process, if not before.
///
/// # Errors
/// What `work` fails with, or [`RemoteErrorKind::Slow`].
pub fn patiently<T: Send + 'static>(
    patience: Patience,
    work: impl FnOnce(&Progress) -> Result<T, RemoteError> + Send + 'static,
) -> Result<T, RemoteError> {
    let progress = Progress::default();
    let (sender, receiver) = channel();
    let of_thread = progress.clone();
    thread::spawn(move || {
        // Nobody may listen any more.
        let _ = sender.send(work(&of_thread));
    });
    let mut window = Window::new(patience);
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => window.look(Instant::now(), progress.bytes())?,
            Err(RecvTimeoutError::Disconnected) => {
                let message = "the work ended without a result";
                return Err(RemoteError::new(RemoteErrorKind::Failed, message));
            }
        }
    }
}

/// A stretch of time in which enough has to move.
struct Window {
    patience: Patience,
    start: Instant,
    bytes_before: u64,
}

impl Window {
    fn new(patience: Patience) -> Self {
        Self {
            patience,
            start: Instant::now(),
            bytes_before: 0,
        }
    }

    fn look(&mut self, now: Instant, bytes: u64) -> Result<(), RemoteError> {
        let slow = |message: String| Err(RemoteError::new(RemoteErrorKind::Slow, message));
        if self
            .patience
            .deadline
            .is_some_and(|deadline| now > deadline)
        {
            return slow("it takes longer than it spares".to_owned());
        }
        let timeout = self.patience.timeout;
        let sent = self
            .patience
            .expected_bytes
            .filter(|expected| bytes >= *expected);
        let settling = sent.map_or(0, |bytes| bytes / SETTLING_BYTES_PER_SECOND);
        let length = timeout + Duration::from_secs(settling);
        if now < self.start + length {
            return Ok(());
        }
        let moved = bytes - self.bytes_before;
        if moved == 0 {
            let what = if bytes == 0 {
                "no answer"
            } else {
                "nothing moved"
            };
            return slow(format!("{what} in {:.1} s", length.as_secs_f64()));
        }
        let least =
            MIN_BYTES_PER_SECOND * timeout.as_millis().try_into().unwrap_or(u64::MAX) / 1000;
        // The last few bytes of a blob are no trickle.
        let is_done = self
            .patience
            .expected_bytes
            .is_some_and(|expected| bytes >= expected);
        if moved < least && !is_done {
            let seconds = length.as_secs_f64();
            return slow(format!("only {moved} bytes moved in {seconds:.1} s"));
        }
        (self.start, self.bytes_before) = (now, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(expected_bytes: Option<u64>) -> Window {
        Window::new(Patience {
            timeout: Duration::from_secs(5),
            expected_bytes,
            deadline: Some(Instant::now() + Duration::from_secs(60)),
        })
    }

    #[test]
    fn silence_and_trickles_end_patience_and_steady_bytes_do_not() {
        let after = |window: &Window, seconds| window.start + Duration::from_secs(seconds);
        let mut silent = window(None);
        assert!(silent.look(after(&silent, 4), 0).is_ok());
        let error = silent.look(after(&silent, 5), 0).expect_err("silence");
        assert_eq!(error.to_string(), "no answer in 5.0 s");
        let mut trickle = window(Some(1 << 30));
        let error = trickle.look(after(&trickle, 5), 5).expect_err("a trickle");
        assert_eq!(error.to_string(), "only 5 bytes moved in 5.0 s");
        let mut steady = window(Some(1 << 30));
        for n in 1..=10 {
            let now = after(&steady, 5);
            assert!(steady.look(now, n * (400 << 10)).is_ok(), "{n}");
        }
        let error = steady.look(after(&steady, 61), 1 << 29).expect_err("late");
        assert_eq!(error.to_string(), "it takes longer than it spares");
    }

    #[test]
    fn what_was_sent_may_settle() {
        let mut large = window(Some(400 << 20));
        let start = large.start;
        assert!(
            large
                .look(start + Duration::from_secs(20), 400 << 20)
                .is_ok()
        );
        assert!(
            large
                .look(start + Duration::from_secs(25), 400 << 20)
                .is_ok()
        );
        let mut small = window(Some(100));
        assert!(small.look(start + Duration::from_secs(6), 100).is_ok());
        assert!(small.look(start + Duration::from_secs(12), 100).is_err());
    }

    #[test]
    fn work_is_left_behind() {
        let patience = Patience {
            timeout: Duration::from_millis(100),
            expected_bytes: None,
            deadline: None,
        };
        let (_never, waits) = channel::<()>();
        let result = patiently(patience, move |_| {
            let _ = waits.recv();
            Ok(())
        });
        assert_eq!(result.expect_err("it waits").kind(), RemoteErrorKind::Slow);
        assert_eq!(patiently(patience, |_| Ok(7)), Ok(7));
    }
}
