//! What becomes of data that the kernel does not take at once, and of those who sent it.

mod fake;

use fake::{
    Handle, Iolist, Message, Peer, Process, Rig, active, bytes, flag, int, packet,
    queued_by_reference, tag,
};
use net::{Call, Failure, Family, Reply, Sent};
use proto::{Active, ActiveRequest, PacketType};
use std::net::Shutdown;
use std::sync::Arc;

const BOTH: [Family; 2] = [Family::Inet, Family::Local];
/// More than the kernel takes between two sockets of which one does not read.
const MUCH: usize = 8 << 20;

/// So many bytes that are not all the same.
fn numbered(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..1009 * 251).map(|i| (i % 1009 % 251) as u8).collect();
    bytes = bytes.repeat(len / bytes.len() + 1);
    bytes.truncate(len);
    bytes
}

/// A socket with a long queue, and the data that is in it or beyond.
fn stuck(rig: &Rig, family: Family, owner: &Process) -> (Handle, Peer, Iolist) {
    let (socket, peer) = rig.stream(family, owner, &[]);
    let data = bytes(&numbered(MUCH));
    assert_eq!(owner.try_send(&socket, &data, false), Sent::Done);
    assert!(socket.queued() > 1 << 20);
    (socket, peer, data)
}

fn wait(queued: bool) -> Sent {
    Sent::Wait {
        queued,
        timeout: None,
        close: false,
    }
}

/// Registers a wait after a send of `data` that has to wait.
fn wait_to_send(process: &Process, socket: &Handle, data: &[u8], queued: bool) -> u64 {
    let (is_queued, tag) = process.wait_to_send(socket, &bytes(data));
    assert_eq!(is_queued, queued);
    tag
}

/// Data leaves in the order of the calls, with the header of its type, however it is cut.
#[test]
fn data_leaves_in_order() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer) = rig.stream(family, &owner, &[packet(PacketType::Length4)]);
        let expected: Vec<u8> = (0..2000)
            .flat_map(|i: u32| {
                [
                    &((i * 3 % 997).to_be_bytes())[..],
                    &vec![i as u8; i as usize * 3 % 997],
                ]
                .concat()
            })
            .collect();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| peer.read(expected.len()));
            for i in 0..2000usize {
                let body = vec![i as u8; i * 3 % 997];
                let (front, back) = body.split_at(body.len() / 3);
                let pieces = [front, &[], back].map(|piece| Arc::new(piece.to_vec()));
                owner.send(&socket, &Iolist(pieces.to_vec())).unwrap();
            }
            assert!(reader.join().unwrap() == expected);
        });
        let counters = socket.counters().unwrap();
        assert_eq!(counters.sent.octets, expected.len() as u64);
        assert_eq!(counters.sent.count, 2000);
    }
}

/// What the kernel does not take is kept by reference, and let go when it has gone.
#[test]
fn a_long_queue_is_kept_by_reference() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer, data) = stuck(&rig, family, &owner);
        assert_eq!(queued_by_reference(&data), 1);
        assert_eq!(socket.counters().unwrap().pending, socket.queued() as u64);
        assert!(peer.read(MUCH) == *data.0[0]);
        rig.settle();
        assert_eq!(queued_by_reference(&data), 0);
        assert_eq!(socket.queued(), 0);
        // The idle socket writes at once again.
        owner.send(&socket, &bytes(b"at once")).unwrap();
        assert_eq!(peer.read(7), b"at once");
    }
}

/// A send that one call can't write does not make the next one wait, as long as the kernel
/// takes all of it.
#[test]
fn a_long_send_is_no_queue() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    let long = numbered(2 << 20);
    let held = rig.hold_up();
    assert_eq!(owner.try_send(&socket, &bytes(&long), false), Sent::Done);
    assert!(socket.queued() > 0);
    let more = bytes(&numbered(MUCH));
    loop {
        match owner.try_send(&socket, &more, false) {
            Sent::Done => break,
            // No wait, but one more call.
            sent => assert_eq!(sent, wait(false)),
        }
        let call = socket.await_send(owner.pid, tag(), false);
        assert!(matches!(call, Call::Done(())), "{call:?}");
    }
    assert!(socket.queued() > 0);
    assert_eq!(socket.counters().unwrap().sent.count, 2);
    // Now it is the kernel that has refused.
    wait_to_send(&owner, &socket, b"last", true);
    drop(held);
    assert!(peer.read(2 << 20) == long);
    assert!(peer.read(MUCH) == *more.0[0]);
    assert_eq!(peer.read(4), b"last");
}

/// Above the high watermark senders wait, the first with its data queued, the others
/// without; at the low one they go on, each with one reply.
#[test]
fn senders_wait_between_the_watermarks() {
    let rig = Rig::new();
    let (owner, second, third) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (socket, mut peer, data) = stuck(&rig, Family::Inet, &owner);
    let first_wait = wait_to_send(&owner, &socket, b"first", true);
    let second_wait = wait_to_send(&second, &socket, b"second", false);
    let third_wait = wait_to_send(&third, &socket, b"third", false);
    assert_eq!(socket.info().writers, 3);
    rig.settle();
    for process in [&owner, &second, &third] {
        assert_eq!(process.messages(), []);
    }
    assert!(peer.read(MUCH) == *data.0[0]);
    assert_eq!(owner.reply(first_wait), Reply::Done);
    // One at a time: the third one's turn comes when the second has sent.
    assert_eq!(second.reply(second_wait), Reply::Ready);
    assert_eq!(third.messages(), []);
    second.send(&socket, &bytes(b"second")).unwrap();
    assert_eq!(third.reply(third_wait), Reply::Ready);
    third.send(&socket, &bytes(b"third")).unwrap();
    assert_eq!(peer.read(16), b"firstsecondthird");
    rig.settle();
    for process in [&owner, &second, &third] {
        assert_eq!(process.messages(), []);
    }
}

/// A sender that was called and dies before it has sent leaves its turn to the next.
#[test]
fn a_called_sender_may_not_come() {
    let rig = Rig::new();
    let (owner, second, third) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (socket, mut peer, data) = stuck(&rig, Family::Inet, &owner);
    wait_to_send(&owner, &socket, b"first", true);
    let second_wait = wait_to_send(&second, &socket, b"second", false);
    let third_wait = wait_to_send(&third, &socket, b"third", false);
    assert!(peer.read(MUCH) == *data.0[0]);
    assert_eq!(second.reply(second_wait), Reply::Ready);
    second.die();
    socket.process_down(second.pid);
    assert_eq!(third.reply(third_wait), Reply::Ready);
    third.send(&socket, &bytes(b"third")).unwrap();
    assert_eq!(peer.read(10), b"firstthird");
}

/// Senders go on at the low watermark, and not before.
#[test]
fn senders_go_on_at_the_low_watermark() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer, _data) = stuck(&rig, Family::Local, &owner);
    let low = socket.queued() / 2;
    // Setting the low one raises the high one with it.
    socket
        .set_options(&[int("low_watermark", low as i64)])
        .unwrap();
    let waiting = wait_to_send(&owner, &socket, &[1; 5000], true);
    while socket.queued() > low {
        assert_eq!(owner.messages(), []);
        peer.read(10_000);
        rig.settle();
    }
    assert_eq!(owner.reply(waiting), Reply::Done);
    assert!(socket.queued() > 0);
}

/// A dead sender does not hold up the others, and its queued data is sent.
#[test]
fn dead_senders_hold_up_nobody() {
    let rig = Rig::new();
    let (owner, second, third) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (socket, mut peer, _data) = stuck(&rig, Family::Local, &owner);
    wait_to_send(&second, &socket, b"queued", true);
    let third_wait = wait_to_send(&third, &socket, b"third", false);
    second.die();
    peer.read(MUCH);
    assert_eq!(third.reply(third_wait), Reply::Ready);
    assert_eq!(peer.read(6), b"queued");
}

/// A send that times out gives its turn to the others; what was queued is sent later, all
/// of it.
#[test]
fn a_send_that_times_out_loses_nothing() {
    let rig = Rig::new();
    let (owner, second) = (Process::spawn(), Process::spawn());
    let (socket, mut peer, data) = stuck(&rig, Family::Local, &owner);
    let first_wait = wait_to_send(&owner, &socket, b"first", true);
    let second_wait = wait_to_send(&second, &socket, b"second", false);
    assert!(socket.send_timed_out(owner.pid, &first_wait, false));
    assert!(!socket.send_timed_out(owner.pid, &first_wait, false));
    // The other one may queue now, and waits in its turn.
    assert_eq!(second.reply(second_wait), Reply::Ready);
    let second_wait = wait_to_send(&second, &socket, b"second", true);
    // One that is not queued is queued by force after its timeout.
    let sent = owner.try_send(&socket, &bytes(b"third"), true);
    assert_eq!(sent, Sent::Done);
    assert!(peer.read(MUCH) == *data.0[0]);
    assert_eq!(peer.read(16), b"firstsecondthird");
    assert_eq!(second.reply(second_wait), Reply::Done);
    assert!(!socket.send_timed_out(second.pid, &second_wait, true));
    assert_eq!(owner.messages(), []);
}

/// Whose data is queued waits for a short queue, though another one times out between the
/// two calls of its send.
#[test]
fn a_timeout_of_another_one_is_no_end_of_the_wait() {
    let rig = Rig::new();
    let (owner, second) = (Process::spawn(), Process::spawn());
    let (socket, mut peer, _data) = stuck(&rig, Family::Local, &owner);
    let first_wait = wait_to_send(&owner, &socket, b"first", true);
    let second_wait = wait_to_send(&second, &socket, b"second", false);
    assert!(socket.send_timed_out(owner.pid, &first_wait, false));
    assert_eq!(second.reply(second_wait), Reply::Ready);
    let sent = second.try_send(&socket, &bytes(b"second"), false);
    assert!(matches!(sent, Sent::Wait { queued: true, .. }));
    let third_wait = wait_to_send(&owner, &socket, b"third", false);
    assert!(socket.send_timed_out(owner.pid, &third_wait, false));
    let second_wait = tag();
    let call = socket.await_send(second.pid, second_wait, true);
    assert!(matches!(call, Call::Wait));
    peer.read(MUCH);
    assert_eq!(second.reply(second_wait), Reply::Done);
}

/// With `send_timeout_close` a timeout drops the queue and closes; the others that wait
/// learn of it.
#[test]
fn a_timeout_may_close() {
    let rig = Rig::new();
    for is_active in [false, true] {
        let (owner, second) = (Process::spawn(), Process::spawn());
        let (socket, mut peer, _data) = stuck(&rig, Family::Local, &owner);
        if is_active {
            socket.activate(Active::Always).unwrap();
        }
        let first_wait = wait_to_send(&owner, &socket, b"first", true);
        let second_wait = wait_to_send(&second, &socket, b"second", false);
        assert!(socket.send_timed_out(owner.pid, &first_wait, true));
        match second.reply(second_wait) {
            Reply::Ready | Reply::Failed(Failure::Closed) => {}
            other => panic!("{other:?}"),
        }
        let sent = second.send(&socket, &bytes(b"more"));
        if is_active {
            assert_eq!(owner.messages(), [Message::Closed]);
            assert_eq!(sent, Err(Failure::Closed));
            assert!(socket.is_closed());
        } else {
            assert_eq!(owner.messages(), []);
            assert_eq!(sent, Err(Failure::Posix(libc::ENOTCONN)));
            assert_eq!(owner.recv(&socket, 0), Err(Failure::Posix(libc::ENOTCONN)));
        }
        assert!(peer.read_to_end().len() < MUCH);
    }
}

/// A close with queued output waits for it, during which the socket works for others; then
/// the peer has everything and the end.
#[test]
fn close_waits_for_queued_output() {
    let rig = Rig::new();
    for family in BOTH {
        let owner = Process::spawn();
        let (socket, mut peer, data) = stuck(&rig, family, &owner);
        let monitor = tag();
        assert!(socket.monitor(owner.pid, monitor));
        assert!(!socket.close());
        let drained = tag();
        let call = socket.await_drained(owner.pid, drained);
        assert!(matches!(call, Call::Wait));
        peer.write(b"still works");
        assert_eq!(owner.recv(&socket, 11), Ok(b"still works".to_vec()));
        assert_eq!(owner.messages(), []);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| peer.read_to_end());
            assert_eq!(owner.reply(drained), Reply::Ready);
            socket.abandon();
            assert!(reader.join().unwrap() == *data.0[0]);
        });
        assert_eq!(owner.messages(), [Message::Down(monitor, None)]);
        assert!(socket.is_closed());
        assert!(socket.close());
    }
}

/// A closer that gives up, and an owner that dies, leave the queue to be written in the
/// background; everybody who waits is answered, and the socket is closed for all.
#[test]
fn abandoned_output_is_written_in_the_background() {
    let rig = Rig::new();
    for dies in [false, true] {
        let (owner, sender, receiver) = (Process::spawn(), Process::spawn(), Process::spawn());
        let (socket, mut peer, data) = stuck(&rig, Family::Inet, &owner);
        let monitor = tag();
        assert!(socket.monitor(sender.pid, monitor));
        let in_recv = tag();
        let call = receiver.try_recv(&socket, 0, in_recv);
        assert!(matches!(call, Call::Wait));
        let in_send = wait_to_send(&sender, &socket, b" and the rest", true);
        let empty = tag();
        assert!(rig.poller.await_empty(receiver.pid, empty));
        if dies {
            owner.die();
            socket.process_down(owner.pid);
        } else {
            assert!(!socket.close());
            let in_close = tag();
            let call = socket.await_drained(owner.pid, in_close);
            assert!(matches!(call, Call::Wait));
            assert!(socket.cancel(owner.pid, &in_close));
            socket.abandon();
            assert_eq!(owner.messages(), []);
        }
        assert_eq!(sender.reply(in_send), Reply::Failed(Failure::Closed));
        assert_eq!(receiver.reply(in_recv), Reply::Failed(Failure::Closed));
        assert_eq!(sender.next(), Message::Down(monitor, None));
        assert_eq!(sender.send(&socket, &bytes(b"x")), Err(Failure::Closed));
        assert_eq!(socket.shutdown(Shutdown::Write), Err(Failure::Closed));
        assert!(socket.set_options(&[]).is_err() && socket.counters().is_none());
        assert!(socket.queued() > 0);
        socket.abandon();
        let received = peer.read_to_end();
        assert!(received.strip_suffix(b" and the rest") == Some(&data.0[0]));
        assert_eq!(receiver.reply(empty), Reply::Ready);
        assert!(socket.is_closed());
        assert_eq!(sender.messages(), []);
        assert_eq!(receiver.messages(), []);
    }
}

/// Output that nobody will take is no reason to live on.
#[test]
fn abandoned_output_ends_with_its_peer() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, peer, data) = stuck(&rig, Family::Inet, &owner);
    socket.abandon();
    let empty = tag();
    assert!(rig.poller.await_empty(owner.pid, empty));
    peer.reset();
    assert_eq!(owner.reply(empty), Reply::Ready);
    assert!(socket.is_closed());
    assert_eq!(queued_by_reference(&data), 0);
}

/// `{linger, {true, 0}}` drops the queue and resets, by close and by the owner's death.
#[test]
fn linger_zero_resets() {
    let rig = Rig::new();
    for dies in [false, true] {
        let owner = Process::spawn();
        let (socket, mut peer, data) = stuck(&rig, Family::Inet, &owner);
        let linger = fake::named("linger", net::option::Value::Linger(true, 0));
        socket.set_options(&[linger]).unwrap();
        assert_eq!(socket.linger(), Some(0));
        if dies {
            socket.process_down(owner.pid);
        } else {
            assert!(socket.close());
        }
        assert!(socket.is_closed());
        assert_eq!(queued_by_reference(&data), 0);
        assert_eq!(peer.read_to_error(), libc::ECONNRESET);
    }
}

/// A shutdown comes behind the queue, and nothing is sent behind the shutdown.
#[test]
fn a_shutdown_waits_for_the_queue() {
    let rig = Rig::new();
    for how in [Shutdown::Write, Shutdown::Both] {
        let owner = Process::spawn();
        let (socket, mut peer, data) = stuck(&rig, Family::Inet, &owner);
        socket.shutdown(how).unwrap();
        assert!(socket.queued() > 0);
        let sent = owner.send(&socket, &bytes(b"behind"));
        assert_eq!(sent, Err(Failure::Closed));
        assert!(peer.read_to_end() == *data.0[0]);
        if how == Shutdown::Write {
            peer.write(b"the other way");
            assert_eq!(owner.recv(&socket, 13), Ok(b"the other way".to_vec()));
        }
        assert_eq!(
            owner.recv_for(&socket, 1, std::time::Duration::ZERO),
            match how {
                Shutdown::Both => Err(Failure::Closed),
                _ => Err(Failure::Timeout),
            }
        );
    }
    let owner = Process::spawn();
    let (listener, _) = rig.listen(Family::Inet, &owner, &[]);
    let refused = Err(Failure::Posix(libc::ENOTCONN));
    assert_eq!(listener.shutdown(Shutdown::Write), refused);
    assert_eq!(owner.send(&listener, &bytes(b"x")), refused);
}

/// A shutdown of the reading side ends the input; the writing one goes on.
#[test]
fn a_shutdown_of_the_input_is_an_end() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[flag("exit_on_close", false)]);
    socket.activate(Active::Always).unwrap();
    socket.shutdown(Shutdown::Read).unwrap();
    assert_eq!(owner.next(), Message::Closed);
    owner.send(&socket, &bytes(b"goes on")).unwrap();
    assert_eq!(peer.read(7), b"goes on");
}

/// Blocked senders learn that the peer has gone, also if nobody reads.
#[test]
fn blocked_senders_learn_of_the_end() {
    let rig = Rig::new();
    for show in [false, true] {
        let (owner, second) = (Process::spawn(), Process::spawn());
        let (socket, peer, _data) = stuck(&rig, Family::Inet, &owner);
        socket
            .set_options(&[flag("show_econnreset", show)])
            .unwrap();
        let first_wait = wait_to_send(&owner, &socket, b"first", true);
        let second_wait = wait_to_send(&second, &socket, b"second", false);
        peer.reset();
        let told = match show {
            true => Failure::Posix(libc::ECONNRESET),
            false => Failure::Closed,
        };
        assert_eq!(owner.reply(first_wait), Reply::Failed(told));
        assert_eq!(second.reply(second_wait), Reply::Failed(told));
        // Each learns it once; then the socket is not connected.
        assert_eq!(owner.recv(&socket, 0), Err(told));
        let gone = Err(Failure::Posix(libc::ENOTCONN));
        assert_eq!(owner.send(&socket, &bytes(b"x")), gone);
        assert_eq!(owner.recv(&socket, 0), gone.map(|()| Vec::new()));
    }
}

/// With `delay_send` everything is queued first, and still leaves at once and in order.
#[test]
fn delayed_sends_leave_in_order() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[flag("delay_send", true)]);
    let held = rig.hold_up();
    for i in 0..100u8 {
        assert_eq!(owner.try_send(&socket, &bytes(&[i]), false), Sent::Done);
    }
    assert_eq!(socket.queued(), 100);
    drop(held);
    assert_eq!(peer.read(100), (0..100).collect::<Vec<u8>>());
}

/// Whichever way the queue becomes empty, who waits for that is told.
#[test]
fn a_queue_written_by_another_call_wakes_its_senders() {
    let rig = Rig::new();
    let (owner, second) = (Process::spawn(), Process::spawn());
    let options = [flag("delay_send", true), int("high_watermark", 100)];
    let (socket, mut peer) = rig.tcp(&owner, &options);
    let held = rig.hold_up();
    let first_wait = wait_to_send(&owner, &socket, &[1; 200], true);
    let second_wait = wait_to_send(&second, &socket, &[2; 10], false);
    socket.set_options(&[flag("delay_send", false)]).unwrap();
    let sent = second.try_send(&socket, &bytes(&[3; 10]), true);
    assert_eq!(sent, Sent::Done);
    drop(held);
    assert_eq!(owner.reply(first_wait), Reply::Done);
    assert_eq!(second.reply(second_wait), Reply::Ready);
    assert_eq!(peer.read(210), [vec![1; 200], vec![3; 10]].concat());
}

/// A burst of small sends is gathered while the poller is busy, and nothing of it is
/// forgotten or overtaken.
#[test]
fn gathered_sends_leave_in_order() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    for round in 0..6u32 {
        let numbers: Vec<[u8; 4]> = (0..500).map(|i| (round * 500 + i).to_be_bytes()).collect();
        for number in &numbers {
            owner.send(&socket, &bytes(number)).unwrap();
        }
        // Too large to be gathered: what was gathered goes first.
        owner.send(&socket, &bytes(&[7; 100_000])).unwrap();
        owner.send(&socket, &bytes(b"end")).unwrap();
        assert_eq!(peer.read(2000), numbers.concat());
        assert_eq!(peer.read(100_000), [7; 100_000]);
        assert_eq!(peer.read(3), b"end");
    }
}

/// An active owner hears of data, of the failure and of the end in this order, also if a
/// send has found out.
#[test]
fn a_failed_send_of_an_active_owner_delivers_first() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    let held = rig.hold_up();
    socket
        .set_options(&[active(ActiveRequest::Always)])
        .unwrap();
    peer.write(b"last words");
    drop(peer);
    let sent = owner.try_send(&socket, &bytes(b"x"), false);
    assert_eq!(sent, Sent::Failed(Failure::Closed));
    assert_eq!(owner.next(), Message::Data(b"last words".to_vec()));
    assert_eq!(owner.next(), Message::Closed);
    assert!(socket.is_closed());
    drop(held);
    rig.settle();
    assert_eq!(owner.messages(), []);
}

/// A failing send that takes the kernel's word of a reset passes it on to an active owner.
#[test]
fn a_failed_send_of_an_active_owner_tells_of_the_reset() {
    let rig = Rig::new();
    let reset = Failure::Posix(libc::ECONNRESET);
    for keeps_open in [false, true] {
        let owner = Process::spawn();
        let options = [
            flag("show_econnreset", true),
            flag("exit_on_close", !keeps_open),
        ];
        let (socket, peer) = rig.tcp(&owner, &options);
        let held = rig.hold_up();
        socket
            .set_options(&[active(ActiveRequest::Always)])
            .unwrap();
        peer.reset();
        let sent = owner.try_send(&socket, &bytes(b"x"), false);
        assert_eq!(sent, Sent::Failed(reset));
        assert_eq!(owner.next(), Message::Error(reset));
        assert_eq!(owner.next(), Message::Closed);
        drop(held);
        rig.settle();
        assert_eq!(owner.messages(), []);
    }
}
