//! epoll as the pollers use it: registrations for one event or for every arrival, an
//! edge-triggered waker, and any number of threads that take events.

use loom::sync::{Condvar, Mutex};

/// The name of the waker's event; sockets are numbered from 0.
pub const WAKER: usize = usize::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    Once,
    Edge,
}

struct Socket {
    readable: bool,
    ended: bool,
    armed: Armed,
    /// An arrival that nobody has been told of.
    arrival: bool,
}

impl Socket {
    fn arrives(&mut self) {
        self.arrival = self.armed == Armed::Edge;
    }
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Everything that was there, but for an end.
    Bytes,
    /// The stream has ended.
    End,
    /// `EAGAIN`.
    Nothing,
}

struct State {
    sockets: Vec<Socket>,
    woken: bool,
}

/// A set of watched sockets. Armed for one event and readable is one, for one thread, which
/// disarms it; armed for arrivals, each is one, but for those that nobody has taken yet.
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
            ended: false,
            armed: Armed::No,
            arrival: false,
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
        self.change(|state| state.sockets[socket].armed = Armed::Once);
    }

    /// `EPOLL_CTL_MOD` with `EPOLLET`: what is there counts as an arrival.
    pub fn arm_for_arrivals(&self, socket: usize) {
        self.change(|state| {
            let socket = &mut state.sockets[socket];
            socket.armed = Armed::Edge;
            socket.arrival = socket.readable || socket.ended;
        });
    }

    /// `EPOLL_CTL_MOD` for nothing.
    pub fn silence(&self, socket: usize) {
        self.change(|state| {
            let socket = &mut state.sockets[socket];
            socket.armed = Armed::No;
            socket.arrival = false;
        });
    }

    /// The peer sends something.
    pub fn arrive(&self, socket: usize) {
        self.change(|state| {
            let socket = &mut state.sockets[socket];
            socket.readable = true;
            socket.arrives();
        });
    }

    /// The peer closes.
    pub fn end(&self, socket: usize) {
        self.change(|state| {
            let socket = &mut state.sockets[socket];
            socket.ended = true;
            socket.arrives();
        });
    }

    /// Reads what is there.
    pub fn read(&self, socket: usize) -> Found {
        let socket = &mut self.state.lock().unwrap().sockets[socket];
        match std::mem::take(&mut socket.readable) {
            true => Found::Bytes,
            false if socket.ended => Found::End,
            false => Found::Nothing,
        }
    }

    /// A write to the waker.
    pub fn wake(&self) {
        self.change(|state| state.woken = true);
    }

    fn take(state: &mut State) -> Option<usize> {
        if std::mem::take(&mut state.woken) {
            return Some(WAKER);
        }
        let ready = |socket: &Socket| match socket.armed {
            Armed::No => false,
            Armed::Once => socket.readable || socket.ended,
            Armed::Edge => socket.arrival,
        };
        let index = state.sockets.iter().position(ready)?;
        let socket = &mut state.sockets[index];
        match socket.armed {
            Armed::Edge => socket.arrival = false,
            Armed::No | Armed::Once => socket.armed = Armed::No,
        }
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
