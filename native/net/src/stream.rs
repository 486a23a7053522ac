//! A connected socket: what it delivers, how it ends, and what is left of it then.
//!
//! ```text
//!            end of input, exit_on_close false
//!     Open ------------------------------------> InputEnded
//!      |                                             |
//!      | end of input while passive, failed write    | failed write
//!      v                                             v
//!     Husk (no fd; each call learns why once) <------+
//!      |
//!      | {active, true | once | N}
//!      v
//!     Over  <--- end of input or failed write while active
//! ```

use crate::ending::Ended;
use crate::endpoint::{Common, Context, End, Waiter};
use crate::host::{Event, Failure, Form, Host, Info, Kind, Reply};
use crate::mailbox::{Gauge, pause_at};
use crate::seldom::{Seldom, Vacant};
use crate::settings::Settings;
use crate::spin;
use crate::sys::{Interest, Trigger};
use crate::timeslice;
use crate::totals::{self, Total};
use crate::tuning::Tuning;
use proto::reader::{Next, Pause, Payload, Plan, Reader, Source, Want};
use proto::writer::Writer;
use proto::{Active, PacketType};
use socket2::Socket;
use std::cell::RefCell;
use std::io::{self, Read};
use std::net::Shutdown;

/// Reads of one event, so that one socket does not hold up the others of its poller.
pub(crate) const READS_OF_AN_EVENT: u32 = 16;
/// The same where the thread has other work, too.
pub(crate) const READS_OF_A_SERVICE: u32 = 4;
/// Reads of one re-arming call: at most half a megabyte, a fraction of a millisecond.
pub(crate) const READS_OF_A_CALL: u32 = 8;
/// A read of frames makes hundreds of messages where a raw one makes one: so many times
/// fewer reads hold the lock as long.
const FRAMED: u32 = 4;
/// Most bytes of one read.
pub(crate) const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends this thread's read buffer.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => work(&mut buffer),
        // A panic may have left the buffer borrowed for ever.
        Err(_) => work(&mut vec![0; SCRATCH]),
    })
}

/// A socket as a source of bytes.
pub(crate) struct Kernel<'a> {
    socket: &'a Socket,
    /// The last read found nothing, not even an end.
    is_dry: bool,
}

impl<'a> Kernel<'a> {
    pub(crate) fn new(socket: &'a Socket) -> Self {
        Kernel {
            socket,
            is_dry: false,
        }
    }

    pub(crate) fn is_dry(&self) -> bool {
        self.is_dry
    }
}

impl Source for Kernel<'_> {
    type Error = io::Error;

    fn read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(buf) {
                Ok(len) => {
                    self.is_dry = false;
                    totals::add(Total::Reads, 1);
                    totals::add(Total::ReadBytes, len as u64);
                    timeslice::hold_for_read(len);
                    return Ok(Some(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_dry = true;
                    totals::add(Total::EmptyReads, 1);
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// See the picture above.
pub(crate) enum Link {
    Open(Socket),
    InputEnded(Socket),
    /// Apart: an open stream shall be small.
    Husk(Box<Husk>),
    Over(Option<Socket>, End),
}

/// What the next call of each kind is told, once; `ENOTCONN` after that.
#[derive(Clone, Copy, Default)]
pub(crate) struct Husk {
    pub(crate) receive: Option<Failure>,
    pub(crate) send: Option<Failure>,
    /// The `tcp_error` in front of the `tcp_closed` of an activation.
    pub(crate) activate: Option<Failure>,
}

/// The process that has the right to the next delivery.
pub(crate) struct Receiver<H: Host> {
    pub(crate) pid: H::Pid,
    /// None: it has been told to come back.
    pub(crate) tag: Option<H::Tag>,
}

/// A process that waits in send.
pub(crate) struct Sender<H: Host> {
    pub(crate) waiter: Waiter<H>,
    pub(crate) awaits: Awaits,
}

/// What a sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// Its data is queued: a short queue.
    ShortQueue,
    /// Its data is not: that its turn comes.
    Turn,
    /// It goes on meanwhile, and is to be told when a send would be taken.
    Notice,
}

pub(crate) struct Stream<H: Host> {
    pub(crate) link: Link,
    pub(crate) reader: Reader<H::Block>,
    /// The last frame of `recv_frames` was a large one.
    pub(crate) large_frames: bool,
    pub(crate) writer: Writer<H::Kept>,
    pub(crate) receiver: Option<Receiver<H>>,
    pub(crate) waiting: Seldom<Waiting<H>>,
    pub(crate) gauge: Gauge,
    /// `tcp_closed` is sent once in the life of a socket.
    pub(crate) told_closed: bool,
}

/// Who and what waits for the output.
pub(crate) struct Waiting<H: Host> {
    pub(crate) senders: Vec<Sender<H>>,
    /// Who waits until nothing is queued: in close, or in sendfile, for room too.
    pub(crate) drained: Vec<Waiter<H>>,
    /// The waiting sender that was told to come: the others are behind it.
    pub(crate) turn: Option<H::Pid>,
    /// Who sends a file: the others wait.
    pub(crate) file_sender: Option<H::Pid>,
    /// A shutdown that waits for the queued output.
    pub(crate) shutdown: Option<Shutdown>,
}

impl<H: Host> Vacant for Waiting<H> {
    fn vacant() -> Self {
        Waiting {
            senders: Vec::new(),
            drained: Vec::new(),
            turn: None,
            file_sender: None,
            shutdown: None,
        }
    }

    fn is_vacant(&self) -> bool {
        self.senders.is_empty()
            && self.drained.is_empty()
            && self.turn.is_none()
            && self.file_sender.is_none()
            && self.shutdown.is_none()
    }
}

impl<H: Host> Waiting<H> {
    pub(crate) fn anybody_awaits_turn(&self) -> bool {
        let awaits_turn = |sender: &Sender<H>| sender.awaits == Awaits::Turn;
        self.senders.iter().any(awaits_turn)
    }
}

/// The wire length of a delivery, in bytes.
pub(crate) fn wire_len<B: AsRef<[u8]>>(payload: &Payload<'_, B>) -> usize {
    match payload {
        Payload::Frame { wire, .. } => wire.len(),
        Payload::Block(block) => block.as_ref().len(),
    }
}

/// The most bytes of a raw delivery under these settings.
pub(crate) fn raw_limit(settings: &Settings) -> usize {
    settings
        .buffer
        .delivery_limit()
        .map_or(SCRATCH, |limit| limit as usize)
}

impl<H: Host> Stream<H> {
    pub(crate) fn new(socket: Socket) -> Self {
        Stream {
            link: Link::Open(socket),
            reader: Reader::default(),
            large_frames: false,
            writer: Writer::default(),
            receiver: None,
            waiting: Seldom::NONE,
            gauge: Gauge::default(),
            told_closed: false,
        }
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        match &self.link {
            Link::Open(socket) | Link::InputEnded(socket) => Some(socket),
            Link::Over(socket, _) => socket.as_ref(),
            Link::Husk(_) => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    pub(crate) fn queued(&self) -> usize {
        self.writer.queued()
    }

    pub(crate) fn take_end(&mut self) -> Option<End> {
        match self.link {
            Link::Over(_, end) => Some(end),
            _ => None,
        }
    }

    pub(crate) fn interest(&self, common: &Common<H>, tuning: Tuning) -> Interest {
        let active = common.settings.active;
        let awaited = match active {
            // Not even for a recv that waits since the socket was passive.
            Active::Always => !self.gauge.paused,
            Active::Once | Active::Count(_) => true,
            Active::Passive => self
                .receiver
                .as_ref()
                .is_some_and(|receiver| receiver.tag.is_some()),
        };
        let write = !self.writer.is_empty()
            || self
                .waiting
                .get()
                .is_some_and(|waiting| !waiting.drained.is_empty());
        let read = awaited && self.is_open();
        Interest {
            read,
            write,
            trigger: match active {
                _ if write => Trigger::Once,
                // The owner takes whatever comes: arming anew for each event would be a call
                // more.
                Active::Always if read => Trigger::Level,
                _ if read && common.watch.is_regular(tuning) => Trigger::Edge,
                _ => Trigger::Once,
            },
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.link {
            Link::Open(_) | Link::InputEnded(_) => Kind::Connected,
            Link::Husk(_) => Kind::Disconnected,
            Link::Over(..) => Kind::Closed,
        }
    }

    pub(crate) fn describe(&self, info: &mut Info<H::Pid>) {
        info.kind = self.kind();
        info.counters.pending = self.writer.queued() as u64;
        info.readers = usize::from(
            self.receiver
                .as_ref()
                .is_some_and(|receiver| receiver.tag.is_some() && H::is_alive(receiver.pid)),
        );
        let waits =
            |sender: &&Sender<H>| sender.awaits != Awaits::Notice && H::is_alive(sender.waiter.pid);
        info.writers = self
            .waiting
            .get()
            .map_or(0, |waiting| waiting.senders.iter().filter(waits).count());
    }

    /// Readiness, from the poller.
    pub(crate) fn ready(&mut self, context: &mut Context<'_, H>, ready: Interest, reads: u32) {
        context.common.scores.count(spin::now());
        if ready.read {
            if !context.common.settings.active.is_passive() {
                if !self.gauge.paused {
                    self.deliver(context, reads);
                }
            } else if let Some(receiver) = &mut self.receiver
                && let Some(tag) = receiver.tag.take()
                && !H::reply(receiver.pid, tag, Reply::Ready)
            {
                self.receiver = None;
            }
        }
        if ready.write {
            self.flush(context);
        }
    }

    /// The settings are new: `active` may want what is there.
    pub(crate) fn settings_changed(&mut self, context: &mut Context<'_, H>) {
        let active = context.common.settings.active;
        self.tidy_gauge(&context.common.settings);
        if active.is_passive() {
            self.call_for_held();
            return;
        }
        match &self.link {
            Link::Open(_) if self.gauge.paused => {}
            Link::Open(_) => {
                // What the kernel has is delivered in the call, too, but for `true`, which
                // is most often set when nothing is there yet.
                let reads = if active == Active::Always {
                    0
                } else {
                    READS_OF_A_CALL
                };
                self.deliver(context, reads);
            }
            Link::InputEnded(_) => {
                if !self.told_closed && context.common.settings.exit_on_close {
                    self.end_actively(context, &Ended::Regularly);
                } else {
                    self.tell_closed(context, None);
                }
            }
            Link::Husk(husk) => {
                let failure = husk.activate;
                self.tell_closed(context, failure);
                self.link = Link::Over(None, None);
            }
            Link::Over(..) => {}
        }
    }

    /// Whether a re-arm has found nothing, and the owner now waits for one delivery.
    pub(crate) fn waits_for_once(&self, common: &Common<H>) -> bool {
        self.is_open() && matches!(common.settings.active, Active::Once | Active::Count(_))
    }

    /// Delivers to the owner while it is active and there is something, after at most
    /// `reads` reads.
    pub(crate) fn deliver(&mut self, context: &mut Context<'_, H>, reads: u32) {
        let common = &*context.common;
        let pause_at = pause_at::<H>(&common.settings, common.counters.received.count);
        let pause = self.deliver_until(context, reads, pause_at);
        self.stop_delivering(context, pause);
    }

    pub(crate) fn stop_delivering(
        &mut self,
        context: &mut Context<'_, H>,
        pause: Pause<io::Error>,
    ) {
        match pause {
            Pause::Satisfied if !context.common.settings.active.is_passive() => {
                self.pause(context.host);
            }
            Pause::Satisfied => self.call_for_held(),
            Pause::Drained | Pause::Budget => {}
            Pause::End => self.end_actively(context, &Ended::Regularly),
            Pause::BadFrame => self.end_actively(context, &Ended::BadFrame),
            Pause::NoMemory => self.end_actively(context, &Ended::Failed(libc::ENOMEM)),
            Pause::Failed(error) => self.end_actively(context, &error.into()),
        }
    }

    /// The same, but pauses at this count of deliveries; up to where it stops.
    pub(crate) fn deliver_until(
        &mut self,
        context: &mut Context<'_, H>,
        reads: u32,
        pause_at: u64,
    ) -> Pause<io::Error> {
        let Link::Open(socket) = &self.link else {
            return Pause::Drained;
        };
        let host = context.host;
        let Common {
            settings,
            counters,
            owner,
            ..
        } = &mut *context.common;
        let form = Form::of(settings);
        let plan = Plan {
            want: Want::Any,
            raw_limit: raw_limit(settings),
            read_ahead: settings.read_ahead,
            reads: match settings.framing.packet {
                PacketType::Raw => reads,
                _ => reads.div_ceil(FRAMED),
            },
            adaptive: context.tuning.adaptive_reads,
        };
        let Settings {
            framing, active, ..
        } = settings;
        let before = counters.received.count;
        let mut source = Kernel::new(socket);
        let pause = with_scratch(|scratch| {
            self.reader
                .pump(&mut source, framing, &plan, scratch, |framing, payload| {
                    counters.received.count(wire_len(&payload));
                    host.deliver(*owner, form, framing, Event::Data(payload));
                    if active.delivered() {
                        host.deliver(*owner, form, framing, Event::Passive);
                    }
                    if active.is_passive() || counters.received.count >= pause_at {
                        Next::Stop
                    } else {
                        Next::More
                    }
                })
        });
        if counters.received.count != before {
            self.writer.break_burst();
        }
        context.common.watch.is_dry = source.is_dry();
        pause
    }

    /// The socket is passive, and a recv that waits for the kernel's word would not learn
    /// of what has been read already, or was put back.
    fn call_for_held(&mut self) {
        if !self.reader.held().is_empty() {
            self.call_receiver();
        }
    }

    pub(crate) fn tell_passive(&mut self, context: &mut Context<'_, H>) {
        Self::tell_owner_passive(context.host, context.common);
    }

    /// `{tcp_passive, S}` to the owner.
    pub(crate) fn tell_owner_passive(host: &H, common: &mut Common<H>) {
        let form = Form::of(&common.settings);
        host.deliver(
            common.owner,
            form,
            &mut common.settings.framing,
            Event::Passive,
        );
    }

    /// Takes back the wait of a call. False: it has its reply.
    pub(crate) fn cancel(&mut self, pid: H::Pid, tag: &H::Tag) -> bool {
        if let Some(receiver) = self.receiver.take_if(|receiver| receiver.pid == pid) {
            return receiver.tag.as_ref() == Some(tag);
        }
        let Some(Waiting {
            senders, drained, ..
        }) = self.waiting.get_mut()
        else {
            return false;
        };
        let before = senders.len() + drained.len();
        senders.retain(|sender| !sender.waiter.is(pid, tag));
        drained.retain(|waiter| !waiter.is(pid, tag));
        senders.len() + drained.len() < before
    }

    /// Puts bytes in front of everything not delivered yet.
    ///
    /// **Errors:** `ENOTCONN` if the stream has ended.
    pub(crate) fn unread(
        &mut self,
        context: &mut Context<'_, H>,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        if matches!(self.link, Link::Husk(_) | Link::Over(..)) {
            return Err(Failure::Posix(libc::ENOTCONN));
        }
        self.reader
            .unread(&mut context.common.settings.framing, bytes);
        self.settings_changed(context);
        Ok(())
    }

    /// Whether a recv of `len` bytes is one that the packet type knows.
    pub(crate) fn takes_length(settings: &Settings, len: usize) -> bool {
        len == 0 || settings.framing.packet == PacketType::Raw
    }
}
