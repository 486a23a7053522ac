//! One socket: its lock, its owner, and what it is at the moment.
//!
//! Every call and every event takes the lock, acts on the role, and then *settles*: a
//! role that is over is closed, and one that waits for the kernel is armed. Nobody else
//! arms, closes or forgets a socket.
//!
//! Whoever locks an endpoint holds a handle of it, so that giving up the poller's own
//! handle under the lock never frees the lock.

use crate::address::{Address, Family};
use crate::host::{Failure, Host, Info, Kind, Reply};
use crate::listener::Listener;
use crate::option::{self, Query, Reading, Refused, Setting, StreamValue, Value};
use crate::poller::{Poller, Token};
use crate::sending::Draining;
use crate::settings::Settings;
use crate::spin::{self, Place, Scores};
use crate::stats::Counters;
use crate::stream::Stream;
use crate::sys::Interest;
use parking_lot::{Mutex, MutexGuard};
use proto::Active;
use socket2::Socket;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A socket with its owner, settings and counters.
pub struct Endpoint<H: Host> {
    host: H,
    poller: Arc<Poller<H>>,
    state: Mutex<State<H>>,
}

pub(crate) struct State<H: Host> {
    pub(crate) common: Common<H>,
    pub(crate) role: Role<H>,
}

/// What a socket has in every role.
pub(crate) struct Common<H: Host> {
    pub(crate) owner: H::Pid,
    pub(crate) family: Family,
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    pub(crate) scores: Scores,
    watch: Watch,
    monitors: Vec<(H::Pid, H::Tag)>,
}

/// What the poller and the kernel know of a socket.
struct Watch {
    /// None before the socket is in the poller's table.
    token: Option<Token>,
    /// Whether the kernel has a registration of the fd.
    known: bool,
    /// What an event may come for.
    armed: Interest,
}

/// The state of a socket, for as long as it is locked. A panic meanwhile closes the
/// socket, whoever's call or event it was.
pub(crate) struct Locked<'a, H: Host> {
    endpoint: &'a Endpoint<H>,
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
    pub(crate) fn new(
        host: H,
        poller: Arc<Poller<H>>,
        owner: H::Pid,
        family: Family,
        settings: Settings,
        role: Role<H>,
    ) -> Self {
        let watch = Watch {
            token: None,
            known: false,
            armed: Interest::NONE,
        };
        let common = Common {
            owner,
            family,
            settings,
            counters: Counters::default(),
            scores: Scores::default(),
            watch,
            monitors: Vec::new(),
        };
        Endpoint {
            host,
            poller,
            state: Mutex::new(State { common, role }),
        }
    }

    /// The world above this socket.
    pub fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn poller(&self) -> &Arc<Poller<H>> {
        &self.poller
    }

    /// Puts a new socket into the poller's table and starts what its settings ask for.
    pub(crate) fn enrol(handle: &H::Handle, tell_passive: bool) {
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
        Locked {
            endpoint: self,
            state: self.state.lock(),
        }
    }

    /// The role, and apart from it what it works with.
    pub(crate) fn split<'a>(
        &'a self,
        state: &'a mut State<H>,
    ) -> (Context<'a, H>, &'a mut Role<H>) {
        (
            Context {
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
        let watch = &mut state.common.watch;
        let Some((socket, interest)) = state.role.interest(&state.common.settings) else {
            // A husk has given up its fd, and the kernel the registration with it.
            watch.known = false;
            watch.armed = Interest::NONE;
            return;
        };
        let Some(token) = watch.token else { return };
        if interest.is_none() || watch.armed.covers(interest) {
            return;
        }
        match self
            .poller
            .arm(socket.as_fd(), token, interest, watch.known)
        {
            Ok(()) => {
                watch.known = true;
                watch.armed = interest;
            }
            Err(error) => self.finish(state, Some(error.into())),
        }
    }

    /// Closes the socket for good and tells everybody who waits or monitors.
    fn finish(&self, state: &mut State<H>, end: End) {
        let watch = &mut state.common.watch;
        if watch.known
            && let Some(socket) = state.role.socket()
        {
            self.poller.disarm(socket.as_fd());
        }
        watch.known = false;
        watch.armed = Interest::NONE;
        let token = watch.token.take();
        let failure = match (&state.role, end) {
            (Role::Connecting(_), Some(failure)) => failure,
            _ => Failure::Closed,
        };
        state.role.dismiss(failure);
        state.role = Role::Closed;
        self.tell_monitors(&mut state.common, end);
        if let Some(token) = token {
            self.poller.release(token);
        }
    }

    fn tell_monitors(&self, common: &mut Common<H>, end: End) {
        for (pid, monitor) in std::mem::take(&mut common.monitors) {
            self.host.down(pid, monitor, end);
        }
    }

    /// The kernel says that something can be done. Called by the poller.
    pub(crate) fn ready(&self, ready: Interest) {
        let mut state = self.lock();
        state.common.watch.armed = Interest::NONE;
        let (mut context, role) = self.split(&mut state);
        match role {
            Role::Connecting(_) => {
                if ready.write {
                    self.connected(&mut state);
                }
            }
            Role::Stream(stream) => stream.ready(&mut context, ready),
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

    /// A process that owned the socket, or waited in accept or send, has exited.
    pub fn process_down(&self, pid: H::Pid) {
        let mut state = self.lock();
        if state.common.owner == pid {
            self.leave(&mut state);
        } else {
            let low_watermark = state.common.settings.low_watermark;
            match &mut state.role {
                Role::Listener(listener) => listener.forget(pid),
                Role::Stream(stream) => stream.forget_sender(pid, low_watermark),
                Role::Connecting(_) | Role::Draining(_) | Role::Closed => {}
            }
        }
        self.settle(&mut state);
    }

    /// Closes the socket for everybody, at once. What is queued goes on being written,
    /// unless `{linger, {true, 0}}` says to reset.
    pub fn abandon(&self) {
        let mut state = self.lock();
        self.leave(&mut state);
        self.settle(&mut state);
    }

    /// Closes the socket with everything that is queued: nobody serves it any more.
    pub(crate) fn discard(&self) {
        self.finish(&mut self.lock(), None);
    }

    fn leave(&self, state: &mut State<H>) {
        let resets = state.common.settings.resets_on_close();
        match std::mem::replace(&mut state.role, Role::Closed) {
            Role::Closed => {}
            Role::Draining(draining) => state.role = Role::Draining(draining),
            Role::Stream(stream) if !resets && stream.can_drain() => {
                if let Some(draining) = stream.drain() {
                    state.role = Role::Draining(draining);
                }
                self.tell_monitors(&mut state.common, None);
            }
            role => {
                state.role = role;
                self.finish(state, None);
            }
        }
    }

    /// Closes the socket without waiting. False: output is queued, and the caller should
    /// wait for it with [`Endpoint::await_drained`], then call [`Endpoint::abandon`].
    pub fn close(&self) -> bool {
        let mut state = self.lock();
        let resets = state.common.settings.resets_on_close();
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role
            && !resets
        {
            stream.flush(&mut context);
            if stream.can_drain() {
                self.settle(&mut state);
                return false;
            }
        }
        self.leave(&mut state);
        true
    }

    /// Seconds that close may wait for queued output, `None` for the default.
    pub fn linger(&self) -> Option<u32> {
        self.lock().common.settings.linger
    }

    /// Waits for the end of the queued output: `Done(())` if none is queued.
    pub fn await_drained(&self, pid: H::Pid, tag: H::Tag) -> Call<()> {
        let mut state = self.lock();
        match &mut state.role {
            Role::Stream(stream) if stream.can_drain() => {
                stream.await_drained(Waiter { pid, tag });
                self.settle(&mut state);
                Call::Wait
            }
            _ => Call::Done(()),
        }
    }

    /// Applies a list of options, last to first.
    ///
    /// **Errors:** `EINVAL` if the socket is closed, else the refusal of an option; those
    /// behind it in the list stay applied.
    pub fn set_options(&self, list: &[Setting]) -> Result<(), Refused> {
        let mut state = self.lock();
        let State { common, role } = &mut *state;
        if matches!(role, Role::Closed | Role::Draining(_)) {
            return Err(Refused::EINVAL);
        }
        let mut result = Ok(());
        for setting in list.iter().rev() {
            let applied = match role.socket() {
                Some(socket) => option::apply(setting, socket.as_fd(), &mut common.settings),
                // The fd of a husk is gone: a kernel option is taken and forgotten.
                None => match (setting.field(), setting) {
                    (Some(field), Setting::Named(_, value)) => common.settings.set(field, value),
                    _ => Ok(false),
                },
            };
            match applied {
                Ok(false) => {}
                Ok(true) => Stream::<H>::tell_owner_passive(&self.host, common),
                Err(refused) => {
                    result = Err(refused);
                    break;
                }
            }
        }
        self.rearm(state);
        result
    }

    /// `setopts(S, [{active, true | once}])` without the way through the table.
    ///
    /// **Errors:** `EINVAL` if the socket is closed.
    pub fn activate(&self, active: Active) -> Result<(), Refused> {
        let mut state = self.lock();
        if matches!(state.role, Role::Closed | Role::Draining(_)) {
            return Err(Refused::EINVAL);
        }
        state.common.settings.active = active;
        self.rearm(state);
        Ok(())
    }

    /// The settings have changed: delivers what is there and waits for more, first by
    /// spinning if that has paid here.
    fn rearm<'a>(&'a self, mut state: Locked<'a, H>) {
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role {
            stream.settings_changed(&mut context);
            if stream.waits_for_once(context.common) && context.common.scores.is_due(Place::Arm) {
                drop(state);
                let hit = self.spin_for_delivery();
                state = self.lock();
                state.common.scores.learn(Place::Arm, hit);
            }
        }
        self.settle(&mut state);
    }

    /// Tries for a moment to read and deliver in the caller. The lock is free in between.
    pub(crate) fn spin_for_delivery(&self) -> bool {
        let last = self.poller.last_event();
        let (token, before) = {
            let state = self.lock();
            (
                state.common.watch.token,
                state.common.counters.received.count,
            )
        };
        let Some(token) = token else { return false };
        let attempt = || {
            let mut state = self.lock();
            let (mut context, role) = self.split(&mut state);
            let Role::Stream(stream) = role else {
                return Some(false);
            };
            if context.common.counters.received.count != before {
                return Some(true);
            }
            if !stream.is_open() || context.common.settings.active.is_passive() {
                return Some(false);
            }
            stream.deliver(&mut context, 1);
            let hit = context.common.counters.received.count != before;
            let over = !stream.is_open();
            if hit || over {
                self.settle(&mut state);
                return Some(true);
            }
            None
        };
        spin::spin(attempt, || self.poller.has_other_work(token, last)).unwrap_or(false)
    }

    /// Before a spin that nearly always succeeds: keeps the poller from waking up for
    /// what the spin will find.
    pub(crate) fn hold_back_poller(&self, state: &mut State<H>, place: Place) {
        let Common { watch, scores, .. } = &mut state.common;
        if !watch.armed.read || watch.armed.write || !scores.is_sure(place) {
            return;
        }
        if let (Some(token), Some(socket)) = (watch.token, state.role.socket())
            && self
                .poller
                .arm(socket.as_fd(), token, Interest::NONE, true)
                .is_ok()
        {
            watch.armed = Interest::NONE;
        }
    }

    /// Spins for `attempt` to succeed, unless the poller gets other work.
    pub(crate) fn spin_for<R>(&self, attempt: impl FnMut() -> Option<R>) -> Option<R> {
        let last = self.poller.last_event();
        let token = self.lock().common.watch.token?;
        spin::spin(attempt, || self.poller.has_other_work(token, last))
    }

    /// Reads options; `Reading`s come in the order of the queries.
    ///
    /// **Errors:** `EINVAL` if the socket is closed.
    pub fn get_options(&self, queries: Vec<Query>) -> Result<Vec<Reading>, Refused> {
        let state = self.lock();
        if matches!(state.role, Role::Closed | Role::Draining(_)) {
            return Err(Refused::EINVAL);
        }
        let socket = state.role.socket().map(AsFd::as_fd);
        let read = |query| match option::read(query, socket, &state.common.settings) {
            Reading::Stream(StreamValue::Queue) => {
                let queued = match &state.role {
                    Role::Stream(stream) => stream.queued(),
                    _ => 0,
                };
                Reading::Value(Value::Int(i64::try_from(queued).unwrap_or(i64::MAX)))
            }
            Reading::Stream(StreamValue::Fd) => match state.role.socket() {
                Some(socket) => Reading::Value(Value::Int(socket.as_raw_fd().into())),
                None => Reading::Omitted,
            },
            reading => reading,
        };
        Ok(queries.into_iter().map(read).collect())
    }

    /// The counters; `None` if the socket is closed.
    pub fn counters(&self) -> Option<Counters> {
        let state = self.lock();
        let pending = match &state.role {
            Role::Closed | Role::Draining(_) => return None,
            Role::Stream(stream) => stream.queued() as u64,
            _ => 0,
        };
        Some(Counters {
            pending,
            ..state.common.counters
        })
    }

    /// Bytes queued for sending, also of a socket that is closed for everybody.
    pub fn queued(&self) -> usize {
        match &self.lock().role {
            Role::Stream(stream) => stream.queued(),
            Role::Draining(draining) => draining.queued(),
            _ => 0,
        }
    }

    /// Everything that `info` shows.
    pub fn info(&self) -> Info<H::Pid> {
        let state = self.lock();
        let common = &state.common;
        let mut info = Info {
            owner: common.owner,
            counters: common.counters,
            kind: Kind::Closed,
            settings: common.settings.clone(),
            acceptors: 0,
            readers: 0,
            writers: 0,
        };
        match &state.role {
            Role::Connecting(_) => info.kind = Kind::Connecting,
            Role::Stream(stream) => stream.describe(&mut info),
            Role::Listener(listener) => {
                info.kind = Kind::Listening;
                info.acceptors = listener.acceptors();
            }
            Role::Draining(_) | Role::Closed => {}
        }
        info
    }

    /// The family the socket was opened with.
    pub fn family(&self) -> Family {
        self.lock().common.family
    }

    /// The address of this end.
    ///
    /// **Errors:** `EINVAL` closed, `EBADF` the peer's end was seen and the fd is gone.
    pub fn local_address(&self) -> Result<Address, Failure> {
        self.address(libc::EBADF, Socket::local_addr)
    }

    /// The address of the other end.
    ///
    /// **Errors:** `EINVAL` closed, `ENOTCONN` not connected.
    pub fn peer_address(&self) -> Result<Address, Failure> {
        self.address(libc::ENOTCONN, Socket::peer_addr)
    }

    fn address(
        &self,
        husk: i32,
        ask: impl FnOnce(&Socket) -> std::io::Result<socket2::SockAddr>,
    ) -> Result<Address, Failure> {
        let state = self.lock();
        match (&state.role, state.role.socket()) {
            (Role::Closed | Role::Draining(_), _) => Err(Failure::Posix(libc::EINVAL)),
            (_, None) => Err(Failure::Posix(husk)),
            (_, Some(socket)) => Ok(Address::from_system(&ask(socket)?)),
        }
    }

    /// The fd, which stays ours.
    ///
    /// **Errors:** `EINVAL` if there is none any more.
    pub fn fd(&self) -> Result<RawFd, Failure> {
        self.lock()
            .role
            .socket()
            .map(Socket::as_raw_fd)
            .ok_or(Failure::Posix(libc::EINVAL))
    }

    /// Tells `pid` once the socket is gone. False: it is gone already.
    pub fn monitor(&self, pid: H::Pid, monitor: H::Tag) -> bool {
        let mut state = self.lock();
        if matches!(state.role, Role::Closed | Role::Draining(_)) {
            return false;
        }
        let monitors = &mut state.common.monitors;
        if monitors.len() == monitors.capacity() {
            monitors.retain(|(pid, _)| H::is_alive(*pid));
        }
        monitors.push((pid, monitor));
        true
    }

    /// Takes back a monitor of `pid`. False: there is none.
    pub fn cancel_monitor(&self, pid: H::Pid, monitor: &H::Tag) -> bool {
        let monitors = &mut self.lock().common.monitors;
        let before = monitors.len();
        monitors.retain(|(watcher, tag)| *watcher != pid || tag != monitor);
        monitors.len() < before
    }

    /// The owner.
    pub fn owner(&self) -> H::Pid {
        self.lock().common.owner
    }

    /// First half of a change of owner: makes the socket passive, so that no message
    /// comes any more, and returns what it was. `None`: `to` is the owner already.
    ///
    /// **Errors:** `Closed`, `NotOwner`.
    pub fn begin_transfer(&self, from: H::Pid, to: H::Pid) -> Result<Option<Active>, Failure> {
        let mut state = self.lock();
        if matches!(state.role, Role::Closed | Role::Draining(_)) {
            return Err(Failure::Closed);
        }
        if state.common.owner == to {
            return Ok(None);
        }
        if state.common.owner != from {
            return Err(Failure::NotOwner);
        }
        let active = std::mem::replace(&mut state.common.settings.active, Active::Passive);
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role {
            stream.flush(&mut context);
        }
        self.settle(&mut state);
        Ok(Some(active))
    }

    /// Second half: the new owner gets what comes from now on. False: closed meanwhile.
    pub fn finish_transfer(&self, to: H::Pid, active: Active) -> bool {
        let mut state = self.lock();
        if matches!(state.role, Role::Closed | Role::Draining(_)) {
            return false;
        }
        state.common.owner = to;
        state.common.settings.active = active;
        self.rearm(state);
        true
    }

    /// Whether the socket is closed and all its output written.
    pub fn is_closed(&self) -> bool {
        matches!(self.lock().role, Role::Closed)
    }
}

impl<H: Host> Role<H> {
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

    /// Whether the role is over, and why.
    fn take_end(&mut self) -> Option<End> {
        match self {
            Role::Stream(stream) => stream.take_end(),
            Role::Draining(draining) if draining.is_over() => Some(None),
            _ => None,
        }
    }

    /// What the role waits for.
    fn interest(&self, settings: &Settings) -> Option<(&Socket, Interest)> {
        let write_only = Interest {
            read: false,
            write: true,
        };
        Some(match self {
            Role::Connecting(connecting) => (&connecting.socket, write_only),
            Role::Stream(stream) => (stream.socket()?, stream.interest(settings)),
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
