//! How long calls have held the scheduler they run on. A process that sends or receives in a
//! loop has to yield like others, though most of its time is the kernel's and no reduction
//! counts it.

use std::cell::Cell;

/// Nanoseconds of a system call that moves bytes, without them: on one machine a write is
/// also the work of the peer's kernel.
const READ: u64 = 1_000;
const WRITE: u64 = 3_000;
/// Bytes that are copied in a nanosecond.
const BYTES_OF_A_NANOSECOND: u64 = 4;

thread_local! {
    /// Nanoseconds not yet charged to anybody.
    static HELD: Cell<u64> = const { Cell::new(0) };
}

/// For how many whole `unit`s of nanoseconds calls on this thread have spun, moved bytes, or
/// served other sockets since this was asked last: a scheduler charges its process for them.
pub fn take_time_held(unit: u64) -> u64 {
    let held = HELD.get();
    if held < unit {
        return 0;
    }
    HELD.set(held % unit);
    held / unit
}

/// Counts time that was measured.
pub(crate) fn hold(nanoseconds: u64) {
    HELD.set(HELD.get() + nanoseconds);
}

/// Counts `nanoseconds` instead of what has been counted since [`held`] said `before`.
pub(crate) fn hold_since(before: u64, nanoseconds: u64) {
    HELD.set(before + nanoseconds);
}

pub(crate) fn held() -> u64 {
    HELD.get()
}

/// Counts a read of `len` bytes, by what such reads take: a clock would take as long as some.
pub(crate) fn hold_for_read(len: usize) {
    hold(READ + len as u64 / BYTES_OF_A_NANOSECOND);
}

/// Counts a write of `len` bytes.
pub(crate) fn hold_for_write(len: usize) {
    hold(WRITE + len as u64 / BYTES_OF_A_NANOSECOND);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_taken_in_whole_units() {
        take_time_held(1);
        hold(2_500);
        assert_eq!(take_time_held(1_000), 2);
        assert_eq!(take_time_held(1_000), 0);
        hold(500);
        assert_eq!(take_time_held(1_000), 1);
    }

    #[test]
    fn a_large_write_is_about_its_copy() {
        take_time_held(1);
        hold_for_write(64 * 1024);
        hold_for_read(64 * 1024);
        let before = held();
        assert!((30_000..40_000).contains(&before));
        // Measured time stands for what was counted in it.
        hold_for_read(1_000);
        hold_since(before, 50);
        assert_eq!(take_time_held(1), before + 50);
    }
}
