//! What an observer sees of a socket: one look under its lock, and nobody is asked.

use crate::address::{Address, Family};
use crate::endpoint::{Endpoint, Role};
use crate::host::{Host, Info, Kind};
use crate::option::Mode;
use crate::option::kernel;
use crate::tcp_info::TcpInfo;
use proto::{Active, PacketType};
use socket2::Socket;
use std::os::fd::AsFd;

/// A socket as it is at one moment.
#[derive(Debug)]
pub struct Snapshot<Pid> {
    /// What the socket is.
    pub kind: Kind,
    /// The process that owns it.
    pub owner: Pid,
    /// The family it was opened with.
    pub family: Family,
    /// The address of this end; `None` once the fd is gone.
    pub local: Option<Address>,
    /// The address of the other end, of a connection.
    pub remote: Option<Address>,
    /// `active`.
    pub active: Active,
    /// Whether it waits for its owner to read, by `max_mailbox`.
    pub paused: bool,
    /// `mode`.
    pub mode: Mode,
    /// `packet`.
    pub packet: PacketType,
    /// Bytes delivered, headers included.
    pub received: u64,
    /// Bytes given to send, headers included.
    pub sent: u64,
    /// Bytes queued for sending here; the kernel has its own queue.
    pub queued: usize,
    /// Who waits.
    pub waiting: Waiting,
    /// Microseconds, smoothed by the kernel; `None` where it does not know one.
    pub rtt: Option<u64>,
    /// Milliseconds since the kernel sent or received data last; `None` for what is no TCP
    /// connection.
    pub idle: Option<u64>,
    /// Connections that wait for an accept, of a TCP listener.
    pub backlog: Option<u64>,
}

/// Processes that wait for a call's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// In accept.
    pub acceptors: usize,
    /// In recv.
    pub readers: usize,
    /// In send.
    pub writers: usize,
}

impl<H: Host> Endpoint<H> {
    /// What the socket is, and the bytes it has queued for sending.
    pub fn kind(&self) -> (Kind, usize) {
        let state = self.lock();
        match &state.role {
            Role::Connecting(_) => (Kind::Connecting, 0),
            Role::Stream(stream) => (stream.kind(), stream.queued()),
            Role::Listener(_) => (Kind::Listening, 0),
            Role::Draining(draining) => (Kind::Draining, draining.queued()),
            Role::Closed => (Kind::Closed, 0),
        }
    }

    /// How the socket is now. Asks the kernel three times, and no process.
    pub fn snapshot(&self) -> Snapshot<H::Pid> {
        let state = self.lock();
        let Info {
            owner,
            counters,
            kind,
            settings,
            acceptors,
            readers,
            writers,
        } = Self::describe(&state);
        let (kind, queued) = match &state.role {
            Role::Draining(draining) => (Kind::Draining, draining.queued()),
            Role::Stream(stream) => (kind, stream.queued()),
            _ => (kind, 0),
        };
        let socket = state.role.socket();
        let address = |ask: fn(&Socket) -> std::io::Result<socket2::SockAddr>| {
            socket
                .and_then(|socket| ask(socket).ok())
                .map(|address| Address::from_system(&address))
        };
        let tcp_info = socket.and_then(|socket| kernel::tcp_info(socket.as_fd()).ok());
        let number = |name| {
            tcp_info
                .as_ref()
                .and_then(|info: &TcpInfo| info.number(name))
        };
        let connected = matches!(kind, Kind::Connected | Kind::Draining);
        let of_connection = |value: Option<u64>| value.filter(|_| connected);
        Snapshot {
            kind,
            owner,
            family: state.common.watch.family,
            local: address(Socket::local_addr),
            remote: address(Socket::peer_addr),
            active: settings.active,
            paused: matches!(&state.role, Role::Stream(stream) if stream.gauge.paused),
            mode: settings.mode,
            packet: settings.framing.packet,
            received: counters.received.octets,
            sent: counters.sent.octets,
            queued,
            waiting: Waiting {
                acceptors,
                readers,
                writers,
            },
            rtt: of_connection(number("rtt")),
            idle: of_connection(number("last_data_sent_ms").min(number("last_data_recv_ms"))),
            backlog: number("unacked").filter(|_| kind == Kind::Listening),
        }
    }
}
