//! One socket: its lock, its owner, and what it is at the moment.
//!
//! Every call and every event takes the lock, acts on the role, and then *settles*: a
//! role that is over is closed, and one that waits for the kernel is armed. Nobody else
//! arms, closes or forgets a socket.
//!
//! Whoever locks an endpoint holds a handle of it, so that giving up the poller's own
//! handle under the lock never frees the lock.

use crate::address::Family;
use crate::closing::let_go;
use crate::host::{Failure, Host, Reply, Report};
use crate::listener::Listener;
use crate::monitors::Monitors;
use crate::output::Draining;
use crate::poller::Poller;
use crate::seldom::Seldom;
use crate::settings::Settings;
use crate::spin::{self, Scores};
use crate::stats::Traffic;
use crate::stream::Stream;
use crate::sys::Interest;
use crate::totals::{self, Total};
use crate::tuning::Tuning;
use crate::watch::Watch;
use parking_lot::{Mutex, MutexGuard};
use socket2::Socket;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A socket with its owner, settings and counters.
pub struct Endpoint<H: Host> {
    pub(crate) host: H,
    pub(crate) poller: Arc<Poller<H>>,
    state: Mutex<State<H>>,
}

pub(crate) struct State<H: Host> {
    pub(crate) common: Common<H>,
    pub(crate) role: Role<H>,
}

/// What a socket has in every role.
pub(crate) struct Common<H: Host> {
    pub(crate) owner: H::Pid,
    pub(crate) settings: Settings,
    pub(crate) counters: Traffic,
    pub(crate) scores: Scores,
    pub(crate) watch: Watch,
    pub(crate) monitors: Seldom<Monitors<H>>,
}

/// The state of a socket, for as long as it is locked. A panic meanwhile closes the
/// socket, whoever's call or event it was.
pub(crate) struct Locked<'a, H: Host> {
    endpoint: &'a Endpoint<H>,
    /// When it was locked, if that is to be known.
    since: Option<u64>,
    state: MutexGuard<'a, State<H>>,
}

impl<H: Host> Deref for Locked<'_, H> {
    type Target = State<H>;

    fn deref(&self) -> &State<H> {
        &self.state
    }
}

impl<H: Host> DerefMut for Locked<'_, H> {
    fn deref_mut(&mut self) -> &mut State<H> {
        &mut self.state
    }
}

impl<H: Host> Drop for Locked<'_, H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.endpoint.fail_after_panic(&mut self.state);
        }
        if let Some(since) = self.since {
            totals::lock_held(spin::now().saturating_sub(since));
        }
    }
}

/// A process that waits for the answer to one call.
pub(crate) struct Waiter<H: Host> {
    pub(crate) pid: H::Pid,
    pub(crate) tag: H::Tag,
}

impl<H: Host> Waiter<H> {
    pub(crate) fn is(&self, pid: H::Pid, tag: &H::Tag) -> bool {
        self.pid == pid && self.tag == *tag
    }

    /// False: the process is gone.
    pub(crate) fn answer(self, reply: Reply) -> bool {
        H::reply(self.pid, self.tag, reply)
    }
}

pub(crate) enum Role<H: Host> {
    Connecting(Connecting<H>),
    Stream(Stream<H>),
    Listener(Listener<H>),
    /// Closed for everybody; what is queued is still written.
    Draining(Draining<H>),
    Closed,
}

/// A connect that the kernel has not finished.
pub(crate) struct Connecting<H: Host> {
    pub(crate) socket: Socket,
    pub(crate) waiter: Option<Waiter<H>>,
}

/// What a call under the lock works with, beside the role.
pub(crate) struct Context<'a, H: Host> {
    pub(crate) tuning: Tuning,
    pub(crate) host: &'a H,
    pub(crate) common: &'a mut Common<H>,
}

/// How a call that may have to wait ends.
#[derive(Debug)]
pub enum Call<T> {
    /// The result.
    Done(T),
    /// One reply with the tag of the call will come.
    Wait,
    /// The call has failed.
    Failed(Failure),
}

/// Why a socket is closed: `None` is a normal end.
pub(crate) type End = Option<Failure>;

impl<H: Host> Endpoint<H> {
    /// Makes a socket of its role, and hands it to its poller.
    pub(crate) fn adopt(
        poller: &Arc<Poller<H>>,
        owner: H::Pid,
        family: Family,
        settings: Settings,
        role: Role<H>,
        tell_passive: bool,
    ) -> H::Handle {
        let common = Common {
            owner,
            settings,
            counters: Traffic::default(),
            scores: Scores::default(),
            watch: Watch::new(family),
            monitors: Seldom::NONE,
        };
        let handle = H::adopt(Endpoint {
            host: H::default(),
            poller: Arc::clone(poller),
            state: Mutex::new(State { common, role }),
        });
        totals::add(Total::Opened, 1);
        Self::enrol(&handle, tell_passive);
        handle
    }

    /// The world above this socket.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Puts a new socket into the poller's table and starts what its settings ask for.
    fn enrol(handle: &H::Handle, tell_passive: bool) {
        let mut state = handle.lock();
        state.common.watch.token = Some(handle.poller.enrol(handle.clone()));
        if let (mut context, Role::Stream(stream)) = handle.split(&mut state) {
            if tell_passive {
                stream.tell_passive(&mut context);
            }
        } else if tell_passive {
            Stream::<H>::tell_owner_passive(&handle.host, &mut state.common);
        }
        if handle.poller.is_stopping() {
            // It has closed its sockets already, and would serve this one no more.
            handle.finish(&mut state, None);
        } else {
            handle.settle(&mut state);
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_, H> {
        let state = self.state.lock();
        Locked {
            endpoint: self,
            since: totals::locks_are_timed().then(spin::now),
            state,
        }
    }

    /// The role, and apart from it what it works with.
    pub(crate) fn split<'a>(
        &'a self,
        state: &'a mut State<H>,
    ) -> (Context<'a, H>, &'a mut Role<H>) {
        (
            Context {
                tuning: self.poller.tuning,
                host: &self.host,
                common: &mut state.common,
            },
            &mut state.role,
        )
    }

    /// Ends every operation: closes what is over, arms what waits.
    pub(crate) fn settle(&self, state: &mut State<H>) {
        if let Some(end) = state.role.take_end() {
            self.finish(state, end);
            return;
        }
        if let Role::Stream(stream) = &mut state.role {
            stream.waiting.tidy();
        }
        let State { common, role } = &mut *state;
        let Some((socket, interest)) = role.interest(common, self.poller.tuning) else {
            // A husk has given up its fd.
            common.watch.forget();
            return;
        };
        if interest.is_none() || common.watch.serves(interest) {
            return;
        }
        if let Err(error) = common.watch.arm(&self.poller, socket.as_fd(), interest) {
            // Nobody would ever hear of the socket again.
            self.break_off(state, error.into());
        }
    }

    /// The kernel won't watch the socket. A passive stream says so in its next calls, as
    /// after a failed write; everything else is closed.
    fn break_off(&self, state: &mut State<H>, failure: Failure) {
        if let (mut context, Role::Stream(stream)) = self.split(state) {
            if context.common.settings.active.is_passive() {
                stream.break_off(&mut context, failure);
                state.common.watch.forget();
                return;
            }
            stream.abort(&mut context, failure);
        }
        state.role.dismiss(failure);
        self.finish(state, Some(failure));
    }

    /// Closes the socket for good and tells everybody who waits or monitors.
    pub(crate) fn finish(&self, state: &mut State<H>, end: End) {
        let watch = &mut state.common.watch;
        if let Some(socket) = state.role.socket() {
            if watch.is_known() {
                self.poller.disarm(socket.as_fd());
            }
            let_go(socket, &state.common.settings);
        }
        watch.forget();
        let token = watch.token.take();
        let failure = match (&state.role, end) {
            (Role::Connecting(_), Some(failure)) => failure,
            _ => Failure::Closed,
        };
        state.role.dismiss(failure);
        state.role = Role::Closed;
        state.common.scores.discount();
        self.tell_monitors(&mut state.common, end);
        if let Some(token) = token {
            self.poller.release(token);
        }
    }

    /// The kernel says that something can be done. Called by the poller.
    pub(crate) fn ready(&self, ready: Interest, reads: u32) {
        let mut state = self.lock();
        let State { common, role } = &mut *state;
        if let Some((socket, interest)) = role.interest(common, self.poller.tuning) {
            let watch = &mut common.watch;
            watch.spend(&self.poller, socket.as_fd(), interest.read);
        }
        let (mut context, role) = self.split(&mut state);
        match role {
            Role::Connecting(_) => {
                if ready.write {
                    self.connected(&mut state);
                }
            }
            Role::Stream(stream) => stream.ready(&mut context, ready, reads),
            Role::Listener(listener) => listener.ready(),
            Role::Draining(draining) => draining.flush(),
            Role::Closed => return,
        }
        self.settle(&mut state);
    }

    /// After a panic under the lock nothing is known of the state but that it is not to
    /// be used: the owner is told, the socket closed.
    fn fail_after_panic(&self, state: &mut State<H>) {
        let failure = Failure::Posix(libc::EIO);
        H::report(Report::Panicked);
        // Whatever it was may happen again while the owner is told, and must not keep the
        // socket open.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if let (mut context, Role::Stream(stream)) = self.split(state) {
                stream.abort(&mut context, failure);
            }
        }));
        let _ = catch_unwind(AssertUnwindSafe(|| self.finish(state, Some(failure))));
    }

    /// A connect has come to its end.
    fn connected(&self, state: &mut State<H>) {
        let Role::Connecting(connecting) = &mut state.role else {
            return;
        };
        let error = match connecting.socket.take_error() {
            Ok(None) => connecting.socket.peer_addr().err(),
            Ok(error) => error,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            self.finish(state, Some(error.into()));
            return;
        }
        let Role::Connecting(connecting) = std::mem::replace(&mut state.role, Role::Closed) else {
            return;
        };
        state.role = Role::Stream(Stream::new(connecting.socket));
        // The owner is the caller: told last, so that it finds everything in place.
        if let Some(waiter) = connecting.waiter {
            waiter.answer(Reply::Done);
        }
    }

    /// Takes back the wait of a call. False: its reply is on the way or there.
    pub fn cancel(&self, pid: H::Pid, tag: &H::Tag) -> bool {
        let mut state = self.lock();
        let cancelled = match &mut state.role {
            Role::Connecting(connecting) => connecting
                .waiter
                .take_if(|waiter| waiter.is(pid, tag))
                .is_some(),
            Role::Stream(stream) => stream.cancel(pid, tag),
            Role::Listener(listener) => listener.cancel(pid, tag),
            Role::Draining(_) | Role::Closed => false,
        };
        self.settle(&mut state);
        cancelled
    }
}

impl<H: Host> Role<H> {
    /// Whether the socket is closed for everybody.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Role::Closed | Role::Draining(_))
    }

    /// The fd, if the role still has one.
    pub(crate) fn socket(&self) -> Option<&Socket> {
        match self {
            Role::Connecting(connecting) => Some(&connecting.socket),
            Role::Stream(stream) => stream.socket(),
            Role::Listener(listener) => Some(listener.socket()),
            Role::Draining(draining) => Some(draining.socket()),
            Role::Closed => None,
        }
    }

    /// Bytes queued for sending, also of a socket that is closed for everybody.
    pub(crate) fn queued(&self) -> usize {
        match self {
            Role::Stream(stream) => stream.queued(),
            Role::Draining(draining) => draining.queued(),
            Role::Connecting(_) | Role::Listener(_) | Role::Closed => 0,
        }
    }

    /// Whether the role is over, and why.
    fn take_end(&mut self) -> Option<End> {
        match self {
            Role::Stream(stream) => stream.take_end(),
            Role::Draining(draining) if draining.is_over() => Some(None),
            _ => None,
        }
    }

    /// What the role waits for.
    fn interest(&self, common: &Common<H>, tuning: Tuning) -> Option<(&Socket, Interest)> {
        let write_only = Interest {
            write: true,
            ..Interest::NONE
        };
        Some(match self {
            Role::Connecting(connecting) => (&connecting.socket, write_only),
            Role::Stream(stream) => (stream.socket()?, stream.interest(common, tuning)),
            Role::Listener(listener) => (listener.socket(), listener.interest()),
            Role::Draining(draining) => (draining.socket(), write_only),
            Role::Closed => return None,
        })
    }

    /// Answers everybody who waits.
    fn dismiss(&mut self, failure: Failure) {
        match self {
            Role::Connecting(connecting) => {
                if let Some(waiter) = connecting.waiter.take() {
                    waiter.answer(Reply::Failed(failure));
                }
            }
            Role::Stream(stream) => stream.dismiss(failure),
            Role::Listener(listener) => listener.dismiss(failure),
            Role::Draining(_) | Role::Closed => {}
        }
    }
}
