//! Small lives of sockets, which between them make every system call of the crate.
//! Each returns the first failure that it was told of.

use super::{Fault, When, begin, exempt, subject};
use crate::fake::{
    Handle, Iolist, Message, Poller, Process, Rig, active, bytes, flag, int, named, packet, tag,
};
use net::option::{Query, Row, Value};
use net::{Address, Call, Endpoint, Failure, Family, Reply, Sent, Source, Spec};
use proto::{ActiveRequest, PacketType};
use socket2::Socket;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) type Told = Result<(), Failure>;

/// What a scenario works with.
pub(crate) struct Case {
    pub(crate) rig: Rig,
    pub(crate) family: Family,
    pub(crate) owner: Process,
    fault: Fault,
    when: When,
}

/// Its name, what it does, and in which families.
pub(crate) type Scenario = (&'static str, fn(&Case) -> Told, &'static [Family]);

const BOTH: &[Family] = &[Family::Inet, Family::Local];
const INET: &[Family] = &[Family::Inet];
const LOCAL: &[Family] = &[Family::Local];

pub(crate) const ALL: &[Scenario] = &[
    ("start and stop a poller", start_and_stop, INET),
    ("connect", connect, BOTH),
    ("connect slowly", connect_slowly, INET),
    ("accept", accept, BOTH),
    ("receive", receive, BOTH),
    ("deliver", deliver, BOTH),
    ("send", send, BOTH),
    ("send a file", send_file, BOTH),
    ("options", options, BOTH),
    ("half-close", half_close, BOTH),
    ("close with queued output", close_with_output, LOCAL),
    ("take over an fd", take_over, BOTH),
    ("another namespace", namespace, INET),
];

/// A thread of the peer's.
fn peer<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    std::thread::spawn(|| {
        exempt();
        work()
    })
}

/// Everything up to the end of the stream, or to an error.
fn read_all(socket: &mut Socket) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = socket.read_to_end(&mut all);
    all
}

/// Writes, unless the other end has gone for a reason that will be told.
fn put(socket: &mut Socket, bytes: &[u8]) {
    let _ = socket.write_all(bytes);
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

/// The stream must be `expected` or have ended early.
fn same(received: &[u8], expected: &[u8]) -> Told {
    assert!(expected.starts_with(received), "other bytes than were sent");
    match received.len() == expected.len() {
        true => Ok(()),
        false => Err(Failure::Closed),
    }
}

impl Case {
    pub(crate) fn new(family: Family, fault: Fault, when: When) -> Case {
        Case {
            rig: Rig::new(),
            family,
            owner: Process::spawn(),
            fault,
            when,
        }
    }

    /// What comes now may fail.
    fn arm(&self) {
        begin(self.fault, self.when);
    }

    fn stream(&self) -> (Handle, Socket) {
        let (handle, peer) = self.rig.stream(self.family, &self.owner, &[]);
        (handle, peer.0)
    }

    /// A listener of the test's own, and its address.
    fn plain_listener(&self) -> (Socket, Address) {
        let socket = Socket::new(self.family.domain(), socket2::Type::STREAM, None).unwrap();
        socket.bind(&any(self.family).to_system().unwrap()).unwrap();
        socket.listen(8).unwrap();
        let address = Address::from_system(&socket.local_addr().unwrap());
        (socket, address)
    }

    fn recv(&self, socket: &Handle, len: usize) -> Result<Vec<u8>, Failure> {
        subject(|| self.owner.recv(socket, len))
    }

    fn send(&self, socket: &Handle, data: &Iolist) -> Told {
        subject(|| self.owner.send(socket, data))
    }

    /// Waits for so many bytes as messages.
    fn data(&self, expected: &[u8]) -> Told {
        let mut received = Vec::new();
        while received.len() < expected.len() {
            match self.owner.next() {
                Message::Data(bytes) => received.extend_from_slice(&bytes),
                Message::Passive => {}
                Message::Error(failure) => return Err(failure),
                Message::Closed => return Err(Failure::Closed),
                other => panic!("{other:?}"),
            }
        }
        same(&received, expected)
    }

    fn set(&self, socket: &Handle, options: &[net::option::Setting]) -> Told {
        subject(|| socket.set_options(options)).map_err(|refused| Failure::Posix(refused.errno))
    }

    /// The answer to a call that may wait.
    fn answer(&self, tag: u64) -> Told {
        match self.owner.reply(tag) {
            Reply::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }
}

fn any(family: Family) -> Address {
    match family {
        Family::Local => Address::any(Family::Local),
        _ => Address::V4("127.0.0.1:0".parse().unwrap()),
    }
}

fn start_and_stop(case: &Case) -> Told {
    case.arm();
    let poller: Arc<Poller> = subject(|| Poller::start(net::Tuning::default()))?;
    subject(|| poller.stop());
    Ok(())
}

fn connect(case: &Case) -> Told {
    let (listener, address) = case.plain_listener();
    connect_to(case, &listener, &address)
}

/// No address of the loopback, by which the kernel reaches it nevertheless: the poller
/// has to tell of the end.
fn connect_slowly(case: &Case) -> Told {
    let (listener, address) = case.plain_listener();
    let Address::V4(mut address) = address else {
        panic!("{address:?}");
    };
    address.set_ip(std::net::Ipv4Addr::UNSPECIFIED);
    connect_to(case, &listener, &Address::V4(address))
}

fn connect_to(case: &Case, listener: &Socket, address: &Address) -> Told {
    case.arm();
    let spec = Spec {
        bind: Some(any(case.family)),
        ..Rig::spec(
            case.family,
            &[active(ActiveRequest::Passive), flag("keepalive", true)],
        )
    };
    let tag = tag();
    let (socket, call) =
        subject(|| Endpoint::connect(&case.rig.poller, case.owner.pid, &spec, address, tag))?;
    match call {
        Call::Done(()) => {}
        Call::Wait => case.answer(tag)?,
        Call::Failed(failure) => return Err(failure),
    }
    let (mut peer, _) = listener.accept().unwrap();
    case.send(&socket, &bytes(b"hello"))?;
    let mut received = [0; 5];
    let _ = peer.read_exact(&mut received);
    same(&received, b"hello")
}

fn accept(case: &Case) -> Told {
    case.arm();
    let spec = Spec {
        bind: Some(any(case.family)),
        ..Rig::spec(
            case.family,
            &[active(ActiveRequest::Passive), flag("keepalive", true)],
        )
    };
    let pid = case.owner.pid;
    let listener = subject(|| Endpoint::listen(&case.rig.poller, pid, &spec, 8))?;
    let address = subject(|| listener.local_address())?.to_system().unwrap();
    for first in [false, true] {
        let tag = tag();
        let mut accepted = None;
        if !first {
            match subject(|| listener.accept(pid, || tag)) {
                Call::Wait => {}
                Call::Failed(failure) => return Err(failure),
                Call::Done(_) => panic!("accepted nobody"),
            }
        }
        let mut peer = Socket::new(case.family.domain(), socket2::Type::STREAM, None).unwrap();
        // Refused if the listener is closed, of which the acceptor is told.
        let _ = peer.connect(&address);
        if !first {
            case.answer(tag)?;
        }
        while accepted.is_none() {
            let tag = super::super::fake::tag();
            match subject(|| listener.accept(pid, || tag)) {
                Call::Done(socket) => accepted = Some(socket),
                Call::Failed(failure) => return Err(failure),
                // Only where the kernel was made to say that there is nothing.
                Call::Wait => case.answer(tag)?,
            }
        }
        let socket = accepted.unwrap();
        put(&mut peer, b"hello");
        same(&case.recv(&socket, 5)?, b"hello")?;
        subject(|| socket.close());
    }
    subject(|| listener.close());
    Ok(())
}

fn receive(case: &Case) -> Told {
    let (socket, mut peer_end) = case.stream();
    case.arm();
    put(&mut peer_end, b"one");
    same(&case.recv(&socket, 3)?, b"one")?;
    // Waits: the poller has to tell.
    let waiting = tag();
    match subject(|| case.owner.try_recv(&socket, 3, waiting)) {
        Call::Wait => {}
        Call::Failed(failure) => return Err(failure),
        Call::Done(_) => panic!("received nothing"),
    }
    put(&mut peer_end, b"two");
    case.answer(waiting)?;
    same(&case.recv(&socket, 3)?, b"two")?;
    let much = pattern(100_000);
    let sent = much.clone();
    let writing = peer(move || {
        let _ = peer_end.write_all(&sent);
        peer_end
    });
    let received = case.recv(&socket, much.len());
    if received.is_err() {
        // The peer may still be writing.
        subject(|| socket.abandon());
    }
    let peer_end = writing.join().unwrap();
    same(&received?, &much)?;
    drop(peer_end);
    match case.recv(&socket, 0) {
        Err(Failure::Closed) => Ok(()),
        Err(failure) => Err(failure),
        Ok(bytes) => panic!("{bytes:?}"),
    }
}

fn deliver(case: &Case) -> Told {
    let (socket, mut peer_end) = case.stream();
    case.arm();
    case.set(
        &socket,
        &[packet(PacketType::Length4), active(ActiveRequest::Always)],
    )?;
    put(&mut peer_end, b"\0\0\0\x03one\0\0\0\x03two");
    case.data(b"onetwo")?;
    for _ in 0..2 {
        case.set(&socket, &[active(ActiveRequest::Once)])?;
        put(&mut peer_end, b"\0\0\0\x05three");
        case.data(b"three")?;
    }
    case.set(&socket, &[active(ActiveRequest::Add(2))])?;
    put(&mut peer_end, b"\0\0\0\x04four\0\0\0\x04five\0\0\0\x03six");
    case.data(b"fourfive")?;
    case.set(&socket, &[active(ActiveRequest::Always)])?;
    case.data(b"six")?;
    let _ = peer_end.shutdown(Shutdown::Both);
    loop {
        match case.owner.next() {
            Message::Passive => {}
            Message::Closed => return Ok(()),
            Message::Error(failure) => return Err(failure),
            other => panic!("{other:?}"),
        }
    }
}

/// The peer that answers "ok" to a stream with an end, and what it has read.
fn collector(mut socket: Socket) -> JoinHandle<Vec<u8>> {
    peer(move || {
        let all = read_all(&mut socket);
        let _ = socket.write_all(b"ok");
        all
    })
}

/// Ends a stream of output: waits for the peer's "ok".
fn confirm(case: &Case, socket: &Handle) -> Told {
    subject(|| socket.shutdown(Shutdown::Write))?;
    same(&case.recv(socket, 2)?, b"ok")
}

fn send(case: &Case) -> Told {
    let (socket, peer_end) = case.stream();
    case.set(
        &socket,
        &[
            packet(PacketType::Length2),
            int("high_watermark", 100_000),
            int("low_watermark", 10_000),
        ],
    )?;
    let frame = pattern(60_000);
    let iolist = Iolist(
        frame
            .chunks(20_000)
            .map(|part| Arc::new(part.to_vec()))
            .collect(),
    );
    let collecting = collector(peer_end);
    case.arm();
    let result = (|| {
        // More than the kernel takes: the poller writes, and the sender waits.
        for _ in 0..30 {
            case.send(&socket, &iolist)?;
        }
        for _ in 0..20 {
            case.send(&socket, &bytes(b"small"))?;
        }
        case.set(&socket, &[packet(PacketType::Raw)])?;
        confirm(case, &socket)
    })();
    subject(|| socket.abandon());
    let mut expected = Vec::new();
    for _ in 0..30 {
        expected.extend_from_slice(&60_000_u16.to_be_bytes());
        expected.extend_from_slice(&frame);
    }
    for _ in 0..20 {
        expected.extend_from_slice(b"\0\x05small");
    }
    let received = collecting.join().unwrap();
    result.and(same(&received, &expected))
}

fn send_file(case: &Case) -> Told {
    let content = pattern(300_000);
    let path = std::env::temp_dir().join(format!("gen_tcp_rs_faults_{}", std::process::id()));
    std::fs::write(&path, &content).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (socket, peer_end) = case.stream();
    let collecting = collector(peer_end);
    case.arm();
    let pid = case.owner.pid;
    let result = (|| {
        case.send(&socket, &bytes(b"header"))?;
        let mut offset = 0;
        loop {
            match subject(|| socket.send_file(pid, file.as_raw_fd(), offset, 1 << 20)) {
                Call::Done(0) => break,
                Call::Done(sent) => offset += sent as u64,
                Call::Failed(failure) => return Err(failure),
                Call::Wait => {
                    let tag = tag();
                    match subject(|| socket.await_writable(pid, tag)) {
                        Call::Wait => case.answer(tag)?,
                        Call::Done(()) => {}
                        Call::Failed(failure) => return Err(failure),
                    }
                }
            }
        }
        subject(|| socket.file_sent(pid));
        confirm(case, &socket)
    })();
    subject(|| socket.abandon());
    let received = collecting.join().unwrap();
    result.and(same(&received, &[b"header", &content[..]].concat()))
}

fn options(case: &Case) -> Told {
    let (socket, _peer_end) = case.stream();
    case.arm();
    let mut list = vec![
        int("recbuf", 20_000),
        int("sndbuf", 20_000),
        named("linger", Value::Linger(true, 3)),
        flag("keepalive", true),
        flag("show_econnreset", true),
    ];
    if case.family == Family::Inet {
        list.extend([
            flag("nodelay", true),
            int("tos", 16),
            int("user_timeout", 1000),
        ]);
    }
    case.set(&socket, &list)?;
    let names = [
        "recbuf",
        "linger",
        "tcp_info",
        "pktoptions",
        "congestion",
        "active",
    ];
    let named = |name| Row::named(name).map(Query::Named);
    let queries: Vec<Query> = names.into_iter().filter_map(named).collect();
    let count = queries.len();
    let readings = subject(|| socket.get_options(queries));
    let readings = readings.map_err(|refused| Failure::Posix(refused.errno))?;
    assert_eq!(readings.len(), count);
    subject(|| socket.local_address())?;
    subject(|| socket.peer_address())?;
    Ok(())
}

fn half_close(case: &Case) -> Told {
    let (socket, mut peer_end) = case.stream();
    case.arm();
    case.set(&socket, &[flag("exit_on_close", false)])?;
    let _ = peer_end.shutdown(Shutdown::Write);
    match case.recv(&socket, 0) {
        Err(Failure::Closed) => {}
        Err(failure) => return Err(failure),
        Ok(bytes) => panic!("{bytes:?}"),
    }
    case.send(&socket, &bytes(b"answer"))?;
    subject(|| socket.shutdown(Shutdown::Both))?;
    same(&read_all(&mut peer_end), b"answer")?;
    case.set(&socket, &[named("linger", Value::Linger(true, 0))])?;
    assert!(subject(|| socket.close()));
    Ok(())
}

fn close_with_output(case: &Case) -> Told {
    let (socket, mut peer_end) = case.stream();
    let much = pattern(2 << 20);
    let data = bytes(&much);
    case.arm();
    if let Sent::Failed(failure) = subject(|| case.owner.try_send(&socket, &data, true)) {
        return Err(failure);
    }
    let waiting = tag();
    if !subject(|| socket.close()) {
        let call = subject(|| socket.await_drained(case.owner.pid, waiting));
        subject(|| socket.abandon());
        if matches!(call, Call::Wait) {
            case.answer(waiting).or_else(|failure| match failure {
                // The socket is closed for everybody, and so for this call.
                Failure::Closed => Ok(()),
                failure => Err(failure),
            })?;
        }
    }
    peer_end
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // If it cannot be written nobody is left to be told, but for the peer.
    let received = read_all(&mut peer_end);
    same(&received, &much).map_err(|_| Failure::Posix(libc::ENOTCONN))
}

fn take_over(case: &Case) -> Told {
    let (listener, address) = case.plain_listener();
    let mut peer_end = Socket::new(case.family.domain(), socket2::Type::STREAM, None).unwrap();
    peer_end.connect(&address.to_system().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    case.arm();
    let spec = |socket: &Socket| Spec {
        source: Source::Fd(socket.as_raw_fd()),
        ..Rig::spec(case.family, &[])
    };
    let pid = case.owner.pid;
    let socket = subject(|| Endpoint::take_over(&case.rig.poller, pid, &spec(&near)))?;
    put(&mut peer_end, b"hello");
    same(&case.recv(&socket, 5)?, b"hello")?;
    let listening = subject(|| Endpoint::take_over(&case.rig.poller, pid, &spec(&listener)))?;
    subject(|| listening.close());
    Ok(())
}

fn namespace(case: &Case) -> Told {
    // SAFETY: no arguments, no failure.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    case.arm();
    let spec = Spec {
        source: Source::Namespace(c"/proc/self/ns/net".into()),
        bind: Some(any(case.family)),
        ..Rig::spec(case.family, &[])
    };
    subject(|| Endpoint::listen(&case.rig.poller, case.owner.pid, &spec, 1))?;
    Ok(())
}
