//! A poller with sockets on it, and their peers, which are plain blocking sockets.

use super::{Handle, Message, PATIENCE, Poller, Process};
use net::option::{Row, Setting, Value};
use net::{Address, Call, Endpoint, Family, Reply, Source, Spec, Tuning};
use proto::{ActiveRequest, PacketType};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A setting by its name.
pub(crate) fn named(name: &str, value: Value) -> Setting {
    let row = Row::named(name).unwrap_or_else(|| panic!("no row {name}"));
    Setting::Named(row, value)
}

pub(crate) fn flag(name: &str, on: bool) -> Setting {
    named(name, Value::Bool(on))
}

pub(crate) fn int(name: &str, value: i64) -> Setting {
    named(name, Value::Int(value))
}

pub(crate) fn packet(packet: PacketType) -> Setting {
    named("packet", Value::Packet(packet))
}

/// `{active, _}`.
pub(crate) fn active(request: ActiveRequest) -> Setting {
    named("active", Value::Request(request))
}

/// Two ends of a connection over the loopback.
pub(crate) fn tcp_pair() -> (Socket, Socket) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    near.connect(&listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

/// The other end of a socket.
pub(crate) struct Peer(pub(crate) Socket);

impl Peer {
    fn new(socket: Socket) -> Peer {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer(socket)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Exactly so many bytes.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything up to the end of the stream.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Reads until there is an end, which is this error.
    pub(crate) fn read_to_error(&mut self) -> i32 {
        let error = self.0.read_to_end(&mut Vec::new()).unwrap_err();
        error.raw_os_error().unwrap()
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.0.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// A poller, stopped at the end of the test.
pub(crate) struct Rig {
    pub(crate) poller: Arc<Poller>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.poller.stop();
    }
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::tuned(Tuning::default())
    }

    pub(crate) fn tuned(tuning: Tuning) -> Rig {
        Rig {
            poller: Poller::start(tuning).unwrap(),
        }
    }

    /// One end of a connection, passive unless the options say otherwise.
    pub(crate) fn adopt(
        &self,
        socket: Socket,
        family: Family,
        owner: &Process,
        options: &[Setting],
    ) -> Handle {
        let spec = Spec {
            family,
            multipath: false,
            source: Source::Fd(socket.as_raw_fd()),
            bind: None,
            options: options.to_vec(),
        };
        Endpoint::take_over(&self.poller, owner.pid, &spec).unwrap()
    }

    /// A connected socket, passive unless the options say otherwise, and its peer.
    pub(crate) fn stream(
        &self,
        family: Family,
        owner: &Process,
        options: &[Setting],
    ) -> (Handle, Peer) {
        let (near, far) = match family {
            Family::Local => Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap(),
            _ => tcp_pair(),
        };
        (self.adopt(near, family, owner, options), Peer::new(far))
    }

    /// The same over TCP.
    pub(crate) fn tcp(&self, owner: &Process, options: &[Setting]) -> (Handle, Peer) {
        self.stream(Family::Inet, owner, options)
    }

    /// What a socket is to be.
    pub(crate) fn spec(family: Family, options: &[Setting]) -> Spec {
        Spec {
            family,
            multipath: false,
            source: Source::New,
            bind: None,
            options: options.to_vec(),
        }
    }

    /// A listener on a free address, active unless the options say otherwise.
    pub(crate) fn listen(
        &self,
        family: Family,
        owner: &Process,
        options: &[Setting],
    ) -> (Handle, Address) {
        let any = match family {
            Family::Inet => Address::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
            Family::Inet6 => Address::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0)),
            // A free name in the abstract namespace.
            Family::Local => Address::any(Family::Local),
        };
        let spec = Spec {
            bind: Some(any),
            ..Rig::spec(family, options)
        };
        let listener = Endpoint::listen(&self.poller, owner.pid, &spec, 16).unwrap();
        let address = listener.local_address().unwrap();
        (listener, address)
    }

    /// Connects and waits until that is done.
    pub(crate) fn connect(
        &self,
        family: Family,
        owner: &Process,
        address: &Address,
        options: &[Setting],
    ) -> Handle {
        let tag = super::tag();
        let spec = Rig::spec(family, options);
        let (socket, call) =
            Endpoint::connect(&self.poller, owner.pid, &spec, address, tag).unwrap();
        match call {
            Call::Done(()) => {}
            Call::Wait => assert_eq!(owner.reply(tag), Reply::Done),
            Call::Failed(failure) => panic!("{failure:?}"),
        }
        socket
    }

    /// Waits until the poller has handled every event there was: it serves them in the
    /// order in which they came.
    pub(crate) fn settle(&self) {
        let owner = Process::spawn();
        let (socket, mut peer) =
            self.stream(Family::Local, &owner, &[active(ActiveRequest::Always)]);
        for _ in 0..2 {
            peer.write(b"x");
            assert_eq!(owner.next(), Message::Data(b"x".to_vec()));
        }
        socket.abandon();
    }

    /// Holds up the poller thread until the gate is opened.
    pub(crate) fn hold_up(&self) -> Held {
        let owner = Process::spawn();
        let gate = owner.hold_up_delivery();
        let (socket, mut peer) =
            self.stream(Family::Local, &owner, &[active(ActiveRequest::Always)]);
        peer.write(b"x");
        gate.await_arrival();
        Held {
            gate,
            _rest: (owner, socket, peer),
        }
    }
}

/// A poller that does nothing until this is dropped.
pub(crate) struct Held {
    gate: super::Gate,
    _rest: (Process, Handle, Peer),
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.open();
    }
}
