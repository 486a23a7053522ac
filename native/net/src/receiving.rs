//! `recv` and `unrecv`.

use crate::ending::Ended;
use crate::endpoint::{Call, Context, Endpoint, Role};
use crate::host::{Failure, Form, Host};
use crate::spin::Place;
use crate::stream::{Kernel, Link, Receiver, Stream, raw_limit, wire_len, with_scratch};
use proto::Framing;
use proto::reader::{Next, Pause, Payload, Plan, Want};

/// The largest length of a recv, in bytes.
const MOST: usize = 64 * 1024 * 1024;
/// Reads of one recv: more is left to the next, so that a scheduler is not held up.
const READS: u32 = 32;

/// One look for a delivery.
pub(crate) enum Attempt<R> {
    Got(R),
    Nothing,
    Failed(Failure),
}

impl<R> From<Attempt<R>> for Call<R> {
    fn from(attempt: Attempt<R>) -> Self {
        match attempt {
            Attempt::Got(result) => Call::Done(result),
            Attempt::Nothing => Call::Wait,
            Attempt::Failed(failure) => Call::Failed(failure),
        }
    }
}

impl<H: Host> Endpoint<H> {
    /// Takes one delivery: a frame, or with `len > 0` exactly so many raw bytes.
    ///
    /// `take` makes of the payload what the caller wants; `tag` is asked for only if the
    /// call has to wait. The reply says [`Reply::Ready`](crate::host::Reply::Ready): the
    /// bytes stay where they are until the caller comes back, so that a timeout or a
    /// killed process loses none.
    ///
    /// **Errors:** `Closed`; `EINVAL` active, or a length for framed packets; `EALREADY`
    /// another process waits; `ENOMEM` more than 64 MiB; `ENOTCONN`; what the stream died of.
    pub fn recv<R>(
        &self,
        pid: H::Pid,
        len: usize,
        tag: impl FnOnce() -> H::Tag,
        mut take: impl FnMut(Form, &mut Framing, Payload<'_, H::Block>) -> R,
    ) -> Call<R> {
        self.receive_with(pid, true, tag, |stream, context| {
            stream.receive(context, pid, len, &mut take)
        })
    }

    /// Waits for readiness if `receive` finds nothing, not even by spinning if that may be.
    pub(crate) fn receive_with<R>(
        &self,
        pid: H::Pid,
        spin: bool,
        tag: impl FnOnce() -> H::Tag,
        mut receive: impl FnMut(&mut Stream<H>, &mut Context<'_, H>) -> Attempt<R>,
    ) -> Call<R> {
        let mut attempt = || {
            let mut state = self.lock();
            let (mut context, role) = self.split(&mut state);
            let attempt = match role {
                Role::Stream(stream) => receive(stream, &mut context),
                Role::Closed | Role::Draining(_) => Attempt::Failed(Failure::Closed),
                Role::Connecting(_) | Role::Listener(_) => {
                    Attempt::Failed(Failure::Posix(libc::ENOTCONN))
                }
            };
            match attempt {
                Attempt::Nothing => Err(state),
                attempt => {
                    self.settle(&mut state);
                    Ok(attempt)
                }
            }
        };
        let mut state = match attempt() {
            Ok(done) => return done.into(),
            Err(state) => state,
        };
        if spin && state.common.scores.is_due(Place::Receive) && self.poller.tuning.spin {
            self.hold_back_poller(&mut state, Place::Receive);
            let (found, unlocked) =
                self.spin_at(state, Place::Receive, || attempt().ok(), |_| true);
            drop(unlocked);
            if let Some(done) = found {
                return done.into();
            }
            state = match attempt() {
                Ok(done) => return done.into(),
                Err(state) => state,
            };
        }
        if let Role::Stream(stream) = &mut state.role {
            stream.receiver = Some(Receiver {
                pid,
                tag: Some(tag()),
            });
        }
        self.settle(&mut state);
        Call::Wait
    }

    /// Puts bytes in front of everything not received yet.
    ///
    /// **Errors:** `Closed`, `ENOTCONN`.
    pub fn unrecv(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let result = match role {
            Role::Stream(stream) => stream.unread(&mut context, bytes),
            Role::Closed | Role::Draining(_) => Err(Failure::Closed),
            Role::Connecting(_) | Role::Listener(_) => Err(Failure::Posix(libc::ENOTCONN)),
        };
        self.settle(&mut state);
        result
    }
}

impl<H: Host> Stream<H> {
    pub(crate) fn receive<R>(
        &mut self,
        context: &mut Context<'_, H>,
        pid: H::Pid,
        len: usize,
        take: &mut impl FnMut(Form, &mut Framing, Payload<'_, H::Block>) -> R,
    ) -> Attempt<R> {
        let settings = &mut context.common.settings;
        let mine = self
            .receiver
            .as_ref()
            .is_some_and(|receiver| receiver.pid == pid);
        let socket = match &mut self.link {
            Link::Open(socket) => socket,
            // The fd is still there, and so is the rule that an active socket has no recv.
            Link::InputEnded(_) if settings.active.is_passive() => {
                if settings.exit_on_close {
                    // It was set after the end was seen.
                    self.end_passively(context, &Ended::Regularly);
                }
                return Attempt::Failed(Failure::Closed);
            }
            Link::InputEnded(_) => return Attempt::Failed(Failure::Posix(libc::EINVAL)),
            Link::Husk(husk) => {
                let failure = husk.receive.take();
                if failure.is_some() {
                    husk.send = None;
                    husk.activate = None;
                }
                self.receiver = None;
                return Attempt::Failed(failure.unwrap_or(Failure::Posix(libc::ENOTCONN)));
            }
            Link::Over(..) => return Attempt::Failed(Failure::Closed),
        };
        if !settings.active.is_passive() {
            // A recv that was waiting when the socket was made active goes on waiting.
            return if mine {
                Attempt::Nothing
            } else {
                Attempt::Failed(Failure::Posix(libc::EINVAL))
            };
        }
        if !mine
            && self
                .receiver
                .as_ref()
                .is_some_and(|receiver| H::is_alive(receiver.pid))
        {
            return Attempt::Failed(Failure::Posix(libc::EALREADY));
        }
        let len = match Self::takes_length(settings, len) {
            true => len,
            // The type has changed while it was waiting.
            false if mine => 0,
            false => return Attempt::Failed(Failure::Posix(libc::EINVAL)),
        };
        if len > MOST {
            return Attempt::Failed(Failure::Posix(libc::ENOMEM));
        }
        let plan = Plan {
            want: if len == 0 {
                Want::Any
            } else {
                Want::Exactly(len)
            },
            raw_limit: raw_limit(settings),
            read_ahead: settings.read_ahead,
            reads: READS,
            adaptive: context.tuning.adaptive_reads,
        };
        let form = Form::of(settings);
        let counters = &mut context.common.counters;
        let mut result = None;
        let mut source = Kernel::new(socket);
        let pause = with_scratch(|scratch| {
            let framing = &mut settings.framing;
            self.reader
                .pump(&mut source, framing, &plan, scratch, |framing, payload| {
                    counters.received.count(wire_len(&payload));
                    result = Some(take(form, framing, payload));
                    Next::Stop
                })
        });
        context.common.watch.is_dry = source.is_dry();
        if let Some(result) = result {
            self.receiver = None;
            self.writer.break_burst();
            return Attempt::Got(result);
        }
        let ended = match pause {
            Pause::Satisfied | Pause::Drained | Pause::Budget => return Attempt::Nothing,
            Pause::NoMemory => {
                self.receiver = None;
                return Attempt::Failed(Failure::Posix(libc::ENOMEM));
            }
            Pause::End => Ended::Regularly,
            Pause::BadFrame => Ended::BadFrame,
            Pause::Failed(error) => error.into(),
        };
        self.receiver = None;
        Attempt::Failed(self.end_passively(context, &ended))
    }
}
