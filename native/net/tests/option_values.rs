//! What values become: ranges, refusals, couplings, and the options that are more than one number.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod sockets;

use std::os::fd::AsFd;

use net::option::{
    Ancillary, Calls, Codec, Query, Reading, Refused, Setting, StreamValue, TABLE, Value, apply,
    kernel, read,
};
use net::{Family, Settings};
use socket2::Socket;
use sockets::{accept, get, listen, open, row, set, set_only, value};

/// A value out of the kernel's range: ignored, einval, or the kernel's own word.
#[test]
fn refusals_of_a_range() {
    let socket = open(Family::Inet);
    for (name, bad) in [("keepcnt", 200), ("keepidle", 40000), ("keepintvl", 0)] {
        let before = value(&socket, name);
        assert_eq!(
            set_only(&socket, name, Value::Int(bad)),
            Ok(false),
            "{name}"
        );
        assert_eq!(value(&socket, name), before, "{name}");
    }
    for bad in [0, 256, -2] {
        assert_eq!(
            set_only(&socket, "ttl", Value::Int(bad)),
            Err(Refused::EINVAL)
        );
    }
    assert_eq!(
        set_only(
            &socket,
            "bind_to_device",
            Value::Bytes(b"no such device".into())
        ),
        Err(Refused::EINVAL)
    );
    assert_eq!(
        set_only(&socket, "bind_to_device", Value::Bytes(vec![b'x'; 17])),
        Err(Refused::EINVAL)
    );
    assert_eq!(
        set_only(&socket, "congestion", Value::Bytes(b"nonesuch".into())),
        Err(Refused {
            errno: libc::ENOENT
        })
    );
    assert_eq!(
        set_only(&socket, "linger", Value::Linger(true, -1)),
        Err(Refused::EINVAL)
    );
    assert_eq!(
        set_only(&socket, "linger", Value::Linger(false, -1)),
        Ok(false)
    );
}

/// Integers count modulo 2^32; sizes below zero are the kernel's greatest.
#[test]
fn integers_wrap() {
    let socket = open(Family::Inet);
    set_only(&socket, "ttl", Value::Int((1 << 32) + 5)).unwrap();
    assert_eq!(value(&socket, "ttl"), Value::Int(5));
    set_only(&socket, "ttl", Value::Int(-1)).unwrap();
    assert_eq!(value(&socket, "ttl"), Value::Int(64));
    set_only(&socket, "tos", Value::Int(-1)).unwrap();
    assert_eq!(value(&socket, "tos"), Value::Int(252));
    set_only(&socket, "recbuf", Value::Int(1 << 31)).unwrap();
    let Value::Int(greatest) = value(&socket, "recbuf") else {
        panic!()
    };
    assert!(greatest > 100_000);
    set_only(&socket, "linger", Value::Linger(true, 1 << 33)).unwrap();
    assert_eq!(value(&socket, "linger"), Value::Linger(true, 0));
}

/// `linger` that is off shows the seconds the kernel still has, as the driver does.
#[test]
fn linger_that_is_off() {
    let socket = open(Family::Inet);
    set_only(&socket, "linger", Value::Linger(true, 9)).unwrap();
    set_only(&socket, "linger", Value::Linger(false, 7)).unwrap();
    assert_eq!(value(&socket, "linger"), Value::Linger(false, 9));
}

/// Type of service and priority are independent in either order, also through a raw option.
#[test]
fn tos_and_priority() {
    let both = |socket: &Socket| (value(socket, "priority"), value(socket, "tos"));
    let expected = (Value::Int(3), Value::Int(16));
    for family in [Family::Inet, Family::Inet6] {
        let socket = open(family);
        set_only(&socket, "priority", Value::Int(3)).unwrap();
        set_only(&socket, "tos", Value::Int(16)).unwrap();
        assert_eq!(both(&socket), expected);
        let socket = open(family);
        set_only(&socket, "tos", Value::Int(16)).unwrap();
        set_only(&socket, "priority", Value::Int(3)).unwrap();
        assert_eq!(both(&socket), expected);
    }
    let socket = open(Family::Inet);
    set_only(&socket, "priority", Value::Int(3)).unwrap();
    let raw = Setting::Raw {
        level: libc::IPPROTO_IP,
        option: libc::IP_TOS,
        bytes: 16_i32.to_ne_bytes().into(),
    };
    apply(&raw, socket.as_fd(), &mut Settings::default()).unwrap();
    assert_eq!(both(&socket), expected);
}

/// Raw options are set and read with the size the caller allows; a refusal is ignored, a failure
/// to read is omitted.
#[test]
fn raw_options() {
    let socket = open(Family::Inet);
    let settings = &mut Settings::default();
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
    let raw = |option, bytes: &[u8]| Setting::Raw {
        level,
        option,
        bytes: bytes.into(),
    };
    assert_eq!(
        apply(&raw(option, &1_i32.to_ne_bytes()), socket.as_fd(), settings),
        Ok(false)
    );
    assert_eq!(value(&socket, "nodelay"), Value::Bool(true));
    assert_eq!(
        apply(&raw(option, &[]), socket.as_fd(), settings),
        Ok(false)
    );
    assert_eq!(apply(&raw(9999, &[1]), socket.as_fd(), settings), Ok(false));
    let query = |option, size| {
        let query = Query::Raw {
            level,
            option,
            buffer: vec![0xff; size],
        };
        read(query, Some(socket.as_fd()), &Settings::default())
    };
    let one = 1_i32.to_ne_bytes();
    for (size, expected) in [(4, &one[..]), (8, &one[..]), (2, &one[..2]), (0, &[])] {
        assert_eq!(
            query(option, size),
            Reading::Value(Value::Bytes(expected.into()))
        );
    }
    assert_eq!(query(9999, 4), Reading::Omitted);
}

/// The type of service and time to live of the handshake come with the accepted socket.
#[test]
fn packet_options() {
    let listener = open(Family::Inet);
    listen(&listener, Family::Inet);
    assert_eq!(
        get(&listener, "pktoptions"),
        Reading::Value(Value::Ancillary(vec![]))
    );
    for name in ["recvtos", "recvttl"] {
        set_only(&listener, name, Value::Bool(true)).unwrap();
    }
    let client = open(Family::Inet);
    for (name, sent) in [("ttl", 77), ("tos", 16)] {
        set_only(&client, name, Value::Int(sent)).unwrap();
    }
    client.connect(&listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let expected = vec![Ancillary::Ttl(77), Ancillary::Tos(16)];
    assert_eq!(value(&accepted, "pktoptions"), Value::Ancillary(expected));

    let listener = open(Family::Inet6);
    listen(&listener, Family::Inet6);
    set_only(&listener, "recvtclass", Value::Bool(true)).unwrap();
    let client = open(Family::Inet6);
    set_only(&client, "tclass", Value::Int(32)).unwrap();
    client.connect(&listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let expected = vec![Ancillary::Tclass(32)];
    assert_eq!(value(&accepted, "pktoptions"), Value::Ancillary(expected));

    assert_eq!(get(&open(Family::Local), "pktoptions"), Reading::Refused);
}

/// The statistics tell the state and count the bytes; local sockets have none.
#[test]
fn tcp_info() {
    let listener = open(Family::Inet);
    listen(&listener, Family::Inet);
    let (_client, accepted) = accept(&listener, Family::Inet);
    let Value::TcpInfo(info) = value(&accepted, "tcp_info") else {
        panic!()
    };
    assert_eq!(info.state(), "established");
    assert_eq!(info.number("bytes_received"), Some(1));
    assert!(info.number("cwnd") > Some(0));
    assert!(info.number("rtt").is_some());
    let Value::TcpInfo(info) = value(&listener, "tcp_info") else {
        panic!()
    };
    assert_eq!(info.state(), "listen");
    assert_eq!(get(&open(Family::Local), "tcp_info"), Reading::Omitted);
}

/// Fast open is a queue to a listener and a switch to `connect`.
#[test]
fn fast_open() {
    let socket = open(Family::Inet);
    assert_eq!(value(&socket, "fastopen"), Value::Bool(false));
    set_only(&socket, "fastopen", Value::Bool(true)).unwrap();
    assert_eq!(value(&socket, "fastopen"), Value::Bool(true));
    let listener = open(Family::Inet);
    set_only(&listener, "fastopen", Value::Int(16)).unwrap();
    assert_eq!(value(&listener, "fastopen"), Value::Int(16));
    assert_eq!(get(&open(Family::Local), "fastopen"), Reading::Omitted);
    assert!(set_only(&open(Family::Local), "fastopen", Value::Int(1)).is_err());
}

/// `recbuf` enlarges a buffer nobody set, by the size asked for; `linger` is known to `close`.
#[test]
fn echoes() {
    let socket = open(Family::Inet);
    let mut settings = Settings::default();
    set(&socket, &mut settings, "recbuf", Value::Int(50000)).unwrap();
    assert_eq!(settings.buffer.size, 50000);
    set(&socket, &mut settings, "linger", Value::Linger(true, 0)).unwrap();
    assert!(settings.resets_on_close());
    set(&socket, &mut settings, "linger", Value::Linger(true, 3)).unwrap();
    assert_eq!(settings.linger, Some(3));
    set(&socket, &mut settings, "linger", Value::Linger(false, 3)).unwrap();
    assert_eq!(settings.linger, None);
}

/// The family of an adopted descriptor is the kernel's to tell.
#[test]
fn family_of_a_socket() {
    for family in Family::ALL {
        assert_eq!(kernel::family(open(family).as_fd()).unwrap(), Some(family));
    }
    let no_socket = std::fs::File::open("/dev/null").unwrap();
    let error = kernel::family(no_socket.as_fd()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
}

/// What only the stream knows is asked of it; what is only read cannot be set.
#[test]
fn only_read() {
    let socket = open(Family::Inet);
    assert_eq!(get(&socket, "queue"), Reading::Stream(StreamValue::Queue));
    for row in TABLE.iter().filter(|row| !row.calls.contain(Calls::SET)) {
        assert_eq!(row.calls, Calls::GET, "{}", row.name);
        let result = apply(
            &Setting::Named(row, Value::Int(1)),
            socket.as_fd(),
            &mut Settings::default(),
        );
        assert_eq!(result, Err(Refused::EINVAL), "{}", row.name);
    }
    // A codec that cannot be decoded must not belong to an option that can be set.
    for row in TABLE
        .iter()
        .filter(|row| matches!(row.codec, Codec::Ancillary | Codec::TcpInfo))
    {
        assert!(!row.calls.contain(Calls::SET), "{}", row.name);
    }
}

/// A closed socket still knows its settings; what the kernel knew is omitted.
#[test]
fn closed() {
    let settings = Settings::default();
    let read = |name| read(Query::Named(row(name)), None, &settings);
    assert_eq!(read("nodelay"), Reading::Omitted);
    assert_eq!(read("tcp_info"), Reading::Omitted);
    assert_eq!(read("pktoptions"), Reading::Omitted);
    assert_eq!(read("exit_on_close"), Reading::Value(Value::Bool(true)));
}
