//! The receiving half of a stream: takes bytes from a [`Source`], cuts them into
//! deliveries and hands these to a sink. No I/O of its own, and no buffer while idle.
//!
//! Guarantees: every byte read is delivered once, in order, or kept in the reader;
//! nothing is read that the caller's [`Plan`] does not ask for; the memory held is at
//! most what has been read, plus one block of the size that a caller named.

use crate::packet::{BadFrame, Framing, PacketType, Scan};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Where the bytes come from: a non-blocking socket, or a test.
pub trait Source {
    /// What can go wrong.
    type Error;

    /// Reads into `buf`. `Ok(None)`: nothing there now. `Ok(Some(0))`: end of stream.
    ///
    /// **Errors:** whatever the stream died of.
    fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Self::Error>;
}

/// Memory that can become a message without a copy.
pub trait Block: AsMut<[u8]> + AsRef<[u8]> + Sized {
    /// A block of `len` bytes with unspecified content, or `None` if there is no memory.
    fn allocate(len: usize) -> Option<Self>;

    /// Cuts the block down to its first `len` bytes.
    fn shrink(&mut self, len: usize);
}

/// One delivery.
#[derive(Debug)]
pub enum Payload<'a, B> {
    /// A frame: its bytes on the wire, and which of them the user gets.
    Frame {
        /// Header, body and padding, as they came.
        wire: &'a [u8],
        /// The body's place in `wire`.
        body: Range<usize>,
    },
    /// Raw bytes that fill a block of their own.
    Block(B),
}

/// How much one delivery shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// One frame; for [`PacketType::Raw`] whatever is there.
    Any,
    /// Exactly so many bytes, regardless of frames.
    Exactly(usize),
}

/// What one call of [`Reader::pump`] may do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The size of a delivery.
    pub want: Want,
    /// Most bytes of a raw delivery.
    pub raw_limit: usize,
    /// Whether to read beyond the current frame.
    pub read_ahead: bool,
    /// Most reads of this call.
    pub reads: u32,
    /// Raw reads may take memory for as much as the reads before have found.
    pub adaptive: bool,
}

/// Why [`Reader::pump`] returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Pause<E> {
    /// The sink wants no more.
    Satisfied,
    /// The source has nothing now.
    Drained,
    /// The reads of the plan are used up; there may be more.
    Budget,
    /// The stream has ended. What did not make a whole delivery is dropped.
    End,
    /// The bytes are no frame of the type in force. They are dropped.
    BadFrame,
    /// There is no memory for a delivery of the size that was asked for.
    NoMemory,
    /// The source failed.
    Failed(E),
}

/// Whether the sink takes another delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One more, please.
    More,
    /// Not now.
    Stop,
}

/// Bytes that were read and not delivered yet.
#[derive(Debug, Default)]
enum Held<B> {
    #[default]
    Nothing,
    /// `bytes[from..]`, never empty.
    Bytes { bytes: Vec<u8>, from: usize },
    /// Apart, because an idle reader shall be small, and few ever hold one.
    Block(Box<Partial<B>>),
}

/// The first `filled` bytes of a block that waits for the rest, `filled > 0`.
#[derive(Debug)]
struct Partial<B> {
    block: B,
    filled: usize,
}

impl<B: Block> Partial<B> {
    fn bytes(&self) -> &[u8] {
        self.block.as_ref().get(..self.filled).unwrap_or_default()
    }
}

/// Raw reads of at least this many bytes go straight into a block of their own.
const BLOCK_FROM: usize = 8 * 1024;
/// A held rest of at most this many bytes is cheaper to copy in front of the next
/// read than to grow.
const MOVE_UP_TO: usize = 4 * 1024;

/// See the module's description.
#[derive(Debug)]
pub struct Reader<B> {
    held: Held<B>,
    /// How many bytes the next raw read is expected to find.
    expect: u32,
    /// The last read filled its room: the peer is streaming.
    streaming: bool,
}

impl<B> Default for Reader<B> {
    fn default() -> Self {
        Reader {
            held: Held::Nothing,
            expect: 0,
            streaming: false,
        }
    }
}

impl<B: Block> Reader<B> {
    /// The bytes that were read and not delivered yet.
    pub fn held(&self) -> &[u8] {
        match &self.held {
            Held::Nothing => &[],
            Held::Bytes { bytes, from } => bytes.get(*from..).unwrap_or_default(),
            Held::Block(partial) => partial.bytes(),
        }
    }

    /// Forgets the bytes that were read and not delivered.
    pub fn clear(&mut self, framing: &mut Framing) {
        self.held = Held::Nothing;
        framing.reset_scan();
    }

    /// Puts `bytes` in front of everything not delivered yet.
    pub fn unread(&mut self, framing: &mut Framing, bytes: &[u8]) {
        let mut all = Vec::with_capacity(bytes.len().saturating_add(self.held().len()));
        all.extend_from_slice(bytes);
        all.extend_from_slice(self.held());
        self.hold_vec(all);
        framing.reset_scan();
    }

    /// Delivers to `sink` until it has enough, first from what is held, then from `source`.
    ///
    /// `scratch` is the caller's; nothing of it is kept. After [`Pause::Drained`] or
    /// [`Pause::Budget`] call again when the source is readable.
    pub fn pump<S: Source>(
        &mut self,
        source: &mut S,
        framing: &mut Framing,
        plan: &Plan,
        scratch: &mut [u8],
        mut sink: impl FnMut(&mut Framing, Payload<'_, B>) -> Next,
    ) -> Pause<S::Error> {
        if plan.want != Want::Any || framing.packet == PacketType::Raw {
            // Bytes will go that the framing does not see go.
            framing.reset_scan();
        }
        let mut reads = plan.reads;
        loop {
            let need = match self.deliver_held(framing, plan, &mut sink) {
                Ok(Some(need)) => need,
                Ok(None) => return Pause::Satisfied,
                Err(BadFrame) => return self.bad_frame(framing),
            };
            if reads == 0 {
                return Pause::Budget;
            }
            reads -= 1;
            let step = match (framing.packet, plan.want) {
                (_, Want::Exactly(len)) => {
                    self.read_exactly(source, framing, len, scratch, &mut sink)
                }
                (PacketType::Raw, Want::Any) => {
                    self.read_raw(source, framing, plan, scratch, &mut sink)
                }
                _ if need > scratch.len()
                    || !plan.read_ahead
                    || (self.held().len() > MOVE_UP_TO && !self.streaming) =>
                {
                    self.read_behind(source, need, plan.read_ahead)
                }
                _ => self.read_frames(source, framing, scratch, &mut sink),
            };
            match step {
                Step::Again => {}
                Step::Pause(pause) => return pause,
                Step::Bad => return self.bad_frame(framing),
            }
        }
    }

    /// Delivers what is held. `Some(need)`: the next delivery takes `need` bytes at least.
    fn deliver_held(
        &mut self,
        framing: &mut Framing,
        plan: &Plan,
        sink: &mut impl FnMut(&mut Framing, Payload<'_, B>) -> Next,
    ) -> Result<Option<usize>, BadFrame> {
        loop {
            let held = self.held();
            let (wire, body) = match plan.want {
                Want::Exactly(len) if held.len() < len => return Ok(Some(len)),
                Want::Exactly(len) => (len, 0..len),
                Want::Any if held.is_empty() => return Ok(Some(1)),
                Want::Any if framing.packet == PacketType::Raw => {
                    let len = held.len().min(plan.raw_limit.max(1));
                    (len, 0..len)
                }
                Want::Any => match framing.scan(held)? {
                    Scan::Frame(frame) => (frame.wire, frame.body),
                    Scan::Incomplete { at_least } => return Ok(Some(at_least)),
                },
            };
            let wire_bytes = self.held().get(..wire).unwrap_or_default();
            let next = sink(
                framing,
                Payload::Frame {
                    wire: wire_bytes,
                    body,
                },
            );
            self.consume(wire);
            if next == Next::Stop {
                return Ok(None);
            }
        }
    }

    /// Raw mode, nothing held: one read is one delivery.
    fn read_raw<S: Source>(
        &mut self,
        source: &mut S,
        framing: &mut Framing,
        plan: &Plan,
        scratch: &mut [u8],
        sink: &mut impl FnMut(&mut Framing, Payload<'_, B>) -> Next,
    ) -> Step<S::Error> {
        let limit = plan.raw_limit.clamp(1, scratch.len().max(1));
        let expect = self.expect as usize;
        if plan.adaptive && expect >= BLOCK_FROM && limit >= BLOCK_FROM {
            let room = expect.min(limit);
            let Some(mut block) = B::allocate(room) else {
                return Step::Pause(Pause::NoMemory);
            };
            let len = match source.read(block.as_mut()) {
                Ok(Some(0)) => return Step::Pause(Pause::End),
                Ok(Some(len)) => len,
                Ok(None) => return Step::Pause(Pause::Drained),
                Err(error) => return Step::Pause(Pause::Failed(error)),
            };
            if len == room {
                self.expect(room.saturating_mul(2));
            } else {
                block.shrink(len);
                if len < room / 4 {
                    self.expect(room / 2);
                }
            }
            return after(sink(framing, Payload::Block(block)), len == room);
        }
        let room = scratch.get_mut(..limit).unwrap_or_default();
        match source.read(room) {
            Ok(Some(0)) => Step::Pause(Pause::End),
            Ok(Some(len)) => {
                let full = len == limit;
                self.expect(len);
                let wire = scratch.get(..len).unwrap_or_default();
                after(sink(framing, Payload::Frame { wire, body: 0..len }), full)
            }
            Ok(None) => Step::Pause(Pause::Drained),
            Err(error) => Step::Pause(Pause::Failed(error)),
        }
    }

    fn expect(&mut self, len: usize) {
        self.expect = u32::try_from(len).unwrap_or(u32::MAX);
    }

    /// `len` bytes are wanted and fewer are held: reads the missing ones, never more.
    fn read_exactly<S: Source>(
        &mut self,
        source: &mut S,
        framing: &mut Framing,
        len: usize,
        scratch: &mut [u8],
        sink: &mut impl FnMut(&mut Framing, Payload<'_, B>) -> Next,
    ) -> Step<S::Error> {
        if len < BLOCK_FROM.min(scratch.len()) && self.held().is_empty() {
            let room = scratch.get_mut(..len).unwrap_or_default();
            return match source.read(room) {
                Ok(Some(0)) => Step::Pause(Pause::End),
                Ok(Some(got)) if got == len => {
                    let wire = scratch.get(..len).unwrap_or_default();
                    after(sink(framing, Payload::Frame { wire, body: 0..len }), true)
                }
                Ok(Some(got)) => {
                    self.hold(scratch.get(..got).unwrap_or_default());
                    Step::Again
                }
                Ok(None) => Step::Pause(Pause::Drained),
                Err(error) => Step::Pause(Pause::Failed(error)),
            };
        }
        let (mut block, filled) = match self.block_of(len) {
            Some(found) => found,
            None => return Step::Pause(Pause::NoMemory),
        };
        let room = block.as_mut().get_mut(filled..).unwrap_or_default();
        let read = source.read(room);
        if let Ok(Some(got)) = read
            && got > 0
            && filled.saturating_add(got) == len
        {
            return after(sink(framing, Payload::Block(block)), true);
        }
        let filled =
            filled.saturating_add(*read.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0));
        if filled > 0 {
            self.held = Held::Block(Box::new(Partial { block, filled }));
        }
        match read {
            Ok(Some(0)) => Step::Pause(Pause::End),
            Ok(Some(_)) => Step::Again,
            Ok(None) => Step::Pause(Pause::Drained),
            Err(error) => Step::Pause(Pause::Failed(error)),
        }
    }

    /// A block of `len` bytes that begins with what is held, taken out of the reader.
    fn block_of(&mut self, len: usize) -> Option<(B, usize)> {
        if let Held::Block(partial) = &self.held
            && partial.block.as_ref().len() == len
            && let Held::Block(partial) = core::mem::take(&mut self.held)
        {
            return Some((partial.block, partial.filled));
        }
        let mut block = B::allocate(len)?;
        let held = self.held();
        let filled = held.len();
        block.as_mut().get_mut(..filled)?.copy_from_slice(held);
        self.held = Held::Nothing;
        Some((block, filled))
    }

    /// Frames, the common way: what is held goes to the front of the scratch, the read
    /// behind it, and every whole frame is delivered from there.
    fn read_frames<S: Source>(
        &mut self,
        source: &mut S,
        framing: &mut Framing,
        scratch: &mut [u8],
        sink: &mut impl FnMut(&mut Framing, Payload<'_, B>) -> Next,
    ) -> Step<S::Error> {
        let before = self.held().len();
        let Some((front, room)) = scratch.split_at_mut_checked(before) else {
            return Step::Pause(Pause::NoMemory);
        };
        let space = room.len();
        let got = match source.read(room) {
            Ok(Some(0)) => return Step::Pause(Pause::End),
            Ok(Some(got)) => got,
            Ok(None) => return Step::Pause(Pause::Drained),
            Err(error) => return Step::Pause(Pause::Failed(error)),
        };
        front.copy_from_slice(self.held());
        self.streaming = got == space;
        let mut rest = scratch
            .get(..before.saturating_add(got))
            .unwrap_or_default();
        let mut next = Next::More;
        let mut bad = false;
        while next == Next::More && !rest.is_empty() {
            match framing.scan(rest) {
                Ok(Scan::Frame(frame)) => {
                    let Some((wire, behind)) = rest.split_at_checked(frame.wire) else {
                        break;
                    };
                    rest = behind;
                    next = sink(
                        framing,
                        Payload::Frame {
                            wire,
                            body: frame.body,
                        },
                    );
                }
                Ok(Scan::Incomplete { .. }) => break,
                Err(BadFrame) => {
                    bad = true;
                    break;
                }
            }
        }
        self.hold(rest);
        match (bad, next) {
            (true, _) => Step::Bad,
            (false, Next::Stop) => Step::Pause(Pause::Satisfied),
            (false, Next::More) if self.streaming => Step::Again,
            // A short read has emptied the socket: asking again would cost a call to
            // learn nothing. Whoever waits for readiness next is told of an end, too.
            (false, Next::More) => Step::Pause(Pause::Drained),
        }
    }

    /// A frame too large for the scratch, or one that trickles in: reads behind what is
    /// held, into memory that grows with what has really come.
    fn read_behind<S: Source>(
        &mut self,
        source: &mut S,
        need: usize,
        read_ahead: bool,
    ) -> Step<S::Error> {
        let mut bytes = self.take_vec();
        let before = bytes.len();
        let missing = need.saturating_sub(before).max(1);
        // Room is cleared before each read: it must not grow with what has come, or a large
        // frame in small pieces takes quadratic time.
        let most = if self.streaming { 64 * 1024 } else { 8 * 1024 };
        let room = if read_ahead {
            // A line announces no length: a long one is read in growing steps.
            missing.max(before / 8).clamp(2 * 1024, most)
        } else {
            missing.min(most)
        };
        bytes.resize(before.saturating_add(room), 0);
        let read = source.read(bytes.get_mut(before..).unwrap_or_default());
        bytes.truncate(
            before.saturating_add(*read.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0)),
        );
        self.streaming = matches!(read, Ok(Some(got)) if got == room);
        self.hold_vec(bytes);
        match read {
            Ok(Some(0)) => Step::Pause(Pause::End),
            Ok(Some(_)) => Step::Again,
            Ok(None) => Step::Pause(Pause::Drained),
            Err(error) => Step::Pause(Pause::Failed(error)),
        }
    }

    fn bad_frame<E>(&mut self, framing: &mut Framing) -> Pause<E> {
        self.clear(framing);
        Pause::BadFrame
    }

    fn consume(&mut self, len: usize) {
        if len >= self.held().len() {
            self.held = Held::Nothing;
            return;
        }
        match &mut self.held {
            Held::Bytes { from, .. } => *from = from.saturating_add(len),
            Held::Block(_) => {
                let rest = self.held().get(len..).unwrap_or_default().to_vec();
                self.hold_vec(rest);
            }
            Held::Nothing => {}
        }
    }

    /// Replaces what is held by a copy of `rest`.
    fn hold(&mut self, rest: &[u8]) {
        match &mut self.held {
            _ if rest.is_empty() => self.held = Held::Nothing,
            Held::Bytes { bytes, from } if bytes.capacity() <= rest.len().saturating_mul(4) => {
                bytes.clear();
                bytes.extend_from_slice(rest);
                *from = 0;
            }
            _ => {
                self.held = Held::Bytes {
                    bytes: rest.to_vec(),
                    from: 0,
                }
            }
        }
    }

    fn hold_vec(&mut self, bytes: Vec<u8>) {
        self.held = match bytes.is_empty() {
            true => Held::Nothing,
            false => Held::Bytes { bytes, from: 0 },
        };
    }

    /// What is held, as a vector that begins with it, taken out of the reader.
    fn take_vec(&mut self) -> Vec<u8> {
        match core::mem::take(&mut self.held) {
            Held::Nothing => Vec::new(),
            Held::Bytes { mut bytes, from } => {
                bytes.drain(..from);
                bytes
            }
            Held::Block(partial) => partial.bytes().to_vec(),
        }
    }
}

/// What one read came to.
enum Step<E> {
    Again,
    Pause(Pause<E>),
    Bad,
}

/// `full`: the read filled its room, so that another may find more.
fn after<E>(next: Next, full: bool) -> Step<E> {
    match (next, full) {
        (Next::Stop, _) => Step::Pause(Pause::Satisfied),
        (Next::More, true) => Step::Again,
        (Next::More, false) => Step::Pause(Pause::Drained),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
