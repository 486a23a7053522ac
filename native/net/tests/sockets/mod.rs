//! Sockets for tests, and options on them by name.

#![allow(dead_code, reason = "no test uses all of it")]

use std::io::Write;
use std::os::fd::AsFd;

use net::option::{Query, Reading, Refused, Row, Setting, Value, apply, read};
use net::{Address, Family, Settings};
use socket2::{Socket, Type};

pub(crate) fn row(name: &str) -> &'static Row {
    Row::named(name).unwrap_or_else(|| panic!("no row {name}"))
}

pub(crate) fn open(family: Family) -> Socket {
    Socket::new(family.domain(), Type::STREAM, None).unwrap()
}

/// A socket that listens on a free address of the loopback.
pub(crate) fn listen(socket: &Socket, family: Family) {
    let address = match family {
        Family::Inet => Address::V4("127.0.0.1:0".parse().unwrap()),
        Family::Inet6 => Address::V6("[::1]:0".parse().unwrap()),
        Family::Local => Address::any(Family::Local),
    };
    socket.bind(&address.to_system().unwrap()).unwrap();
    socket.listen(5).unwrap();
}

/// A connection to the listener, with a byte on the way for `defer_accept`, and its other end.
pub(crate) fn accept(listener: &Socket, family: Family) -> (Socket, Socket) {
    let mut client = open(family);
    client.connect(&listener.local_addr().unwrap()).unwrap();
    client.write_all(b"x").unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (client, accepted)
}

pub(crate) fn set(
    socket: &Socket,
    settings: &mut Settings,
    name: &str,
    value: Value,
) -> Result<bool, Refused> {
    apply(&Setting::Named(row(name), value), socket.as_fd(), settings)
}

pub(crate) fn set_only(socket: &Socket, name: &str, value: Value) -> Result<bool, Refused> {
    set(socket, &mut Settings::default(), name, value)
}

pub(crate) fn get(socket: &Socket, name: &str) -> Reading {
    read(
        Query::Named(row(name)),
        Some(socket.as_fd()),
        &Settings::default(),
    )
}

pub(crate) fn value(socket: &Socket, name: &str) -> Value {
    match get(socket, name) {
        Reading::Value(value) => value,
        other => panic!("{name} reads {other:?}"),
    }
}
