//! Any bytes, framed as any type under any limits: no panic, and however the
//! stream is cut, the same frames, found without allocating.
//!
//! Input: `[type packet_size:16 line_limit:16 delimiter piece | stream]`.

#![no_main]

use fuzz::without_allocating;
use libfuzzer_sys::fuzz_target;
use proto::{Framing, PacketType, Scan};
use std::ops::Range;

fuzz_target!(|input: &[u8]| {
    let Some((&[packet, p1, p0, l1, l0, delimiter, piece], stream)) = input.split_first_chunk()
    else {
        return;
    };
    let mut framing = Framing::new();
    framing.packet = PacketType::ALL[usize::from(packet) % PacketType::ALL.len()];
    framing.packet_size = limit([p1, p0]);
    framing.line_limit = limit([l1, l0]);
    framing.delimiter = delimiter;
    if framing.packet == PacketType::Raw {
        return;
    }
    let whole = feed(framing.clone(), stream, stream.len());
    let pieces = feed(framing, stream, usize::from(piece % 16) + 1);
    assert_eq!(whole, pieces);
});

/// The highest value is no limit at all, but for 2^32-1.
fn limit(bytes: [u8; 2]) -> u32 {
    match u16::from_be_bytes(bytes) {
        u16::MAX => u32::MAX,
        limit => limit.into(),
    }
}

/// The frames' places in the stream, and whether a bad one ended it.
fn feed(mut framing: Framing, stream: &[u8], piece: usize) -> (Vec<(usize, Range<usize>)>, bool) {
    let mut frames = Vec::new();
    let (mut start, mut end, mut needed) = (0, 0, 0);
    loop {
        let bytes = &stream[start..end];
        match without_allocating(|| framing.scan(bytes)) {
            Ok(Scan::Frame(frame)) => {
                assert!(frame.wire > 0 && frame.wire <= bytes.len() && needed <= bytes.len());
                assert!(frame.body.start <= frame.body.end && frame.body.end <= frame.wire);
                if framing.packet.is_http() {
                    without_allocating(|| framing.parse_http(&bytes[..frame.wire]));
                }
                start += frame.wire;
                needed = 0;
                frames.push((start, frame.body));
            }
            Ok(Scan::Incomplete { at_least }) => {
                assert!(at_least > bytes.len() && at_least >= needed);
                needed = at_least;
                if end == stream.len() {
                    return (frames, false);
                }
                end = stream.len().min(end + piece);
            }
            Err(_) => return (frames, true),
        }
    }
}
