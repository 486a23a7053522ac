//! What a test of random interleavings needs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long each such test goes on.
pub(crate) const TIME: Duration = Duration::from_secs(4);

/// Random numbers, other ones for each seed (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    pub(crate) fn time(&mut self) -> Duration {
        Duration::from_micros(self.below(400))
    }
}

/// Ends the program if the test has not ended long after it should have: a deadlock.
pub(crate) fn watchdog() -> Sender<()> {
    let (alive, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(100)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("deadlock: the test does not end");
            std::process::abort();
        }
    });
    alive
}

/// Ends the threads of a test also when the test fails.
pub(crate) struct AtTheEnd<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        self.0();
    }
}
