//! Waiting a little before waiting for real: a peer on the same machine answers within
//! microseconds, far sooner than a thread can be woken. Adaptive, per socket and place:
//! where it does not pay it stops trying, and where many sockets are busy nobody spins,
//! because then the scheduler has better things to do.

use crate::sys;
use crate::timeslice;
use crate::totals::{self, Total};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

/// How long a call may spin. Less is unstable: both ends fall back to waiting.
const LIMIT: u64 = 50_000;
/// How long a socket counts as busy after its last I/O.
const EPOCH: u64 = 20_000_000;

/// Nanoseconds on the monotonic clock, since the first call.
pub(crate) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Where a call may spin. Each place learns for itself: a useless spin while arming
/// must not switch off the useful one after a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A recv or accept that finds nothing.
    Receive,
    /// A send whose answer the owner waits for.
    Send,
    /// A re-arm that finds nothing.
    Arm,
    /// A send that has to wait for room.
    Room,
}

/// What one socket has learned at its places.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    receive: Score,
    send: Score,
    arm: Score,
    room: Score,
    /// The epoch in which the socket was last counted as busy.
    counted: u32,
}

#[derive(Debug)]
pub(crate) struct Score {
    points: u8,
    /// How many calls pass after the next failed trial, as a power of two.
    pause: u8,
    /// Calls to let pass before the next trial.
    skip: u16,
}

/// The shortest and the longest pause, as powers of two.
const SHORTEST_PAUSE: u8 = 4;
const LONGEST_PAUSE: u8 = 12;

impl Default for Score {
    fn default() -> Self {
        Score {
            points: 4,
            pause: SHORTEST_PAUSE,
            skip: 0,
        }
    }
}

impl Score {
    pub(crate) fn is_due(&mut self) -> bool {
        if self.points > 0 {
            return true;
        }
        let due = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        due
    }

    fn learn(&mut self, hit: bool) {
        if hit {
            self.points = (self.points + 1).min(16);
            self.pause = SHORTEST_PAUSE;
        } else {
            self.points = self.points.saturating_sub(1);
            if self.points == 0 {
                self.skip = 1 << self.pause;
                self.pause = (self.pause + 1).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Scores {
    pub(crate) fn at(&mut self, place: Place) -> &mut Score {
        match place {
            Place::Receive => &mut self.receive,
            Place::Send => &mut self.send,
            Place::Arm => &mut self.arm,
            Place::Room => &mut self.room,
        }
    }

    /// Whether a spin at `place` is worth trying now.
    pub(crate) fn is_due(&mut self, place: Place) -> bool {
        self.count(now());
        is_quiet() && self.at(place).is_due()
    }

    /// Whether a spin at `place` nearly always succeeds.
    pub(crate) fn is_sure(&mut self, place: Place) -> bool {
        self.at(place).points >= 8
    }

    /// Takes note of how the spin went.
    pub(crate) fn learn(&mut self, place: Place, hit: bool) {
        let total = if hit {
            Total::SpinsHit
        } else {
            Total::SpinsMissed
        };
        totals::add(total, 1);
        self.at(place).learn(hit);
    }

    /// Counts the socket as busy, once an epoch.
    pub(crate) fn count(&mut self, now: u64) {
        let epoch = (now / EPOCH) as u32 | 1 << 31;
        if self.counted == epoch {
            return;
        }
        self.counted = epoch;
        let known = BUSY.epoch.load(Ordering::Relaxed);
        if known != epoch
            && BUSY
                .epoch
                .compare_exchange(known, epoch, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let passed = BUSY.current.swap(0, Ordering::Relaxed);
            let recent = epoch.wrapping_sub(known) == 1;
            BUSY.previous
                .store(if recent { passed } else { 0 }, Ordering::Relaxed);
        }
        BUSY.current.fetch_add(1, Ordering::Relaxed);
    }

    /// The socket has closed: connections that come and go one by one are no crowd.
    pub(crate) fn discount(&mut self) {
        let counted = std::mem::take(&mut self.counted);
        if counted != 0 && counted == BUSY.epoch.load(Ordering::Relaxed) {
            let less = |count: usize| Some(count.saturating_sub(1));
            // Another thread may just have begun an epoch: then there is nothing to take off.
            let _ = BUSY
                .current
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// How many sockets of this VM had I/O in this epoch and the one before. Approximate:
/// two threads that cross an epoch together may miscount by one.
struct Busy {
    epoch: AtomicU32,
    current: AtomicUsize,
    previous: AtomicUsize,
}

static BUSY: Busy = Busy {
    epoch: AtomicU32::new(0),
    current: AtomicUsize::new(0),
    previous: AtomicUsize::new(0),
};

/// Whether so few sockets are busy that a spin holds up nobody: two for each processor.
pub(crate) fn is_quiet() -> bool {
    static MOST: LazyLock<usize> =
        LazyLock::new(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));
    busy() <= *MOST
}

fn busy() -> usize {
    let previous = BUSY.previous.load(Ordering::Relaxed);
    BUSY.current.load(Ordering::Relaxed).max(previous)
}

/// Repeats `attempt` until it gives something, `give_up` says so, or the time is over.
pub(crate) fn spin<R>(
    mut attempt: impl FnMut() -> Option<R>,
    mut give_up: impl FnMut() -> bool,
) -> Option<R> {
    let start = now();
    let mut time = start;
    let found = loop {
        sys::yield_now();
        let found = attempt();
        if found.is_some() {
            break found;
        }
        time = now();
        if give_up() || time >= start + LIMIT {
            break None;
        }
    };
    // The try that succeeded is not counted: it is the call's own work.
    timeslice::hold(time - start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_where_spinning_fails_is_tried_ever_more_rarely() {
        let mut score = Score::default();
        let mut trials = 0;
        for _ in 0..10_000 {
            if score.is_due() {
                trials += 1;
                score.learn(false);
            }
        }
        assert!((4..20).contains(&trials), "{trials} trials");
        score.learn(true);
        assert!(score.is_due());
    }

    #[test]
    fn a_spin_ends_by_itself() {
        assert_eq!(spin(|| None::<()>, || false), None);
        assert_eq!(spin(|| Some(1), || true), Some(1));
    }
}
