//! How sockets end, what is left of them then, and how they change owners.

mod fake;

use fake::{Handle, Message, Peer, Process, Rig, active, bytes, flag, int, named, packet, tag};
use net::option::{Query, Reading, Row, Value};
use net::{Call, Failure, Family, Kind, Reply};
use proto::{Active, ActiveRequest, PacketType};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const NOT_CONNECTED: Failure = Failure::Posix(libc::ENOTCONN);

fn data(bytes: &[u8]) -> Message {
    Message::Data(bytes.to_vec())
}

/// With `exit_on_close` false an active owner is told of the peer's end once, and goes on
/// sending.
#[test]
fn a_half_closed_socket_sends_on() {
    let rig = Rig::new();
    for family in [Family::Inet, Family::Local] {
        let owner = Process::spawn();
        let options = [flag("exit_on_close", false), active(ActiveRequest::Always)];
        let (socket, mut peer) = rig.stream(family, &owner, &options);
        peer.write(b"that is all");
        peer.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(owner.data(11), b"that is all");
        assert_eq!(owner.next(), Message::Closed);
        for _ in 0..3 {
            owner.send(&socket, &bytes(b"not for me")).unwrap();
            assert_eq!(peer.read(10), b"not for me");
        }
        assert_eq!(socket.info().settings.active, Active::Always);
        socket.set_options(&[active(ActiveRequest::Once)]).unwrap();
        rig.settle();
        assert_eq!(owner.messages(), []);
        socket.activate(Active::Passive).unwrap();
        for _ in 0..3 {
            assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
        }
        assert!(socket.close());
        assert_eq!(peer.read_to_end(), b"");
        assert_eq!(owner.messages(), []);
    }
}

/// The same found by a recv: an activation then tells of the end.
#[test]
fn a_half_closed_passive_socket_tells_on_request() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[flag("exit_on_close", false)]);
    peer.write(b"abc");
    peer.0.shutdown(Shutdown::Write).unwrap();
    // A length that does not come whole is lost.
    assert_eq!(owner.recv(&socket, 10), Err(Failure::Closed));
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
    owner.send(&socket, &bytes(b"still there")).unwrap();
    assert_eq!(peer.read(11), b"still there");
    socket.activate(Active::Once).unwrap();
    assert_eq!(owner.messages(), [Message::Closed]);
    assert!(!socket.is_closed());
    owner.send(&socket, &bytes(b"and on")).unwrap();
    assert_eq!(peer.read(6), b"and on");
}

/// What is left of a passive socket whose peer has closed: each call has its answer, and an
/// activation tells the owner and ends it.
#[test]
fn a_husk_answers_each_call() {
    let rig = Rig::new();
    let (owner, watcher) = (Process::spawn(), Process::spawn());
    let (socket, peer) = rig.tcp(&owner, &[]);
    let monitor = tag();
    assert!(socket.monitor(watcher.pid, monitor));
    drop(peer);
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
    assert_eq!(socket.info().kind, Kind::Disconnected);
    assert_eq!(owner.recv(&socket, 0), Err(NOT_CONNECTED));
    assert_eq!(owner.send(&socket, &bytes(b"x")), Err(Failure::Closed));
    assert_eq!(owner.send(&socket, &bytes(b"x")), Err(NOT_CONNECTED));
    assert_eq!(socket.shutdown(Shutdown::Write), Err(NOT_CONNECTED));
    assert_eq!(socket.peer_address(), Err(NOT_CONNECTED));
    assert_eq!(socket.unrecv(b"x"), Err(NOT_CONNECTED));
    assert_eq!(socket.local_address(), Err(Failure::Posix(libc::EBADF)));
    assert_eq!(socket.fd(), Err(Failure::Posix(libc::EINVAL)));
    socket
        .set_options(&[flag("nodelay", true), int("high_watermark", 77)])
        .unwrap();
    let queries = ["high_watermark", "nodelay"].map(|name| Query::Named(Row::named(name).unwrap()));
    let readings = socket.get_options(queries.to_vec()).unwrap();
    assert!(matches!(
        readings.as_slice(),
        [
            Reading::Value(net::option::Value::Int(77)),
            Reading::Omitted
        ]
    ));
    assert!(socket.counters().is_some());
    let other = Process::spawn();
    let was = socket.begin_transfer(owner.pid, other.pid);
    assert_eq!(was, Ok(Some(Active::Passive)));
    assert!(socket.finish_transfer(other.pid, Active::Passive));
    rig.settle();
    assert_eq!(watcher.messages(), []);
    socket.activate(Active::Once).unwrap();
    assert_eq!(other.messages(), [Message::Closed]);
    assert_eq!(watcher.messages(), [Message::Down(monitor, None)]);
    assert!(socket.is_closed());
    assert_eq!(owner.messages(), []);
}

/// A send that finds the peer gone makes a husk, and the next recv learns the reason once.
#[test]
fn a_send_finds_the_peer_gone() {
    let rig = Rig::new();
    for show in [false, true] {
        let owner = Process::spawn();
        let (socket, peer) = rig.tcp(&owner, &[flag("show_econnreset", show)]);
        let told = match show {
            true => Failure::Posix(libc::ECONNRESET),
            false => Failure::Closed,
        };
        drop(peer);
        // The first send provokes the reset.
        owner.send(&socket, &bytes(b"x")).unwrap();
        let failure = loop {
            if let Err(failure) = owner.send(&socket, &bytes(b"x")) {
                break failure;
            }
        };
        assert_eq!(failure, told);
        assert_eq!(owner.send(&socket, &bytes(b"x")), Err(NOT_CONNECTED));
        assert_eq!(owner.recv(&socket, 0), Err(told));
        assert_eq!(owner.recv(&socket, 0), Err(NOT_CONNECTED));
        socket.activate(Active::Always).unwrap();
        assert_eq!(owner.messages().last(), Some(&Message::Closed));
        assert!(socket.is_closed());
    }
}

/// A recv that waits learns that somebody else's send has found the end, or has ended the
/// connection by its timeout.
#[test]
fn a_waiting_recv_learns_of_the_end_that_others_found() {
    let rig = Rig::new();
    let (owner, receiver) = (Process::spawn(), Process::spawn());
    let (socket, peer) = rig.stream(Family::Local, &owner, &[]);
    let waiting = tag();
    assert!(matches!(receiver.try_recv(&socket, 0, waiting), Call::Wait));
    let held = rig.hold_up();
    drop(peer);
    assert_eq!(owner.send(&socket, &bytes(b"x")), Err(Failure::Closed));
    assert_eq!(receiver.reply(waiting), Reply::Ready);
    drop(held);
    assert_eq!(receiver.recv(&socket, 0), Err(Failure::Closed));
    assert_eq!(receiver.recv(&socket, 0), Err(NOT_CONNECTED));

    let (socket, _peer) = rig.stream(Family::Local, &owner, &[]);
    let [waiting, sending] = [tag(), tag()];
    assert!(matches!(receiver.try_recv(&socket, 0, waiting), Call::Wait));
    owner.send(&socket, &bytes(&vec![0; 8 << 20])).unwrap();
    owner.try_send(&socket, &bytes(b"x"), false);
    assert!(matches!(
        socket.await_send(owner.pid, sending, true),
        Call::Wait
    ));
    assert!(socket.send_timed_out(owner.pid, &sending, true));
    assert_eq!(receiver.reply(waiting), Reply::Ready);
    assert_eq!(receiver.recv(&socket, 0), Err(NOT_CONNECTED));
}

/// Every call on a closed socket has its answer, and none changes anything.
#[test]
fn a_closed_socket_answers_each_call() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, _peer) = rig.tcp(&owner, &[]);
    socket.abandon();
    let gone = Failure::Posix(libc::EINVAL);
    assert_eq!(owner.recv(&socket, 0), Err(Failure::Closed));
    assert_eq!(owner.send(&socket, &bytes(b"x")), Err(Failure::Closed));
    assert_eq!(socket.shutdown(Shutdown::Both), Err(Failure::Closed));
    assert_eq!(socket.local_address(), Err(gone));
    assert_eq!(socket.peer_address(), Err(gone));
    assert_eq!(socket.fd(), Err(gone));
    assert!(socket.activate(Active::Once).is_err());
    assert!(socket.set_options(&[]).is_err());
    assert!(socket.get_options(Vec::new()).is_err());
    assert!(socket.counters().is_none());
    let transfer = socket.begin_transfer(owner.pid, other.pid);
    assert_eq!(transfer, Err(Failure::Closed));
    assert!(!socket.finish_transfer(other.pid, Active::Always));
    assert!(!socket.cancel(owner.pid, &tag()));
    assert!(!socket.send_timed_out(owner.pid, &tag(), true));
    assert!(matches!(
        socket.await_drained(owner.pid, tag()),
        Call::Done(())
    ));
    assert!(socket.close());
    socket.process_down(owner.pid);
    socket.abandon();
    assert_eq!(socket.info().kind, Kind::Closed);
    assert_eq!(owner.messages(), []);
}

/// Each monitor fires once, with the reason; one that was taken back does not.
#[test]
fn monitors_fire_once() {
    let rig = Rig::new();
    let (owner, watcher) = (Process::spawn(), Process::spawn());
    let (socket, _peer) = rig.tcp(&owner, &[]);
    let [one, two, taken_back] = [tag(), tag(), tag()];
    for monitor in [one, two, taken_back] {
        assert!(socket.monitor(watcher.pid, monitor));
    }
    assert!(!socket.cancel_monitor(owner.pid, &taken_back));
    assert!(socket.cancel_monitor(watcher.pid, &taken_back));
    assert!(!socket.cancel_monitor(watcher.pid, &taken_back));
    socket.process_down(owner.pid);
    socket.abandon();
    rig.settle();
    let expected = [one, two].map(|monitor| Message::Down(monitor, None));
    assert_eq!(watcher.messages(), expected);
    assert!(!socket.cancel_monitor(watcher.pid, &one));
    assert!(!socket.monitor(watcher.pid, tag()));
}

/// Who monitors the socket of an owner that exited hears nothing before the reporter has
/// spoken, and then once; a late look of the reporter's finds them still waiting.
#[test]
fn monitors_wait_for_the_reporter() {
    let rig = Rig::new();
    let (owner, watcher, reporter) = (Process::spawn(), Process::spawn(), Process::spawn());
    for is_told_first in [true, false] {
        let (socket, _peer) = rig.tcp(&owner, &[]);
        assert_eq!(socket.monitored_owner(), None);
        assert!(!socket.promise_report(reporter.pid, owner.pid));
        let [monitor, taken_back] = [tag(), tag()];
        assert!(socket.monitor(watcher.pid, monitor));
        assert!(socket.monitor(watcher.pid, taken_back));
        assert!(!socket.promise_report(reporter.pid, watcher.pid));
        assert!(socket.promise_report(reporter.pid, owner.pid));
        if is_told_first {
            assert_eq!(socket.process_down(owner.pid), Some(reporter.pid));
            assert_eq!(socket.monitored_owner(), Some(owner.pid));
            assert!(socket.promise_report(reporter.pid, owner.pid));
        }
        assert!(socket.cancel_monitor(watcher.pid, &taken_back));
        let mut told = Vec::new();
        socket.report(watcher.pid, |watcher| told.push(watcher));
        assert_eq!(told, []);
        socket.report(owner.pid, |watcher| told.push(watcher));
        assert_eq!(told, [(watcher.pid, monitor)]);
        assert!(socket.is_closed());
        assert_eq!(socket.process_down(owner.pid), None);
        socket.report(owner.pid, |_| panic!("told twice"));
    }
    assert_eq!(watcher.messages(), []);
    assert_eq!(reporter.messages(), []);
}

/// A reporter that exits leaves nobody waiting, before the owner's exit and after it.
#[test]
fn without_the_reporter_monitors_fire_all_the_same() {
    let rig = Rig::new();
    for is_after in [true, false] {
        let (owner, watcher, reporter) = (Process::spawn(), Process::spawn(), Process::spawn());
        let (socket, _peer) = rig.tcp(&owner, &[]);
        let monitor = tag();
        assert!(socket.monitor(watcher.pid, monitor));
        assert!(socket.promise_report(reporter.pid, owner.pid));
        if is_after {
            assert_eq!(socket.process_down(owner.pid), Some(reporter.pid));
            assert_eq!(watcher.messages(), []);
            assert_eq!(socket.process_down(reporter.pid), None);
        } else {
            assert_eq!(socket.process_down(reporter.pid), None);
            assert_eq!(socket.process_down(owner.pid), None);
        }
        assert_eq!(watcher.messages(), [Message::Down(monitor, None)]);
    }
}

/// A second reporter finds those who wait for the first one's word. It is the first whose
/// exit is watched, so that they are told whichever of the two exits, or speaks.
#[test]
fn a_second_reporter_leaves_nobody_waiting() {
    let rig = Rig::new();
    let [first, second, watcher] = [(); 3].map(|()| Process::spawn());
    for speaks in [true, false] {
        let owner = Process::spawn();
        let (socket, _peer) = rig.tcp(&owner, &[]);
        let monitor = tag();
        assert!(socket.monitor(watcher.pid, monitor));
        assert!(socket.promise_report(first.pid, owner.pid));
        assert_eq!(socket.process_down(owner.pid), Some(first.pid));
        assert!(socket.promise_report(second.pid, owner.pid));
        let mut told = Vec::new();
        if speaks {
            socket.report(owner.pid, |watcher| told.push(watcher));
            assert_eq!(told, [(watcher.pid, monitor)]);
        }
        assert_eq!(socket.process_down(first.pid), None);
        socket.report(owner.pid, |_| panic!("told twice"));
        let expected = [Message::Down(monitor, None)];
        assert_eq!(watcher.messages(), expected[usize::from(speaks)..]);
    }
}

/// The reporter is let go when the last monitor is taken back, and when the socket closes.
#[test]
fn the_reporter_is_released() {
    let rig = Rig::new();
    let (owner, watcher, reporter) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (socket, _peer) = rig.tcp(&owner, &[]);
    let [one, two] = [tag(), tag()];
    for monitor in [one, two] {
        assert!(socket.monitor(watcher.pid, monitor));
    }
    assert!(socket.promise_report(reporter.pid, owner.pid));
    assert!(socket.cancel_monitor(watcher.pid, &one));
    assert_eq!(reporter.messages(), []);
    assert!(socket.cancel_monitor(watcher.pid, &two));
    assert_eq!(reporter.messages(), [Message::Released]);
    assert!(socket.monitor(watcher.pid, two));
    assert!(socket.promise_report(reporter.pid, owner.pid));
    assert!(socket.close());
    rig.settle();
    assert_eq!(reporter.messages(), [Message::Released, Message::Released]);
    assert_eq!(watcher.messages(), [Message::Down(two, None)]);
}

/// A process that is neither owner nor waiting is nobody.
#[test]
fn the_death_of_others_means_nothing() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
    socket.process_down(other.pid);
    peer.write(b"on");
    assert_eq!(owner.next(), data(b"on"));
}

/// After the first half of a transfer nothing is delivered to the old owner, whatever the
/// peer sends; the new one gets the rest in the mode that was.
#[test]
fn a_transfer_cuts_the_stream_in_two() {
    let rig = Rig::new();
    for round in 0..20u32 {
        let (old, new) = (Process::spawn(), Process::spawn());
        let options = [active(ActiveRequest::Always), packet(PacketType::Length1)];
        let (socket, mut peer) = rig.tcp(&old, &options);
        let stop = AtomicBool::new(false);
        let (stop, socket) = (&stop, &socket);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut count = 0u32;
                while count < 5_000 && !stop.load(Ordering::Acquire) {
                    let number = count.to_be_bytes();
                    peer.write(&[&[4], &number[..]].concat());
                    count += 1;
                }
                (count, peer)
            });
            old.data(4 * (1 + round as usize));
            let was = socket.begin_transfer(old.pid, new.pid);
            assert_eq!(was, Ok(Some(Active::Always)));
            let to_old = old.messages();
            rig.settle();
            assert_eq!(old.messages(), to_old);
            assert!(socket.finish_transfer(new.pid, Active::Always));
            stop.store(true, Ordering::Release);
            let (count, peer) = writer.join().unwrap();
            let mut first = 1 + round + to_old.len() as u32;
            assert_eq!(old.messages(), to_old);
            while first < count {
                assert_eq!(new.next(), data(&first.to_be_bytes()));
                first += 1;
            }
            drop(peer);
            assert_eq!(new.next(), Message::Closed);
            assert_eq!(socket.owner(), new.pid);
        });
    }
}

/// Only the owner gives a socket away, a count goes with it, and so does the duty to close.
#[test]
fn only_the_owner_gives_a_socket_away() {
    let rig = Rig::new();
    let (old, new) = (Process::spawn(), Process::spawn());
    let options = [active(ActiveRequest::Add(7)), packet(PacketType::Line)];
    let (socket, mut peer) = rig.tcp(&old, &options);
    assert_eq!(
        socket.begin_transfer(new.pid, new.pid + 1000),
        Err(Failure::NotOwner)
    );
    assert_eq!(socket.begin_transfer(new.pid, old.pid), Ok(None));
    peer.write(b"1\n2\n");
    old.data(4);
    let was = socket.begin_transfer(old.pid, new.pid);
    assert_eq!(was, Ok(Some(Active::Count(5))));
    assert!(socket.info().settings.active.is_passive());
    assert!(socket.finish_transfer(new.pid, Active::Count(5)));
    socket.process_down(old.pid);
    peer.write(b"3\n4\n5\n6\n7\n");
    new.data(10);
    assert_eq!(new.next(), Message::Passive);
    socket.process_down(new.pid);
    assert!(socket.is_closed());
    assert_eq!(peer.read_to_end(), b"");
    assert_eq!(old.messages(), []);
}

/// When a poller stops, its sockets are closed at once and everybody who waits is answered.
#[test]
fn a_stopped_poller_closes_its_sockets() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (receiving, mut first_peer) = rig.tcp(&owner, &[]);
    let (listener, _) = rig.listen(Family::Local, &owner, &[]);
    let (sending, mut second_peer) = rig.stream(Family::Local, &owner, &[]);
    let [in_recv, in_accept, in_send, empty, monitor] = [tag(), tag(), tag(), tag(), tag()];
    assert!(matches!(other.try_recv(&receiving, 0, in_recv), Call::Wait));
    assert!(matches!(
        listener.accept(other.pid, || in_accept),
        Call::Wait
    ));
    owner.send(&sending, &bytes(&vec![0; 16 << 20])).unwrap();
    let sent = other.try_send(&sending, &bytes(b"x"), false);
    assert!(matches!(sent, net::Sent::Wait { queued: true, .. }));
    let call = sending.await_send(other.pid, in_send, true);
    assert!(matches!(call, Call::Wait));
    assert!(sending.monitor(owner.pid, monitor));
    assert!(rig.poller.await_empty(owner.pid, empty));
    assert_eq!(rig.poller.sockets().len(), 3);
    rig.poller.stop();
    let closed = Reply::Failed(Failure::Closed);
    for tag in [in_recv, in_accept, in_send] {
        assert_eq!(other.reply(tag), closed);
    }
    assert_eq!(owner.reply(empty), Reply::Ready);
    assert_eq!(owner.messages(), [Message::Down(monitor, None)]);
    assert!(receiving.is_closed() && listener.is_closed() && sending.is_closed());
    assert_eq!(first_peer.read_to_end(), b"");
    assert!(second_peer.read_to_end().len() < 16 << 20);
    assert!(rig.poller.sockets().is_empty());
    assert!(!rig.poller.await_empty(owner.pid, empty));
    rig.poller.stop();
    assert_eq!(other.messages(), []);
}

/// A panic in a delivery closes that socket, with an error for its owner; the poller and
/// the other sockets live.
#[test]
fn a_panic_closes_one_socket() {
    let rig = Rig::new();
    // The second round panics also when the owner is told.
    for times in [1, 2] {
        let (owner, other) = (Process::spawn(), Process::spawn());
        let (socket, mut peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
        let (neighbour, mut its_peer) = rig.tcp(&other, &[active(ActiveRequest::Always)]);
        let monitor = tag();
        assert!(socket.monitor(other.pid, monitor));
        owner.panic_at_deliveries(times);
        peer.write(b"boom");
        let failure = Failure::Posix(libc::EIO);
        assert_eq!(other.next(), Message::Down(monitor, Some(failure)));
        if times == 1 {
            assert_eq!(owner.next(), Message::Error(failure));
            assert_eq!(owner.next(), Message::Closed);
        }
        assert!(socket.is_closed());
        its_peer.write(b"lives");
        assert_eq!(other.next(), data(b"lives"));
        neighbour.abandon();
    }
    assert!(rig.poller.sockets().is_empty());
}

/// A panic in a call closes the socket, too: what it has not delivered is lost.
#[test]
fn a_panic_in_a_call_closes_the_socket() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    peer.write(b"boom");
    owner.panic_at_deliveries(1);
    let call = || socket.activate(Active::Once);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    assert!(caught.is_err());
    assert!(socket.is_closed());
    let failure = Failure::Posix(libc::EIO);
    assert_eq!(owner.messages(), [Message::Error(failure), Message::Closed]);
    assert!(
        fake::REPORTS
            .lock()
            .unwrap()
            .contains(&net::Report::Panicked)
    );
}

/// An event that was on its way when its socket closed means nothing to the next socket,
/// which has the fd and the place of the closed one.
#[test]
fn an_event_in_flight_finds_nobody() {
    let rig = Rig::new();
    let (owner, first, second) = (Process::spawn(), Process::spawn(), Process::spawn());
    let (_gate_socket, mut gate_peer) =
        rig.stream(Family::Local, &owner, &[active(ActiveRequest::Always)]);
    let gate = owner.hold_up_delivery();
    let (closing, mut its_peer) = rig.stream(Family::Local, &first, &[]);
    let waiting = tag();
    assert!(matches!(first.try_recv(&closing, 0, waiting), Call::Wait));
    // The poller takes both events at once, and stops at the first.
    let held = rig.hold_up();
    gate_peer.write(b"x");
    its_peer.write(b"x");
    drop(held);
    gate.await_arrival();
    closing.abandon();
    let closed = Reply::Failed(Failure::Closed);
    assert_eq!(first.reply(waiting), closed);
    let (next, mut its_peer) = rig.stream(Family::Local, &second, &[]);
    let waiting = tag();
    assert!(matches!(second.try_recv(&next, 0, waiting), Call::Wait));
    gate.open();
    rig.settle();
    assert_eq!(second.messages(), []);
    its_peer.write(b"y");
    assert_eq!(second.reply(waiting), Reply::Ready);
}

/// A socket that lingers for five seconds, and more in the kernel than its peer's takes.
fn owing(rig: &Rig, owner: &Process) -> (Handle, Peer) {
    let options = [
        int("sndbuf", 1_000_000),
        named("linger", Value::Linger(true, 5)),
    ];
    let (socket, peer) = rig.tcp(owner, &options);
    assert_eq!(owner.send(&socket, &bytes(&[1; 300_000])), Ok(()));
    assert_eq!(socket.queued(), 0);
    (socket, peer)
}

/// However a socket that lingers is closed, no thread is held up until its peer reads.
#[test]
fn lingering_holds_up_no_thread() {
    let rig = Rig::new();
    let ends: [fn(&Process, &Handle, &Peer); 3] = [
        |_, socket, _| socket.abandon(),
        |owner, socket, _| assert_eq!(socket.process_down(owner.pid), None),
        |owner, socket, peer| {
            peer.0.shutdown(Shutdown::Write).unwrap();
            assert_eq!(owner.recv(socket, 0), Err(Failure::Closed));
        },
    ];
    for end in ends {
        let owner = Process::spawn();
        let (socket, mut peer) = owing(&rig, &owner);
        let start = Instant::now();
        end(&owner, &socket, &peer);
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(peer.read_to_end(), [1; 300_000]);
    }
}

/// A close that lingers is asked to wait for what the kernel has, until the peer has it.
#[test]
fn a_lingering_close_waits_for_the_peer() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = owing(&rig, &owner);
    assert!(!socket.close());
    assert!(socket.owes());
    assert_eq!(peer.read(300_000), [1; 300_000]);
    let end = Instant::now() + fake::PATIENCE;
    while socket.owes() {
        assert!(Instant::now() < end);
    }
    assert!(socket.close());
    assert_eq!(peer.read_to_end(), []);
}

/// A peer that takes little makes progress, long before anything leaves the queue for it.
#[test]
fn what_a_slow_peer_takes_is_progress() {
    const LEN: usize = 16 << 20;
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    assert_eq!(socket.output_progress(), (0, 0));
    let _ = owner.try_send(&socket, &bytes(&[1; LEN]), false);
    socket.abandon();
    let settled = || {
        let mut last = socket.output_progress();
        loop {
            rig.settle();
            let now = socket.output_progress();
            if now == last {
                return now;
            }
            last = now;
        }
    };
    let before = settled();
    assert!(before.0 > 0);
    let end = Instant::now() + fake::PATIENCE;
    let mut read = 0;
    while socket.output_progress().1 == before.1 {
        assert!(Instant::now() < end);
        read += peer.read(4096).len();
    }
    assert_eq!(socket.output_progress().0, before.0);
    assert_eq!(peer.read_to_end().len(), LEN - read);
    assert_eq!(socket.output_progress(), (0, 0));
}
