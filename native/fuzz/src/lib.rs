//! What the targets share: an allocator that counts, so that a target can claim how
//! much memory an input takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls that gave memory so far.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Bytes held now.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most bytes held since the last call of [`peak`] began.
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn taken(len: usize) {
    CALLS.fetch_add(1, Relaxed);
    PEAK.fetch_max(LIVE.fetch_add(len, Relaxed) + len, Relaxed);
}

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        taken(len);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, len) }
    }
}

/// Runs `work`, which must not allocate.
///
/// # Panics
///
/// If it does.
pub fn without_allocating<R>(work: impl FnOnce() -> R) -> R {
    let before = CALLS.load(Relaxed);
    let result = work();
    assert_eq!(CALLS.load(Relaxed), before, "memory was allocated");
    result
}

/// Runs `work`; with its result the most bytes that it held at a time.
pub fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}
