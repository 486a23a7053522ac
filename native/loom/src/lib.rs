//! epoll as the pollers use it: registrations for one event, an edge-triggered waker, and
//! any number of threads that take events.

use loom::sync::{Condvar, Mutex};

/// The name of the waker's event; sockets are numbered from 0.
pub const WAKER: usize = usize::MAX;

struct Socket {
    readable: bool,
    armed: bool,
}

struct State {
    sockets: Vec<Socket>,
    woken: bool,
}

/// A set of watched sockets. Armed and readable is an event, for one thread, which disarms it.
pub struct Epoll {
    state: Mutex<State>,
    news: Condvar,
}

impl Epoll {
    /// So many sockets, none readable, none armed.
    #[must_use]
    pub fn new(sockets: usize) -> Self {
        let socket = || Socket {
            readable: false,
            armed: false,
        };
        Epoll {
            state: Mutex::new(State {
                sockets: (0..sockets).map(|_| socket()).collect(),
                woken: false,
            }),
            news: Condvar::new(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.news.notify_all();
    }

    /// `EPOLL_CTL_MOD` with `EPOLLONESHOT`: looks at the readiness again.
    pub fn arm(&self, socket: usize) {
        self.change(|state| state.sockets[socket].armed = true);
    }

    /// The peer sends something.
    pub fn arrive(&self, socket: usize) {
        self.change(|state| state.sockets[socket].readable = true);
    }

    /// Reads everything. False: there was nothing.
    pub fn read(&self, socket: usize) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().sockets[socket].readable)
    }

    /// A write to the waker.
    pub fn wake(&self) {
        self.change(|state| state.woken = true);
    }

    fn take(state: &mut State) -> Option<usize> {
        if std::mem::take(&mut state.woken) {
            return Some(WAKER);
        }
        let ready = |socket: &Socket| socket.armed && socket.readable;
        let index = state.sockets.iter().position(ready)?;
        state.sockets[index].armed = false;
        Some(index)
    }

    /// `epoll_wait` without waiting.
    pub fn now(&self) -> Option<usize> {
        Self::take(&mut self.state.lock().unwrap())
    }

    /// `epoll_wait` without an end: loom reports a deadlock where nothing comes.
    pub fn wait(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(event) = Self::take(&mut state) {
                return event;
            }
            state = self.news.wait(state).unwrap();
        }
    }
}
