//! `max_mailbox`: a socket waits for an owner that does not read.

mod fake;

use fake::{Handle, Message, PATIENCE, Peer, Process, Rig, SEES, active, named, packet, tag};
use net::option::{Setting, Value};
use net::{Call, Family, Total};
use proto::{ActiveRequest, PacketType};
use std::time::Instant;

fn limit(messages: u32) -> Setting {
    named("max_mailbox", Value::MaxMailbox(Some(messages)))
}

/// A socket in `{active, true}` with a limit of ten, and somebody who sees mailboxes.
fn limited(rig: &Rig, owner: &Process) -> (Handle, Peer) {
    SEES.get_or_init(|| {
        let seer = Process::spawn();
        let pid = seer.pid;
        // It lives as long as this program.
        std::mem::forget(seer);
        pid
    });
    let options = [
        limit(10),
        packet(PacketType::Length1),
        active(ActiveRequest::Always),
    ];
    rig.stream(Family::Inet, owner, &options)
}

/// Frames of one byte, numbered from `first` on.
fn frames(first: u8, count: u8) -> Vec<u8> {
    (first..first + count)
        .flat_map(|number| [1, number])
        .collect()
}

fn paused(socket: &Handle) -> u8 {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(paused) = socket.paused() {
            return paused.number;
        }
        assert!(Instant::now() < end, "it goes on");
        std::thread::yield_now();
    }
}

fn numbers(owner: &Process, first: u8, count: u8) {
    for number in first..first + count {
        assert_eq!(owner.next(), Message::Data(vec![number]));
    }
}

/// A socket delivers half of what is allowed, then waits to be resumed, each time; the stream is
/// whole and its end comes last.
#[test]
fn a_flood_is_delivered_by_halves() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = limited(&rig, &owner);
    peer.write(&frames(0, 23));
    drop(peer);
    for half in 0..4 {
        let number = paused(&socket);
        rig.settle();
        assert_eq!(owner.messages().len(), 5);
        assert_eq!(socket.paused().map(|paused| paused.room), Some(5));
        // Not this pause.
        socket.resume(number.wrapping_sub(1));
        assert_eq!(owner.messages().len(), 5);
        numbers(&owner, 5 * half, 5);
        socket.resume(number);
    }
    numbers(&owner, 20, 3);
    assert_eq!(owner.next(), Message::Closed);
}

/// A socket that waits costs the poller nothing, not even with a recv from before.
#[test]
fn a_pause_is_quiet() {
    let rig = Rig::new();
    let (owner, reader) = (Process::spawn(), Process::spawn());
    let (socket, mut peer) = limited(&rig, &owner);
    socket
        .set_options(&[active(ActiveRequest::Passive)])
        .unwrap();
    assert!(matches!(reader.try_recv(&socket, 0, tag()), Call::Wait));
    socket
        .set_options(&[active(ActiveRequest::Always)])
        .unwrap();
    peer.write(&frames(0, 100));
    paused(&socket);
    // The kernel has something, too.
    peer.write(&frames(100, 100));
    rig.settle();
    let events = || net::totals()[Total::Events as usize];
    let before = events();
    rig.settle();
    rig.settle();
    assert!(events() - before < 10, "{} events", events() - before);
    assert_eq!(owner.messages().len(), 5);
}

/// Another mode, or no limit, ends the wait: a recv finds what was not delivered.
#[test]
fn what_the_owner_asks_for_comes() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = limited(&rig, &owner);
    peer.write(&frames(0, 30));
    paused(&socket);
    socket.set_options(&[active(ActiveRequest::Once)]).unwrap();
    numbers(&owner, 0, 6);
    socket
        .set_options(&[active(ActiveRequest::Passive)])
        .unwrap();
    assert_eq!(owner.recv(&socket, 0), Ok(vec![6]));
    assert_eq!(socket.paused(), None);
    socket
        .set_options(&[active(ActiveRequest::Always)])
        .unwrap();
    paused(&socket);
    let unlimited = named("max_mailbox", Value::MaxMailbox(None));
    socket.set_options(&[unlimited]).unwrap();
    numbers(&owner, 7, 23);
    assert_eq!(socket.paused(), None);
}

/// What came before a failed send belongs to the owner, however much it has not read.
#[test]
fn a_failed_write_loses_nothing_that_came() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = limited(&rig, &owner);
    peer.write(&frames(0, 30));
    paused(&socket);
    peer.reset();
    let end = Instant::now() + PATIENCE;
    while owner.send(&socket, &fake::bytes(b"?")).is_ok() {
        assert!(Instant::now() < end);
    }
    numbers(&owner, 0, 30);
    assert_eq!(owner.next(), Message::Closed);
}
