//! `send`, `shutdown`, and the way of the queue to the kernel.

use crate::endpoint::{Call, Context, Endpoint, Locked, Role, State, Waiter};
use crate::host::{Failure, Host, Reply};
use crate::output::queue;
use crate::settings::Overflow;
use crate::spin::{self, Place};
use crate::stream::{Awaits, Link, Sender, Stream};
use crate::totals::{self, Total};
use proto::writer::Route;
use std::io::IoSlice;
use std::net::Shutdown;

/// Data on its way out, still the caller's.
pub trait Outgoing<K> {
    /// The bytes, in order.
    fn pieces(&self) -> &[IoSlice<'_>];

    /// Keeps the bytes of one of the pieces, from `from` on, beyond the call.
    fn keep(&self, piece: usize, from: usize) -> K;
}

/// How a send ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The data is the kernel's or queued.
    Done,
    /// The caller waits: [`Endpoint::await_send`].
    Wait {
        /// The data is queued; else it is not, and the call is to be made again.
        queued: bool,
        /// Milliseconds, `None` for ever.
        timeout: Option<u32>,
        /// What [`Endpoint::send_timed_out`] is told.
        close: bool,
    },
    /// So many bytes are queued that a call that never waits is not taken. One reply comes
    /// when it is worth trying again: [`Reply::Writable`].
    Busy {
        /// Bytes.
        queued: usize,
    },
    /// The call has failed.
    Failed(Failure),
}

/// What a send does where it would have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It waits.
    Waits,
    /// It has waited, and is queued also when others wait for their turn.
    Forces,
    /// It is not made.
    Never,
}

impl<H: Host> Endpoint<H> {
    /// Sends `data` with the header of the packet type.
    ///
    /// With an empty queue any amount is taken: what the kernel does not take is kept by
    /// reference. `force`: queue also when others wait for their turn.
    ///
    /// **Errors:** `Closed`, `ENOTCONN`; `ECONNRESET` with `show_econnreset`; `ENOBUFS` above
    /// `max_queue`, nothing has been taken.
    pub fn send(&self, pid: H::Pid, data: &dyn Outgoing<H::Kept>, force: bool) -> Sent {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let sent = match role {
            Role::Stream(stream) => {
                let patience = match force {
                    true => Patience::Forces,
                    false => Patience::Waits,
                };
                let sent = stream.send(&mut context, pid, data, patience);
                stream.release_senders(context.common.settings.low_watermark);
                sent
            }
            Role::Closed | Role::Draining(_) => Sent::Failed(Failure::Closed),
            Role::Connecting(_) | Role::Listener(_) => Sent::Failed(Failure::Posix(libc::ENOTCONN)),
        };
        if matches!(sent, Sent::Wait { queued: true, .. })
            && !state.common.settings.delay_send
            && self.poller.tuning.spin
            && state.common.scores.is_due(Place::Room)
        {
            return self.spin_for_room(state, sent);
        }
        let State { common, role } = &mut *state;
        let is_owner_active = common.owner == pid && !common.settings.active.is_passive();
        let expects_answer = sent == Sent::Done
            && is_owner_active
            && matches!(role, Role::Stream(stream) if stream.is_open() && stream.queued() == 0)
            && common.scores.is_due(Place::Send)
            && self.poller.tuning.spin;
        self.settle(&mut state);
        if expects_answer {
            self.hold_back_poller(&mut state, Place::Send);
            let mut state = self.spin_for_delivery(state, Place::Send);
            self.settle(&mut state);
        }
        sent
    }

    /// The data of a send that has to wait is queued: a peer on the same machine makes room
    /// for it sooner than the poller can be woken to write it.
    fn spin_for_room<'a>(&'a self, state: Locked<'a, H>, sent: Sent) -> Sent {
        let attempt = || {
            let mut state = self.lock();
            let (mut context, role) = self.split(&mut state);
            let Role::Stream(stream) = role else {
                return Some(false);
            };
            stream.flush(&mut context);
            if !matches!(stream.link, Link::Open(_) | Link::InputEnded(_)) {
                self.settle(&mut state);
                return Some(false);
            }
            // Not "is not busy": who times out meanwhile makes it so.
            let low_watermark = context.common.settings.low_watermark as usize;
            (stream.queued() <= low_watermark).then_some(true)
        };
        let (found, mut state) = self.spin_at(state, Place::Room, attempt, |hit| *hit);
        self.settle(&mut state);
        match found {
            Some(true) => Sent::Done,
            // The wait finds out.
            _ => sent,
        }
    }

    /// Waits after [`Sent::Wait`]. The reply is `Done` for queued data, `Ready` for data
    /// whose turn has come.
    ///
    /// **Errors:** what the stream died of meanwhile.
    pub fn await_send(&self, pid: H::Pid, tag: H::Tag, queued: bool) -> Call<()> {
        let mut state = self.lock();
        let State { common, role } = &mut *state;
        let low_watermark = common.settings.low_watermark;
        let call = match role {
            Role::Stream(stream) => stream.await_send(Waiter { pid, tag }, queued, low_watermark),
            _ => Call::Failed(Failure::Closed),
        };
        self.settle(&mut state);
        call
    }

    /// A send has waited for its `send_timeout`. False: its reply is on the way or there.
    ///
    /// The others that wait go on; `close` drops the queue and closes the socket.
    pub fn send_timed_out(&self, pid: H::Pid, tag: &H::Tag, close: bool) -> bool {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let Role::Stream(stream) = role else {
            return false;
        };
        let waited = stream.cancel(pid, tag);
        if waited {
            stream.writer.release();
            stream.release_senders(context.common.settings.low_watermark);
            if close {
                stream.close_after_timeout(&mut context);
            }
        }
        self.settle(&mut state);
        waited
    }

    /// Shuts down one direction or both; the writing one after the queued output.
    ///
    /// **Errors:** `Closed`, `ENOTCONN`, what the kernel says.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Failure> {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let result = match role {
            Role::Stream(stream) => stream.shut_down(&mut context, how),
            Role::Closed | Role::Draining(_) => Err(Failure::Closed),
            Role::Connecting(_) | Role::Listener(_) => Err(Failure::Posix(libc::ENOTCONN)),
        };
        self.settle(&mut state);
        result
    }
}

impl<H: Host> Stream<H> {
    pub(crate) fn send(
        &mut self,
        context: &mut Context<'_, H>,
        pid: H::Pid,
        data: &dyn Outgoing<H::Kept>,
        patience: Patience,
    ) -> Sent {
        match &mut self.link {
            Link::Open(_) | Link::InputEnded(_) => {}
            Link::Husk(husk) => {
                let failure = husk.send.take();
                return Sent::Failed(failure.unwrap_or(Failure::Posix(libc::ENOTCONN)));
            }
            Link::Over(..) => return Sent::Failed(Failure::Closed),
        }
        if self.is_shutting_down() {
            return Sent::Failed(Failure::Closed);
        }
        let settings = &context.common.settings;
        let high_watermark = settings.high_watermark as usize;
        let low_watermark = settings.low_watermark;
        let wait = |queued| Sent::Wait {
            queued,
            timeout: settings.send_timeout,
            close: settings.send_timeout_close,
        };
        let (busy, later) = (wait(false), wait(true));
        if patience == Patience::Never {
            // A send that was taken with an empty queue may have made it long.
            self.writer.press(high_watermark);
        }
        if patience != Patience::Forces && self.is_barred(pid) {
            return match patience {
                Patience::Never => self.refused_as_busy(),
                _ => busy,
            };
        }
        let body = data.pieces().iter().map(|piece| piece.len()).sum();
        let header = settings.framing.packet.header(body);
        let header = header.as_slice();
        let len = header.len().saturating_add(body);
        let delay = settings.delay_send;
        if patience == Patience::Waits && !delay && self.writer.is_unfinished() {
            // The one before was so long that it was cut. This one is made when the kernel
            // has had its fill, as if that had been a single write.
            match self.write_queue(low_watermark) {
                Ok(()) if self.writer.is_unfinished() => return busy,
                Ok(()) => {}
                Err(errno) => {
                    context.common.counters.sent.count(len);
                    return Sent::Failed(self.write_failed(context, errno, true));
                }
            }
        }
        self.take_turn(pid);
        if let Some(max_queue) = settings.max_queue
            && self.writer.queued().saturating_add(len) > max_queue.bytes as usize
        {
            totals::add(Total::SendsRefused, 1);
            if max_queue.overflow == Overflow::Close {
                self.close_after_timeout(context);
            }
            return Sent::Failed(Failure::Posix(libc::ENOBUFS));
        }
        context.common.counters.sent.count(len);
        let mut route = match delay {
            true => Route::Queue,
            false => self
                .writer
                .route(len, spin::now(), high_watermark, context.tuning.gather),
        };
        if route == Route::FlushFirst {
            if let Err(errno) = self.write_queue(low_watermark) {
                return Sent::Failed(self.write_failed(context, errno, true));
            }
            route = if self.writer.is_empty() {
                Route::Write
            } else {
                Route::Queue
            };
        }
        match route {
            Route::Write => match self.write_now(header, data) {
                Ok(()) => {
                    totals::add(
                        match self.writer.is_empty() {
                            true => Total::SendsDirect,
                            false => Total::SendsQueued,
                        },
                        1,
                    );
                    Sent::Done
                }
                Err(errno) => Sent::Failed(self.write_failed(context, errno, true)),
            },
            Route::Queue | Route::QueueAndFlush | Route::FlushFirst => {
                totals::add(
                    match self.writer.is_refused() {
                        true => Total::SendsQueued,
                        false => Total::SendsCoalesced,
                    },
                    1,
                );
                queue(&mut self.writer, header, data, 0);
                if route == Route::QueueAndFlush
                    && let Err(errno) = self.write_queue(low_watermark)
                {
                    return Sent::Failed(self.write_failed(context, errno, true));
                }
                let pressed = patience != Patience::Forces && self.writer.press(high_watermark);
                if pressed && patience == Patience::Waits {
                    later
                } else {
                    Sent::Done
                }
            }
        }
    }

    /// What brings its headers along is written at once, or behind what is queued.
    pub(crate) fn send_frames(
        &mut self,
        context: &mut Context<'_, H>,
        pid: H::Pid,
        data: &dyn Outgoing<H::Kept>,
    ) -> Sent {
        let is_shutting_down = self.is_shutting_down();
        match &mut self.link {
            Link::Open(_) | Link::InputEnded(_) if !is_shutting_down => {}
            Link::Husk(husk) => {
                return Sent::Failed(husk.send.take().unwrap_or(Failure::Closed));
            }
            _ => return Sent::Failed(Failure::Closed),
        }
        let settings = &context.common.settings;
        let (high_watermark, low_watermark) = (settings.high_watermark, settings.low_watermark);
        let wait = |queued| Sent::Wait {
            queued,
            timeout: settings.send_timeout,
            close: settings.send_timeout_close,
        };
        let (busy, later) = (wait(false), wait(true));
        if self.is_barred(pid) {
            return busy;
        }
        self.take_turn(pid);
        let len = data.pieces().iter().map(|piece| piece.len()).sum();
        context.common.counters.sent.count(len);
        let written = if self.writer.is_empty() {
            self.write_now(&[], data)
        } else {
            queue(&mut self.writer, &[], data, 0);
            self.write_queue(low_watermark)
        };
        match written {
            Err(errno) => Sent::Failed(self.write_failed(context, errno, true)),
            Ok(()) if self.writer.press(high_watermark as usize) => later,
            Ok(()) => Sent::Done,
        }
    }

    /// Whether a send of `pid` has to wait before its data may be queued.
    fn is_barred(&self, pid: H::Pid) -> bool {
        self.writer.is_busy()
            || self.waiting.get().is_some_and(|waiting| {
                waiting.file_sender.is_some()
                    || match waiting.turn {
                        Some(turn) => turn != pid,
                        None => waiting.anybody_awaits_turn(),
                    }
            })
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.waiting
            .get()
            .is_some_and(|waiting| waiting.shutdown.is_some())
    }

    /// Ends the turn of `pid`. False: it was not its turn.
    fn take_turn(&mut self, pid: H::Pid) -> bool {
        self.waiting
            .get_mut()
            .and_then(|waiting| waiting.turn.take_if(|turn| *turn == pid))
            .is_some()
    }

    fn await_send(&mut self, waiter: Waiter<H>, queued: bool, low_watermark: u32) -> Call<()> {
        match &mut self.link {
            Link::Open(_) | Link::InputEnded(_) => {}
            Link::Husk(husk) => {
                let failure = husk.send.take();
                return Call::Failed(failure.unwrap_or(Failure::Posix(libc::ENOTCONN)));
            }
            Link::Over(..) => return Call::Failed(Failure::Closed),
        }
        let waits = match queued {
            // Not only "is busy": who has timed out meanwhile made an end of that, for those
            // whose turn has not come.
            true => self.writer.is_busy() || self.writer.queued() > low_watermark as usize,
            false => self.is_barred(waiter.pid),
        };
        if !waits {
            return Call::Done(());
        }
        let awaits = match queued {
            true => Awaits::ShortQueue,
            false => Awaits::Turn,
        };
        // Who had the turn and found the queue long again is still the first.
        let had_turn = self.take_turn(waiter.pid);
        let senders = &mut self.waiting.make().senders;
        match had_turn {
            true => senders.insert(0, Sender { waiter, awaits }),
            false => senders.push(Sender { waiter, awaits }),
        }
        Call::Wait
    }

    /// Answers the senders that go on: those whose data is queued when the queue is short,
    /// and of the others the first one. The next one is answered when that one has sent.
    pub(crate) fn release_senders(&mut self, low_watermark: u32) {
        let Some(waiting) = self.waiting.get_mut() else {
            return;
        };
        if waiting.senders.is_empty() {
            return;
        }
        if self.writer.queued() <= low_watermark as usize {
            let (queued, others) = waiting
                .senders
                .drain(..)
                .partition::<Vec<_>, _>(|sender| sender.awaits == Awaits::ShortQueue);
            waiting.senders = others;
            for sender in queued {
                sender.waiter.answer(Reply::Done);
            }
        }
        while waiting.turn.is_none()
            && !self.writer.is_busy()
            && waiting.file_sender.is_none()
            && let Some(first) = waiting
                .senders
                .iter()
                .position(|sender| sender.awaits == Awaits::Turn)
        {
            let Waiter { pid, tag } = waiting.senders.remove(first).waiter;
            if H::reply(pid, tag, Reply::Ready) {
                waiting.turn = Some(pid);
            }
        }
        self.give_notice(low_watermark);
    }

    /// A process that may have waited in send has exited.
    pub(crate) fn forget_sender(&mut self, pid: H::Pid, low_watermark: u32) {
        self.take_turn(pid);
        if let Some(waiting) = self.waiting.get_mut() {
            waiting
                .senders
                .retain(|sender| sender.awaits == Awaits::ShortQueue || sender.waiter.pid != pid);
        }
        self.release_senders(low_watermark);
    }

    fn shut_down(&mut self, context: &mut Context<'_, H>, how: Shutdown) -> Result<(), Failure> {
        if how != Shutdown::Read {
            self.flush(context);
        }
        let (Link::Open(socket) | Link::InputEnded(socket)) = &self.link else {
            return Err(match self.link {
                Link::Over(..) => Failure::Closed,
                _ => Failure::Posix(libc::ENOTCONN),
            });
        };
        if how != Shutdown::Read && !self.writer.is_empty() {
            let shutdown = &mut self.waiting.make().shutdown;
            *shutdown = match *shutdown {
                Some(waiting) if waiting != how => Some(Shutdown::Both),
                _ => Some(how),
            };
            return Ok(());
        }
        Ok(socket.shutdown(how)?)
    }
}
