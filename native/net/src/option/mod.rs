//! Socket options: one table says of each its name, the type of its value, which calls take it
//! and what it acts on.
//!
//! A kernel option is a row of [`TABLE`] and nothing else: [`kernel`] encodes and decodes it by
//! its [`Codec`]. A behavioural option is a row, a [`Field`] and its place in
//! [`Settings`](crate::settings::Settings).
//!
//! A list of options is decoded as a whole before any of it has an effect; then [`apply`] is
//! called for each, **last to first**, and a refusal leaves the effects there already are.

mod ancillary;
pub mod decode;
pub mod kernel;
mod table;

use std::os::fd::BorrowedFd;

use proto::{Active, ActiveRequest, PacketType};

pub use ancillary::Ancillary;
pub use table::TABLE;

use crate::settings::{MaxQueue, Settings};
use crate::tcp_info::TcpInfo;

/// How an option's value looks to the caller: what a term must be to become a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// `true | false`: [`Value::Bool`].
    Bool,
    /// Any integer, of which the low 32 bits count: [`Value::Int`].
    Int,
    /// An integer not below zero, of which the low 32 bits count: [`Value::Int`].
    Uint,
    /// A boolean or an integer: [`Value::Bool`] or [`Value::Int`].
    BoolOrInt,
    /// Milliseconds not below zero or `infinity`: [`Value::Time`].
    Time,
    /// `{boolean(), Seconds}`: [`Value::Linger`].
    Linger,
    /// A binary: [`Value::Bytes`].
    Bytes,
    /// A binary or a string of bytes, read back as a binary: [`Value::Bytes`].
    Text,
    /// `infinity | Bytes | {Bytes, refuse | close}`: [`Value::MaxQueue`].
    MaxQueue,
    /// `infinity | 1..`: [`Value::MaxMailbox`].
    MaxMailbox,
    /// `list | binary`: [`Value::Mode`].
    Mode,
    /// A packet type: [`Value::Packet`].
    Packet,
    /// `true | false | once | N`: [`Value::Request`] to set, [`Value::Active`] when read.
    Active,
    /// `term | port`: [`Value::Deliver`].
    Deliver,
    /// A list of received control data, only read: [`Value::Ancillary`].
    Ancillary,
    /// A map, only read: [`Value::TcpInfo`].
    TcpInfo,
}

/// The value of an option, in the caller's units.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A switch.
    Bool(bool),
    /// An integer as the caller gave it, cut to its low 64 bits.
    Int(i64),
    /// Milliseconds, None for `infinity`.
    Time(Option<u32>),
    /// Whether to linger, and seconds.
    Linger(bool, i64),
    /// A name or other byte string.
    Bytes(Vec<u8>),
    /// The most that may be queued for sending, None for `infinity`.
    MaxQueue(Option<MaxQueue>),
    /// The most messages in the owner's mailbox, None for `infinity`.
    MaxMailbox(Option<u32>),
    /// The form of delivered data.
    Mode(Mode),
    /// The framing type.
    Packet(PacketType),
    /// What a caller asks the active mode to become.
    Request(ActiveRequest),
    /// The active mode there is.
    Active(Active),
    /// The form of delivered messages.
    Deliver(Deliver),
    /// Control data that came with the handshake.
    Ancillary(Vec<Ancillary>),
    /// The kernel's statistics of the connection.
    TcpInfo(Box<TcpInfo>),
}

/// Whether data is delivered as a list of bytes or as a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A list of bytes.
    List,
    /// A binary.
    Binary,
}

/// Whether a delivered message is `{tcp, Socket, Data}` or `{Socket, {data, Data}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// `{tcp, Socket, Data}`.
    Term,
    /// `{Socket, {data, Data}}`, as a port does.
    Port,
}

/// A set of the calls that take an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls(u8);

impl Calls {
    /// `connect`.
    pub const CONNECT: Calls = Calls(1);
    /// `listen`.
    pub const LISTEN: Calls = Calls(2);
    /// `setopts`; also the options of `fdopen`.
    pub const SET: Calls = Calls(4);
    /// `getopts`.
    pub const GET: Calls = Calls(8);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Calls) -> Calls {
        Calls(self.0 | other.0)
    }

    /// Whether all of `other` are in the set.
    #[must_use]
    pub const fn contain(self, other: Calls) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The behavioural options, kept in [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub enum Field {
    Active,
    Buffer,
    Debug,
    DelaySend,
    Deliver,
    Exclusiveaddruse,
    ExitOnClose,
    Header,
    HighMsgqWatermark,
    HighWatermark,
    LineDelimiter,
    LowMsgqWatermark,
    LowWatermark,
    MaxMailbox,
    MaxQueue,
    Mode,
    Netns,
    Packet,
    PacketSize,
    ReadAhead,
    SendTimeout,
    SendTimeoutClose,
    ShowEconnreset,
}

/// What becomes of a kernel's refusal to set an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller is told `ok`, as the port driver does.
    Ignored,
    /// The caller is told `einval`, whatever the kernel said, as the port driver does.
    Einval,
    /// The caller is told what the kernel said: the extensions do so.
    Errno,
}

/// A setting that a kernel option has a second effect on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// None.
    None,
    /// `linger` also decides what `close` waits for.
    Linger,
    /// `recbuf` enlarges a `buffer` that was not set explicitly.
    Buffer,
}

/// A socket option of the kernel with a fixed level and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelOption {
    /// The level of `setsockopt(2)`.
    pub level: i32,
    /// The name within the level.
    pub option: i32,
    /// What becomes of a refusal.
    pub refusal: Refusal,
    /// What else it changes.
    pub echo: Echo,
    /// Who gives it to an accepted socket.
    pub inherited: Inherited,
}

/// Who gives an accepted socket what its listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// The kernel if it does so: in general for TCP, never for local sockets.
    ByKernel,
    /// The kernel for TCP, a copy for local sockets.
    CopiedIfLocal,
    /// A copy: the kernel does not do it.
    Copied,
}

/// Values that only the stream itself can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamValue {
    /// The bytes accepted for sending that the kernel has not taken yet.
    Queue,
    /// The number of the socket's descriptor, which stays the socket's own.
    Fd,
}

/// What an option acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The kernel's socket.
    Kernel(KernelOption),
    /// A behavioural setting. Whether it is inherited [`Settings::inherit`] says.
    Field(Field),
    /// The control data of the handshake, only read.
    PacketOptions,
    /// The statistics of the connection, only read.
    TcpInfo,
    /// TCP fast open: an integer is the listener's queue, a boolean is `connect`'s switch.
    FastOpen,
    /// A value the stream is asked for, only read.
    Stream(StreamValue),
}

/// One option.
#[derive(Debug)]
pub struct Row {
    /// The name, as an atom.
    pub name: &'static str,
    /// The type of its value.
    pub codec: Codec,
    /// The calls that take it; to others it is an unknown option.
    pub calls: Calls,
    /// What it acts on.
    pub target: Target,
}

impl Row {
    /// The row of a name. A search of the whole table: for tests and for building indexes.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.name == name)
    }
}

/// An option with the value it is to get.
#[derive(Clone, Debug)]
pub enum Setting {
    /// An option of the table.
    Named(&'static Row, Value),
    /// `{raw, Level, Option, Bytes}`.
    Raw {
        /// The level of `setsockopt(2)`.
        level: i32,
        /// The name within the level.
        option: i32,
        /// What to set it to.
        bytes: Vec<u8>,
    },
}

impl Setting {
    /// The behavioural setting this is about, if it is.
    #[must_use]
    pub fn field(&self) -> Option<Field> {
        match self {
            Setting::Named(
                Row {
                    target: Target::Field(field),
                    ..
                },
                _,
            ) => Some(*field),
            _ => None,
        }
    }
}

/// An option to read.
#[derive(Clone, Debug)]
pub enum Query {
    /// An option of the table.
    Named(&'static Row),
    /// `{raw, Level, Option, Size | Bytes}`.
    Raw {
        /// The level of `getsockopt(2)`.
        level: i32,
        /// The name within the level.
        option: i32,
        /// As many bytes as the caller allows; the kernel may look at them.
        buffer: Vec<u8>,
    },
}

/// What became of a [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The value; [`Value::Bytes`] for a raw one.
    Value(Value),
    /// The kernel does not have it for this socket: it is left out of the answer.
    Omitted,
    /// The whole call is `einval`.
    Refused,
    /// The caller of [`read`] knows it.
    Stream(StreamValue),
}

/// An option was refused by its range or by the kernel.
///
/// `setopts` and `listen` return `{error, Errno}`; `connect` exits with `badarg` for `einval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The error as the system numbers it.
    pub errno: i32,
}

impl Refused {
    /// The refusal the port driver knows alone.
    pub const EINVAL: Refused = Refused {
        errno: libc::EINVAL,
    };
}

/// Gives one option its value.
///
/// `Ok(true)`: the owner must be told `tcp_passive`, now.
///
/// # Errors
///
/// [`Refused`], nothing has changed then.
pub fn apply(
    setting: &Setting,
    socket: BorrowedFd<'_>,
    settings: &mut Settings,
) -> Result<bool, Refused> {
    let (row, value) = match setting {
        Setting::Named(row, value) => (row, value),
        Setting::Raw {
            level,
            option,
            bytes,
        } => {
            // The port driver ignores a refusal.
            let _ = kernel::set_bytes(socket, *level, *option, bytes);
            return Ok(false);
        }
    };
    match &row.target {
        Target::Kernel(option) => {
            kernel::set(socket, option, value)?;
            settings.echo(option.echo, value);
            Ok(false)
        }
        Target::Field(field) => settings.set(*field, value),
        Target::FastOpen => kernel::set_fast_open(socket, value).map(|()| false),
        Target::PacketOptions | Target::TcpInfo | Target::Stream(_) => Err(Refused::EINVAL),
    }
}

/// Reads one option. `socket` is None once it is closed: what only the kernel knows is omitted.
#[must_use]
pub fn read(query: Query, socket: Option<BorrowedFd<'_>>, settings: &Settings) -> Reading {
    let row = match query {
        Query::Named(row) => row,
        Query::Raw {
            level,
            option,
            buffer,
        } => {
            return socket
                .and_then(|socket| kernel::get_bytes(socket, level, option, buffer).ok())
                .map_or(Reading::Omitted, |bytes| {
                    Reading::Value(Value::Bytes(bytes))
                });
        }
    };
    let from_kernel = |read: &dyn Fn(BorrowedFd<'_>) -> std::io::Result<Value>| {
        socket
            .and_then(|socket| read(socket).ok())
            .map_or(Reading::Omitted, Reading::Value)
    };
    match &row.target {
        Target::Kernel(option) => from_kernel(&|socket| kernel::get(socket, option, row.codec)),
        Target::Field(field) => settings
            .get(*field)
            .map_or(Reading::Omitted, Reading::Value),
        Target::FastOpen => from_kernel(&kernel::fast_open),
        Target::TcpInfo => from_kernel(&|socket| {
            kernel::tcp_info(socket).map(|info| Value::TcpInfo(Box::new(info)))
        }),
        Target::PacketOptions => match socket {
            Some(socket) => match kernel::packet_options(socket) {
                Ok(Some(value)) => Reading::Value(value),
                // A family that has none.
                Ok(None) => Reading::Refused,
                Err(_) => Reading::Omitted,
            },
            None => Reading::Omitted,
        },
        Target::Stream(value) => Reading::Stream(*value),
    }
}
