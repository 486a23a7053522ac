//! What a [`Reader`] may cost, and what it does where it can go no further.

use super::*;
use std::time::{Duration, Instant};

/// A raw delivery is at most as long as the limit says, whether it comes from a read,
/// into a block, or from what was held; and all of it comes.
#[test]
fn raw_deliveries_keep_to_their_limit() {
    let bytes: Vec<u8> = (0..400_000u32).map(|i| (i % 253) as u8).collect();
    for raw_limit in [1, 7, 1460, 8192, 20_000, 65_536, 1_000_000] {
        let mut wire = Wire::of(&bytes[..bytes.len().min(raw_limit * 1000)]);
        let stream = wire.bytes;
        let mut reader = Reader::<Plain>::default();
        let mut framing = framing(PacketType::Raw);
        reader.unread(&mut framing, b"put back");
        let mut got = Vec::new();
        let plan = Plan {
            raw_limit,
            reads: u32::MAX,
            adaptive: true,
            ..ANY
        };
        let mut scratch = vec![0; 64 * 1024];
        let mut pause = Pause::Drained;
        while pause == Pause::Drained {
            pause = reader.pump(
                &mut wire,
                &mut framing,
                &plan,
                &mut scratch,
                |_, payload| {
                    let delivered = wire_of(&payload);
                    assert!((1..=raw_limit).contains(&delivered.len()));
                    got.extend_from_slice(&delivered);
                    Next::More
                },
            );
        }
        assert_eq!(pause, Pause::End);
        assert!(got.strip_prefix(b"put back") == Some(stream));
    }
}

/// Large raw reads fill blocks of their own, and the size follows what comes.
#[test]
fn a_streaming_peer_is_read_into_blocks() {
    let bytes = vec![1; 1 << 20];
    let mut wire = Wire::of(&bytes);
    let mut reader = Reader::<Plain>::default();
    let (mut blocks, mut others) = (0, 0);
    let plan = Plan {
        reads: u32::MAX,
        adaptive: true,
        ..ANY
    };
    let pause = reader.pump(
        &mut wire,
        &mut framing(PacketType::Raw),
        &plan,
        &mut vec![0; 64 * 1024],
        |_, payload| {
            match payload {
                Payload::Block(_) => blocks += 1,
                Payload::Frame { .. } => others += 1,
            }
            Next::More
        },
    );
    assert_eq!(pause, Pause::End);
    assert!(blocks >= 15 && others <= 2, "{blocks} {others}");
    // Small messages after that get small blocks, and soon none.
    let small = [2; 100];
    LARGEST.set(0);
    for round in 0..8 {
        let mut wire = Wire::of(&small).open();
        let pause = reader.pump(
            &mut wire,
            &mut framing(PacketType::Raw),
            &ANY,
            &mut vec![0; 64 * 1024],
            |_, payload| {
                assert_eq!(wire_of(&payload).len(), 100);
                Next::More
            },
        );
        assert_eq!(pause, Pause::Drained);
        assert!(round < 4 || LARGEST.replace(0) == 0, "round {round}");
        LARGEST.set(0);
    }
}

/// Reads one frame, which comes in pieces of so many bytes. Returns how long it took.
fn time_of_one_frame(packet: PacketType, bytes: &[u8], piece: usize) -> Duration {
    let mut framing = framing(packet);
    framing.line_limit = 0;
    let mut wire = Wire::in_pieces(bytes, || piece).open();
    let mut reader = Reader::<Plain>::default();
    let mut scratch = vec![0; 64 * 1024];
    let mut frames = 0;
    let start = Instant::now();
    while wire.at < bytes.len() {
        reader.pump(&mut wire, &mut framing, &ANY, &mut scratch, |_, payload| {
            frames += 1;
            assert_eq!(wire_of(&payload).len(), bytes.len());
            Next::More
        });
    }
    assert_eq!(frames, 1);
    start.elapsed()
}

/// A line in single bytes takes linear time.
#[test]
fn single_bytes_take_linear_time() {
    let mut bytes = vec![b'a'; 1 << 18];
    bytes.push(b'\n');
    // Some seconds without optimisation; quadratic would be hours.
    assert!(time_of_one_frame(PacketType::Line, &bytes, 1) < Duration::from_secs(60));
}

/// A large frame in small pieces takes linear time.
#[test]
fn a_large_frame_in_small_pieces_takes_linear_time() {
    const LEN: u32 = 8 << 20;
    let mut bytes = LEN.to_be_bytes().to_vec();
    bytes.resize(LEN as usize + 4, 1);
    // A fraction of a second without optimisation; quadratic would be a minute.
    assert!(time_of_one_frame(PacketType::Length4, &bytes, 1448) < Duration::from_secs(10));
}

/// What is held and is not yet a frame takes linear time also if the sink takes one frame
/// a call.
#[test]
fn taking_frame_by_frame_takes_linear_time() {
    let bytes = b"\x01a".repeat(1 << 18);
    let mut framing = framing(PacketType::Length1);
    let mut wire = Wire::of(&[]);
    let mut reader = Reader::<Plain>::default();
    reader.unread(&mut framing, &bytes);
    let start = Instant::now();
    let mut frames = 0;
    while !reader.held().is_empty() {
        let pause = reader.pump(&mut wire, &mut framing, &ANY, &mut [0; 16], |_, _| {
            frames += 1;
            Next::Stop
        });
        assert_eq!(pause, Pause::Satisfied);
    }
    assert_eq!(frames, 1 << 18);
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// A header that announces 64 MiB costs no more memory than a few KiB beyond what came, and
/// a small multiple of what came where that is more.
#[test]
fn an_announced_length_is_not_believed() {
    let mut bytes = vec![0x03, 0xff, 0xff, 0xf0];
    bytes.resize(3 << 20, 5);
    for read_ahead in [true, false] {
        let mut framing = framing(PacketType::Length4);
        let mut wire = Wire::of(&bytes).open();
        let mut reader = Reader::<Plain>::default();
        let plan = Plan { read_ahead, ..ANY };
        for come in [4, 5, 1000, 60_000, 100_000, 1 << 20, 3 << 20] {
            wire.come = come;
            wire.dry = false;
            while !wire.dry {
                let pause = reader.pump(
                    &mut wire,
                    &mut framing,
                    &plan,
                    &mut vec![0; 64 * 1024],
                    |_, _| panic!("a frame"),
                );
                assert!(matches!(pause, Pause::Drained | Pause::Budget));
            }
            assert_eq!(reader.held().len(), come);
            let Held::Bytes { bytes, .. } = &reader.held else {
                panic!("{reader:?}")
            };
            // A vector grows by doubling, for the room of the next read, too.
            let most = 2 * (come + 64 * 1024);
            assert!(bytes.capacity() <= most, "{} at {come}", bytes.capacity());
        }
    }
    assert_eq!(LARGEST.get(), 0);
}

/// A bad frame drops what is held, tells so, and comes behind the good ones.
#[test]
fn a_bad_frame_comes_in_its_turn_and_is_dropped() {
    for stop in [Next::More, Next::Stop] {
        let mut framing = framing(PacketType::Tpkt);
        let mut wire = Wire::of(b"\x03\0\0\x05a\x03\0\0\x05b\x02bad").open();
        let mut reader = Reader::<Plain>::default();
        let mut bodies = Vec::new();
        let pause = loop {
            let pause = reader.pump(
                &mut wire,
                &mut framing,
                &ANY,
                &mut [0; 64],
                |framing, payload| {
                    bodies.push(seen(framing, &payload).0);
                    stop
                },
            );
            if pause != Pause::Satisfied {
                break pause;
            }
        };
        assert_eq!(pause, Pause::BadFrame);
        assert_eq!(bodies.len(), 2);
        assert!(reader.held().is_empty());
    }
}

/// A failure of the source comes through behind the frames, and a later length does not
/// see bytes that never came.
#[test]
fn a_failure_comes_after_the_data() {
    let mut framing = framing(PacketType::Length1);
    let mut wire = Wire::of(b"\x01a\x02b");
    wire.end = Err(Broken);
    let mut reader = Reader::<Plain>::default();
    let mut frames = 0;
    let mut pause = Pause::Drained;
    while pause == Pause::Drained {
        pause = reader.pump(&mut wire, &mut framing, &ANY, &mut [0; 64], |_, _| {
            frames += 1;
            Next::More
        });
    }
    assert_eq!((pause, frames), (Pause::Failed(Broken), 1));
    assert_eq!(reader.held(), b"\x02b");
    let pause = reader.pump(
        &mut wire,
        &mut framing,
        &exactly(3),
        &mut [0; 64],
        |_, _| Next::Stop,
    );
    assert_eq!(pause, Pause::Failed(Broken));
    assert_eq!(reader.held(), b"\x02b");
}

/// Where there is no memory for the length asked for, nothing is lost.
#[test]
fn a_length_beyond_memory_loses_no_byte() {
    let mut framing = framing(PacketType::Raw);
    let mut wire = Wire::of(b"abcdef").open();
    let mut reader = Reader::<Plain>::default();
    let mut scratch = [0; 64];
    let never = |_: &mut Framing, _: Payload<'_, Plain>| panic!("a delivery");
    let pause = reader.pump(
        &mut wire,
        &mut framing,
        &exactly(1 << 20),
        &mut scratch,
        never,
    );
    assert_eq!(pause, Pause::Drained);
    MEMORY.set(1000);
    let pause = reader.pump(
        &mut wire,
        &mut framing,
        &exactly(2 << 20),
        &mut scratch,
        never,
    );
    assert_eq!(pause, Pause::NoMemory);
    MEMORY.set(usize::MAX);
    let mut got = Vec::new();
    let pause = reader.pump(
        &mut wire,
        &mut framing,
        &exactly(6),
        &mut scratch,
        |_, payload| {
            got = wire_of(&payload);
            Next::Stop
        },
    );
    assert_eq!((pause, got.as_slice()), (Pause::Satisfied, &b"abcdef"[..]));
}
