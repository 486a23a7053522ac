//! The sending half of a stream: what the kernel has not taken yet, the watermarks that
//! make senders wait, and the decision to gather a burst of small sends into one write.
//!
//! Guarantees: bytes leave in the order in which they were queued; a sender is made to
//! wait only when more than the high watermark is queued, and released at the low one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Queued output: copied bytes, or a piece of the caller's data kept by reference.
#[derive(Debug)]
enum Chunk<K> {
    Copied(Vec<u8>),
    Kept(K),
}

impl<K: AsRef<[u8]>> AsRef<[u8]> for Chunk<K> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Chunk::Copied(bytes) => bytes,
            Chunk::Kept(kept) => kept.as_ref(),
        }
    }
}

/// Copying up to this many bytes is cheaper than keeping a reference.
const COPY_UP_TO: usize = 2 * 1024;
/// A send at most so long after the one before belongs to a burst. Nanoseconds.
const BURST_GAP: u64 = 10_000;
/// From this send of a burst on, small sends are gathered.
const BURST_FROM: u8 = 5;
/// A gathered burst is written when it has reached this many bytes.
const GATHER_UP_TO: usize = 16 * 1024;

/// What to do with the data of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nothing is queued: write it now, queue what the kernel does not take.
    Write,
    /// Queue it; it is written later.
    Queue,
    /// Queue it, then write the queue: enough has been gathered.
    QueueAndFlush,
    /// Write the gathered burst first, then decide again.
    FlushFirst,
}

/// Whether a queue of output holds up its senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    /// Senders go on.
    Free,
    /// Senders wait until the queue has drained to the low watermark.
    Busy,
}

/// See the module's description. `K` is data kept by reference.
#[derive(Debug)]
pub struct Writer<K> {
    /// None: nothing has ever been queued.
    queue: Option<Box<Queue<K>>>,
    queued: usize,
    pressure: Pressure,
    /// The kernel has refused bytes: only readiness helps, gathering is no longer the reason to wait.
    refused: bool,
    burst: u8,
    last_send: u64,
}

#[derive(Debug)]
struct Queue<K> {
    chunks: VecDeque<Chunk<K>>,
    /// Bytes of the first chunk that are gone already.
    gone: usize,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Queue {
            chunks: VecDeque::new(),
            gone: 0,
        }
    }
}

impl<K> Default for Writer<K> {
    fn default() -> Self {
        Writer {
            queue: None,
            queued: 0,
            pressure: Pressure::Free,
            refused: false,
            burst: 0,
            last_send: 0,
        }
    }
}

impl<K: AsRef<[u8]>> Writer<K> {
    /// Bytes queued.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Whether a new sender has to wait before its data may be queued.
    pub fn is_busy(&self) -> bool {
        self.pressure == Pressure::Busy
    }

    /// Whether the kernel has refused bytes, so that only its readiness empties the queue.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether a long send was cut, and the kernel may take more of it at once. (A burst
    /// that is being gathered is shorter.)
    pub fn is_unfinished(&self) -> bool {
        !self.refused && self.queued >= GATHER_UP_TO
    }

    /// Something was delivered or received in between: the next send starts a new burst.
    pub fn break_burst(&mut self) {
        self.burst = 0;
    }

    /// Decides what happens to a send of `len` bytes at time `now` (ns, monotonic).
    ///
    /// `may_gather`: the sends of a burst may be queued for a common write.
    pub fn route(
        &mut self,
        len: usize,
        now: u64,
        high_watermark: usize,
        may_gather: bool,
    ) -> Route {
        let close = now.saturating_sub(self.last_send) <= BURST_GAP;
        self.last_send = now;
        self.burst = if close && len <= COPY_UP_TO {
            self.burst.saturating_add(1)
        } else {
            0
        };
        let gather = may_gather && self.burst >= BURST_FROM;
        if self.refused {
            return Route::Queue;
        }
        match (self.is_empty(), gather) {
            (true, false) => Route::Write,
            (false, false) => Route::FlushFirst,
            (_, true) if self.queued.saturating_add(len) >= GATHER_UP_TO.min(high_watermark) => {
                Route::QueueAndFlush
            }
            (_, true) => Route::Queue,
        }
    }

    /// Queues a copy of `bytes`.
    pub fn queue_copy(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.queued = self.queued.saturating_add(bytes.len());
        let chunks = &mut self.queue.get_or_insert_default().chunks;
        if let Some(Chunk::Copied(tail)) = chunks.back_mut()
            && let len = tail.len().saturating_add(bytes.len())
            && len <= GATHER_UP_TO
        {
            if len > tail.capacity() {
                // Growing step by step copies a burst as often as it doubles.
                tail.reserve_exact(GATHER_UP_TO.saturating_sub(tail.len()));
            }
            tail.extend_from_slice(bytes);
            return;
        }
        let mut chunk =
            Vec::with_capacity(bytes.len().clamp(COPY_UP_TO, GATHER_UP_TO).max(bytes.len()));
        chunk.extend_from_slice(bytes);
        chunks.push_back(Chunk::Copied(chunk));
    }

    /// Whether a piece of `len` bytes is better queued as a copy than by reference.
    pub fn prefers_copy(len: usize) -> bool {
        len <= COPY_UP_TO
    }

    /// Queues `kept`, by reference.
    pub fn queue_kept(&mut self, kept: K) {
        let len = kept.as_ref().len();
        if len > 0 {
            self.queued = self.queued.saturating_add(len);
            let queue = self.queue.get_or_insert_default();
            queue.chunks.push_back(Chunk::Kept(kept));
        }
    }

    /// The kernel would not take all: from now on the queue waits for readiness.
    pub fn refuse(&mut self) {
        self.refused = !self.is_empty();
    }

    /// Makes senders wait if the queue has reached `high_watermark`. True: the caller waits.
    pub fn press(&mut self, high_watermark: usize) -> bool {
        if self.queued >= high_watermark && !self.is_empty() {
            self.pressure = Pressure::Busy;
        }
        self.is_busy()
    }

    /// Lets senders go on: the queue is short again, or one has waited long enough.
    pub fn release(&mut self) {
        self.pressure = Pressure::Free;
    }

    /// The slices to write next, at most `max_slices`, in order.
    pub fn front(&self, max_slices: usize) -> impl Iterator<Item = &[u8]> {
        let queue = self.queue.as_deref();
        let mut skip = queue.map_or(0, |queue| queue.gone);
        let chunks = queue.into_iter().flat_map(|queue| &queue.chunks);
        chunks.take(max_slices).map(move |chunk| {
            let bytes = chunk.as_ref().get(skip..).unwrap_or_default();
            skip = 0;
            bytes
        })
    }

    /// `len` bytes have been written.
    pub fn written(&mut self, len: usize) {
        self.queued = self.queued.saturating_sub(len);
        let Some(queue) = &mut self.queue else { return };
        let mut left = queue.gone.saturating_add(len);
        while let Some(first) = queue.chunks.front() {
            let first_len = first.as_ref().len();
            if left < first_len {
                break;
            }
            left -= first_len;
            queue.chunks.pop_front();
        }
        queue.gone = left;
        if self.queued == 0 {
            self.refused = false;
            // An idle socket keeps no memory; a steady one keeps what it needs next.
            if queue.chunks.capacity() > 64 {
                self.queue = None;
            }
        }
    }

    /// Drops everything queued.
    pub fn clear(&mut self) {
        *self = Writer {
            last_send: self.last_send,
            ..Writer::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain = Writer<Vec<u8>>;

    fn contents(writer: &Plain) -> Vec<u8> {
        writer.front(usize::MAX).flatten().copied().collect()
    }

    #[test]
    fn bytes_leave_in_the_order_they_were_queued_whatever_the_kernel_takes() {
        for step in 1..40 {
            let mut writer = Plain::default();
            let mut expected = Vec::new();
            for i in 0..20u8 {
                let piece = alloc::vec![i; usize::from(i) * 3 + 1];
                match i % 3 {
                    0 => writer.queue_kept(piece.clone()),
                    _ => writer.queue_copy(&piece),
                }
                expected.extend_from_slice(&piece);
            }
            let mut seen = Vec::new();
            while !writer.is_empty() {
                let all = contents(&writer);
                let now = step.min(all.len());
                seen.extend_from_slice(&all[..now]);
                writer.written(now);
                assert_eq!(writer.queued(), expected.len() - seen.len());
            }
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn senders_wait_from_the_high_to_the_low_watermark() {
        let mut writer = Plain::default();
        writer.queue_copy(&[0; 99]);
        assert!(!writer.press(100));
        writer.queue_copy(&[0; 1]);
        assert!(writer.press(100));
        writer.written(100);
        assert!(writer.is_busy());
        writer.release();
        assert!(!writer.is_busy());
        assert!(!writer.press(100));
    }

    #[test]
    fn a_burst_of_small_sends_is_gathered_from_the_fifth_on() {
        let mut writer = Plain::default();
        let mut now = 1_000_000;
        for _ in 0..5 {
            assert_eq!(writer.route(100, now, 8192, true), Route::Write);
            now += 1_000;
        }
        assert_eq!(writer.route(100, now, 8192, true), Route::Queue);
        writer.queue_copy(&[0; 100]);
        assert_eq!(writer.route(100_000, now, 8192, true), Route::FlushFirst);
        writer.written(100);
        assert_eq!(writer.route(100, now + 1, 8192, true), Route::Write);
    }

    #[test]
    fn a_pause_ends_a_burst() {
        let mut writer = Plain::default();
        for i in 0..100 {
            assert_eq!(writer.route(100, i * 20_000, 8192, true), Route::Write);
        }
    }

    #[test]
    fn a_gathered_burst_is_written_at_the_watermark() {
        let mut writer = Plain::default();
        let mut flushed = 0;
        for i in 0..100 {
            match writer.route(1000, i * 100, 8192, true) {
                Route::Queue => writer.queue_copy(&[0; 1000]),
                Route::QueueAndFlush => {
                    flushed += 1;
                    writer.queue_copy(&[0; 1000]);
                    writer.written(writer.queued());
                }
                _ => {}
            }
            assert!(writer.queued() < 8192);
        }
        assert_eq!(flushed, 95 / 9);
    }
}
