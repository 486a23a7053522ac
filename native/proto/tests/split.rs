//! However a stream is cut, the frames are the same; and the time is linear.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

mod streams;

use proto::{Framing, PacketType, Scan};
use std::time::{Duration, Instant};
use streams::{Random, stream};

/// Frames and how the stream ended.
type Outcome = (Vec<Vec<u8>>, Result<usize, &'static str>);

/// Feeds the stream, each time as many bytes more as `piece` says.
fn feed(mut framing: Framing, stream: &[u8], mut piece: impl FnMut() -> usize) -> Outcome {
    let mut frames = Vec::new();
    let (mut start, mut end, mut needed) = (0, 0, 0);
    loop {
        let bytes = &stream[start..end];
        match framing.scan(bytes) {
            Ok(Scan::Frame(frame)) => {
                assert!(frame.wire > 0 && frame.wire <= bytes.len() && needed <= bytes.len());
                assert!(frame.body.start <= frame.body.end && frame.body.end <= frame.wire);
                let body = &bytes[frame.body];
                frames.push(body.to_vec());
                if framing.packet.is_http() {
                    frames.push(format!("{:?}", framing.parse_http(body)).into_bytes());
                }
                start += frame.wire;
                needed = 0;
            }
            Ok(Scan::Incomplete { at_least }) => {
                assert!(at_least > bytes.len() && at_least >= needed);
                needed = at_least;
                if end == stream.len() {
                    return (frames, Ok(at_least));
                }
                end = stream.len().min(end + piece());
            }
            Err(_) => return (frames, Err("bad")),
        }
    }
}

/// The same frames and the same end come of a stream that is there at once, in
/// single bytes and in pieces of any size; for every type, under every limit.
#[test]
fn any_cut_gives_the_same_frames() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for packet in PacketType::ALL {
        if packet == PacketType::Raw {
            continue;
        }
        for _ in 0..4000 {
            let mut framing = Framing::new();
            framing.packet = packet;
            framing.packet_size = *random.pick(&[0, 0, 1, 2, 3, 5, 12, 100, u32::MAX]);
            framing.line_limit = *random.pick(&[0, 1, 2, 3, 5, 10, 12, 100, 9216]);
            framing.delimiter = *random.pick(b"\n\n;");
            let stream = stream(packet, &mut random);
            let whole = feed(framing.clone(), &stream, || stream.len());
            assert_eq!(
                whole,
                feed(framing.clone(), &stream, || 1),
                "{framing:?} {stream:?}"
            );
            let pieces = feed(framing.clone(), &stream, || 1 + random.below(7));
            assert_eq!(whole, pieces, "{framing:?} {stream:?}");
        }
    }
}

/// What was searched under one type or delimiter is searched again under another.
#[test]
fn a_search_is_not_resumed_for_another_type() {
    let mut framing = Framing::new();
    framing.packet = PacketType::Line;
    assert!(matches!(
        framing.scan(b"GET /;x"),
        Ok(Scan::Incomplete { .. })
    ));
    framing.delimiter = b';';
    assert!(matches!(framing.scan(b"GET /;x"), Ok(Scan::Frame(frame)) if frame.wire == 6));
    assert!(matches!(framing.scan(b"abc"), Ok(Scan::Incomplete { .. })));
    // Raw takes the bytes away; the next ones are new.
    framing.packet = PacketType::Raw;
    assert!(matches!(framing.scan(b"abc"), Ok(Scan::Frame(_))));
    framing.packet = PacketType::Line;
    assert!(matches!(framing.scan(b"a;b"), Ok(Scan::Frame(frame)) if frame.wire == 2));
    assert!(matches!(framing.scan(b"abc"), Ok(Scan::Incomplete { .. })));
    framing.reset_scan();
    assert!(matches!(framing.scan(b";"), Ok(Scan::Frame(_))));
    // A lower limit applies to what has been searched.
    assert!(matches!(
        framing.scan(b"abcdef"),
        Ok(Scan::Incomplete { .. })
    ));
    framing.line_limit = 4;
    assert!(matches!(framing.scan(b"abcdef"), Ok(Scan::Frame(frame)) if frame.wire == 4));
}

/// A frame of 1 MiB in single bytes takes linear time, whatever the type.
#[test]
fn single_bytes_take_linear_time() {
    const SIZE: usize = 1 << 20;
    let folded = [b"a: b", b"\n c".repeat(SIZE / 3).as_slice()].concat();
    let tags = [&[0x1f][..], &[0xff; 9000], &[1, 0]]
        .concat()
        .repeat(SIZE / 9003);
    for (packet, stream) in [
        (PacketType::Line, vec![b'a'; SIZE]),
        (PacketType::Http, vec![b'a'; SIZE]),
        (PacketType::HttpHeader, folded),
        (PacketType::Asn1, tags),
        (
            PacketType::Length4,
            [&(SIZE as u32).to_be_bytes()[..], &vec![0; SIZE]].concat(),
        ),
    ] {
        let mut framing = Framing::new();
        framing.packet = packet;
        framing.line_limit = 0;
        let start = Instant::now();
        assert!(feed(framing, &stream, || 1).1.is_ok());
        // Some 10 ms; quadratic would be minutes.
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{packet:?}: {:?}",
            start.elapsed()
        );
    }
}
