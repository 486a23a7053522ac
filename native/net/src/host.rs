//! What the sockets need of the world above them: processes to tell things to, and
//! memory that these processes can read. The NIF implements it with the VM, the tests
//! with a log.

use crate::endpoint::Endpoint;
use crate::option::{Deliver, Mode};
use crate::settings::Settings;
use crate::stats::Counters;
use proto::Framing;
use proto::reader::{Block, Payload};
use std::ops::Deref;

/// Why a call failed or a socket closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `closed`: the stream or the socket is closed.
    Closed,
    /// `timeout`.
    Timeout,
    /// `badarg`: a value no call of this kind takes.
    BadArgument,
    /// `not_owner`.
    NotOwner,
    /// An errno, by its POSIX name.
    Posix(i32),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Posix(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// What the owner of a socket is told.
#[derive(Debug)]
pub enum Event<'a, B> {
    /// A delivery: `{tcp, S, Data}` or its kin, by the settings.
    Data(Payload<'a, B>),
    /// `{tcp_passive, S}`: the count of `{active, N}` ran out.
    Passive,
    /// `{tcp_error, S, Reason}`.
    Error(Failure),
    /// `{tcp_closed, S}`.
    Closed,
}

/// The one answer to a call that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Try again: what the call waited for may be there.
    Ready,
    /// The call has done its work.
    Done,
    /// The call has failed.
    Failed(Failure),
    /// A send that was refused because too much was queued may be made again.
    Writable,
}

/// What the operator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A poller cannot wait for events: an errno. It tries again.
    PollerFailed(i32),
    /// A panic has closed a socket.
    Panicked,
}

/// The world above one socket. All calls come with the socket's lock held, so they must
/// not block, nor call the endpoint.
pub trait Host: Default + Sized + Send + Sync + 'static {
    /// A process.
    type Pid: Copy + PartialEq + Send + Sync + std::fmt::Debug;
    /// Tells one waiting call of a process from its others.
    type Tag: Send + PartialEq;
    /// A counted reference to a socket and its host.
    type Handle: Clone + Send + Sync + Deref<Target = Endpoint<Self>>;
    /// Memory for a large delivery.
    type Block: Block + Send;
    /// A piece of the caller's data, kept by reference.
    type Kept: AsRef<[u8]> + Send;

    /// Puts a new endpoint where handles can refer to it.
    fn adopt(endpoint: Endpoint<Self>) -> Self::Handle;

    /// Sends a message of the stream to its owner. Messages arrive in the order of the calls.
    fn deliver(
        &self,
        owner: Self::Pid,
        form: Form,
        framing: &mut Framing,
        event: Event<'_, Self::Block>,
    );

    /// Answers a waiting call. False: the process is gone.
    fn reply(pid: Self::Pid, tag: Self::Tag, reply: Reply) -> bool;

    /// Tells whoever looks after the library of something that no socket can tell.
    fn report(report: Report);

    /// Whether the process exists.
    fn is_alive(pid: Self::Pid) -> bool;

    /// Tells a monitoring process that the socket is gone, and why (`None`: normally).
    fn down(&self, pid: Self::Pid, monitor: Self::Tag, reason: Option<Failure>);

    /// Whether somebody can look into mailboxes: else no owner has too many messages.
    fn sees_mailboxes() -> bool;

    /// The socket has paused: whoever sees mailboxes is to look at the owner's, and resume it.
    fn look_at_mailbox(&self);

    /// Tells a process that has promised to report why the owner exits that nobody wants to
    /// know it any more.
    fn release_reporter(&self, reporter: Self::Pid);
}

/// The part of the settings that says what a delivery looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// List or binary.
    pub mode: Mode,
    /// The shape of the message.
    pub deliver: Deliver,
    /// So many leading bytes of a binary become list elements.
    pub header: u32,
}

impl Form {
    pub(crate) fn of(settings: &Settings) -> Form {
        Form {
            mode: settings.mode,
            deliver: settings.deliver,
            header: settings.header,
        }
    }
}

/// A copy of everything that `info` shows of a socket.
#[derive(Debug)]
pub struct Info<Pid> {
    /// The process that owns the socket.
    pub owner: Pid,
    /// The counters of `getstat`.
    pub counters: Counters,
    /// What the socket is.
    pub kind: Kind,
    /// The behavioural settings.
    pub settings: Settings,
    /// Processes that wait in accept.
    pub acceptors: usize,
    /// Processes that wait in recv.
    pub readers: usize,
    /// Processes that wait in send.
    pub writers: usize,
}

/// What a socket is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Being connected.
    Connecting,
    /// Connected.
    Connected,
    /// Listening.
    Listening,
    /// The peer is gone; the socket still has its owner.
    Disconnected,
    /// Closed for everybody; what is queued is still written.
    Draining,
    /// Closed.
    Closed,
}
