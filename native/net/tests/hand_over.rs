//! Somebody else waits for events in the place of the poller's thread.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod fake;

use fake::{Message, PATIENCE, Process, Rig, active, flag, tag};
use net::{Call, Family, Reply};
use proto::ActiveRequest;
use std::time::Instant;

/// Whether the poller's set of sockets is readable within so many milliseconds.
fn has_events(rig: &Rig, milliseconds: i32) -> bool {
    let mut watch = libc::pollfd {
        fd: rig.poller.fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, which lives through the call.
    unsafe { libc::poll(&mut watch, 1, milliseconds) == 1 }
}

/// A rig whose thread rests: nothing is served but by the test.
fn handed_over() -> Rig {
    let rig = Rig::new();
    rig.poller.hand_over();
    let owner = Process::spawn();
    let end = Instant::now() + PATIENCE;
    // The thread may take one more event before it rests.
    loop {
        assert!(Instant::now() < end, "the thread goes on");
        let (_socket, mut peer) = rig.stream(Family::Inet, &owner, &[active(ActiveRequest::Once)]);
        let before = owner.of_streams();
        peer.write(b"x");
        if has_events(&rig, 100) && owner.of_streams() == before {
            break;
        }
        let _ = owner.next();
    }
    serve_all(&rig);
    assert_eq!(owner.next(), Message::Data(b"x".to_vec()));
    rig
}

fn serve_all(rig: &Rig) {
    while has_events(rig, 0) {
        assert!(rig.poller.serve());
    }
}

#[test]
fn events_wait_for_who_has_taken_over_and_come_in_order() {
    let rig = handed_over();
    let owner = Process::spawn();
    let (_first, mut peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
    let (second, mut other_peer) = rig.tcp(&owner, &[]);
    let wait = tag();
    assert!(matches!(owner.try_recv(&second, 0, wait), Call::Wait));
    peer.write(b"one");
    assert!(has_events(&rig, 5000));
    assert_eq!(owner.of_streams(), 0);
    serve_all(&rig);
    assert_eq!(owner.next(), Message::Data(b"one".to_vec()));
    other_peer.write(b"two");
    assert!(has_events(&rig, 5000));
    serve_all(&rig);
    assert_eq!(owner.reply(wait), Reply::Ready);
    assert_eq!(owner.recv(&second, 0).unwrap(), b"two");
}

#[test]
fn the_thread_serves_again_what_was_left_when_it_takes_back() {
    let rig = handed_over();
    let owner = Process::spawn();
    let (_socket, mut peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
    peer.write(b"left");
    assert!(has_events(&rig, 5000));
    rig.poller.take_back();
    assert_eq!(owner.next(), Message::Data(b"left".to_vec()));
    peer.write(b"next");
    assert_eq!(owner.next(), Message::Data(b"next".to_vec()));
}

#[test]
fn a_poller_that_stops_wants_to_be_served_no_more() {
    let rig = handed_over();
    assert!(rig.poller.serve());
    rig.poller.stop();
    assert!(!rig.poller.serve());
}

#[test]
fn an_active_socket_stays_armed_until_it_is_passive() {
    let rig = handed_over();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[active(ActiveRequest::Always)]);
    for _ in 0..3 {
        peer.write(b"data");
        assert!(has_events(&rig, 5000));
        serve_all(&rig);
        assert_eq!(owner.next(), Message::Data(b"data".to_vec()));
    }
    socket
        .set_options(&[active(ActiveRequest::Passive)])
        .unwrap();
    peer.write(b"unread");
    let before = owner.of_streams();
    // One event finds nobody; then the socket is left alone, whatever comes.
    assert!(has_events(&rig, 5000));
    serve_all(&rig);
    peer.write(b" too");
    assert!(!has_events(&rig, 50));
    assert_eq!(owner.of_streams(), before);
    socket
        .set_options(&[active(ActiveRequest::Always)])
        .unwrap();
    serve_all(&rig);
    assert_eq!(owner.data(10), b"unread too");
}

#[test]
fn an_end_of_stream_that_nobody_waits_for_is_no_lasting_event() {
    let rig = handed_over();
    let owner = Process::spawn();
    let stays = [active(ActiveRequest::Always), flag("exit_on_close", false)];
    let (_socket, peer) = rig.tcp(&owner, &stays);
    drop(peer);
    assert!(has_events(&rig, 5000));
    assert!(rig.poller.serve());
    assert_eq!(owner.next(), Message::Closed);
    for _ in 0..3 {
        assert!(rig.poller.serve());
    }
    assert!(!has_events(&rig, 50));
}
