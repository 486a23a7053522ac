//! Many frames a call, and frames that bring their headers along.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::{Iolist, Process, Rig, bytes, packet, tag};
use net::{Call, Failure, Family, Frame, Reply, Sent};
use proto::PacketType;

fn frame(body: &[u8]) -> Vec<u8> {
    let mut wire = (body.len() as u32).to_be_bytes().to_vec();
    wire.extend_from_slice(body);
    wire
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// One call.
fn take(owner: &Process, socket: &fake::Handle, tag: fake::Tag) -> Call<Vec<Vec<u8>>> {
    socket.recv_frames(
        owner.pid,
        true,
        || tag,
        |frame| match frame {
            Frame::Small(bytes) => bytes.to_vec(),
            Frame::Large(block, header) => AsRef::<[u8]>::as_ref(&block)[header..].to_vec(),
        },
    )
}

/// As many calls as give `count` frames.
fn frames(owner: &Process, socket: &fake::Handle, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        let tag = tag();
        match take(owner, socket, tag) {
            Call::Done(frames) => {
                assert!(!frames.is_empty());
                all.extend(frames);
            }
            Call::Wait => assert_eq!(owner.reply(tag), Reply::Ready),
            Call::Failed(failure) => panic!("{failure:?} after {} frames", all.len()),
        }
    }
    all
}

/// Frames of every size come once, in order and whole, however the wire is cut.
#[test]
fn frames_of_all_sizes_come_in_order() {
    let sizes = [
        0, 1, 3, 60, 8187, 8188, 8189, 100, 65_531, 65_532, 65_533, 65_600, 65_600, 65_600, 2, 0,
        1_048_571, 1_048_572, 1_048_573, 5, 3_000_000, 70_000, 1,
    ];
    let bodies: Vec<_> = sizes.iter().map(|len| body(*len)).collect();
    let wire: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
    let rig = Rig::new();
    for cut in [1_000_000_000, 100_000, 65_536, 8_193, 4_099] {
        let owner = Process::spawn();
        let (socket, mut peer) = rig.stream(Family::Inet, &owner, &[packet(PacketType::Length4)]);
        let socket = &socket;
        passive(socket);
        std::thread::scope(|scope| {
            let wire = &wire;
            scope.spawn(move || {
                for piece in wire.chunks(cut) {
                    peer.write(piece);
                }
                peer
            });
            assert!(frames(&owner, socket, bodies.len()) == bodies, "cut {cut}");
        });
    }
}

fn passive(socket: &fake::Handle) {
    socket
        .set_options(&[fake::active(proto::ActiveRequest::Passive)])
        .unwrap();
}

/// What came before the end is delivered before the end is told; a frame that is not
/// whole is not.
#[test]
fn the_end_comes_after_the_last_frame() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Inet, &owner, &[packet(PacketType::Length4)]);
    passive(&socket);
    let mut wire = [frame(b"one"), frame(&body(20_000)), frame(b"three")].concat();
    wire.extend_from_slice(&[0, 0, 255]);
    peer.write(&wire);
    drop(peer);
    let expected = [b"one".to_vec(), body(20_000), b"three".to_vec()];
    assert!(frames(&owner, &socket, 3) == expected);
    let tag = tag();
    let end = match take(&owner, &socket, tag) {
        Call::Wait => {
            assert_eq!(owner.reply(tag), Reply::Ready);
            take(&owner, &socket, tag)
        }
        end => end,
    };
    assert!(matches!(end, Call::Failed(Failure::Closed)));
}

/// Frames leave as they are, also between sends that get a header, and the caller waits
/// for a kernel that takes no more.
#[test]
fn frames_leave_with_their_own_headers() {
    let rig = Rig::new();
    let owner = Process::spawn();
    let (socket, mut peer) = rig.stream(Family::Inet, &owner, &[packet(PacketType::Length4)]);
    passive(&socket);
    let large = body(300_000);
    let batch = [frame(b"one"), frame(&large)].concat();
    let mut sent = 0;
    let waits = loop {
        sent += 1;
        match owner.try_send_frames(&socket, &bytes(&batch)) {
            Sent::Done => {}
            Sent::Wait { queued, .. } => break queued,
            refused => panic!("{refused:?}"),
        }
    };
    assert!(waits, "the data is queued");
    let empty: Iolist = bytes(b"");
    // A tick: it takes its place behind what is queued, and waits for nobody.
    assert_eq!(owner.try_send(&socket, &empty, true), Sent::Done);
    let tag = tag();
    assert!(matches!(
        socket.await_send(owner.pid, tag, true),
        Call::Wait
    ));
    let expected = [batch.repeat(sent), frame(b"")].concat();
    assert!(peer.read(expected.len()) == expected);
    assert_eq!(owner.reply(tag), Reply::Done);
}
