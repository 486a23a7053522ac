//! What all sockets of this VM have done, counted where it happens.
//!
//! A thread counts for itself, in a block that nobody else writes: no contention, no
//! locked instruction, no clock. Who reads adds the blocks up; different counters may be a
//! moment apart.

use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is counted, with the name it is shown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// Sockets made: connected, listening or accepted.
    Opened,
    /// Returns of a poller from the kernel.
    Wakeups,
    /// Events that pollers have got from the kernel.
    Events,
    /// Reads that gave bytes.
    Reads,
    /// Reads that found nothing.
    EmptyReads,
    /// Bytes that the reads gave.
    ReadBytes,
    /// Writes to the kernel.
    Writes,
    /// Bytes that the kernel took, without those of files.
    WrittenBytes,
    /// Sends that the kernel took whole, in the call.
    SendsDirect,
    /// Sends that were put together with others.
    SendsCoalesced,
    /// Sends of which a part at least had to be queued, because the kernel was full.
    SendsQueued,
    /// Sends that were refused, because too much was queued.
    SendsRefused,
    /// Times that a socket waited for its owner to read.
    Pauses,
    /// Times that what was spun for came.
    SpinsHit,
    /// Times that it did not.
    SpinsMissed,
}

impl Total {
    /// Every counter with its name.
    pub const ALL: [(&'static str, Total); 15] = [
        ("opened", Total::Opened),
        ("wakeups", Total::Wakeups),
        ("events", Total::Events),
        ("reads", Total::Reads),
        ("empty_reads", Total::EmptyReads),
        ("read_bytes", Total::ReadBytes),
        ("writes", Total::Writes),
        ("written_bytes", Total::WrittenBytes),
        ("sends_direct", Total::SendsDirect),
        ("sends_coalesced", Total::SendsCoalesced),
        ("sends_queued", Total::SendsQueued),
        ("sends_refused", Total::SendsRefused),
        ("pauses", Total::Pauses),
        ("spins_hit", Total::SpinsHit),
        ("spins_missed", Total::SpinsMissed),
    ];
}

/// The counters of one thread, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Block([AtomicU64; Total::ALL.len()]);

struct Blocks {
    all: Vec<&'static Block>,
    /// Of threads that have ended: the next one goes on counting there.
    free: Vec<&'static Block>,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks {
    all: Vec::new(),
    free: Vec::new(),
});

thread_local! {
    static MINE: Cell<Option<&'static Block>> = const { Cell::new(None) };
}

#[cold]
fn enlist() -> &'static Block {
    let mut blocks = BLOCKS.lock();
    let block = match blocks.free.pop() {
        Some(block) => block,
        None => {
            // The VM's threads live as long as it does.
            let block: &'static Block = Box::leak(Box::default());
            blocks.all.push(block);
            block
        }
    };
    MINE.set(Some(block));
    block
}

/// Counts `count` more.
pub(crate) fn add(total: Total, count: u64) {
    let block = MINE.get().unwrap_or_else(enlist);
    if let Some(cell) = block.0.get(total as usize) {
        // Nobody else writes: no read-modify-write is needed.
        let now = cell.load(Ordering::Relaxed).wrapping_add(count);
        cell.store(now, Ordering::Relaxed);
    }
}

/// This thread ends; its counts stay.
pub(crate) fn leave() {
    if let Some(block) = MINE.take() {
        BLOCKS.lock().free.push(block);
    }
}

/// The counters, in the order of [`Total::ALL`].
pub fn totals() -> [u64; Total::ALL.len()] {
    let mut sums = [0_u64; Total::ALL.len()];
    for block in &BLOCKS.lock().all {
        for (sum, cell) in sums.iter_mut().zip(&block.0) {
            *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }
    sums
}

static TIMED: AtomicBool = AtomicBool::new(false);
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// Switches the timing of the sockets' locks on, from nothing, or off. It costs two
/// readings of the clock for each call and event.
pub fn time_locks(on: bool) {
    LONGEST.store(0, Ordering::Relaxed);
    TIMED.store(on, Ordering::Relaxed);
}

/// The longest that a socket was locked since the timing was switched on, in nanoseconds;
/// `None`: it is off.
pub fn longest_lock() -> Option<u64> {
    TIMED
        .load(Ordering::Relaxed)
        .then(|| LONGEST.load(Ordering::Relaxed))
}

/// Whether locks are timed.
pub(crate) fn locks_are_timed() -> bool {
    TIMED.load(Ordering::Relaxed)
}

/// A lock was held for so long, in nanoseconds.
pub(crate) fn lock_held(nanoseconds: u64) {
    LONGEST.fetch_max(nanoseconds, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_at_the_place_of_its_counter() {
        for (index, (name, total)) in Total::ALL.iter().enumerate() {
            assert_eq!(*total as usize, index, "{name}");
        }
    }

    #[test]
    fn what_ended_threads_have_counted_stays_and_their_blocks_are_used_again() {
        const THREADS: u64 = 20;
        let before = totals()[Total::SendsRefused as usize];
        let known = BLOCKS.lock().all.len();
        for _ in 0..THREADS {
            let count = || {
                add(Total::SendsRefused, 3);
                leave();
            };
            std::thread::spawn(count).join().unwrap();
        }
        assert_eq!(totals()[Total::SendsRefused as usize], before + 3 * THREADS);
        // Other tests of this process may have come for one each.
        assert!(BLOCKS.lock().all.len() < known + THREADS as usize);
    }
}
