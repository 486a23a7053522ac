//! Connect, listen and accept, with their waits.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod fake;

use fake::{Handle, Message, Process, Rig, active, bytes, flag, packet, tag};
use net::{Address, Call, Endpoint, Failure, Family, Kind, Reply};
use proto::{Active, ActiveRequest, PacketType};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const ALL: [Family; 3] = [Family::Inet, Family::Inet6, Family::Local];

fn passive() -> net::option::Setting {
    active(ActiveRequest::Passive)
}

/// Registers a wait in accept.
fn wait_to_accept(process: &Process, listener: &Handle) -> u64 {
    let tag = tag();
    let call = listener.accept(process.pid, || tag);
    assert!(matches!(call, Call::Wait));
    tag
}

/// A plain connection to the listener.
fn knock(address: &Address) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.connect(&address.to_system().unwrap()).unwrap();
    socket
}

/// Two sockets find each other by their addresses and talk, in every family.
#[test]
fn a_connection_is_made_and_accepted() {
    let rig = Rig::new();
    for family in ALL {
        let (server, client) = (Process::spawn(), Process::spawn());
        let (listener, address) = rig.listen(family, &server, &[passive()]);
        let socket = rig.connect(family, &client, &address, &[passive()]);
        let accepted = server.accept(&listener).unwrap();
        assert_eq!(accepted.owner(), server.pid);
        assert_eq!(accepted.family(), family);
        assert_eq!(socket.peer_address(), Ok(address));
        assert_eq!(accepted.peer_address(), socket.local_address());
        assert_eq!(listener.info().kind, Kind::Listening);
        assert_eq!(socket.info().kind, Kind::Connected);
        client.send(&socket, &bytes(b"question")).unwrap();
        assert_eq!(server.recv(&accepted, 8), Ok(b"question".to_vec()));
        server.send(&accepted, &bytes(b"answer")).unwrap();
        assert_eq!(client.recv(&socket, 6), Ok(b"answer".to_vec()));
        assert!(accepted.close());
        assert_eq!(client.recv(&socket, 0), Err(Failure::Closed));
        assert_eq!(server.recv(&accepted, 0), Err(Failure::Closed));
    }
}

/// A refused connect fails, with nothing left open.
#[test]
fn a_refused_connect_fails() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (listener, address) = rig.listen(Family::Inet, &owner, &[]);
    listener.abandon();
    let tag = tag();
    let spec = Rig::spec(Family::Inet, &[]);
    let refused = Failure::Posix(libc::ECONNREFUSED);
    match Endpoint::connect(&rig.poller, owner.pid, &spec, &address, tag) {
        Err(failure) => assert_eq!(failure, refused),
        Ok((_, Call::Wait)) => assert_eq!(owner.reply(tag), Reply::Failed(refused)),
        Ok((_, call)) => panic!("{call:?}"),
    }
    rig.settle();
    assert!(rig.poller.sockets().is_empty());
    assert_eq!(owner.messages(), []);
}

/// A connect that the kernel does not finish is cancelled, or ends with its owner.
#[test]
fn a_waiting_connect_ends_with_its_owner_or_by_cancel() {
    let rig = Rig::new();
    let owner = Process::spawn();
    // A listener whose backlog is full does not answer.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let address = Address::from_system(&full.local_addr().unwrap());
    let _first = knock(&address);
    let spec = Rig::spec(Family::Inet, &[]);
    let mut waiting = Vec::new();
    while waiting.len() < 3 {
        let tag = tag();
        let (socket, call) =
            Endpoint::connect(&rig.poller, owner.pid, &spec, &address, tag).unwrap();
        assert!(matches!(call, Call::Wait));
        waiting.push((socket, tag));
    }
    rig.settle();
    let (done, mut waiting): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .partition(|(socket, _)| socket.info().kind == Kind::Connected);
    for (_, tag) in done {
        assert_eq!(owner.reply(tag), Reply::Done);
    }
    let (first, second) = (waiting.pop().unwrap(), waiting.pop().unwrap());
    let gone = Err(Failure::Posix(libc::ENOTCONN));
    assert_eq!(owner.recv(&first.0, 0), gone);
    assert_eq!(owner.send(&first.0, &bytes(b"x")), gone.map(drop));
    assert!(first.0.cancel(owner.pid, &first.1));
    assert!(!first.0.cancel(owner.pid, &first.1));
    first.0.abandon();
    assert!(first.0.is_closed());
    second.0.process_down(owner.pid);
    assert_eq!(owner.reply(second.1), Reply::Failed(Failure::Closed));
    assert!(second.0.is_closed());
    assert_eq!(owner.messages(), []);
}

/// Acceptors are served in the order in which they came, one connection each.
#[test]
fn acceptors_are_served_in_their_order() {
    let rig = Rig::new();
    let acceptors: Vec<Process> = (0..4).map(|_| Process::spawn()).collect();
    let (listener, address) = rig.listen(Family::Inet, &acceptors[0], &[passive()]);
    let tags: Vec<u64> = acceptors
        .iter()
        .map(|acceptor| wait_to_accept(acceptor, &listener))
        .collect();
    assert_eq!(listener.info().acceptors, 4);
    let mut peers: Vec<Socket> = (0..4).map(|_| knock(&address)).collect();
    for (index, acceptor) in acceptors.iter().enumerate() {
        assert_eq!(acceptor.reply(tags[index]), Reply::Ready);
        rig.settle();
        // Nobody else is called while one is expected, and none may overtake.
        for later in &acceptors[index + 1..] {
            assert_eq!(later.messages(), []);
        }
        if index == 0 {
            let late = Process::spawn();
            let late_tag = wait_to_accept(&late, &listener);
            assert!(listener.cancel(late.pid, &late_tag));
        }
        let accepted = acceptor.accept(&listener).unwrap();
        assert_eq!(accepted.owner(), acceptor.pid);
        peers[index].write_all(&[index as u8]).unwrap();
        assert_eq!(acceptor.recv(&accepted, 1), Ok(vec![index as u8]));
    }
    assert_eq!(listener.info().acceptors, 0);
}

/// Who is cancelled or dead drops out without a connection being lost.
#[test]
fn cancelled_and_dead_acceptors_drop_out() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (listener, address) = rig.listen(Family::Inet, &owner, &[passive()]);
    let processes: Vec<Process> = (0..4).map(|_| Process::spawn()).collect();
    let [cancelled, dead, told_dead, last] = processes.as_slice() else {
        unreachable!()
    };
    let cancelled_tag = wait_to_accept(cancelled, &listener);
    wait_to_accept(dead, &listener);
    wait_to_accept(told_dead, &listener);
    let last_tag = wait_to_accept(last, &listener);
    assert!(listener.cancel(cancelled.pid, &cancelled_tag));
    dead.die();
    told_dead.die();
    listener.process_down(told_dead.pid);
    assert_eq!(listener.info().acceptors, 2);
    let _peer = knock(&address);
    assert_eq!(last.reply(last_tag), Reply::Ready);
    last.accept(&listener).unwrap();
    assert_eq!(cancelled.messages(), []);
    assert_eq!(listener.info().acceptors, 0);
}

/// One who was called and dies, or gives up, before it comes back leaves the connection to
/// the next.
#[test]
fn a_called_acceptor_may_not_come() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (listener, address) = rig.listen(Family::Inet, &owner, &[passive()]);
    let processes: Vec<Process> = (0..3).map(|_| Process::spawn()).collect();
    let [dies, gives_up, last] = processes.as_slice() else {
        unreachable!()
    };
    let dies_tag = wait_to_accept(dies, &listener);
    let gives_up_tag = wait_to_accept(gives_up, &listener);
    let last_tag = wait_to_accept(last, &listener);
    let _peer = knock(&address);
    assert_eq!(dies.reply(dies_tag), Reply::Ready);
    rig.settle();
    assert_eq!(gives_up.messages(), []);
    dies.die();
    listener.process_down(dies.pid);
    assert_eq!(gives_up.reply(gives_up_tag), Reply::Ready);
    rig.settle();
    assert_eq!(last.messages(), []);
    assert!(!listener.cancel(gives_up.pid, &gives_up_tag));
    assert_eq!(last.reply(last_tag), Reply::Ready);
    last.accept(&listener).unwrap();
}

/// One who was called and finds that another user of the fd was quicker keeps its turn.
#[test]
fn a_called_acceptor_that_finds_nothing_keeps_its_turn() {
    let rig = Rig::new();
    let (first, second) = (Process::spawn(), Process::spawn());
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let quicker = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    quicker.bind(&any.into()).unwrap();
    quicker.listen(5).unwrap();
    let address = Address::from_system(&quicker.local_addr().unwrap());
    let shared = quicker.try_clone().unwrap();
    let listener = rig.adopt(shared, Family::Inet, &first, &[]);
    let mut first_tag = wait_to_accept(&first, &listener);
    let second_tag = wait_to_accept(&second, &listener);
    for _ in 0..3 {
        let _peer = knock(&address);
        assert_eq!(first.reply(first_tag), Reply::Ready);
        quicker.accept().unwrap();
        first_tag = wait_to_accept(&first, &listener);
    }
    let _peers = [knock(&address), knock(&address)];
    assert_eq!(first.reply(first_tag), Reply::Ready);
    rig.settle();
    assert_eq!(second.messages(), []);
    first.accept(&listener).unwrap();
    assert_eq!(second.reply(second_tag), Reply::Ready);
    second.accept(&listener).unwrap();
}

/// Either a cancel of accept succeeds or a reply is there, and no connection is lost.
#[test]
fn an_accept_is_either_cancelled_or_answered() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (listener, address) = rig.listen(Family::Inet, &owner, &[passive()]);
    for round in 0..200 {
        let tag = wait_to_accept(&owner, &listener);
        let peer = std::thread::scope(|scope| {
            let peer = scope.spawn(|| knock(&address));
            let end = Instant::now() + Duration::from_micros(round * 2);
            while Instant::now() < end {
                std::thread::yield_now();
            }
            match owner.reply_until(&listener, tag, Instant::now()) {
                None | Some(Reply::Ready) => {}
                Some(other) => panic!("{other:?}"),
            }
            peer.join().unwrap()
        });
        assert_eq!(owner.messages(), []);
        owner.accept(&listener).unwrap().abandon();
        drop(peer);
    }
}

/// Whoever waits when the listener closes, or its owner dies, learns of it.
#[test]
fn waiting_acceptors_learn_of_the_close() {
    let rig = Rig::new();
    for dies in [false, true] {
        let (owner, other) = (Process::spawn(), Process::spawn());
        let (listener, _) = rig.listen(Family::Local, &owner, &[]);
        let tags = [
            wait_to_accept(&other, &listener),
            wait_to_accept(&other, &listener),
        ];
        let monitor = tag();
        assert!(listener.monitor(other.pid, monitor));
        match dies {
            true => assert_eq!(listener.process_down(owner.pid), None),
            false => assert!(listener.close()),
        }
        for tag in tags {
            assert_eq!(other.reply(tag), Reply::Failed(Failure::Closed));
            assert!(!listener.cancel(other.pid, &tag));
        }
        assert_eq!(other.messages(), [Message::Down(monitor, None)]);
        assert!(!listener.monitor(other.pid, monitor));
        assert_eq!(other.accept(&listener).map(drop), Err(Failure::Closed));
    }
    let owner = Process::spawn();
    let (socket, _peer) = rig.tcp(&owner, &[]);
    let refused = Err(Failure::Posix(libc::EINVAL));
    assert_eq!(owner.accept(&socket).map(drop), refused);
}

/// An accepted socket starts with the listener's settings of the moment, and with its own
/// count.
#[test]
fn an_accepted_socket_starts_with_the_listeners_settings() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let options = [active(ActiveRequest::Add(1)), packet(PacketType::Line)];
    let (listener, address) = rig.listen(Family::Inet, &owner, &options);
    for _ in 0..2 {
        let mut peer = knock(&address);
        let accepted = owner.accept(&listener).unwrap();
        peer.write_all(b"one\ntwo\n").unwrap();
        assert_eq!(owner.next(), Message::Data(b"one\n".to_vec()));
        assert_eq!(owner.next(), Message::Passive);
        assert_eq!(owner.recv(&accepted, 0), Ok(b"two\n".to_vec()));
        assert_eq!(listener.info().settings.active, Active::Count(1));
    }
    // A count that is none is told of on a listener, too.
    listener
        .set_options(&[active(ActiveRequest::Add(-1)), flag("nodelay", true)])
        .unwrap();
    assert_eq!(owner.messages(), [Message::Passive]);
}

/// A peer that has sent and gone before accept is accepted, heard, and then gone.
#[test]
fn a_peer_may_be_gone_before_it_is_accepted() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (listener, address) = rig.listen(Family::Inet, &owner, &[]);
    let mut peer = knock(&address);
    peer.write_all(b"hello and goodbye").unwrap();
    drop(peer);
    owner.accept(&listener).unwrap();
    assert_eq!(owner.data(17), b"hello and goodbye");
    assert_eq!(owner.next(), Message::Closed);
    let peer = knock(&address);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    owner.accept(&listener).unwrap();
    assert_eq!(owner.next(), Message::Closed);
}

/// An fd that is none is refused, one that listens becomes a listener.
#[test]
fn an_fd_is_taken_for_what_it_is() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    let address = Address::from_system(&socket.local_addr().unwrap());
    let listener = rig.adopt(socket, Family::Inet, &owner, &[]);
    assert_eq!(listener.info().kind, Kind::Listening);
    let _peer = knock(&address);
    owner.accept(&listener).unwrap();
    let spec = net::Spec {
        source: net::Source::Fd(i32::MAX),
        ..Rig::spec(Family::Inet, &[])
    };
    let refused = Endpoint::take_over(&rig.poller, owner.pid, &spec);
    assert_eq!(refused.map(drop), Err(Failure::Posix(libc::EBADF)));
}
