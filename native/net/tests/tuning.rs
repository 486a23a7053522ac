//! Each rule that can be switched off is off when it is, and does something when it is on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::{PATIENCE, Process, Rig, bytes, tag};
use net::{Call, Family, Tuning, take_time_held};
use std::time::Instant;

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
}
