//! The behavioural options of a socket: their defaults, ranges and inheritance in one place.

use proto::{Active, Framing, PacketType};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use crate::option::kernel::low32;
use crate::option::{Deliver, Echo, Field, Mode, Refused, Value};

/// Every behavioural option of one socket.
///
/// [`Settings::default`] is a socket nobody has set anything on. It is passive: `connect` and
/// `listen` put `{active, true}` before the caller's options, `fdopen` does not.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `packet`, `packet_size`, `line_delimiter` and the part of `buffer` that limits lines.
    pub framing: Framing,
    /// `active`.
    pub active: Active,
    /// `mode`.
    pub mode: Mode,
    /// `deliver`.
    pub deliver: Deliver,
    /// `buffer`, in bytes, and who said so.
    pub buffer: Buffer,
    /// `send_timeout_close`: a send that timed out closes the socket.
    pub send_timeout_close: bool,
    /// `delay_send`: queue always, write later.
    pub delay_send: bool,
    /// `exit_on_close`: an end of stream seen closes the socket for good.
    pub exit_on_close: bool,
    /// `show_econnreset`: tell a reset from an end of stream.
    pub show_econnreset: bool,
    /// `read_ahead`: read more than the frame that is waited for.
    pub read_ahead: bool,
    /// `debug`: kept and read back.
    pub debug: bool,
    limits: Arc<Limits>,
}

/// The settings that are wide and seldom changed: sockets that have the same ones from the
/// same listener, or the defaults, share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `header`: so many bytes of a delivered binary become list elements.
    pub header: u32,
    /// `high_watermark`: bytes queued for sending at which a sender has to wait.
    pub high_watermark: u32,
    /// `low_watermark`: bytes queued for sending below which waiting senders go on.
    pub low_watermark: u32,
    /// `high_msgq_watermark`: kept and read back, there is no queue of messages here.
    pub high_msgq_watermark: u32,
    /// `low_msgq_watermark`: kept and read back.
    pub low_msgq_watermark: u32,
    /// `send_timeout`, in milliseconds; None is `infinity`.
    pub send_timeout: Option<u32>,
    /// `max_queue`: the most bytes that may be queued for sending; None is `infinity`.
    pub max_queue: Option<MaxQueue>,
    /// `max_mailbox`: messages in the owner's mailbox, from 1; None is `infinity`.
    pub max_mailbox: Option<u32>,
    /// `linger` as it was set: `Some(seconds)` if it is on. `close` waits by it; the kernel has
    /// its own copy.
    pub linger: Option<u32>,
    /// `netns`: the network namespace the socket was opened in. A set after that changes only
    /// what is read back.
    pub netns: Option<Box<[u8]>>,
}

/// A limit of the bytes queued for sending, for every send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxQueue {
    /// Bytes, those of the send at hand and its header included.
    pub bytes: u32,
    /// What becomes of a send that would exceed it.
    pub overflow: Overflow,
}

/// What becomes of a send that would queue too much. Nothing of it is taken in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The socket lives on.
    Refuse,
    /// The queue is dropped and the socket closed, as by `send_timeout_close`.
    Close,
}

/// The size of `buffer`, and how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes, at least 1.
    pub size: u32,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The default, or derived from `recbuf`, which may enlarge it again.
    Derived,
    /// `{buffer, N}` on this socket: `recbuf` leaves it alone.
    Explicit,
    /// `{buffer, N}` on the listener: as good as explicit until `recbuf` enlarges it.
    Inherited,
}

impl Buffer {
    /// The most bytes one raw delivery may have, if the user set `buffer`; None: it adapts.
    #[must_use]
    pub fn delivery_limit(self) -> Option<u32> {
        match self.origin {
            Origin::Derived => None,
            Origin::Explicit | Origin::Inherited => Some(self.size),
        }
    }
}

/// The default of `buffer`, in bytes, on every release.
const BUFFER: u32 = 9216;

/// The most that getopts tells of a watermark of messages.
const MSGQ_MAX: u32 = i32::MAX.cast_unsigned();

impl Default for Settings {
    fn default() -> Self {
        Settings {
            framing: Framing::new(),
            active: Active::Passive,
            mode: Mode::List,
            deliver: Deliver::Term,
            buffer: Buffer {
                size: BUFFER,
                origin: Origin::Derived,
            },
            send_timeout_close: false,
            delay_send: false,
            exit_on_close: true,
            show_econnreset: false,
            read_ahead: true,
            debug: false,
            limits: Arc::clone(&DEFAULT_LIMITS),
        }
    }
}

static DEFAULT_LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| {
    Arc::new(Limits {
        header: 0,
        high_watermark: 8192,
        low_watermark: 4096,
        high_msgq_watermark: 8192,
        low_msgq_watermark: 4096,
        send_timeout: None,
        max_queue: None,
        max_mailbox: None,
        linger: None,
        netns: None,
    })
});

impl Deref for Settings {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        &self.limits
    }
}

impl Settings {
    /// What an accepted socket starts with, copied from its listener at the time of accept.
    ///
    /// Everything but `line_delimiter`, which is LF again, and `netns`. A count of `active`
    /// starts as the listener has it; the listener's own is not used up. That `buffer` was set
    /// explicitly is known of the listener only: `recbuf` on the accepted socket may enlarge it.
    #[must_use]
    pub fn inherit(&self) -> Settings {
        let mut framing = Framing::new();
        framing.packet = self.framing.packet;
        framing.packet_size = self.framing.packet_size;
        framing.line_limit = self.framing.line_limit;
        let origin = match self.buffer.origin {
            Origin::Derived => Origin::Derived,
            Origin::Explicit | Origin::Inherited => Origin::Inherited,
        };
        let buffer = Buffer {
            size: self.buffer.size,
            origin,
        };
        let mut inherited = Settings {
            framing,
            buffer,
            ..self.clone()
        };
        if self.netns.is_some() {
            inherited.change(|limits| limits.netns = None);
        }
        inherited
    }

    /// Changes the limits of this socket alone.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Limits)) {
        let mut limits = Limits::clone(&self.limits);
        change(&mut limits);
        self.set_limits(limits);
    }

    fn set_limits(&mut self, limits: Limits) {
        if limits == *self.limits {
            return;
        }
        match Arc::get_mut(&mut self.limits) {
            Some(own) => *own = limits,
            None if limits == **DEFAULT_LIMITS => self.limits = Arc::clone(&DEFAULT_LIMITS),
            None => self.limits = Arc::new(limits),
        }
    }

    /// Gives a setting its value.
    ///
    /// `Ok(true)`: the owner must be told `tcp_passive`, now.
    ///
    /// # Errors
    ///
    /// [`Refused`] for a value out of range or of another type; nothing has changed then.
    pub fn set(&mut self, field: Field, value: &Value) -> Result<bool, Refused> {
        match (field, value) {
            (Field::Active, Value::Request(request)) => {
                return self.active.request(*request).map_err(|_| Refused::EINVAL);
            }
            (Field::Debug, Value::Bool(on)) => self.debug = *on,
            (Field::DelaySend, Value::Bool(on)) => self.delay_send = *on,
            // A matter of another system; reads back false.
            (Field::Exclusiveaddruse, Value::Bool(_)) => {}
            (Field::ExitOnClose, Value::Bool(on)) => self.exit_on_close = *on,
            (Field::ReadAhead, Value::Bool(on)) => self.read_ahead = *on,
            (Field::SendTimeoutClose, Value::Bool(on)) => self.send_timeout_close = *on,
            (Field::ShowEconnreset, Value::Bool(on)) => self.show_econnreset = *on,
            (Field::Deliver, Value::Deliver(deliver)) => self.deliver = *deliver,
            (Field::Mode, Value::Mode(mode)) => self.mode = *mode,
            (Field::Netns, Value::Bytes(path)) => {
                self.change(|limits| limits.netns = Some(path.as_slice().into()));
            }
            (Field::Packet, Value::Packet(packet)) => self.framing.packet = *packet,
            (Field::MaxQueue, Value::MaxQueue(limit)) => {
                self.change(|limits| limits.max_queue = *limit);
            }
            (Field::MaxMailbox, Value::MaxMailbox(limit)) => {
                self.change(|limits| limits.max_mailbox = *limit);
            }
            (Field::SendTimeout, Value::Time(time)) => {
                self.change(|limits| limits.send_timeout = *time);
            }
            (_, Value::Int(value)) => return self.set_int(field, low32(*value)).map(|()| false),
            _ => return Err(Refused::EINVAL),
        }
        Ok(false)
    }

    /// The value of a setting; None if it has none to show.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<Value> {
        Some(match field {
            Field::Active => Value::Active(self.active),
            Field::Buffer => Value::Int(self.buffer.size.into()),
            Field::Debug => Value::Bool(self.debug),
            Field::DelaySend => Value::Bool(self.delay_send),
            Field::Deliver => Value::Deliver(self.deliver),
            Field::Exclusiveaddruse => Value::Bool(false),
            Field::ExitOnClose => Value::Bool(self.exit_on_close),
            Field::Header => Value::Int(self.header.into()),
            Field::HighMsgqWatermark => Value::Int(self.high_msgq_watermark.min(MSGQ_MAX).into()),
            Field::HighWatermark => Value::Int(self.high_watermark.into()),
            Field::LineDelimiter => Value::Int(self.framing.delimiter.into()),
            Field::LowMsgqWatermark => Value::Int(self.low_msgq_watermark.min(MSGQ_MAX).into()),
            Field::LowWatermark => Value::Int(self.low_watermark.into()),
            Field::MaxMailbox => Value::MaxMailbox(self.max_mailbox),
            Field::MaxQueue => Value::MaxQueue(self.max_queue),
            Field::Mode => Value::Mode(self.mode),
            Field::Netns => Value::Bytes(self.netns.as_deref()?.to_vec()),
            Field::Packet => Value::Packet(self.framing.packet),
            Field::PacketSize => Value::Int(self.framing.packet_size.into()),
            Field::ReadAhead => Value::Bool(self.read_ahead),
            Field::SendTimeout => Value::Time(self.send_timeout),
            Field::SendTimeoutClose => Value::Bool(self.send_timeout_close),
            Field::ShowEconnreset => Value::Bool(self.show_econnreset),
        })
    }

    /// Whether `close` resets the connection and drops what is queued.
    #[must_use]
    pub fn resets_on_close(&self) -> bool {
        self.linger == Some(0)
    }

    /// Whether `close` waits for what the kernel has for the peer.
    pub(crate) fn lingers(&self) -> bool {
        self.linger.is_some_and(|seconds| seconds > 0)
    }

    /// What a kernel option that was just set changes here.
    pub(crate) fn echo(&mut self, echo: Echo, value: &Value) {
        match (echo, value) {
            (Echo::Linger, Value::Linger(on, seconds)) => {
                let linger = on.then(|| low32(*seconds).cast_unsigned());
                self.change(|limits| limits.linger = linger);
            }
            (Echo::Buffer, Value::Int(size)) => {
                // The size asked for, not what the kernel made of it.
                let size = low32(*size);
                if self.buffer.origin != Origin::Explicit
                    && size > 0
                    && size.cast_unsigned() > self.buffer.size
                {
                    self.set_buffer(size, Origin::Derived);
                }
            }
            _ => {}
        }
    }

    fn set_int(&mut self, field: Field, value: i32) -> Result<(), Refused> {
        let not_below = |least: i32| value.max(least).cast_unsigned();
        let mut limits = Limits::clone(&self.limits);
        match field {
            Field::Buffer => self.set_buffer(value.max(1), Origin::Explicit),
            Field::Header => limits.header = value.cast_unsigned(),
            Field::HighWatermark => {
                limits.high_watermark = not_below(0);
                limits.low_watermark = limits.low_watermark.min(limits.high_watermark);
            }
            Field::LowWatermark => {
                limits.low_watermark = not_below(0);
                limits.high_watermark = limits.high_watermark.max(limits.low_watermark);
            }
            Field::HighMsgqWatermark => {
                limits.high_msgq_watermark = msgq_watermark(value)?;
                limits.low_msgq_watermark =
                    limits.low_msgq_watermark.min(limits.high_msgq_watermark);
            }
            Field::LowMsgqWatermark => {
                limits.low_msgq_watermark = msgq_watermark(value)?;
                limits.high_msgq_watermark =
                    limits.high_msgq_watermark.max(limits.low_msgq_watermark);
            }
            Field::LineDelimiter => {
                let [byte, ..] = value.to_le_bytes();
                self.framing.delimiter = byte;
            }
            Field::PacketSize => self.framing.packet_size = value.cast_unsigned(),
            _ => return Err(Refused::EINVAL),
        }
        self.set_limits(limits);
        Ok(())
    }

    fn set_buffer(&mut self, size: i32, origin: Origin) {
        let size = size.cast_unsigned();
        self.buffer = Buffer { size, origin };
        self.framing.line_limit = size;
    }
}

/// 0 and -1 have a meaning of their own in the emulator and are refused; what is above 2^31-1 is
/// taken.
fn msgq_watermark(value: i32) -> Result<u32, Refused> {
    match value {
        0 | -1 => Err(Refused::EINVAL),
        value => Ok(value.cast_unsigned()),
    }
}

/// How `packet` reads back: the digit 0 for raw, and the old name of `ssl_tls`.
#[must_use]
pub fn packet_read_back(packet: PacketType) -> &'static str {
    match packet {
        PacketType::Raw => "0",
        PacketType::SslTls => "ssl",
        _ => packet.name(),
    }
}
