//! How much memory a peer can make one socket take, by what it sends: for each type of
//! packet a frame that never ends, a header that announces more than comes, a size that
//! the caller asks for. docs/security.md says the same in words.
//!
//! A program of its own with one test: it counts what the whole process takes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::{Message, Process, Rig, active, int, packet, tag};
use net::{Call, Failure, Family};
use proto::{ActiveRequest, PacketType};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes held now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // In one step, wrapping if it shrinks: another thread must never see half of it.
        LIVE.fetch_add(len.wrapping_sub(layout.size()), Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, len) }
    }
}

/// Sent in each case.
const FLOOD: usize = 4 << 20;
/// What a peer may cost that keeps to the limits: one read, and what is held of the one
/// before.
const SMALL: usize = 136 * 1024;
const KIB: usize = 1024;

/// The most bytes that a peer makes a socket hold which sends `head`, then zeros or the
/// like, and whether the socket was closed for it.
fn flood(rig: &Rig, options: &[net::option::Setting], head: &[u8], fill: u8) -> (usize, bool) {
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, options);
    let part = vec![fill; 64 * KIB];
    let mut sent = Vec::with_capacity(2 * part.len());
    sent.extend_from_slice(head);
    rig.settle();
    let before = LIVE.load(Relaxed);
    let mut most = 0;
    socket.activate(proto::Active::Always).unwrap();
    sent.extend_from_slice(&part);
    let mut closed = false;
    let mut left = FLOOD;
    while left > 0 && !closed {
        closed = peer.0.write_all(&sent).is_err();
        sent.truncate(part.len());
        sent.fill(fill);
        left = left.saturating_sub(sent.len());
        // What is delivered is the owner's, who takes it.
        rig.settle();
        for message in owner.take_of_streams() {
            closed |= message == Message::Closed;
        }
        most = LIVE.load(Relaxed).saturating_sub(before).max(most);
    }
    socket.abandon();
    (most, closed)
}

/// A passive socket that nobody reads takes nothing, and one that is read takes what was
/// asked for: not more than 64 MiB, and only when something has come.
fn passive(rig: &Rig) {
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Local, &owner, &[]);
    rig.settle();
    let before = LIVE.load(Relaxed);
    peer.0.set_nonblocking(true).unwrap();
    while peer.0.write(&[0; 64 * KIB]).is_ok() {}
    rig.settle();
    let taken = LIVE.load(Relaxed).saturating_sub(before);
    println!("passive, nobody reads: {taken} bytes");
    assert!(taken < KIB, "{taken}");

    let (socket_of_n, mut peer) = rig.stream(Family::Local, &owner, &[]);
    let waits = |len| matches!(owner.try_recv(&socket_of_n, len, tag()), Call::Wait);
    let before = LIVE.load(Relaxed);
    assert!(waits(64 << 20));
    assert!(LIVE.load(Relaxed) - before < SMALL, "before anything came");
    peer.write(b"x");
    assert!(waits(64 << 20));
    let taken = LIVE.load(Relaxed) - before;
    println!("passive, recv(S, 64 MiB) and one byte came: {taken} bytes");
    assert!(((64 << 20)..(64 << 20) + SMALL).contains(&taken), "{taken}");
    let refused = owner.recv(&socket_of_n, (64 << 20) + 1);
    assert_eq!(refused, Err(Failure::Posix(libc::ENOMEM)));
    socket.abandon();
    socket_of_n.abandon();
    rig.settle();
    assert!(LIVE.load(Relaxed) < before + SMALL, "it is given back");
}

/// No peer makes a socket take more than what it has sent itself, and where there is a
/// limit, more than that.
#[test]
fn what_a_peer_can_make_a_socket_hold() {
    let rig = Rig::new();
    passive(&rig);
    // The first use of the poller's own buffer.
    flood(&rig, &[], b"", 0);
    let limited = |options: Vec<net::option::Setting>| {
        let mut all = vec![int("packet_size", 1000), active(ActiveRequest::Passive)];
        all.extend(options);
        all
    };
    use PacketType::*;
    // Type, what the peer begins with, what it goes on with; the most it may make the
    // socket hold without a limit, and whether that closes the socket.
    let without_limit = 2 * FLOOD + SMALL;
    type Case = (&'static str, PacketType, &'static [u8], u8, usize, bool);
    let cases: [Case; 14] = [
        ("raw", Raw, b"", 0, SMALL, false),
        ("1", Length1, b"", 255, SMALL, false),
        ("2", Length2, b"", 255, SMALL, false),
        (
            "4, 2 GiB announced",
            Length4,
            b"\x7f\xff\xff\xfb",
            0,
            without_limit,
            false,
        ),
        (
            "4, 4 GiB announced",
            Length4,
            b"\xff\xff\xff\xff",
            0,
            SMALL,
            true,
        ),
        (
            "asn1, 1 GiB announced",
            Asn1,
            b"\x30\x84\x40\0\0\0",
            0,
            without_limit,
            false,
        ),
        ("asn1, an endless tag", Asn1, b"\x1f", 255, SMALL, true),
        (
            "sunrm, 1 GiB announced",
            Sunrm,
            b"\x40\0\0\0",
            0,
            without_limit,
            false,
        ),
        (
            "cdr, 1 GiB announced",
            Cdr,
            b"GIOP\x01\0\0\0\x40\0\0\0",
            0,
            without_limit,
            false,
        ),
        ("tpkt", Tpkt, b"\x03\0\xff\xff", 3, SMALL, false),
        ("fcgi", Fcgi, b"\x01\0\0\0\xff\xff\xff\0", 1, SMALL, false),
        ("line", Line, b"", b'x', SMALL, false),
        ("http", Http, b"GET /", b'x', SMALL, true),
        ("httph", HttpHeader, b"a: ", b'x', SMALL, true),
    ];
    for (name, kind, head, fill, most, closes) in cases {
        let (took, closed) = flood(&rig, &[packet(kind)], head, fill);
        let (took_limited, closed_limited) = flood(&rig, &limited(vec![packet(kind)]), head, fill);
        println!(
            "{name}: {} KiB{}; with a packet_size of 1000: {} KiB{}",
            took / KIB,
            if closed { ", closed" } else { "" },
            took_limited / KIB,
            if closed_limited { ", closed" } else { "" },
        );
        assert!(took <= most, "{name}: {took}");
        assert!(took_limited <= SMALL, "{name}, limited: {took_limited}");
        assert!(closed || !closes, "{name} is not closed");
        let has_lengths = !matches!(kind, Raw | Line | Length1);
        assert!(
            closed_limited || !has_lengths,
            "{name}, limited, is not closed"
        );
    }
}
