//! Sends that never wait, and the limit of what may be queued.

mod fake;

use fake::{Handle, Message, Peer, Process, Rig, active, bytes, int, named, tag};
use net::option::Value;
use net::settings::{MaxQueue, Overflow};
use net::{Call, Failure, Family, Kind, Reply, Sent};
use proto::ActiveRequest;

/// More than the kernel takes between two sockets of which one does not read.
const MUCH: usize = 8 << 20;

const REFUSED: Sent = Sent::Failed(Failure::Posix(libc::ENOBUFS));

fn limit(bytes: u32, overflow: Overflow) -> net::option::Setting {
    named(
        "max_queue",
        Value::MaxQueue(Some(MaxQueue { bytes, overflow })),
    )
}

/// A socket with a long queue.
fn stuck(rig: &Rig, owner: &Process) -> (Handle, Peer) {
    let (socket, peer) = rig.stream(Family::Local, owner, &[]);
    assert_eq!(
        owner.send_now(&socket, &bytes(&[1; MUCH]), tag()),
        Sent::Done
    );
    assert!(socket.queued() > 1 << 20);
    (socket, peer)
}

fn refuse(process: &Process, socket: &Handle) -> u64 {
    let tag = tag();
    let sent = process.send_now(socket, &bytes(b"no"), tag);
    assert!(
        matches!(sent, Sent::Busy { queued } if queued > 0),
        "{sent:?}"
    );
    tag
}

/// What is refused is not in the stream, and everybody who was refused gets one notice,
/// however often, when the queue is short.
#[test]
fn who_was_refused_is_told_once() {
    let rig = Rig::new();
    let (owner, other) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = stuck(&rig, &owner);
    let first = refuse(&owner, &socket);
    let of_other = refuse(&other, &socket);
    refuse(&owner, &socket);
    rig.settle();
    assert_eq!((owner.messages(), other.messages()), (vec![], vec![]));
    assert!(peer.read(MUCH).iter().all(|byte| *byte == 1));
    assert_eq!(owner.reply(first), Reply::Writable);
    assert_eq!(other.reply(of_other), Reply::Writable);
    assert_eq!(owner.send_now(&socket, &bytes(b"yes"), tag()), Sent::Done);
    assert_eq!(peer.read(3), b"yes");
    rig.settle();
    assert_eq!((owner.messages(), other.messages()), (vec![], vec![]));
}

/// From the high watermark on a send is refused, and the queue must reach the low one.
#[test]
fn the_watermarks_hold() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let marks = [int("low_watermark", 1000), int("high_watermark", 5000)];
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    socket.set_options(&marks).unwrap();
    // Fill the kernel's buffer, so that each further byte is queued.
    let mut taken = 0;
    while socket.queued() == 0 {
        assert_eq!(
            owner.send_now(&socket, &bytes(&[1; 1000]), tag()),
            Sent::Done
        );
        taken += 1000;
    }
    while socket.queued() < 5000 {
        assert_eq!(
            owner.send_now(&socket, &bytes(&[1; 1000]), tag()),
            Sent::Done
        );
        taken += 1000;
    }
    assert!(socket.queued() < 6000);
    let notice = refuse(&owner, &socket);
    peer.read(taken);
    assert_eq!(owner.reply(notice), Reply::Writable);
    assert!(socket.queued() <= 1000);
}

/// The end of the socket is a notice, too: the next send tells it.
#[test]
fn the_end_is_a_notice() {
    type End = fn(&Handle);
    let ends: [(End, bool); 2] = [(|socket| socket.abandon(), false), (|_| {}, true)];
    for (end, reset) in ends {
        let rig = Rig::new();
        let owner = Process::spawn();
        let (socket, peer) = stuck(&rig, &owner);
        let notice = refuse(&owner, &socket);
        end(&socket);
        if reset {
            peer.reset();
        }
        assert_eq!(owner.reply(notice), Reply::Writable);
        let sent = owner.send_now(&socket, &bytes(b"no"), tag());
        assert!(matches!(sent, Sent::Failed(_)), "{sent:?}");
        assert_eq!(owner.messages(), []);
    }
}

/// A process that waits for its turn is before those who would not wait.
#[test]
fn waiting_senders_are_before_refused_ones() {
    let rig = Rig::new();
    let (owner, waiting) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = stuck(&rig, &owner);
    let notice = refuse(&owner, &socket);
    let turn = tag();
    let sent = waiting.try_send(&socket, &bytes(b"turn"), false);
    assert!(matches!(sent, Sent::Wait { queued: false, .. }), "{sent:?}");
    assert!(matches!(
        socket.await_send(waiting.pid, turn, false),
        Call::Wait
    ));
    peer.read(MUCH);
    assert_eq!(waiting.reply(turn), Reply::Ready);
    // Its turn has come, but it has not sent yet.
    assert!(matches!(
        owner.send_now(&socket, &bytes(b"no"), tag()),
        Sent::Busy { .. }
    ));
    assert_eq!(owner.messages(), []);
    assert_eq!(
        waiting.try_send(&socket, &bytes(b"turn"), false),
        Sent::Done
    );
    assert_eq!(owner.reply(notice), Reply::Writable);
    assert_eq!(peer.read(4), b"turn");
}

/// Processes that died while they waited for a notice do not pile up, nor hold up others.
#[test]
fn the_dead_are_forgotten() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = stuck(&rig, &owner);
    for _ in 0..1000 {
        let process = Process::spawn();
        refuse(&process, &socket);
        process.die();
    }
    let notice = refuse(&owner, &socket);
    peer.read(MUCH);
    assert_eq!(owner.reply(notice), Reply::Writable);
}

/// A send that would queue more than the limit is refused whole, whoever sends and
/// however; what fits is taken.
#[test]
fn a_limited_queue() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let options = [
        limit(100_000, Overflow::Refuse),
        int("high_watermark", 1 << 30),
    ];
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &options);
    let mut expected = Vec::new();
    let mut refused = false;
    while !refused {
        let data = vec![expected.len() as u8; 30_000];
        match owner.try_send(&socket, &bytes(&data), false) {
            Sent::Done => expected.extend(data),
            sent => {
                assert_eq!(sent, REFUSED);
                refused = true;
            }
        }
        assert!(socket.queued() <= 100_000);
    }
    assert!(socket.queued() > 70_000);
    assert_eq!(
        owner.send_now(&socket, &bytes(&[9; 30_000]), tag()),
        REFUSED
    );
    assert_eq!(owner.try_send(&socket, &bytes(&[9; 30_000]), true), REFUSED);
    assert_eq!(peer.read(expected.len()), expected);
    // Even an empty queue takes no more than the limit.
    assert_eq!(
        owner.try_send(&socket, &bytes(&[9; 100_001]), false),
        REFUSED
    );
    assert_eq!(
        owner.try_send(&socket, &bytes(&[9; 100_000]), false),
        Sent::Done
    );
    assert_eq!(peer.read(100_000), [9; 100_000]);
}

/// The other policy closes: passive sockets are a husk, active ones tell their owner.
#[test]
fn a_limit_that_closes() {
    for mode in [ActiveRequest::Passive, ActiveRequest::Always] {
        let rig = Rig::new();
        let owner = Process::spawn();
        let options = [limit(1000, Overflow::Close), active(mode)];
        let (socket, mut peer) = rig.stream(Family::Local, &owner, &options);
        assert_eq!(
            owner.try_send(&socket, &bytes(&[1; 1000]), false),
            Sent::Done
        );
        assert_eq!(owner.try_send(&socket, &bytes(&[2; 1001]), false), REFUSED);
        assert_eq!(peer.read_to_end(), [1; 1000]);
        match mode {
            ActiveRequest::Passive => assert_eq!(socket.info().kind, Kind::Disconnected),
            _ => {
                assert_eq!(owner.next(), Message::Closed);
                assert!(socket.is_closed());
            }
        }
    }
}
