//! The table of options, by name within each kind.

use libc::{
    IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_RECVTCLASS,
    IPV6_TCLASS, IPV6_V6ONLY, SO_BINDTODEVICE, SO_BUSY_POLL, SO_DONTROUTE, SO_INCOMING_CPU,
    SO_KEEPALIVE, SO_LINGER, SO_PRIORITY, SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF,
    SOL_SOCKET, TCP_CONGESTION, TCP_CORK, TCP_DEFER_ACCEPT, TCP_KEEPCNT, TCP_KEEPIDLE,
    TCP_KEEPINTVL, TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_QUICKACK, TCP_USER_TIMEOUT,
};

use super::{
    Calls, Codec, Echo, Field, Inherited, KernelOption, Refusal, Row, StreamValue, Target,
};

/// Every call there is.
const ALL: Calls = OPEN.and(SET_GET);
/// Not at `connect` or `listen`.
const SET_GET: Calls = Calls::SET.and(Calls::GET);
/// Not readable, not settable later.
const OPEN: Calls = Calls::CONNECT.and(Calls::LISTEN);

/// At `connect` and later, not readable.
const CONNECT_SET: Calls = Calls::CONNECT.and(Calls::SET);
/// Not at `connect`.
const LISTEN_LATER: Calls = Calls::LISTEN.and(SET_GET);

/// Has an effect on `close` too.
const LINGER: KernelOption = copied_if_local(echo(Echo::Linger, ignored(SOL_SOCKET, SO_LINGER)));

/// Every option that is set or read on an open socket, or kept with it.
///
/// What only says how to open one (`ip`, `ifaddr`, `port`, `fd`, `backlog`, `protocol`, families)
/// is not here: it never reaches this crate as an option.
#[rustfmt::skip] // One line a row.
pub static TABLE: &[Row] = &[
    // Behaviour.
    field("active", Codec::Active, ALL, Field::Active),
    field("buffer", Codec::Int, ALL, Field::Buffer),
    field("debug", Codec::Bool, ALL, Field::Debug),
    field("delay_send", Codec::Bool, ALL, Field::DelaySend),
    field("deliver", Codec::Deliver, ALL, Field::Deliver),
    field("exclusiveaddruse", Codec::Bool, ALL, Field::Exclusiveaddruse),
    field("exit_on_close", Codec::Bool, ALL, Field::ExitOnClose),
    field("header", Codec::Uint, ALL, Field::Header),
    field("high_msgq_watermark", Codec::Int, ALL, Field::HighMsgqWatermark),
    field("high_watermark", Codec::Int, ALL, Field::HighWatermark),
    field("line_delimiter", Codec::Int, CONNECT_SET, Field::LineDelimiter),
    field("low_msgq_watermark", Codec::Int, ALL, Field::LowMsgqWatermark),
    field("low_watermark", Codec::Int, ALL, Field::LowWatermark),
    // Beyond OTP.
    field("max_mailbox", Codec::MaxMailbox, ALL, Field::MaxMailbox),
    field("max_queue", Codec::MaxQueue, ALL, Field::MaxQueue),
    field("mode", Codec::Mode, ALL, Field::Mode),
    // At `connect` and `listen` it says how to open; see `Settings::netns`.
    field("netns", Codec::Bytes, SET_GET, Field::Netns),
    field("packet", Codec::Packet, ALL, Field::Packet),
    field("packet_size", Codec::Uint, ALL, Field::PacketSize),
    field("read_ahead", Codec::Bool, ALL, Field::ReadAhead),
    field("send_timeout", Codec::Time, ALL, Field::SendTimeout),
    field("send_timeout_close", Codec::Bool, ALL, Field::SendTimeoutClose),
    field("show_econnreset", Codec::Bool, ALL, Field::ShowEconnreset),
    // The socket level.
    kernel("bind_to_device", Codec::Bytes, ALL, reported(SOL_SOCKET, SO_BINDTODEVICE)),
    kernel("busy_poll", Codec::Int, ALL, extension(SOL_SOCKET, SO_BUSY_POLL)),
    kernel("dontroute", Codec::Bool, SET_GET, ignored(SOL_SOCKET, SO_DONTROUTE)),
    kernel("incoming_cpu", Codec::Int, ALL, extension(SOL_SOCKET, SO_INCOMING_CPU)),
    kernel("keepalive", Codec::Bool, ALL, copied_if_local(ignored(SOL_SOCKET, SO_KEEPALIVE))),
    kernel("linger", Codec::Linger, ALL, LINGER),
    kernel("priority", Codec::Int, ALL, copied(reported(SOL_SOCKET, SO_PRIORITY))),
    kernel("recbuf", Codec::Int, ALL, echo(Echo::Buffer, ignored(SOL_SOCKET, SO_RCVBUF))),
    kernel("reuseaddr", Codec::Bool, ALL, copied_if_local(ignored(SOL_SOCKET, SO_REUSEADDR))),
    kernel("reuseport", Codec::Bool, ALL, ignored(SOL_SOCKET, SO_REUSEPORT)),
    // Linux balances the load with the one option there is.
    kernel("reuseport_lb", Codec::Bool, ALL, ignored(SOL_SOCKET, SO_REUSEPORT)),
    kernel("sndbuf", Codec::Int, ALL, ignored(SOL_SOCKET, SO_SNDBUF)),
    // IPv4, also taken by IPv6 sockets.
    kernel("recvtos", Codec::Bool, ALL, reported(IPPROTO_IP, IP_RECVTOS)),
    kernel("recvttl", Codec::Bool, ALL, reported(IPPROTO_IP, IP_RECVTTL)),
    kernel("tos", Codec::Int, ALL, reported(IPPROTO_IP, IP_TOS)),
    kernel("ttl", Codec::Int, ALL, reported(IPPROTO_IP, IP_TTL)),
    // IPv6.
    kernel("ipv6_v6only", Codec::Bool, LISTEN_LATER, reported(IPPROTO_IPV6, IPV6_V6ONLY)),
    kernel("recvtclass", Codec::Bool, ALL, reported(IPPROTO_IPV6, IPV6_RECVTCLASS)),
    kernel("tclass", Codec::Int, ALL, reported(IPPROTO_IPV6, IPV6_TCLASS)),
    // TCP.
    kernel("congestion", Codec::Text, ALL, extension(IPPROTO_TCP, TCP_CONGESTION)),
    kernel("defer_accept", Codec::Int, ALL, extension(IPPROTO_TCP, TCP_DEFER_ACCEPT)),
    kernel("keepcnt", Codec::Int, ALL, ignored(IPPROTO_TCP, TCP_KEEPCNT)),
    kernel("keepidle", Codec::Int, ALL, ignored(IPPROTO_TCP, TCP_KEEPIDLE)),
    kernel("keepintvl", Codec::Int, ALL, ignored(IPPROTO_TCP, TCP_KEEPINTVL)),
    kernel("nodelay", Codec::Bool, ALL, ignored(IPPROTO_TCP, TCP_NODELAY)),
    kernel("nopush", Codec::Bool, SET_GET, ignored(IPPROTO_TCP, TCP_CORK)),
    kernel("notsent_lowat", Codec::Uint, ALL, extension(IPPROTO_TCP, TCP_NOTSENT_LOWAT)),
    kernel("quickack", Codec::Bool, ALL, extension(IPPROTO_TCP, TCP_QUICKACK)),
    kernel("user_timeout", Codec::Uint, ALL, ignored(IPPROTO_TCP, TCP_USER_TIMEOUT)),
    // Neither one kernel option nor a setting.
    other("fastopen", Codec::BoolOrInt, ALL, Target::FastOpen),
    other("pktoptions", Codec::Ancillary, Calls::GET, Target::PacketOptions),
    other("fd", Codec::Int, Calls::GET, Target::Stream(StreamValue::Fd)),
    other("queue", Codec::Int, Calls::GET, Target::Stream(StreamValue::Queue)),
    other("tcp_info", Codec::TcpInfo, Calls::GET, Target::TcpInfo),
];

const fn field(name: &'static str, codec: Codec, calls: Calls, field: Field) -> Row {
    Row {
        name,
        codec,
        calls,
        target: Target::Field(field),
    }
}

const fn kernel(name: &'static str, codec: Codec, calls: Calls, option: KernelOption) -> Row {
    Row {
        name,
        codec,
        calls,
        target: Target::Kernel(option),
    }
}

const fn other(name: &'static str, codec: Codec, calls: Calls, target: Target) -> Row {
    Row {
        name,
        codec,
        calls,
        target,
    }
}

const fn ignored(level: i32, option: i32) -> KernelOption {
    let refusal = Refusal::Ignored;
    KernelOption {
        level,
        option,
        refusal,
        echo: Echo::None,
        inherited: Inherited::ByKernel,
    }
}

const fn reported(level: i32, option: i32) -> KernelOption {
    KernelOption {
        refusal: Refusal::Einval,
        ..ignored(level, option)
    }
}

const fn extension(level: i32, option: i32) -> KernelOption {
    KernelOption {
        refusal: Refusal::Errno,
        ..ignored(level, option)
    }
}

const fn copied_if_local(option: KernelOption) -> KernelOption {
    KernelOption {
        inherited: Inherited::CopiedIfLocal,
        ..option
    }
}

const fn copied(option: KernelOption) -> KernelOption {
    KernelOption {
        inherited: Inherited::Copied,
        ..option
    }
}

const fn echo(echo: Echo, option: KernelOption) -> KernelOption {
    KernelOption { echo, ..option }
}
