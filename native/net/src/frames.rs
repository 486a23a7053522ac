//! Many frames a call, for owners that move more messages than a call for each pays for:
//! the carrier of Erlang's distribution. The packet type is 4.
//!
//! Small frames come from one read of the scratch buffer. A large one is read straight
//! into a block of its own, and while large ones follow each other their headers are
//! read alone, so that no byte of them is copied twice.

use crate::ending::Ended;
use crate::endpoint::{Call, Context, Endpoint, Role};
use crate::host::{Failure, Form, Host};
use crate::receiving::Attempt;
use crate::sending::{Outgoing, Sent};
use crate::stream::{Kernel, Link, SCRATCH, Stream, wire_len, with_scratch};
use proto::reader::{Next, Pause, Payload, Plan, Want};
use proto::{Framing, PacketType};

/// Bytes of the header that announces a frame's length.
const HEADER: usize = 4;
/// A frame of at least so many bytes is read into a block of its own.
const LARGE: usize = 8 * 1024;
/// Memory for a larger frame is not taken on the word of a header alone.
const LARGEST: usize = 1024 * 1024;
/// Most bytes of one call, and most reads.
const MOST: usize = 4 * SCRATCH;
const READS: u32 = 16;

/// A frame as [`Endpoint::recv_frames`] hands it over.
pub enum Frame<'a, B> {
    /// The body.
    Small(&'a [u8]),
    /// Header and body: the body begins behind so many bytes.
    Large(B, usize),
}

impl<H: Host> Endpoint<H> {
    /// Takes what frames there are, up to a limit. Else as [`Endpoint::recv`], but that it
    /// spins only if `spin` says so.
    ///
    /// **Errors:** those of `recv`.
    pub fn recv_frames<R>(
        &self,
        pid: H::Pid,
        spin: bool,
        tag: impl FnOnce() -> H::Tag,
        mut take: impl FnMut(Frame<'_, H::Block>) -> R,
    ) -> Call<Vec<R>> {
        self.receive_with(pid, spin, tag, |stream, context| {
            stream.receive_frames(context, pid, &mut take)
        })
    }

    /// Sends frames that bring their headers along, in one piece and without gathering:
    /// the caller has done that. Else as [`Endpoint::send`].
    ///
    /// **Errors:** those of `send`.
    pub fn send_frames(&self, pid: H::Pid, data: &dyn Outgoing<H::Kept>) -> Sent {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let sent = match role {
            Role::Stream(stream) => {
                let sent = stream.send_frames(&mut context, pid, data);
                stream.release_senders(context.common.settings.low_watermark);
                sent
            }
            _ => Sent::Failed(Failure::Closed),
        };
        self.settle(&mut state);
        sent
    }
}

impl<H: Host> Stream<H> {
    fn receive_frames<R>(
        &mut self,
        context: &mut Context<'_, H>,
        pid: H::Pid,
        take: &mut impl FnMut(Frame<'_, H::Block>) -> R,
    ) -> Attempt<Vec<R>> {
        let settings = &mut context.common.settings;
        let others = self
            .receiver
            .as_ref()
            .is_some_and(|receiver| receiver.pid != pid);
        let Link::Open(socket) = &self.link else {
            return self.receive_one(context, pid, take);
        };
        if others || !settings.active.is_passive() || settings.framing.packet != PacketType::Length4
        {
            return self.receive_one(context, pid, take);
        }
        let mut frames = Vec::new();
        let mut bytes = 0;
        let counters = &mut context.common.counters;
        let (reader, framing) = (&mut self.reader, &mut settings.framing);
        let limit = framing.packet_size;
        let mut large = self.large_frames;
        let mut source = Kernel::new(socket);
        let pause = with_scratch(|scratch| {
            let mut reads = 0;
            loop {
                let announced = announced(reader.held(), limit);
                let want = match announced {
                    Some(wire) => Want::Exactly(wire),
                    None if large && reader.held().len() < HEADER => Want::Exactly(HEADER),
                    None => Want::Any,
                };
                let mut header = None;
                let plan = Plan {
                    want,
                    raw_limit: SCRATCH,
                    read_ahead: true,
                    reads: 1,
                    adaptive: false,
                };
                let pause = reader.pump(&mut source, framing, &plan, scratch, |_, payload| {
                    let len = wire_len(&payload);
                    let frame = match payload {
                        Payload::Block(block) => Frame::Large(block, HEADER),
                        Payload::Frame { wire, body } => match want {
                            Want::Any => Frame::Small(wire.get(body).unwrap_or_default()),
                            Want::Exactly(HEADER) => {
                                header = <[u8; HEADER]>::try_from(wire).ok();
                                return Next::Stop;
                            }
                            Want::Exactly(_) => {
                                Frame::Small(wire.get(HEADER..).unwrap_or_default())
                            }
                        },
                    };
                    counters.received.count(len);
                    bytes += len;
                    frames.push(take(frame));
                    match want {
                        Want::Any => Next::More,
                        Want::Exactly(_) => Next::Stop,
                    }
                });
                if let Some(header) = header {
                    reader.unread(framing, &header);
                }
                large = match want {
                    Want::Exactly(HEADER) if header.is_none() => true,
                    Want::Exactly(wire) if wire > HEADER => true,
                    _ => self::announced(reader.held(), limit).is_some(),
                };
                reads += 1;
                match pause {
                    Pause::Satisfied | Pause::Budget if bytes < MOST && reads < READS => {}
                    pause => break pause,
                }
            }
        });
        self.large_frames = large;
        context.common.watch.is_dry = source.is_dry();
        let ended = match pause {
            Pause::Satisfied | Pause::Budget | Pause::Drained => None,
            Pause::End => Some(Ended::Regularly),
            Pause::BadFrame => Some(Ended::BadFrame),
            Pause::NoMemory => Some(Ended::Failed(libc::ENOMEM)),
            Pause::Failed(error) => Some(error.into()),
        };
        if !frames.is_empty() || ended.is_some() {
            self.receiver = None;
            self.writer.break_burst();
        }
        match ended {
            None if frames.is_empty() => Attempt::Nothing,
            None => Attempt::Got(frames),
            Some(ended) => {
                let failure = self.end_passively(context, &ended);
                if frames.is_empty() {
                    return Attempt::Failed(failure);
                }
                // The next call is told.
                if let Link::Husk(husk) = &mut self.link {
                    husk.receive = Some(failure);
                }
                Attempt::Got(frames)
            }
        }
    }

    /// What is not framed so, not open, or somebody else's: a plain recv knows the answer.
    fn receive_one<R>(
        &mut self,
        context: &mut Context<'_, H>,
        pid: H::Pid,
        take: &mut impl FnMut(Frame<'_, H::Block>) -> R,
    ) -> Attempt<Vec<R>> {
        let mut one = |_: Form, _: &mut Framing, payload: Payload<'_, H::Block>| {
            vec![match payload {
                Payload::Block(block) => take(Frame::Large(block, 0)),
                Payload::Frame { wire, body } => {
                    take(Frame::Small(wire.get(body).unwrap_or_default()))
                }
            }]
        };
        self.receive(context, pid, 0, &mut one)
    }
}

/// The wire length of the large frame that `held` begins with, in bytes.
fn announced(held: &[u8], limit: u32) -> Option<usize> {
    let (header, _) = held.split_first_chunk::<HEADER>()?;
    let body = u32::from_be_bytes(*header) as usize;
    let wire = body.checked_add(HEADER)?;
    let allowed = limit == 0 || body <= limit as usize;
    (allowed && (LARGE..=LARGEST).contains(&wire)).then_some(wire)
}
