//! A reader over a source that gives any bytes in any pieces, with any plan,
//! the type changing on the way: no panic, every byte delivered once and in
//! order, the frames those of the whole stream, no block but for what was asked
//! for, and no memory for what a header only promises.
//!
//! Input: `[type packet_size line_limit seed:16 flags | stream]`.

#![no_main]

use fuzz::peak;
use libfuzzer_sys::fuzz_target;
use proto::reader::{Block, Next, Pause, Payload, Plan, Reader, Source, Want};
use proto::{BadFrame, Frame, Framing, PacketType, Scan};

struct Memory(Vec<u8>);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Block for Memory {
    fn allocate(len: usize) -> Option<Self> {
        assert!(len <= MOST, "nobody asked for a block of {len} bytes");
        Some(Memory(vec![0xaa; len]))
    }

    fn shrink(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// The largest delivery that a plan here asks for.
const MOST: usize = 64 * 1024;

/// Gives pieces of one to `longest` bytes, and nothing now and then.
struct Pieces<'a> {
    stream: &'a [u8],
    random: u32,
    longest: usize,
}

impl Pieces<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.random >> 16) as usize % limit
    }
}

impl Source for Pieces<'_> {
    type Error = ();

    fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ()> {
        assert!(!buf.is_empty(), "a read of nothing looks like the end");
        if self.below(4) == 0 {
            return Ok(None);
        }
        let len = (1 + self.below(self.longest))
            .min(buf.len())
            .min(self.stream.len());
        let (piece, rest) = self.stream.split_at(len);
        buf[..len].copy_from_slice(piece);
        self.stream = rest;
        Ok(Some(len))
    }
}

fuzz_target!(|input: &[u8]| {
    let ((), peak) = peak(|| run(input));
    // The scratch, a block, the room for a read and the bytes that have come; growing
    // holds the old vector beside the new one.
    assert!(
        peak <= 2 * (3 * MOST + input.len()) + 1024,
        "{peak} bytes at a time"
    );
});

fn run(input: &[u8]) {
    let Some((&[packet, packet_size, line_limit, s1, s0, flags], stream)) =
        input.split_first_chunk()
    else {
        return;
    };
    let packet = PacketType::ALL[usize::from(packet) % PacketType::ALL.len()];
    let changing = flags & 1 != 0;
    let stop_often = flags & 2 != 0;
    let read_ahead = flags & 4 == 0;
    let mut framing = Framing::new();
    framing.packet = packet;
    framing.packet_size = packet_size.into();
    framing.line_limit = line_limit.into();
    let mut source = Pieces {
        stream,
        random: u16::from_be_bytes([s1, s0]).into(),
        longest: [1, 5, 100, 70_000][usize::from(flags >> 6)],
    };
    let mut reader: Reader<Memory> = Reader::default();
    // An exact read below 8 KiB goes through the scratch as a whole.
    let least = if changing { 8 * 1024 } else { 16 };
    let mut scratch = vec![0; [least, 300.max(least), 9216, 65536][usize::from(flags >> 4 & 3)]];
    let mut delivered = 0;
    loop {
        let mut want = Want::Any;
        if changing {
            framing.packet = match source.below(8) {
                0 => PacketType::Raw,
                1 => PacketType::Line,
                2 => PacketType::Http,
                3 | 4 => packet,
                _ => framing.packet,
            };
            want = match source.below(16) {
                0 => Want::Exactly(1 + source.below(MOST)),
                1..=3 => Want::Exactly(1 + source.below(40)),
                _ => Want::Any,
            };
        }
        let plan = Plan {
            want,
            raw_limit: 1 + source.below(MOST),
            read_ahead,
            reads: 1 + source.below(8) as u32,
            adaptive: true,
        };
        let stop = stop_often && source.below(2) == 0;
        let pause = reader.pump(
            &mut source,
            &mut framing,
            &plan,
            &mut scratch,
            |framing, given| {
                let (wire, body) = match &given {
                    Payload::Frame { wire, body } => (*wire, body.clone()),
                    Payload::Block(block) => (block.as_ref(), 0..block.0.len()),
                };
                let rest = &stream[delivered..];
                assert!(!wire.is_empty() && rest.starts_with(wire));
                match (want, framing.packet) {
                    (Want::Exactly(len), _) => assert_eq!((wire.len(), body), (len, 0..len)),
                    (Want::Any, PacketType::Raw) => {
                        assert!(wire.len() <= plan.raw_limit);
                        assert_eq!(body, 0..wire.len());
                    }
                    (Want::Any, packet) => {
                        let frame = Frame {
                            wire: wire.len(),
                            body: body.clone(),
                        };
                        assert_eq!(afresh(framing, rest), Ok(Scan::Frame(frame)));
                        if packet.is_http() {
                            framing.parse_http(&wire[body]);
                        }
                    }
                }
                delivered += wire.len();
                if stop { Next::Stop } else { Next::More }
            },
        );
        let rest = &stream[delivered..];
        match pause {
            Pause::Satisfied | Pause::Drained | Pause::Budget => {
                let held = reader.held();
                // The end of it: all of it each time would itself be quadratic.
                let end = held.len().saturating_sub(64);
                assert!(rest[end..].starts_with(&held[end..]));
                assert_eq!(rest.len(), held.len() + source.stream.len());
            }
            Pause::End => {
                assert!(source.stream.is_empty());
                match want {
                    Want::Exactly(len) => assert!(rest.len() < len),
                    Want::Any if framing.packet == PacketType::Raw => assert!(rest.is_empty()),
                    Want::Any => {
                        assert!(matches!(
                            afresh(&framing, rest),
                            Ok(Scan::Incomplete { .. })
                        ));
                    }
                }
                return;
            }
            Pause::BadFrame => return assert_eq!(afresh(&framing, rest), Err(BadFrame)),
            Pause::NoMemory | Pause::Failed(()) => panic!("{pause:?}"),
        }
    }
}

/// What a framing without memory finds in all that is left of the stream.
fn afresh(framing: &Framing, rest: &[u8]) -> Result<Scan, BadFrame> {
    let mut framing = framing.clone();
    framing.reset_scan();
    framing.scan(rest)
}
