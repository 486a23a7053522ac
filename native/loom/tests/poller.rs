//! The agreement between the poller's thread and whoever serves events in its place, in every order
//! that loom finds (`native/net/src/poller.rs`: `run`, `hand_over`, `take_back`, `serve`, `handle`,
//! `stop`; `endpoint.rs`: `settle`).
//!
//! This is a model, not that code: epoll is no part of loom, and the locks of parking_lot are
//! not its own. What is copied is the order of the atomic operations, of arming and of taking
//! events. Whoever changes that there changes it here.

use gen_tcp_rs_loom::{Epoll, Found, WAKER};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle, Thread};

/// A socket with one process that waits for a message.
struct Socket {
    /// The lock of the endpoint: whether it is armed, and what was delivered.
    state: Mutex<(bool, u32)>,
}

struct Poller {
    epoll: Epoll,
    sockets: Vec<Socket>,
    handed_over: AtomicBool,
    stopping: AtomicBool,
}

impl Poller {
    fn new(sockets: usize) -> Arc<Self> {
        let socket = || Socket {
            state: Mutex::new((false, 0)),
        };
        Arc::new(Poller {
            epoll: Epoll::new(sockets),
            sockets: (0..sockets).map(|_| socket()).collect(),
            handed_over: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A recv, or a re-arm, up to the wait: true if it has got something.
    fn call(&self, socket: usize) -> bool {
        let mut state = self.sockets[socket].state.lock().unwrap();
        if self.epoll.read(socket) == Found::Bytes {
            state.1 += 1;
            return true;
        }
        if !state.0 {
            self.epoll.arm(socket);
            state.0 = true;
        }
        false
    }

    fn handle(&self, event: usize) {
        if event == WAKER {
            if self.is_stopping() {
                self.epoll.wake();
            }
            return;
        }
        let mut state = self.sockets[event].state.lock().unwrap();
        state.0 = false;
        if self.epoll.read(event) == Found::Bytes {
            state.1 += 1;
        } else {
            // It was read meanwhile, and the socket waits for more.
            self.epoll.arm(event);
            state.0 = true;
        }
    }

    /// One event, if there is one.
    fn serve(&self) -> bool {
        if self.is_stopping() {
            return false;
        }
        if let Some(event) = self.epoll.now() {
            self.handle(event);
        }
        true
    }

    fn run(&self) {
        while !self.is_stopping() {
            if self.handed_over.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            let event = self.epoll.wait();
            self.handle(event);
        }
    }

    fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
        self.epoll.wake();
    }

    fn take_back(&self, thread: &Thread) {
        self.handed_over.store(false, Ordering::Release);
        thread.unpark();
    }

    fn stop(&self, thread: JoinHandle<()>) {
        self.stopping.store(true, Ordering::Release);
        self.epoll.wake();
        thread.thread().unpark();
        thread.join().unwrap();
    }

    fn delivered(&self, socket: usize) -> u32 {
        self.sockets[socket].state.lock().unwrap().1
    }
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn start(poller: &Arc<Poller>) -> JoinHandle<()> {
    let poller = Arc::clone(poller);
    thread::spawn(move || poller.run())
}

fn arrive(poller: &Arc<Poller>) -> JoinHandle<()> {
    let poller = Arc::clone(poller);
    thread::spawn(move || poller.epoll.arrive(0))
}

fn await_delivery(poller: &Poller) {
    while poller.delivered(0) == 0 {
        thread::yield_now();
    }
}

/// What arrives for a call that waits is delivered once, whether the thread takes the event, the
/// one who has taken over, or the thread after it has taken back. Loom fails where it is not, as
/// the one who waits for it waits for ever.
#[test]
fn what_arrives_is_delivered() {
    model(|| {
        let poller = Poller::new(1);
        let thread = start(&poller);
        let peer = arrive(&poller);
        assert!(!poller.call(0) || poller.delivered(0) == 1);
        poller.hand_over();
        poller.serve();
        poller.take_back(thread.thread());
        peer.join().unwrap();
        await_delivery(&poller);
        poller.stop(thread);
        assert_eq!(poller.delivered(0), 1);
    });
}

/// While somebody else serves, an event that the thread does not take is left for it.
#[test]
fn who_has_taken_over_finds_what_the_thread_leaves() {
    model(|| {
        let poller = Poller::new(1);
        let thread = start(&poller);
        poller.hand_over();
        let peer = arrive(&poller);
        poller.call(0);
        peer.join().unwrap();
        // As a level-triggered wait does: again while there is something.
        while poller.delivered(0) == 0 {
            poller.serve();
            thread::yield_now();
        }
        poller.stop(thread);
        assert_eq!(poller.delivered(0), 1);
    });
}

/// A stop ends the thread, whether it waits or rests, and whoever takes the waker's event: one that
/// serves gives it back.
#[test]
fn a_stop_reaches_the_thread() {
    model(|| {
        let poller = Poller::new(1);
        let thread = start(&poller);
        let other = {
            let poller = Arc::clone(&poller);
            let thread = thread.thread().clone();
            thread::spawn(move || {
                poller.hand_over();
                while poller.serve() {
                    thread::yield_now();
                }
                poller.take_back(&thread);
            })
        };
        poller.stop(thread);
        other.join().unwrap();
    });
}
