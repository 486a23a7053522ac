//! A listening socket and the processes that wait in accept.
//!
//! Connections stay in the kernel's backlog until an acceptor takes one, so that a
//! timeout or a killed process loses none. One acceptor at a time is called, in the
//! order in which they came; when it has come, or will not, the next one is.

use crate::endpoint::{Call, Endpoint, Role, Waiter};
use crate::host::{Failure, Host, Reply};
use crate::option::kernel;
use crate::spin::Place;
use crate::stream::Stream;
use crate::sys::{self, Interest};
use socket2::Socket;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

pub(crate) struct Listener<H: Host> {
    socket: Socket,
    waiting: VecDeque<Waiter<H>>,
    /// Who was called and has not come yet.
    called: Option<H::Pid>,
}

/// One look into the backlog.
enum Attempt {
    Accepted(OwnedFd),
    Nothing,
    /// Others came before.
    NotFirst,
    Failed(Failure),
}

impl<H: Host> Endpoint<H> {
    /// Takes a connection from the backlog. Its owner is `pid`.
    ///
    /// `tag` is asked for only if the call has to wait. The reply says
    /// [`Reply::Ready`]: the caller's turn has come, and it calls again.
    ///
    /// **Errors:** `Closed`; `EINVAL` not a listener; `EMFILE` and its kin, the connection
    /// stays in the backlog.
    pub fn accept(&self, pid: H::Pid, tag: impl FnOnce() -> H::Tag) -> Call<H::Handle> {
        let attempt = || {
            let mut state = self.lock();
            let attempt = match &mut state.role {
                Role::Listener(listener) => listener.take(pid),
                Role::Closed | Role::Draining(_) => Attempt::Failed(Failure::Closed),
                Role::Stream(_) | Role::Connecting(_) => {
                    Attempt::Failed(Failure::Posix(libc::EINVAL))
                }
            };
            match attempt {
                Attempt::Nothing => Err((state, true)),
                Attempt::NotFirst => Err((state, false)),
                Attempt::Failed(failure) => {
                    self.settle(&mut state);
                    Ok(Call::Failed(failure))
                }
                Attempt::Accepted(fd) => {
                    let socket = Socket::from(fd);
                    let common = &state.common;
                    let inherited = match &state.role {
                        Role::Listener(listener) => kernel::inherit(
                            listener.socket.as_fd(),
                            socket.as_fd(),
                            common.watch.family,
                        ),
                        _ => Ok(()),
                    };
                    let (family, settings) = (common.watch.family, common.settings.inherit());
                    self.settle(&mut state);
                    drop(state);
                    Ok(match inherited {
                        Ok(()) => {
                            let role = Role::Stream(Stream::new(socket));
                            let poller = &self.poller;
                            Call::Done(Self::adopt(poller, pid, family, settings, role, false))
                        }
                        Err(refused) => Call::Failed(Failure::Posix(refused.errno)),
                    })
                }
            }
        };
        let (mut state, mut first) = match attempt() {
            Ok(done) => return done,
            Err(nothing) => nothing,
        };
        if first && state.common.scores.is_due(Place::Receive) && self.poller.tuning.spin {
            let (found, unlocked) =
                self.spin_at(state, Place::Receive, || attempt().ok(), |_| true);
            drop(unlocked);
            if let Some(done) = found {
                return done;
            }
            (state, first) = match attempt() {
                Ok(done) => return done,
                Err(nothing) => nothing,
            };
        }
        if let Role::Listener(listener) = &mut state.role {
            let waiter = Waiter { pid, tag: tag() };
            match first {
                true => {
                    listener.called.take_if(|called| *called == pid);
                    listener.waiting.push_front(waiter);
                }
                false => listener.waiting.push_back(waiter),
            }
        }
        self.settle(&mut state);
        Call::Wait
    }
}

impl<H: Host> Listener<H> {
    pub(crate) fn new(socket: Socket) -> Self {
        Listener {
            socket,
            waiting: VecDeque::new(),
            called: None,
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn acceptors(&self) -> usize {
        self.waiting.len() + usize::from(self.called.is_some())
    }

    pub(crate) fn interest(&self) -> Interest {
        Interest {
            read: self.called.is_none() && !self.waiting.is_empty(),
            ..Interest::NONE
        }
    }

    /// Who was called keeps its turn as long as there is nothing.
    fn take(&mut self, pid: H::Pid) -> Attempt {
        let first = match self.called {
            Some(called) => called == pid,
            None => self.waiting.is_empty(),
        };
        if !first {
            return Attempt::NotFirst;
        }
        let attempt = loop {
            match sys::accept(self.socket.as_fd()) {
                Ok(fd) => break Attempt::Accepted(fd),
                Err(error) => match (error.kind(), error.raw_os_error()) {
                    (io::ErrorKind::WouldBlock, _) => return Attempt::Nothing,
                    // The peer has gone already: as if it had never come.
                    (io::ErrorKind::ConnectionAborted, _) => {}
                    _ => break Attempt::Failed(error.into()),
                },
            }
        };
        self.called = None;
        attempt
    }

    /// Connections may be there: calls the first who still lives.
    pub(crate) fn ready(&mut self) {
        while self.called.is_none()
            && let Some(Waiter { pid, tag }) = self.waiting.pop_front()
        {
            if H::reply(pid, tag, Reply::Ready) {
                self.called = Some(pid);
            }
        }
    }

    pub(crate) fn cancel(&mut self, pid: H::Pid, tag: &H::Tag) -> bool {
        self.called.take_if(|called| *called == pid);
        let before = self.waiting.len();
        self.waiting.retain(|waiter| !waiter.is(pid, tag));
        self.waiting.len() < before
    }

    /// The process has exited.
    pub(crate) fn forget(&mut self, pid: H::Pid) {
        self.called.take_if(|called| *called == pid);
        self.waiting.retain(|waiter| waiter.pid != pid);
    }

    pub(crate) fn dismiss(&mut self, failure: Failure) {
        self.called = None;
        for waiter in self.waiting.drain(..) {
            waiter.answer(Reply::Failed(failure));
        }
    }
}
