//! A [`Reader`] against a wire that is cut, dries up and ends where the test likes.

extern crate std;

use super::*;
use crate::packet::Frame;
use std::boxed::Box;
use std::cell::Cell;
use std::format;
use std::vec;

#[path = "reader_limit_tests.rs"]
mod limits;
#[path = "../tests/streams/mod.rs"]
mod streams;

use streams::{Random, stream};

std::thread_local! {
    /// The largest block that this test has allocated, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Blocks above this many bytes are refused.
    static MEMORY: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[derive(Debug)]
struct Plain(Vec<u8>);

impl Block for Plain {
    fn allocate(len: usize) -> Option<Self> {
        LARGEST.set(LARGEST.get().max(len));
        (len <= MEMORY.get()).then(|| Plain(vec![0xee; len]))
    }

    fn shrink(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl AsRef<[u8]> for Plain {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Plain {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// What a read of the wire fails with, if it fails.
#[derive(Debug, PartialEq)]
struct Broken;

/// A stream of which `come` bytes have come and `at` have been read.
struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
    come: usize,
    /// After the last byte: end of stream, failure, or nothing.
    end: Result<Option<usize>, Broken>,
    /// The most bytes of the next read.
    piece: Box<dyn FnMut() -> usize + 'a>,
    /// A read has found nothing.
    dry: bool,
    reads: usize,
    /// The largest buffer that was offered, in bytes.
    room: usize,
}

impl<'a> Wire<'a> {
    /// Everything has come; a read takes what it can, and then there is an end.
    fn of(bytes: &'a [u8]) -> Self {
        Wire {
            bytes,
            at: 0,
            come: bytes.len(),
            end: Ok(Some(0)),
            piece: Box::new(|| usize::MAX),
            dry: false,
            reads: 0,
            room: 0,
        }
    }

    fn in_pieces(bytes: &'a [u8], piece: impl FnMut() -> usize + 'a) -> Self {
        Wire {
            piece: Box::new(piece),
            ..Wire::of(bytes)
        }
    }

    /// Nothing follows the bytes for now.
    fn open(mut self) -> Self {
        self.end = Ok(None);
        self
    }
}

impl Source for Wire<'_> {
    type Error = Broken;

    fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Broken> {
        assert!(!buf.is_empty(), "a read of nothing looks like an end");
        self.reads += 1;
        self.room = self.room.max(buf.len());
        let left = self.come - self.at;
        if left == 0 {
            self.dry = true;
            return match (&self.end, self.come == self.bytes.len()) {
                (Ok(None), _) | (_, false) => Ok(None),
                (Ok(Some(_)), true) => Ok(Some(0)),
                (Err(Broken), true) => Err(Broken),
            };
        }
        let len = buf.len().min(left).min((self.piece)());
        buf[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
        self.at += len;
        Ok(Some(len))
    }
}

const ANY: Plan = Plan {
    want: Want::Any,
    raw_limit: 64 * 1024,
    read_ahead: true,
    reads: 16,
    adaptive: true,
};

fn exactly(len: usize) -> Plan {
    Plan {
        want: Want::Exactly(len),
        ..ANY
    }
}

fn framing(packet: PacketType) -> Framing {
    let mut framing = Framing::new();
    framing.packet = packet;
    framing
}

fn wire_of(payload: &Payload<'_, Plain>) -> Vec<u8> {
    match payload {
        Payload::Frame { wire, .. } => wire.to_vec(),
        Payload::Block(block) => block.0.clone(),
    }
}

/// What the owner of a socket would see of a delivery, and the bytes it took.
fn seen(framing: &mut Framing, payload: &Payload<'_, Plain>) -> (Vec<u8>, usize) {
    let wire = wire_of(payload);
    let body = match payload {
        Payload::Frame { body, .. } => wire[body.clone()].to_vec(),
        Payload::Block(_) => wire.clone(),
    };
    let shown = match framing.packet.is_http() {
        true => format!("{:?}", framing.parse_http(&body)).into_bytes(),
        false => body,
    };
    (shown, wire.len())
}

/// The frames of a stream that is there as a whole, and whether the rest of it is bad.
fn reference(mut framing: Framing, mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    loop {
        match framing.scan(bytes) {
            Ok(Scan::Frame(Frame { wire, body })) => {
                let payload = Payload::Frame {
                    wire: &bytes[..wire],
                    body,
                };
                frames.push(seen(&mut framing, &payload).0);
                bytes = &bytes[wire..];
            }
            Ok(Scan::Incomplete { .. }) => return (frames, false),
            Err(BadFrame) => return (frames, true),
        }
    }
}

/// What may vary while a stream is read, and must not show in the frames.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The most bytes of a read; 0: random.
    piece: usize,
    scratch: usize,
    read_ahead: bool,
    reads: u32,
    /// Of so many deliveries one makes the sink stop; 0: none.
    stop: usize,
    /// The bytes come a few at a time, and reads find nothing in between.
    trickles: bool,
}

/// Reads the whole stream in one way.
fn read_all(mut framing: Framing, bytes: &[u8], way: Way, seed: u64) -> (Vec<Vec<u8>>, bool) {
    let mut random = Random(seed | 1);
    let mut pieces = Random(seed.rotate_left(7) | 1);
    let mut wire = Wire::in_pieces(bytes, move || match way.piece {
        0 => 1 + pieces.below(9),
        piece => piece,
    });
    if way.trickles {
        wire.come = 0;
    }
    let mut reader = Reader::<Plain>::default();
    let mut scratch = vec![0xaa; way.scratch];
    let plan = Plan {
        read_ahead: way.read_ahead,
        reads: way.reads,
        adaptive: true,
        ..ANY
    };
    let mut frames = Vec::new();
    let mut taken = 0;
    loop {
        wire.reads = 0;
        let pause = reader.pump(
            &mut wire,
            &mut framing,
            &plan,
            &mut scratch,
            |framing, payload| {
                let (shown, len) = seen(framing, &payload);
                frames.push(shown);
                taken += len;
                match way.stop {
                    0 => Next::More,
                    one_of => match random.below(one_of) {
                        0 => Next::Stop,
                        _ => Next::More,
                    },
                }
            },
        );
        assert!(wire.reads <= way.reads as usize);
        match pause {
            Pause::End => return (frames, false),
            Pause::BadFrame => {
                assert!(reader.held().is_empty());
                return (frames, true);
            }
            Pause::Satisfied => assert!(way.stop > 0),
            Pause::Drained => wire.come = bytes.len().min(wire.come + 1 + random.below(5)),
            Pause::Budget => assert_eq!(wire.reads, way.reads as usize),
            other => panic!("{other:?}"),
        }
        assert_eq!(taken + reader.held().len(), wire.at, "nothing is lost");
        assert_eq!(reader.held(), &bytes[taken..wire.at]);
    }
}

/// However the wire is cut, dries up and is read, and whenever the sink stops, the frames
/// are those of the stream as a whole; for every type, under every limit.
#[test]
fn the_frames_do_not_depend_on_the_way_they_are_read() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for packet in PacketType::ALL {
        if packet == PacketType::Raw {
            continue;
        }
        for round in 0..150 {
            let mut framing = framing(packet);
            framing.packet_size = *random.pick(&[0, 0, 1, 3, 5, 100]);
            framing.line_limit = *random.pick(&[1, 3, 5, 12, 100, 9216]);
            framing.delimiter = *random.pick(b"\n\n;");
            let bytes = stream(packet, &mut random);
            let expected = reference(framing.clone(), &bytes);
            for _ in 0..12 {
                let way = Way {
                    piece: *random.pick(&[0, 0, 1, usize::MAX]),
                    scratch: *random.pick(&[1, 2, 7, 16, 64 * 1024]),
                    read_ahead: random.below(3) > 0,
                    reads: *random.pick(&[1, 2, 5, 100]),
                    stop: *random.pick(&[0, 0, 1, 3]),
                    trickles: random.below(2) == 0,
                };
                assert_eq!(
                    expected,
                    read_all(framing.clone(), &bytes, way, round),
                    "{framing:?} {way:?} {bytes:?}"
                );
            }
        }
    }
}

/// Frames beyond the size of a read and of the scratch come whole, too.
#[test]
fn large_frames_come_whole() {
    let mut bytes = Vec::new();
    for len in [0, 1, 4095, 4096, 65_531, 65_532, 65_533, 300_000, 5] {
        bytes.extend_from_slice(&u32::to_be_bytes(len));
        bytes.extend((0..len).map(|i| (i % 251) as u8));
    }
    let expected = reference(framing(PacketType::Length4), &bytes);
    assert_eq!(expected.0.len(), 9);
    for piece in [100, 1448, 4096, 65_536, usize::MAX] {
        for (read_ahead, stop) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
            let way = Way {
                piece,
                scratch: 64 * 1024,
                read_ahead,
                reads: 16,
                stop,
                trickles: false,
            };
            let framing = framing(PacketType::Length4);
            assert!(
                expected == read_all(framing, &bytes, way, 99),
                "{way:?}: other frames"
            );
        }
    }
}

/// One recv after the other, by length and by frame, of changing types, with bytes put
/// back in between, takes the stream in order and without a gap.
#[test]
fn lengths_frames_and_unread_bytes_mix() {
    let mut random = Random(0xfeed_beef_1234_5677);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..random.below(60_000))
            .map(|_| b"\0\0\x01\x05abc\n"[random.below(8)])
            .collect();
        let large = random.below(2) == 0;
        let mut pieces = Random(random.below(1 << 30) as u64 | 1);
        let mut wire = Wire::in_pieces(&bytes, move || 1 + pieces.below(20_000));
        wire.come = 0;
        let mut reader = Reader::<Plain>::default();
        let mut framing = framing(PacketType::Raw);
        let mut scratch = vec![0xaa; 64 * 1024];
        let mut taken = 0;
        let end = loop {
            framing.packet = *random.pick(&[
                PacketType::Raw,
                PacketType::Line,
                PacketType::Length1,
                PacketType::Length2,
            ]);
            let plan = Plan {
                want: match random.below(3) {
                    0 => Want::Any,
                    _ => Want::Exactly(1 + random.below(if large { 40_000 } else { 50 })),
                },
                raw_limit: *random.pick(&[1, 100, 9000, 100_000]),
                read_ahead: random.below(2) == 0,
                reads: 3,
                adaptive: true,
            };
            let before = taken;
            let packet = framing.packet;
            let pause = reader.pump(
                &mut wire,
                &mut framing,
                &plan,
                &mut scratch,
                |framing, payload| {
                    let delivered = wire_of(&payload);
                    assert!(!delivered.is_empty());
                    assert!(
                        bytes[taken..].starts_with(&delivered),
                        "the bytes are others than those that came"
                    );
                    match (plan.want, packet) {
                        (Want::Exactly(len), _) => assert_eq!(delivered.len(), len),
                        (Want::Any, PacketType::Raw) => {
                            assert!(delivered.len() <= plan.raw_limit);
                        }
                        (Want::Any, _) => {
                            let mut fresh = framing.clone();
                            fresh.reset_scan();
                            match fresh.scan(&bytes[taken..]) {
                                Ok(Scan::Frame(frame)) => assert_eq!(frame.wire, delivered.len()),
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                    taken += delivered.len();
                    Next::Stop
                },
            );
            match pause {
                Pause::Satisfied => assert!(taken > before),
                Pause::Drained | Pause::Budget => {
                    assert_eq!(taken, before);
                    wire.come = bytes.len().min(wire.come + 1 + random.below(30_000));
                }
                end => break end,
            }
            assert_eq!(reader.held(), &bytes[taken..wire.at]);
            if random.below(10) == 0 {
                let back = random.below(10).min(taken);
                taken -= back;
                reader.unread(&mut framing, &bytes[taken..taken + back]);
                assert_eq!(reader.held(), &bytes[taken..wire.at]);
            }
        };
        assert_eq!(end, Pause::End);
        assert_eq!(wire.at, bytes.len());
    }
}

/// A length is read to the byte: what lies behind stays with the source.
#[test]
fn a_length_takes_no_byte_more() {
    let bytes = vec![7; 100_000];
    for len in [1, 5, 8191, 8192, 50_000] {
        for piece in [1, 3000, usize::MAX] {
            let mut wire = Wire::in_pieces(&bytes, || piece);
            let mut reader = Reader::<Plain>::default();
            let plan = Plan {
                reads: u32::MAX,
                adaptive: true,
                ..exactly(len)
            };
            let pause = reader.pump(
                &mut wire,
                &mut framing(PacketType::Raw),
                &plan,
                &mut vec![0; 64 * 1024],
                |_, payload| {
                    assert_eq!(wire_of(&payload).len(), len);
                    Next::Stop
                },
            );
            assert_eq!(pause, Pause::Satisfied);
            assert_eq!(wire.at, len);
            assert!(reader.held().is_empty());
        }
    }
}

/// A raw read goes straight into memory of its own when the one before was large, and
/// only if it may.
#[test]
fn large_raw_reads_adapt_if_they_may() {
    for adaptive in [true, false] {
        let bytes = vec![7; 200_000];
        let mut wire = Wire::in_pieces(&bytes, || 50_000);
        let mut reader = Reader::<Plain>::default();
        let plan = Plan { adaptive, ..ANY };
        let mut blocks = 0;
        while wire.at < bytes.len() {
            reader.pump(
                &mut wire,
                &mut framing(PacketType::Raw),
                &plan,
                &mut vec![0; 64 * 1024],
                |_, payload| {
                    blocks += u32::from(matches!(payload, Payload::Block(_)));
                    Next::More
                },
            );
        }
        assert_eq!(blocks > 0, adaptive);
    }
}

/// Without read-ahead nothing behind the frame that is waited for leaves the source.
#[test]
fn without_read_ahead_a_frame_takes_no_byte_more() {
    let mut random = Random(0xabcd_ef01_2345_6789);
    for packet in PacketType::ALL {
        if packet == PacketType::Raw {
            continue;
        }
        for _ in 0..100 {
            let bytes = stream(packet, &mut random);
            let mut wire = Wire::of(&bytes);
            let mut reader = Reader::<Plain>::default();
            let mut framing = framing(packet);
            let mut scratch = vec![0; 64 * 1024];
            let mut taken = 0;
            loop {
                let plan = Plan {
                    read_ahead: false,
                    reads: u32::MAX,
                    adaptive: true,
                    ..ANY
                };
                let pause = reader.pump(
                    &mut wire,
                    &mut framing,
                    &plan,
                    &mut scratch,
                    |framing, payload| {
                        taken += seen(framing, &payload).1;
                        Next::Stop
                    },
                );
                if pause != Pause::Satisfied {
                    break;
                }
                // That a header is not folded shows in the byte behind it alone.
                let most = usize::from(packet.is_http());
                assert!(reader.held().len() <= most, "{packet:?} {bytes:?}");
                assert_eq!(wire.at, taken + reader.held().len());
            }
        }
    }
}
