//! What a socket can be asked.

use crate::address::{Address, Family};
use crate::endpoint::{Endpoint, Role, State};
use crate::host::{Failure, Host, Info, Kind};
use crate::option::{self, Query, Reading, Refused, StreamValue, Value};
use crate::stats::Counters;
use socket2::Socket;
use std::os::fd::{AsFd, AsRawFd, RawFd};

impl<H: Host> Endpoint<H> {
    /// Reads options; `Reading`s come in the order of the queries.
    ///
    /// **Errors:** `EINVAL` if the socket is closed.
    pub fn get_options(&self, queries: Vec<Query>) -> Result<Vec<Reading>, Refused> {
        let state = self.lock();
        if state.role.is_gone() {
            return Err(Refused::EINVAL);
        }
        let socket = state.role.socket().map(AsFd::as_fd);
        let read = |query| match option::read(query, socket, &state.common.settings) {
            Reading::Stream(StreamValue::Queue) => {
                let queued = state.role.queued();
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
        if state.role.is_gone() {
            return None;
        }
        Some(state.common.counters.and_pending(state.role.queued()))
    }

    /// Bytes queued for sending, also of a socket that is closed for everybody.
    pub fn queued(&self) -> usize {
        self.lock().role.queued()
    }

    /// Everything that `info` shows.
    pub fn info(&self) -> Info<H::Pid> {
        Self::describe(&self.lock())
    }

    pub(crate) fn describe(state: &State<H>) -> Info<H::Pid> {
        let common = &state.common;
        let mut info = Info {
            owner: common.owner,
            counters: common.counters.and_pending(0),
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
        self.lock().common.watch.family
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

    /// Whether the socket is closed for its users; output may still be written.
    pub fn is_gone(&self) -> bool {
        self.lock().role.is_gone()
    }

    /// Whether the socket is closed and all its output written.
    pub fn is_closed(&self) -> bool {
        matches!(self.lock().role, Role::Closed)
    }
}
