//! The rules that make one use of a socket faster and may cost another: each adapts by
//! itself, and each can be switched off.

/// Which rules hold for the sockets of a poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A call that finds nothing looks again for up to 50 µs before it waits, where that
    /// has paid before and few sockets are busy.
    pub spin: bool,
    /// Sends of up to 2 KiB that follow each other within 10 µs go out in one write.
    pub gather: bool,
    /// A raw read takes memory for as much as the reads before have found.
    pub adaptive_reads: bool,
    /// After so many events in a row that somebody waited for, the kernel's registration of
    /// a socket stays; `None`: it is made anew for every wait.
    pub stay_after: Option<u8>,
}

/// So many events that came for somebody promise more of them.
const REGULAR: u8 = 16;

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            spin: true,
            gather: true,
            adaptive_reads: true,
            stay_after: Some(REGULAR),
        }
    }
}
