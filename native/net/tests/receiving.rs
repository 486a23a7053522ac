//! What a socket delivers to its owner, and to a process that waits in recv.

mod fake;

use fake::{Iolist, Message, Process, Rig, active, bytes, flag, packet, tag};
use net::{Call, Failure, Family, Kind, Reply};
use proto::{Active, ActiveRequest, PacketType};
use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::time::Duration;

const BOTH: [Family; 2] = [Family::Inet, Family::Local];

fn data(bytes: &[u8]) -> Message {
    Message::Data(bytes.to_vec())
}

fn posix<T>(errno: i32) -> Result<T, Failure> {
    Err(Failure::Posix(errno))
}

/// An active socket delivers everything in order, and then that the peer has closed.
#[test]
fn an_active_socket_delivers_data_and_then_the_end() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer) = rig.stream(family, &owner, &[active(ActiveRequest::Always)]);
        let sent: Vec<u8> = (0..2_000_000u32).map(|i| (i % 251) as u8).collect();
        peer.write(&sent);
        assert!(owner.data(sent.len()) == sent);
        peer.write(b"the last");
        drop(peer);
        assert_eq!(owner.next(), data(b"the last"));
        assert_eq!(owner.next(), Message::Closed);
        rig.settle();
        assert!(socket.is_closed());
        assert_eq!(owner.messages(), []);
    }
}

/// `once` delivers one frame, and what else is there in the call that asks for it.
#[test]
fn once_delivers_one_frame_a_call() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[packet(PacketType::Line)]);
    peer.write(b"one\ntwo\nthree\nfour");
    socket.activate(Active::Once).unwrap();
    // Nothing needs to be waited for but the first segment.
    assert_eq!(owner.next(), data(b"one\n"));
    rig.settle();
    assert_eq!(owner.messages(), []);
    assert!(socket.info().settings.active.is_passive());
    for line in [&b"two\n"[..], b"three\n"] {
        socket.set_options(&[active(ActiveRequest::Once)]).unwrap();
        assert_eq!(owner.messages(), [data(line)]);
        owner.next();
    }
    socket.activate(Active::Once).unwrap();
    rig.settle();
    assert_eq!(owner.messages(), []);
    peer.write(b"\nfive\n");
    assert_eq!(owner.next(), data(b"four\n"));
    assert_eq!(owner.recv(&socket, 0), Ok(b"five\n".to_vec()));
}

/// What the kernel has, an end too, is in the mailbox when a call that asks for one
/// message has returned.
#[test]
fn asking_for_one_message_looks_into_the_kernel() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    peer.write(b"here");
    socket.activate(Active::Once).unwrap();
    assert_eq!(owner.messages(), [data(b"here")]);
    drop(peer);
    socket
        .set_options(&[active(ActiveRequest::Add(3))])
        .unwrap();
    assert_eq!(owner.messages(), [data(b"here"), Message::Closed]);
    assert!(socket.is_closed());
}

/// `{active, N}` counts messages, `tcp_passive` follows the last one at once, and nothing
/// comes after that until the next request.
#[test]
fn a_count_ends_with_passive() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let options = [active(ActiveRequest::Add(2)), packet(PacketType::Line)];
    let (socket, mut peer) = rig.tcp(&owner, &options);
    peer.write(b"1\n2\n3\n4\n5\n");
    assert_eq!(owner.next(), data(b"1\n"));
    assert_eq!(owner.next(), data(b"2\n"));
    assert_eq!(owner.next(), Message::Passive);
    rig.settle();
    assert_eq!(owner.messages(), []);
    socket
        .set_options(&[active(ActiveRequest::Add(1))])
        .unwrap();
    assert_eq!(owner.messages(), [data(b"3\n"), Message::Passive]);
    owner.next();
    owner.next();
    // Counts add up, and a sum that is not positive is told each time.
    socket
        .set_options(&[active(ActiveRequest::Add(-1))])
        .unwrap();
    assert_eq!(owner.next(), Message::Passive);
    socket
        .set_options(&[active(ActiveRequest::Add(0))])
        .unwrap();
    assert_eq!(owner.next(), Message::Passive);
    socket
        .set_options(&[active(ActiveRequest::Add(5))])
        .unwrap();
    assert_eq!(owner.next(), data(b"4\n"));
    assert_eq!(owner.next(), data(b"5\n"));
    socket
        .set_options(&[active(ActiveRequest::Add(10))])
        .unwrap();
    assert_eq!(socket.info().settings.active, Active::Count(13));
    // A word replaces the count without a message.
    socket
        .set_options(&[active(ActiveRequest::Passive)])
        .unwrap();
    rig.settle();
    assert_eq!(owner.messages(), []);
}

/// Everything that came before the end is delivered before the end.
#[test]
fn frames_come_before_the_end() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer) = rig.stream(family, &owner, &[packet(PacketType::Line)]);
        peer.write(b"1\n2\n3\n");
        drop(peer);
        socket.activate(Active::Once).unwrap();
        assert_eq!(owner.next(), data(b"1\n"));
        rig.settle();
        assert_eq!(owner.messages(), []);
        socket.activate(Active::Once).unwrap();
        assert_eq!(owner.next(), data(b"2\n"));
        socket.activate(Active::Always).unwrap();
        assert_eq!(owner.next(), data(b"3\n"));
        assert_eq!(owner.next(), Message::Closed);
    }
}

/// A waiting recv gets one reply when bytes come, and takes them itself.
#[test]
fn a_waiting_recv_is_answered_once() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer) = rig.stream(family, &owner, &[]);
        let tag = tag();
        assert!(matches!(owner.try_recv(&socket, 0, tag), Call::Wait));
        assert_eq!(socket.info().readers, 1);
        peer.write(b"abc");
        peer.write(b"def");
        assert_eq!(owner.reply(tag), Reply::Ready);
        peer.write(b"ghi");
        rig.settle();
        assert_eq!(owner.messages(), []);
        assert_eq!(owner.recv(&socket, 9), Ok(b"abcdefghi".to_vec()));
        assert!(!socket.cancel(owner.pid, &tag));
    }
}

/// Either a cancel succeeds or a reply is in the mailbox, and no byte is lost.
#[test]
fn a_recv_is_either_cancelled_or_answered() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    let (mut cancelled, mut answered) = (0, 0);
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        let (go, gone) = channel::<u8>();
        scope.spawn(move || {
            for byte in gone {
                peer.write(&[byte]);
            }
        });
        for round in 0..500 {
            let tag = tag();
            assert!(matches!(owner.try_recv(&socket, 0, tag), Call::Wait));
            go.send((round % 256) as u8).unwrap();
            for _ in 0..round % 50 {
                std::thread::yield_now();
            }
            if socket.cancel(owner.pid, &tag) {
                cancelled += 1;
                assert_eq!(owner.messages(), []);
            } else {
                answered += 1;
                assert_eq!(owner.messages(), [Message::Reply(tag, Reply::Ready)]);
                owner.next();
            }
            got.extend(owner.recv(&socket, 1).unwrap());
        }
    });
    let expected: Vec<u8> = (0..500u32).map(|byte| (byte % 256) as u8).collect();
    assert_eq!(got, expected);
    assert_eq!(cancelled + answered, 500);
}

/// A recv that times out leaves its bytes to the next one, whatever that asks for.
#[test]
fn a_timeout_loses_no_byte() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    peer.write(b"abcd");
    for len in [10, 20_000, 5] {
        let result = owner.recv_for(&socket, len, Duration::ZERO);
        assert_eq!(result, Err(Failure::Timeout));
    }
    assert_eq!(owner.recv(&socket, 2), Ok(b"ab".to_vec()));
    assert_eq!(
        owner.recv_for(&socket, 3, Duration::ZERO),
        Err(Failure::Timeout)
    );
    peer.write(b"e");
    assert_eq!(owner.recv(&socket, 0), Ok(b"cd".to_vec()));
    assert_eq!(
        owner.recv_for(&socket, 2, Duration::ZERO),
        Err(Failure::Timeout)
    );
    socket.activate(Active::Once).unwrap();
    assert_eq!(owner.messages(), [data(b"e")]);
}

/// One recv waits at a time; a dead one is forgotten with its claim.
#[test]
fn a_second_recv_is_refused_while_the_first_lives() {
    let rig = Rig::new();
    let (owner, other, third) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    assert!(matches!(other.try_recv(&socket, 0, tag()), Call::Wait));
    assert_eq!(third.recv(&socket, 0), posix(libc::EALREADY));
    assert_eq!(owner.recv(&socket, 5), posix(libc::EALREADY));
    other.die();
    peer.write(b"for the third");
    assert_eq!(third.recv(&socket, 0), Ok(b"for the third".to_vec()));

    // One who dies after having been told, and before it comes.
    let fourth = Process::spawn();
    let told = tag();
    assert!(matches!(fourth.try_recv(&socket, 0, told), Call::Wait));
    peer.write(b"again");
    assert_eq!(fourth.reply(told), Reply::Ready);
    assert_eq!(third.recv(&socket, 0), posix(libc::EALREADY));
    fourth.die();
    assert_eq!(third.recv(&socket, 0), Ok(b"again".to_vec()));

    // One who died is no reason to wake up for ever.
    let fifth = Process::spawn();
    assert!(matches!(fifth.try_recv(&socket, 0, tag()), Call::Wait));
    fifth.die();
    peer.write(b"x");
    rig.settle();
    assert_eq!(socket.info().readers, 0);
    assert_eq!(third.recv(&socket, 1), Ok(b"x".to_vec()));
}

/// A recv that cannot be served says why.
#[test]
fn recv_refuses_what_it_cannot_do() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, _peer) = rig.tcp(&owner, &[]);
    assert_eq!(owner.recv(&socket, (64 << 20) + 1), posix(libc::ENOMEM));
    socket.set_options(&[packet(PacketType::Line)]).unwrap();
    assert_eq!(owner.recv(&socket, 1), posix(libc::EINVAL));
    for mode in [Active::Always, Active::Once, Active::Count(3)] {
        socket.activate(mode).unwrap();
        assert_eq!(owner.recv(&socket, 0), posix(libc::EINVAL));
    }
    let (listener, _) = rig.listen(Family::Inet, &owner, &[]);
    assert_eq!(owner.recv(&listener, 0), posix(libc::ENOTCONN));
    socket.abandon();
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
}

/// A recv that waits when the socket is made active goes on waiting: the bytes are the
/// owner's. It learns of the close, and it gets what comes when the socket is passive again.
#[test]
fn a_waiting_recv_yields_to_an_active_owner() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    let waiting = tag();
    assert!(matches!(other.try_recv(&socket, 0, waiting), Call::Wait));
    socket.activate(Active::Once).unwrap();
    peer.write(b"the owner's");
    assert_eq!(owner.next(), data(b"the owner's"));
    assert_eq!(other.messages(), []);
    peer.write(b"the other's");
    assert_eq!(other.reply(waiting), Reply::Ready);
    assert_eq!(other.recv(&socket, 0), Ok(b"the other's".to_vec()));

    let waiting = tag();
    assert!(matches!(other.try_recv(&socket, 0, waiting), Call::Wait));
    socket.activate(Active::Always).unwrap();
    drop(peer);
    assert_eq!(owner.next(), Message::Closed);
    assert_eq!(other.reply(waiting), Reply::Failed(Failure::Closed));
}

/// Bytes put back come first, and at once if the socket is active.
#[test]
fn bytes_put_back_come_first() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[packet(PacketType::Length1)]);
    peer.write(b"\x04later");
    assert_eq!(owner.recv(&socket, 0), Ok(b"late".to_vec()));
    socket.unrecv(b"\x01a\x02b").unwrap();
    assert_eq!(owner.recv(&socket, 0), Ok(b"a".to_vec()));
    assert_eq!(owner.recv(&socket, 0), Ok(b"br".to_vec()));
    socket.activate(Active::Always).unwrap();
    socket.unrecv(b"\x03now").unwrap();
    assert_eq!(owner.messages(), [data(b"now")]);
    let (listener, _) = rig.listen(Family::Inet, &owner, &[]);
    assert_eq!(listener.unrecv(b"x"), posix(libc::ENOTCONN));
    socket.abandon();
    assert_eq!(socket.unrecv(b"x"), Err(Failure::Closed));
}

/// Bytes that were read under one type are looked at under the next.
#[test]
fn a_change_of_type_takes_effect_on_what_is_there() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[packet(PacketType::Line)]);
    peer.write(b"\0\x03abc\0\x09no line");
    assert_eq!(
        owner.recv_for(&socket, 0, Duration::ZERO),
        Err(Failure::Timeout)
    );
    socket.set_options(&[packet(PacketType::Length2)]).unwrap();
    assert_eq!(owner.recv(&socket, 0), Ok(b"abc".to_vec()));
    assert_eq!(
        owner.recv_for(&socket, 0, Duration::ZERO),
        Err(Failure::Timeout)
    );
    socket
        .set_options(&[active(ActiveRequest::Once), packet(PacketType::Raw)])
        .unwrap();
    assert_eq!(owner.messages(), [data(b"\0\x09no line")]);
}

/// A recv by length that waits is given a frame when the type changes meanwhile.
#[test]
fn a_waiting_recv_takes_what_the_new_type_gives() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    let waiting = tag();
    assert!(matches!(owner.try_recv(&socket, 3, waiting), Call::Wait));
    socket.set_options(&[packet(PacketType::Length1)]).unwrap();
    peer.write(b"\x04four");
    assert_eq!(owner.reply(waiting), Reply::Ready);
    assert_eq!(owner.recv(&socket, 3), Ok(b"four".to_vec()));
    // That was the one that waited.
    assert_eq!(owner.recv(&socket, 3), posix(libc::EINVAL));
}

/// A line type set after a recv by length does not skip what that has left.
#[test]
fn lines_and_lengths_mix() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[packet(PacketType::Line)]);
    peer.write(b"abcdef");
    assert_eq!(
        owner.recv_for(&socket, 0, Duration::ZERO),
        Err(Failure::Timeout)
    );
    socket.set_options(&[packet(PacketType::Raw)]).unwrap();
    assert_eq!(owner.recv(&socket, 5), Ok(b"abcde".to_vec()));
    socket.set_options(&[packet(PacketType::Line)]).unwrap();
    peer.write(b"\ng\nhijk\n");
    assert_eq!(owner.recv(&socket, 0), Ok(b"f\n".to_vec()));
    assert_eq!(owner.recv(&socket, 0), Ok(b"g\n".to_vec()));
    assert_eq!(owner.recv(&socket, 0), Ok(b"hijk\n".to_vec()));
}

/// A frame that is none ends the stream with `emsgsize`, behind the good ones.
#[test]
fn a_bad_frame_ends_the_stream() {
    let rig = Rig::new();
    let wire = b"\x03\0\0\x05a\x02 is no tpkt";
    let owner = Process::spawn();
    let monitor = tag();
    let options = [packet(PacketType::Tpkt)];
    let (socket, mut peer) = rig.tcp(&owner, &options);
    assert!(socket.monitor(owner.pid, monitor));
    socket.activate(Active::Always).unwrap();
    peer.write(wire);
    assert_eq!(owner.next(), data(b"\x03\0\0\x05a"));
    let failure = Failure::Posix(libc::EMSGSIZE);
    assert_eq!(owner.next(), Message::Error(failure));
    assert_eq!(owner.next(), Message::Closed);
    assert_eq!(owner.next(), Message::Down(monitor, Some(failure)));
    assert!(socket.is_closed());

    let (socket, mut peer) = rig.tcp(&owner, &options);
    peer.write(wire);
    assert_eq!(owner.recv(&socket, 0), Ok(b"\x03\0\0\x05a".to_vec()));
    assert_eq!(owner.recv(&socket, 0), posix(libc::EMSGSIZE));
    assert_eq!(owner.recv(&socket, 0), posix(libc::ENOTCONN));
    assert_eq!(socket.info().kind, Kind::Disconnected);
    let sent = owner.send(&socket, &bytes(b"x"));
    assert_eq!(sent, posix(libc::ENOTCONN));
}

/// A reset is `closed`, unless the user wants to know.
#[test]
fn a_reset_is_told_on_request() {
    let rig = Rig::new();
    for show in [false, true] {
        let owner = Process::spawn();
        let reset = Failure::Posix(libc::ECONNRESET);
        let options = [flag("show_econnreset", show)];
        let (socket, peer) = rig.tcp(&owner, &options);
        let monitor = tag();
        assert!(socket.monitor(owner.pid, monitor));
        socket.activate(Active::Always).unwrap();
        peer.reset();
        if show {
            assert_eq!(owner.next(), Message::Error(reset));
        }
        assert_eq!(owner.next(), Message::Closed);
        assert_eq!(owner.next(), Message::Down(monitor, show.then_some(reset)));

        let (socket, mut peer) = rig.tcp(&owner, &options);
        peer.write(b"before");
        assert_eq!(owner.recv(&socket, 6), Ok(b"before".to_vec()));
        peer.reset();
        let told = if show { reset } else { Failure::Closed };
        assert_eq!(owner.recv(&socket, 0), Err(told));
        assert_eq!(owner.recv(&socket, 0), posix(libc::ENOTCONN));
    }
}

/// A passive socket that nobody receives from is not read: its peer is held up.
#[test]
fn a_passive_socket_holds_up_its_peer() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    peer.0.set_nonblocking(true).unwrap();
    let chunk = vec![5; 64 * 1024];
    let mut sent = 0;
    while let Ok(len) = peer.0.write(&chunk) {
        sent += len;
        assert!(sent < 64 << 20, "somebody reads");
    }
    rig.settle();
    assert!(peer.0.write(b"x").is_err());
    peer.0.shutdown(Shutdown::Write).unwrap();
    let mut received = 0;
    let end = loop {
        match owner.recv(&socket, 0) {
            Ok(bytes) => received += bytes.len(),
            Err(failure) => break failure,
        }
    };
    assert_eq!((received, end), (sent, Failure::Closed));
}

/// One who dies in recv leaves the bytes to others, also large ones that have come in part.
#[test]
fn a_length_that_came_in_part_is_left_to_others() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    let half = vec![1; 50_000];
    peer.write(&half);
    assert!(matches!(
        other.try_recv(&socket, 100_000, tag()),
        Call::Wait
    ));
    other.die();
    assert_eq!(owner.recv(&socket, 50_000), Ok(half));
    // The data of a list of pieces leaves in order, header in front.
    socket.set_options(&[packet(PacketType::Length2)]).unwrap();
    let pieces = [&b"ab"[..], b"", b"cde"].map(|piece| piece.to_vec().into());
    owner.send(&socket, &Iolist(pieces.to_vec())).unwrap();
    assert_eq!(peer.read(7), b"\0\x05abcde");
}

/// Bytes that are put back wake who waits for the kernel to have some.
#[test]
fn what_is_put_back_is_received_by_who_waits() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, _peer) = rig.stream(Family::Local, &owner, &[]);
    let tag = tag();
    assert!(matches!(other.try_recv(&socket, 0, tag), Call::Wait));
    socket.unrecv(b"x").unwrap();
    assert_eq!(other.reply(tag), Reply::Ready);
    assert_eq!(other.recv(&socket, 0), Ok(b"x".to_vec()));
}
