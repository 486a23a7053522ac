//! Every fd is closed again. A program of its own with one test: it counts the fds of the
//! whole process.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod fake;

use fake::{Message, Process, Rig, active, bytes, flag, named, tag};
use net::option::Value;
use net::{Endpoint, Failure, Family, Reply};
use proto::{Active, ActiveRequest};
use std::net::Shutdown;

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// One socket for each way to end that there is.
fn use_sockets(rig: &Rig, family: Family) {
    let (owner, other) = (Process::spawn(), Process::spawn());
    let passive = [active(ActiveRequest::Passive)];

    // Connected and accepted, closed from one side.
    let (listener, address) = rig.listen(family, &owner, &passive);
    let socket = rig.connect(family, &owner, &address, &passive);
    let accepted = owner.accept(&listener).unwrap();
    assert!(accepted.close());
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
    // A husk has no fd already; it is given up without ever being closed.
    drop(socket);

    // Left in the backlog of a listener that closes.
    let socket = rig.connect(family, &owner, &address, &passive);
    listener.abandon();
    assert!(owner.recv(&socket, 0).is_err());
    socket.abandon();

    // Refused, as an address or as an option.
    let spec = Rig::spec(family, &[]);
    if let Ok((socket, _)) = Endpoint::connect(&rig.poller, owner.pid, &spec, &address, tag()) {
        socket.abandon();
    }
    let spec = Rig::spec(family, &[named("high_msgq_watermark", Value::Int(0))]);
    assert!(Endpoint::listen(&rig.poller, owner.pid, &spec, 5).is_err());

    // Ended by the peer while active, by a bad frame, by a reset.
    let owner_of_active = Process::spawn();
    let (socket, peer) = rig.stream(family, &owner_of_active, &[]);
    socket.activate(Active::Always).unwrap();
    drop(peer);
    assert_eq!(owner_of_active.next(), Message::Closed);
    let (socket, mut peer) = rig.stream(family, &owner_of_active, &[]);
    socket
        .set_options(&[
            active(ActiveRequest::Always),
            fake::packet(proto::PacketType::Tpkt),
        ])
        .unwrap();
    peer.write(b"bad!");
    assert!(matches!(owner_of_active.next(), Message::Error(_)));
    assert_eq!(owner_of_active.next(), Message::Closed);

    // Half closed by either, then by its owner's death.
    let (socket, peer) = rig.stream(family, &owner, &[flag("exit_on_close", false)]);
    peer.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
    socket.shutdown(Shutdown::Write).unwrap();
    socket.process_down(owner.pid);

    // With output that is written after the close, dropped by a reset, or by a timeout.
    let much = bytes(&vec![0; 8 << 20]);
    let (socket, mut peer) = rig.stream(family, &owner, &[]);
    owner.send(&socket, &much).unwrap();
    socket.abandon();
    peer.read_to_end();
    let (socket, _peer) = rig.stream(family, &owner, &[]);
    owner.send(&socket, &much).unwrap();
    socket
        .set_options(&[named("linger", Value::Linger(true, 0))])
        .unwrap();
    assert!(socket.close());
    let (socket, _peer) = rig.stream(family, &owner, &[]);
    owner.send(&socket, &much).unwrap();
    let (_, in_send) = owner.wait_to_send(&socket, &bytes(b"x"));
    assert!(socket.send_timed_out(owner.pid, &in_send, true));

    // By a panic.
    let (socket, mut peer) = rig.stream(family, &other, &[]);
    other.panic_at_deliveries(2);
    let monitor = tag();
    assert!(socket.monitor(owner.pid, monitor));
    socket.activate(Active::Always).unwrap();
    peer.write(b"boom");
    owner.select(|message| matches!(message, Message::Down(of, _) if *of == monitor).then_some(()));
}

/// Whatever becomes of the sockets, all fds are closed in the end: those of sockets at
/// once, those of the poller when it has stopped and nobody refers to it.
#[test]
fn all_fds_are_closed() {
    // Whatever the first use of anything opens for good.
    let rig = Rig::new();
    use_sockets(&rig, Family::Inet);
    drop(rig);
    let before = open_fds();
    let rig = Rig::new();
    let with_poller = open_fds();
    for family in [Family::Inet, Family::Local, Family::Inet] {
        use_sockets(&rig, family);
        // Husks keep their place until they are closed, but no fd.
        let left = rig.poller.sockets();
        assert!(left.iter().all(|socket| socket.fd().is_err()));
        for socket in left {
            socket.abandon();
        }
        let waiter = Process::spawn();
        let empty = tag();
        if rig.poller.await_empty(waiter.pid, empty) {
            assert_eq!(waiter.reply(empty), Reply::Ready);
        }
        rig.settle();
        assert_eq!(open_fds(), with_poller);
    }
    // Sockets that are open when the poller stops.
    let owner = Process::spawn();
    let (socket, peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
    let (listener, _) = rig.listen(Family::Inet, &owner, &[]);
    drop(rig);
    assert!(socket.is_closed() && listener.is_closed());
    drop((socket, listener, peer));
    assert_eq!(open_fds(), before);
}
