//! Waiting for readiness, and the table of open sockets.
//!
//! A socket is armed by whichever thread finds that it has to wait, for one event or for
//! longer (`watch.rs`). The event is handled under the socket's lock. A token is never used again, so an event that was in flight while its
//! socket closed finds nobody.
//!
//! The poller's own thread waits for events, unless somebody else has taken that over: a
//! set of the kernel is itself an fd that is readable while it holds an event.

use crate::host::{Host, Reply, Report};
use crate::spin;
use crate::stream::{READS_OF_A_SERVICE, READS_OF_AN_EVENT};
use crate::sys::{self, Interest, Trigger};
use crate::timeslice;
use crate::totals::{self, Total};
use crate::tuning::Tuning;
use mio::{Events, Poll, Registry, Waker};
use parking_lot::Mutex;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Names a socket to the poller: the place in the table, and how often it was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(NonZeroU64);

impl Token {
    fn new(place: usize, generation: u32) -> Token {
        let name = u64::from(generation) << 32 | place as u64 & u64::from(u32::MAX);
        Token(NonZeroU64::MIN.saturating_add(name))
    }

    fn place(self) -> usize {
        ((self.0.get() - 1) & u64::from(u32::MAX)) as usize
    }

    /// What the kernel has given back.
    fn known(name: u64) -> Option<Token> {
        NonZeroU64::new(name).map(Token)
    }
}

const WAKER: Token = Token(NonZeroU64::MAX);
/// Events taken from the kernel at once.
const BATCH: usize = 256;
/// Events of one service: a fraction of a millisecond, and few enough that the processes which
/// they make ready have had their turn before the next ones are.
const BATCH_OF_A_SERVICE: usize = 8;
/// How often the thread is woken in vain before it is left behind.
const WAKE_TRIALS: u32 = 3;
/// How long the thread waits after a failed look for events: if that goes on, it must not
/// take a processor for itself.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(1);
/// A set of sockets, and the thread that serves them where nobody else does.
pub struct Poller<H: Host> {
    pub(crate) tuning: Tuning,
    registry: Registry,
    waker: Waker,
    table: Mutex<Table<H>>,
    /// The token of the event handled last: who spins looks whether others need the CPU.
    last: AtomicU64,
    /// Somebody else waits for events, and calls [`Poller::serve`].
    handed_over: AtomicBool,
    stopping: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Table<H: Host> {
    places: Vec<Place<H>>,
    free: Vec<usize>,
    open: usize,
    /// Who wants to know when no socket is open any more.
    waiting: Vec<(H::Pid, H::Tag)>,
}

struct Place<H: Host> {
    generation: u32,
    handle: Option<H::Handle>,
}

impl<H: Host> Poller<H> {
    /// Makes a poller and starts its thread.
    ///
    /// **Errors:** no fd, memory or thread to be had.
    pub fn start(tuning: Tuning) -> io::Result<Arc<Self>> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), mio::Token(WAKER.0.get() as usize))?;
        let poller = Arc::new(Poller {
            tuning,
            registry: poll.registry().try_clone()?,
            waker,
            table: Mutex::new(Table {
                places: Vec::new(),
                free: Vec::new(),
                open: 0,
                waiting: Vec::new(),
            }),
            last: AtomicU64::new(0),
            handed_over: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let runner = Arc::clone(&poller);
        let thread = std::thread::Builder::new()
            .name("gen_tcp_rs".into())
            .spawn(move || runner.run(poll))?;
        *poller.thread.lock() = Some(thread);
        Ok(poller)
    }

    /// Ends the thread and waits for it. Its sockets are closed before.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let woken = (0..WAKE_TRIALS).any(|_| self.waker.wake().is_ok());
        let thread = self.thread.lock().take();
        if let Some(thread) = &thread {
            thread.thread().unpark();
        }
        // A thread that could not be woken ends at its next event, which may never come.
        if let Some(thread) = thread.filter(|_| woken) {
            let _ = thread.join();
        }
        for socket in self.sockets() {
            socket.discard();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Handles of all open sockets.
    pub fn sockets(&self) -> Vec<H::Handle> {
        self.table
            .lock()
            .places
            .iter()
            .filter_map(|place| place.handle.clone())
            .collect()
    }

    /// Answers [`Reply::Ready`] when no socket is open any more. False: none is open now.
    pub fn await_empty(&self, pid: H::Pid, tag: H::Tag) -> bool {
        let mut table = self.table.lock();
        if table.open > 0 {
            table.waiting.push((pid, tag));
        }
        table.open > 0
    }

    /// Keeps `handle` alive until it is released: a socket nobody refers to stays open.
    pub(crate) fn enrol(&self, handle: H::Handle) -> Token {
        let mut table = self.table.lock();
        table.open += 1;
        if let Some(index) = table.free.pop()
            && let Some(place) = table.places.get_mut(index)
        {
            place.handle = Some(handle);
            return Token::new(index, place.generation);
        }
        table.places.push(Place {
            generation: 0,
            handle: Some(handle),
        });
        Token::new(table.places.len() - 1, 0)
    }

    /// Forgets a socket that has closed. The caller holds another handle, so that the
    /// socket does not go while it is locked.
    pub(crate) fn release(&self, token: Token) {
        let mut table = self.table.lock();
        let Some(place) = table.places.get_mut(token.place()) else {
            return;
        };
        if Token::new(token.place(), place.generation) != token || place.handle.is_none() {
            return;
        }
        let handle = place.handle.take();
        place.generation = place.generation.wrapping_add(1);
        table.free.push(token.place());
        table.open -= 1;
        let waiting = if table.open == 0 {
            std::mem::take(&mut table.waiting)
        } else {
            Vec::new()
        };
        drop(table);
        drop(handle);
        for (pid, tag) in waiting {
            H::reply(pid, tag, Reply::Ready);
        }
    }

    /// Arms `fd`.
    ///
    /// **Errors:** the kernel has no room for another watch.
    pub(crate) fn arm(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        known: bool,
    ) -> io::Result<()> {
        sys::arm(
            self.registry.as_raw_fd(),
            fd,
            token.0.get(),
            interest,
            known,
        )
    }

    /// Takes `fd` out of the kernel's watch.
    pub(crate) fn disarm(&self, fd: BorrowedFd<'_>) {
        sys::disarm(self.registry.as_raw_fd(), fd);
    }

    /// The token of the event handled last, by which a spinning caller sees that the
    /// poller has work.
    pub(crate) fn last_event(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether an event of another socket than `token` has come since `last`.
    pub(crate) fn has_other_work(&self, token: Token, last: u64) -> bool {
        let now = self.last.load(Ordering::Relaxed);
        now != last && now != token.0.get()
    }

    /// Is readable while there are events: for who waits in the place of the thread.
    pub fn fd(&self) -> RawFd {
        self.registry.as_raw_fd()
    }

    /// From now on somebody else waits for [`fd`](Self::fd) and calls [`serve`](Self::serve);
    /// the thread rests.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
        // It may be waiting. One that can't be woken rests after its next event.
        let _ = self.waker.wake();
    }

    /// The thread waits for events again.
    pub fn take_back(&self) {
        self.handed_over.store(false, Ordering::Release);
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
    }

    /// Serves some of what is ready, a fraction of a millisecond at most; if there is more,
    /// [`fd`](Self::fd) stays readable. False: the poller is stopping, and wants to be served no
    /// more.
    ///
    /// No socket may be locked.
    pub fn serve(&self) -> bool {
        // The waker's event is for the thread then.
        if self.is_stopping() {
            return false;
        }
        let (held, start) = (timeslice::held(), spin::now());
        for (token, ready) in sys::events_now::<BATCH_OF_A_SERVICE>(self.registry.as_raw_fd()) {
            self.handle(token, ready, READS_OF_A_SERVICE);
        }
        totals::add(Total::Wakeups, 1);
        timeslice::hold_since(held, spin::now().saturating_sub(start));
        true
    }

    fn run(&self, mut poll: Poll) {
        let mut events = Events::with_capacity(BATCH);
        while !self.is_stopping() {
            if self.handed_over.load(Ordering::Acquire) {
                std::thread::park();
                continue;
            }
            if let Err(error) = poll.poll(&mut events, None) {
                if error.kind() != io::ErrorKind::Interrupted {
                    H::report(Report::PollerFailed(
                        error.raw_os_error().unwrap_or(libc::EIO),
                    ));
                    std::thread::sleep(PAUSE_AFTER_ERROR);
                }
                continue;
            }
            totals::add(Total::Wakeups, 1);
            for event in &events {
                let ended = event.is_error() || event.is_read_closed() || event.is_write_closed();
                let ready = Interest {
                    read: ended || event.is_readable(),
                    write: ended || event.is_writable(),
                    trigger: Trigger::Once,
                };
                self.handle(event.token().0 as u64, ready, READS_OF_AN_EVENT);
            }
        }
        totals::leave();
    }

    fn handle(&self, name: u64, ready: Interest, reads: u32) {
        let Some(token) = Token::known(name) else {
            return;
        };
        if token == WAKER {
            if self.is_stopping() {
                // It may be one who serves that has got it. Without a wake the thread ends
                // at its next event.
                let _ = self.waker.wake();
            }
            return;
        }
        totals::add(Total::Events, 1);
        self.last.store(name, Ordering::Relaxed);
        let handle = {
            let table = self.table.lock();
            table.places.get(token.place()).and_then(|place| {
                let current = Token::new(token.place(), place.generation) == token;
                place.handle.clone().filter(|_| current)
            })
        };
        if let Some(endpoint) = handle {
            // A bug in one socket closes that socket; the others live.
            let _ = catch_unwind(AssertUnwindSafe(|| endpoint.ready(ready, reads)));
        }
    }
}
