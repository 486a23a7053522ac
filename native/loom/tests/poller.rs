//! The agreement between the poller's thread and callers that do its work, in every order that
//! loom finds (`native/net/src/poller.rs`: `run`, `assist`, `handle`, `stop`; `endpoint.rs`: `settle`).
//!
//! This is a model, not that code: epoll is no part of loom, and the locks of parking_lot are
//! not its own. What is copied is the order of the atomic operations, of arming and of taking
//! events. Whoever changes that there changes it here.

use gen_tcp_rs_loom::{Epoll, WAKER};
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// A socket with one process that waits for a message.
struct Socket {
    /// The lock of the endpoint: whether it is armed, and what was delivered.
    state: Mutex<(bool, u32)>,
}

struct Poller {
    epoll: Epoll,
    sockets: Vec<Socket>,
    assists: AtomicU64,
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
            assists: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A recv, or a re-arm, up to the wait: true if it has got something.
    fn call(&self, socket: usize) -> bool {
        let mut state = self.sockets[socket].state.lock().unwrap();
        if self.epoll.read(socket) {
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
        if self.epoll.read(event) {
            state.1 += 1;
        } else {
            // It was read meanwhile, and the socket waits for more.
            self.epoll.arm(event);
            state.0 = true;
        }
    }

    fn assist(&self) {
        if self.is_stopping() {
            return;
        }
        if let Some(event) = self.epoll.now() {
            self.handle(event);
            self.assists.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The thread; its nap is a moment in which the others go on.
    fn run(&self) {
        let mut assists = 0;
        let mut patient = true;
        while !self.is_stopping() {
            let event = match patient {
                true => Some(self.epoll.wait()),
                false => self.epoll.now(),
            };
            if let Some(event) = event {
                self.handle(event);
            }
            let now = self.assists.load(Ordering::Relaxed);
            patient = now == assists;
            assists = now;
            if !patient {
                thread::yield_now();
            }
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.epoll.wake();
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

/// Whether the thread, the caller itself or another caller takes the event: what arrives for a
/// call that waits is delivered, also while the thread stays away. Loom fails where it is not,
/// as the one who waits for it waits for ever.
#[test]
fn what_arrives_is_delivered() {
    model(|| {
        let poller = Poller::new(1);
        let thread = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.run())
        };
        let peer = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.epoll.arrive(0))
        };
        if !poller.call(0) {
            poller.assist();
        }
        peer.join().unwrap();
        while poller.delivered(0) == 0 {
            thread::yield_now();
        }
        poller.stop();
        thread.join().unwrap();
        assert_eq!(poller.delivered(0), 1);
    });
}

/// A stop ends the thread whoever takes the waker's event: a caller that does gives it back.
#[test]
fn a_stop_reaches_the_thread() {
    model(|| {
        let poller = Poller::new(1);
        let thread = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.run())
        };
        let caller = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.assist())
        };
        poller.stop();
        caller.join().unwrap();
        thread.join().unwrap();
    });
}

/// Two calls that wait on two sockets and help each other get one delivery each.
#[test]
fn callers_serve_each_other() {
    model(|| {
        let poller = Poller::new(2);
        let other = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || {
                if !poller.call(1) {
                    poller.assist();
                }
            })
        };
        poller.epoll.arrive(0);
        poller.epoll.arrive(1);
        if !poller.call(0) {
            poller.assist();
        }
        other.join().unwrap();
        // What nobody took is the thread's.
        poller.stopping.store(true, Ordering::Release);
        while let Some(event) = poller.epoll.now() {
            poller.handle(event);
        }
        assert_eq!((poller.delivered(0), poller.delivered(1)), (1, 1));
    });
}
