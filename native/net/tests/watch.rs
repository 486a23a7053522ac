//! The kernel's registration of a socket: for one event, or for as long as somebody waits
//! for every event.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::{Handle, Message, Peer, Process, Rig, packet, tag};
use net::{Call, Failure, Reply, Tuning};
use proto::{Active, PacketType};

/// More waits than it takes until a registration stays.
const REGULARLY: usize = 40;

const WAYS: [Way; 3] = [Way::Recv, Way::Once, Way::Count];

/// How a process asks for a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Recv,
    Once,
    Count,
}

impl Way {
    /// Asks, and waits. The tag is that of a recv.
    fn ask(self, owner: &Process, socket: &Handle) -> u64 {
        let tag = tag();
        match self {
            Way::Recv => assert!(matches!(owner.try_recv(socket, 0, tag), Call::Wait)),
            Way::Once => socket.activate(Active::Once).unwrap(),
            Way::Count => socket.activate(Active::Count(100)).unwrap(),
        }
        tag
    }

    /// What has been asked for.
    fn answer(self, owner: &Process, socket: &Handle, tag: u64) -> Result<Vec<u8>, Failure> {
        match self {
            Way::Recv => {
                assert_eq!(owner.reply(tag), Reply::Ready);
                owner.recv(socket, 0)
            }
            Way::Once | Way::Count => match owner.next() {
                Message::Data(bytes) => Ok(bytes),
                Message::Closed => Err(Failure::Closed),
                other => panic!("{other:?}"),
            },
        }
    }
}

/// No spin: every wait is the kernel's.
fn rig(stay: bool) -> Rig {
    let default = Tuning::default();
    Rig::tuned(Tuning {
        spin: false,
        stay_after: default.stay_after.filter(|_| stay),
        ..default
    })
}

/// A line that comes when it has been asked for.
fn get_line(way: Way, owner: &Process, socket: &Handle, peer: &mut Peer) {
    let tag = way.ask(owner, socket);
    peer.write(b"line\n");
    assert_eq!(way.answer(owner, socket, tag).unwrap(), b"line\n");
}

/// A socket whose owner has asked for lines and got them, again and again.
fn regular(rig: &Rig, owner: &Process, way: Way) -> (Handle, Peer) {
    let (socket, mut peer) = rig.tcp(owner, &[packet(PacketType::Line)]);
    for _ in 0..REGULARLY {
        get_line(way, owner, &socket, &mut peer);
    }
    (socket, peer)
}

/// The kernel's registrations, a line each. **Source** proc_pid_fdinfo(5).
fn registrations(rig: &Rig) -> Vec<String> {
    let table = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", rig.poller.fd())).unwrap();
    let lines = table.lines().filter(|line| line.starts_with("tfd:"));
    lines.map(str::to_owned).collect()
}

/// What the kernel watches the socket for: flags of epoll, 0 if for nothing.
fn watched(rig: &Rig, socket: &Handle) -> i32 {
    const WHAT: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET | libc::EPOLLONESHOT) as u32;
    const FOR_SOMETHING: u32 = (libc::EPOLLIN | libc::EPOLLOUT) as u32;
    let fd = socket.fd().unwrap().to_string();
    let lines = registrations(rig);
    let events = lines.iter().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_mine = words.next() == Some(&fd);
        words.nth(1).filter(|_| is_mine)
    });
    let events = u32::from_str_radix(events.unwrap_or("0"), 16).unwrap() & WHAT;
    match events & FOR_SOMETHING {
        0 => 0,
        _ => events as i32,
    }
}

const ONCE: i32 = libc::EPOLLIN | libc::EPOLLONESHOT;
const STAYS: i32 = libc::EPOLLIN | libc::EPOLLET;

/// The registration of a socket whose events are always waited for stays.
#[test]
fn a_registration_stays_where_every_event_is_waited_for() {
    for way in WAYS {
        let rig = rig(true);
        let owner = Process::spawn();
        let (fresh, _peer) = rig.tcp(&owner, &[]);
        way.ask(&owner, &fresh);
        assert_eq!(watched(&rig, &fresh), ONCE, "{way:?}");
        let (socket, mut peer) = regular(&rig, &owner, way);
        let tag = way.ask(&owner, &socket);
        assert_eq!(watched(&rig, &socket), STAYS, "{way:?}");
        peer.write(b"line\n");
        assert_eq!(way.answer(&owner, &socket, tag).unwrap(), b"line\n");
        rig.settle();
        assert_eq!(watched(&rig, &socket), STAYS, "{way:?}");
    }
}

/// Whoever takes everything is watched for everything, without a word for each event.
#[test]
fn an_active_socket_is_watched_for_good() {
    let rig = rig(true);
    let owner = Process::spawn();
    let (socket, mut peer) = rig.tcp(&owner, &[]);
    socket.activate(Active::Always).unwrap();
    for _ in 0..REGULARLY {
        peer.write(b"x");
        assert_eq!(owner.data(1), b"x");
        assert_eq!(watched(&rig, &socket), libc::EPOLLIN);
    }
}

/// One event that nobody waits for, and a registration that has stayed is taken back.
#[test]
fn who_is_busy_is_disturbed_once() {
    for way in [Way::Recv, Way::Once] {
        let rig = rig(true);
        let owner = Process::spawn();
        let (socket, mut peer) = regular(&rig, &owner, way);
        peer.write(b"early\n");
        rig.settle();
        assert_eq!(watched(&rig, &socket), 0, "{way:?}");
        assert_eq!(owner.recv(&socket, 0).unwrap(), b"early\n");
        // It has to prove itself anew.
        let tag = way.ask(&owner, &socket);
        assert_eq!(watched(&rig, &socket), ONCE, "{way:?}");
        peer.write(b"line\n");
        assert_eq!(way.answer(&owner, &socket, tag).unwrap(), b"line\n");
    }
}

/// The end that came with a piece of a line is no arrival of its own, and is seen.
#[test]
fn an_end_that_comes_with_data_is_seen() {
    for way in WAYS {
        for data in [&b""[..], b"piece", b"line\nline\npiece"] {
            for ends_by_reset in [false, true] {
                let rig = rig(true);
                let owner = Process::spawn();
                let (socket, mut peer) = regular(&rig, &owner, way);
                let mut tag = way.ask(&owner, &socket);
                assert_eq!(watched(&rig, &socket), STAYS);
                let held = rig.hold_up();
                peer.write(data);
                if ends_by_reset && data.is_empty() {
                    peer.reset();
                } else {
                    drop(peer);
                }
                // The poller finds all in one event.
                drop(held);
                for _ in 0..data.split(|byte| *byte == b'\n').count() - 1 {
                    assert_eq!(way.answer(&owner, &socket, tag).unwrap(), b"line\n");
                    if way == Way::Once {
                        tag = way.ask(&owner, &socket);
                    } else if way == Way::Recv {
                        assert_eq!(owner.recv(&socket, 0).unwrap(), b"line\n");
                        break;
                    }
                }
                let end = match way {
                    Way::Recv => owner.recv(&socket, 0),
                    _ => way.answer(&owner, &socket, tag),
                };
                assert_eq!(end, Err(Failure::Closed), "{way:?} {data:?}");
            }
        }
    }
}

/// What arrives in pieces while a process waits for the whole of it.
#[test]
fn a_line_in_pieces_is_put_together() {
    for way in WAYS {
        let rig = rig(true);
        let owner = Process::spawn();
        let (socket, mut peer) = regular(&rig, &owner, way);
        let tag = way.ask(&owner, &socket);
        let line = [&[b'x'; 5000][..], b"\n"].concat();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| line.chunks(33).for_each(|piece| peer.write(piece)));
            assert!(way.answer(&owner, &socket, tag).unwrap() == line, "{way:?}");
            writer.join().unwrap();
        });
    }
}

/// Output that waits for room, and input meanwhile.
#[test]
fn room_for_output_is_seen() {
    for way in WAYS {
        let rig = rig(true);
        let owner = Process::spawn();
        let (socket, mut peer) = regular(&rig, &owner, way);
        let tag = way.ask(&owner, &socket);
        let much = vec![b'm'; 20_000_000];
        owner.try_send(&socket, &fake::bytes(&much), false);
        assert!(socket.queued() > 0, "{way:?}");
        peer.write(b"line\n");
        assert_eq!(way.answer(&owner, &socket, tag).unwrap(), b"line\n");
        assert!(peer.read(much.len()) == much);
        for _ in 0..REGULARLY {
            get_line(way, &owner, &socket, &mut peer);
        }
    }
}

/// The fd is the kernel's name of a registration: one that has stayed goes with its socket.
#[test]
fn a_registration_that_stays_ends_with_the_socket() {
    let rig = rig(true);
    let owner = Process::spawn();
    let registered = || registrations(&rig).len();
    let before = registered();
    for way in WAYS {
        let (socket, _peer) = regular(&rig, &owner, way);
        assert_eq!(registered(), before + 1);
        socket.abandon();
        assert_eq!(registered(), before);
    }
}

/// Off is off.
#[test]
fn without_the_rule_no_registration_stays() {
    for way in WAYS {
        let rig = rig(false);
        let owner = Process::spawn();
        let (socket, _peer) = regular(&rig, &owner, way);
        way.ask(&owner, &socket);
        assert_eq!(watched(&rig, &socket), ONCE, "{way:?}");
    }
}
