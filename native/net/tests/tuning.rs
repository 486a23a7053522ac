//! Each rule that can be switched off is off when it is, and does something when it is on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::{Handle, PATIENCE, Peer, Process, Rig, active, bytes, tag};
use net::{Call, Family, Tuning, take_time_held};
use proto::ActiveRequest;
use std::time::Instant;

/// More than are ever taken for few.
const CROWD: usize = 200;

fn without(switch: impl FnOnce(&mut Tuning)) -> Tuning {
    let mut tuning = Tuning::default();
    switch(&mut tuning);
    tuning
}

/// Whether a recv that finds nothing looks again before it waits.
fn spins(rig: &Rig) -> bool {
    let owner = Process::spawn();
    let (socket, _peer) = rig.stream(Family::Inet, &owner, &[]);
    take_time_held(1);
    let wait = tag();
    assert!(matches!(owner.try_recv(&socket, 0, wait), Call::Wait));
    take_time_held(1) > 0
}

/// Sockets of which each has just been read from, and their peers.
fn crowd(rig: &Rig, owner: &Process) -> Vec<(Handle, Peer)> {
    (0..CROWD)
        .map(|_| {
            let (socket, mut peer) = rig.stream(Family::Inet, owner, &[]);
            peer.write(b"x");
            assert_eq!(owner.recv(&socket, 1).unwrap(), b"x");
            // Only a call that finds nothing asks how many are busy.
            assert!(matches!(owner.try_recv(&socket, 1, tag()), Call::Wait));
            (socket, peer)
        })
        .collect()
}

/// Whether a recv in a crowd serves the event of another socket while the poller can't.
fn assists(rig: &Rig) -> bool {
    let (owner, other) = (Process::spawn(), Process::spawn());
    let always = [active(ActiveRequest::Always)];
    let (_active, mut peer) = rig.stream(Family::Inet, &other, &always);
    let (waiting, _its_peer) = rig.stream(Family::Inet, &owner, &[]);
    let held = rig.hold_up();
    let _crowd = crowd(rig, &owner);
    peer.write(b"hello");
    assert!(matches!(owner.try_recv(&waiting, 0, tag()), Call::Wait));
    let served = other.of_streams() > 0;
    drop(held);
    assert_eq!(other.data(5), b"hello");
    served
}

/// Whether sends in a row are gathered.
fn gathers(rig: &Rig) -> bool {
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Inet, &owner, &[]);
    let mut gathered = false;
    for _ in 0..100 {
        owner.send(&socket, &bytes(b"0123456789")).unwrap();
        gathered |= socket.queued() > 0;
    }
    assert_eq!(peer.read(1000), b"0123456789".repeat(100));
    gathered
}

/// What a machine under load may miss once, it does not miss for ever.
fn sometimes(mut attempt: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if attempt() {
            return true;
        }
    }
    false
}

fn never(mut attempt: impl FnMut() -> bool) -> bool {
    (0..20).all(|_| !attempt())
}

/// One test: how many sockets are busy is counted for the whole process.
#[test]
fn a_rule_that_is_off_does_nothing() {
    let tuned = Rig::tuned;
    let default = Rig::new();
    assert!(sometimes(|| spins(&default)));
    assert!(never(|| spins(&tuned(without(
        |tuning| tuning.spin = false
    )))));
    assert!(sometimes(|| gathers(&default)));
    assert!(never(|| gathers(&tuned(without(
        |tuning| tuning.gather = false
    )))));
    assert!(sometimes(|| assists(&default)));
    assert!(never(|| assists(&tuned(without(
        |tuning| tuning.assist = false
    )))));
}
