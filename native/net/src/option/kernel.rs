//! Options of the kernel's socket: values to the bytes of `setsockopt(2)` and back.

use std::io;
use std::os::fd::BorrowedFd;

use libc::{
    IP_PKTOPTIONS, IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_DOMAIN, SO_PRIORITY,
    SOL_SOCKET, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_INFO,
};

use super::{Codec, Inherited, KernelOption, Refusal, Refused, TABLE, Target, Value, ancillary};
use crate::address::Family;
use crate::sys::sockopt;
use crate::tcp_info::TcpInfo;

/// `IPV6_2292PKTOPTIONS` of linux/in6.h, which libc does not name.
const IPV6_2292PKTOPTIONS: i32 = 6;

/// The longest name of a device or of a congestion control, in bytes.
const NAME_MAX: usize = 16;

/// Room for a whole `struct tcp_info` of the kernels to come, in bytes.
const TCP_INFO_MAX: usize = 512;

/// Room for the control data of one handshake, in bytes.
const CONTROL_MAX: usize = 512;

/// Sets an option.
///
/// # Errors
///
/// What [`KernelOption::refusal`] makes of the kernel's refusal. A value that cannot be put into
/// the option's bytes at all is always refused.
pub fn set(socket: BorrowedFd<'_>, option: &KernelOption, value: &Value) -> Result<(), Refused> {
    let result = match value {
        Value::Bool(on) => set_int(socket, option.level, option.option, i32::from(*on)),
        Value::Int(value) => set_int(socket, option.level, option.option, low32(*value)),
        Value::Linger(on, seconds) => {
            let seconds = low32(*seconds);
            if *on && seconds < 0 {
                return Err(Refused::EINVAL);
            }
            let [on, seconds] = [i32::from(*on).to_ne_bytes(), seconds.to_ne_bytes()];
            set_bytes(
                socket,
                option.level,
                option.option,
                [on, seconds].as_flattened(),
            )
        }
        Value::Bytes(name) if name.len() <= NAME_MAX => {
            set_bytes(socket, option.level, option.option, name)
        }
        _ => return Err(Refused::EINVAL),
    };
    result.or_else(|error| match option.refusal {
        Refusal::Ignored => Ok(()),
        Refusal::Einval => Err(Refused::EINVAL),
        Refusal::Errno => Err(Refused {
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        }),
    })
}

/// Reads an option.
///
/// # Errors
///
/// The kernel's: the option does not exist for the socket, or the kernel lacks it.
pub fn get(socket: BorrowedFd<'_>, option: &KernelOption, codec: Codec) -> io::Result<Value> {
    let KernelOption { level, option, .. } = *option;
    match codec {
        Codec::Bool => Ok(Value::Bool(int(socket, level, option)? != 0)),
        Codec::Uint => Ok(Value::Int(i64::from(
            int(socket, level, option)?.cast_unsigned(),
        ))),
        Codec::Linger => {
            let bytes = get_bytes(socket, level, option, vec![0; 8])?;
            let (on, seconds) = bytes.split_at_checked(4).ok_or_else(short)?;
            Ok(Value::Linger(int_of(on) != 0, int_of(seconds).into()))
        }
        Codec::Bytes | Codec::Text => {
            let mut bytes = get_bytes(socket, level, option, vec![0; NAME_MAX])?;
            let end = bytes
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(bytes.len());
            bytes.truncate(end);
            Ok(Value::Bytes(bytes))
        }
        _ => Ok(Value::Int(i64::from(int(socket, level, option)?))),
    }
}

/// Sets an option to these bytes and keeps type of service and priority independent: Linux
/// derives the priority anew from each type of service.
///
/// # Errors
///
/// The kernel's.
pub fn set_bytes(socket: BorrowedFd<'_>, level: i32, option: i32, bytes: &[u8]) -> io::Result<()> {
    if (level, option) != (IPPROTO_IP, IP_TOS) {
        return sockopt::set(socket, level, option, bytes);
    }
    let priority = int(socket, SOL_SOCKET, SO_PRIORITY);
    sockopt::set(socket, level, option, bytes)?;
    if let Ok(priority) = priority {
        // May be refused to a process that has lost its privileges: the type of service is set.
        let _ = sockopt::set(socket, SOL_SOCKET, SO_PRIORITY, &priority.to_ne_bytes());
    }
    Ok(())
}

/// Reads an option into `buffer`, of which the answer is what the kernel says it wrote.
///
/// # Errors
///
/// The kernel's.
pub fn get_bytes(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    mut buffer: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let len = sockopt::get(socket, level, option, &mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Gives a newly accepted socket what its listener has and the kernel does not pass on.
///
/// Linux copies the options of a TCP listener, but for its priority; local sockets are made afresh.
///
/// # Errors
///
/// The kernel's; the new socket is to be closed and the error to be returned from accept.
pub fn inherit(
    listener: BorrowedFd<'_>,
    accepted: BorrowedFd<'_>,
    family: Family,
) -> Result<(), Refused> {
    for row in TABLE {
        let Target::Kernel(option) = &row.target else {
            continue;
        };
        let is_copied = match option.inherited {
            Inherited::ByKernel => false,
            Inherited::CopiedIfLocal => family == Family::Local,
            Inherited::Copied => true,
        };
        if !is_copied {
            continue;
        }
        match get(listener, option, row.codec) {
            // The state of a fresh socket.
            Ok(Value::Bool(false) | Value::Int(0) | Value::Linger(false, _)) | Err(_) => {}
            Ok(value) => set(accepted, option, &value)?,
        }
    }
    Ok(())
}

/// The family of a socket, for one that was adopted; None if this crate does not serve it.
///
/// # Errors
///
/// The kernel's: `EBADF`, `ENOTSOCK`.
pub fn family(socket: BorrowedFd<'_>) -> io::Result<Option<Family>> {
    Ok(Family::from_domain(
        int(socket, SOL_SOCKET, SO_DOMAIN)?.into(),
    ))
}

/// Sets TCP fast open: the length of a listener's queue, or whether `connect` may send at once.
pub(super) fn set_fast_open(socket: BorrowedFd<'_>, value: &Value) -> Result<(), Refused> {
    let result = match value {
        Value::Bool(on) => set_int(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, i32::from(*on)),
        Value::Int(queue) => set_int(socket, IPPROTO_TCP, TCP_FASTOPEN, low32(*queue)),
        _ => return Err(Refused::EINVAL),
    };
    result.map_err(|error| Refused {
        errno: error.raw_os_error().unwrap_or(libc::EINVAL),
    })
}

/// Reads TCP fast open: the queue's length if there is one, else the switch of `connect`.
pub(super) fn fast_open(socket: BorrowedFd<'_>) -> io::Result<Value> {
    match int(socket, IPPROTO_TCP, TCP_FASTOPEN)? {
        0 => Ok(Value::Bool(
            int(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT)? != 0,
        )),
        queue => Ok(Value::Int(i64::from(queue))),
    }
}

/// Reads the statistics of the connection.
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let bytes = get_bytes(socket, IPPROTO_TCP, TCP_INFO, vec![0; TCP_INFO_MAX])?;
    Ok(TcpInfo::decode(&bytes))
}

/// Reads the control data of the handshake; None for a family that has none.
pub(super) fn packet_options(socket: BorrowedFd<'_>) -> io::Result<Option<Value>> {
    let (level, option) = match family(socket)? {
        Some(Family::Inet) => (IPPROTO_IP, IP_PKTOPTIONS),
        Some(Family::Inet6) => (IPPROTO_IPV6, IPV6_2292PKTOPTIONS),
        Some(Family::Local) | None => return Ok(None),
    };
    let bytes = get_bytes(socket, level, option, vec![0; CONTROL_MAX])?;
    Ok(Some(Value::Ancillary(ancillary::decode(&bytes))))
}

fn set_int(socket: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_bytes(socket, level, option, &value.to_ne_bytes())
}

fn int(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<i32> {
    let mut bytes = [0; 4];
    let len = sockopt::get(socket, level, option, &mut bytes)?;
    Ok(int_of(bytes.get(..len).unwrap_or_default()))
}

/// The integer of an answer; some options answer with a single byte.
fn int_of(bytes: &[u8]) -> i32 {
    match (<[u8; 4]>::try_from(bytes), bytes) {
        (Ok(bytes), _) => i32::from_ne_bytes(bytes),
        (Err(_), [byte, ..]) => i32::from(*byte),
        (Err(_), []) => 0,
    }
}

fn short() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// Integers count modulo 2^32, as the port driver packs them.
#[expect(clippy::cast_possible_truncation, reason = "that is the rule")]
pub(crate) fn low32(value: i64) -> i32 {
    value as i32
}
