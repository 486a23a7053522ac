//! How a stream ends, and what its owner, its callers and its next calls are told of it.

use crate::closing::let_go;
use crate::endpoint::{Common, Context};
use crate::host::{Event, Failure, Form, Host, Reply};
use crate::settings::Settings;
use crate::stream::{Awaits, Husk, Link, READS_OF_A_CALL, Sender, Stream};
use proto::reader::Pause;
use socket2::Socket;
use std::io;

/// How input can end.
pub(crate) enum Ended {
    /// The peer has shut down or closed.
    Regularly,
    /// A frame that is none.
    BadFrame,
    /// The kernel says so.
    Failed(i32),
}

impl Ended {
    /// What `tcp_error` says, if it is sent; `recv` says `closed` where it is not.
    pub(crate) fn failure(&self, settings: &Settings) -> Option<Failure> {
        match *self {
            Ended::Regularly => None,
            Ended::BadFrame => Some(Failure::Posix(libc::EMSGSIZE)),
            Ended::Failed(libc::ECONNRESET) if !settings.show_econnreset => None,
            Ended::Failed(errno) => Some(Failure::Posix(errno)),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Failed(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl<H: Host> Stream<H> {
    /// Input has ended while the owner is active.
    pub(crate) fn end_actively(&mut self, context: &mut Context<'_, H>, ended: &Ended) {
        let failure = ended.failure(&context.common.settings);
        self.tell_closed(context, failure);
        self.reader.clear(&mut context.common.settings.framing);
        if context.common.settings.exit_on_close {
            self.drop_output(
                failure.filter(|failure| *failure == Failure::Posix(libc::ECONNRESET)),
            );
            self.link = Link::Over(self.take_socket(), failure);
        } else if let Some(socket) = self.take_socket() {
            self.link = Link::InputEnded(socket);
        }
    }

    /// Input has ended in a recv. Returns what that recv is told.
    pub(crate) fn end_passively(&mut self, context: &mut Context<'_, H>, ended: &Ended) -> Failure {
        let failure = ended.failure(&context.common.settings);
        self.reader.clear(&mut context.common.settings.framing);
        if context.common.settings.exit_on_close {
            self.drop_output(failure);
            let send = if failure.is_some() {
                None
            } else {
                Some(Failure::Closed)
            };
            let husk = Husk {
                receive: None,
                send,
                activate: None,
            };
            self.become_husk(&context.common.settings, husk);
        } else if !matches!(ended, Ended::BadFrame)
            && let Some(socket) = self.take_socket()
        {
            self.link = Link::InputEnded(socket);
        }
        failure.unwrap_or(Failure::Closed)
    }

    /// A write has failed. Returns what its caller is told.
    ///
    /// `caller_knows`: the failure is returned by a call of send, so that it need not be
    /// kept for the next one.
    pub(crate) fn write_failed(
        &mut self,
        context: &mut Context<'_, H>,
        errno: i32,
        caller_knows: bool,
    ) -> Failure {
        let settings = &context.common.settings;
        let reset = matches!(errno, libc::EPIPE | libc::ECONNRESET) && settings.show_econnreset;
        let failure = if reset {
            Failure::Posix(libc::ECONNRESET)
        } else {
            Failure::Closed
        };
        let shown = reset.then_some(failure);
        if !settings.active.is_passive() && self.is_open() {
            // What the peer sent before it went belongs to the owner.
            match self.deliver_until(context, READS_OF_A_CALL, u64::MAX) {
                // The write has taken the kernel's error: the end that a read finds now
                // would not say that it was a reset.
                Pause::End => {}
                pause => self.stop_delivering(context, pause),
            }
        }
        let told_senders = self.drop_output(Some(failure));
        let active = !context.common.settings.active.is_passive();
        if active && !matches!(self.link, Link::Over(..)) {
            self.tell_closed(context, shown);
        }
        self.reader.clear(&mut context.common.settings.framing);
        match &self.link {
            Link::Over(..) => {}
            _ if active && context.common.settings.exit_on_close => {
                self.link = Link::Over(self.take_socket(), None);
            }
            _ => {
                let known = caller_knows || told_senders;
                let husk = Husk {
                    receive: Some(failure),
                    send: if known { None } else { Some(failure) },
                    activate: shown,
                };
                self.become_husk(&context.common.settings, husk);
            }
        }
        failure
    }

    /// Closes the fd; the socket keeps its owner.
    pub(crate) fn become_husk(&mut self, settings: &Settings, husk: Husk) {
        if let Some(socket) = self.socket() {
            let_go(socket, settings);
        }
        self.link = Link::Husk(Box::new(husk));
        self.call_receiver();
    }

    /// A recv of somebody else than the caller learns of news by trying again.
    pub(crate) fn call_receiver(&mut self) {
        if let Some(receiver) = &mut self.receiver
            && let Some(tag) = receiver.tag.take()
        {
            H::reply(receiver.pid, tag, Reply::Ready);
        }
    }

    /// Drops what is queued. Senders that wait are told `failure`; returns whether there were any.
    pub(crate) fn drop_output(&mut self, failure: Option<Failure>) -> bool {
        self.writer.clear();
        let Some(waiting) = self.waiting.take() else {
            return false;
        };
        for waiter in waiting.drained {
            waiter.answer(Reply::Ready);
        }
        let mut any = false;
        for Sender { waiter, awaits } in waiting.senders {
            // Who is to be told that it can send again learns the end by that.
            waiter.answer(match awaits {
                Awaits::Notice => Reply::Writable,
                Awaits::ShortQueue | Awaits::Turn => {
                    any = true;
                    Reply::Failed(failure.unwrap_or(Failure::Closed))
                }
            });
        }
        any
    }

    pub(crate) fn take_socket(&mut self) -> Option<Socket> {
        match std::mem::replace(&mut self.link, Link::Over(None, None)) {
            Link::Open(socket) | Link::InputEnded(socket) => Some(socket),
            Link::Over(socket, _) => socket,
            Link::Husk(_) => None,
        }
    }

    pub(crate) fn tell_closed(&mut self, context: &mut Context<'_, H>, failure: Option<Failure>) {
        if std::mem::replace(&mut self.told_closed, true) {
            return;
        }
        let Common {
            settings, owner, ..
        } = &mut *context.common;
        let form = Form::of(settings);
        if let Some(failure) = failure {
            context
                .host
                .deliver(*owner, form, &mut settings.framing, Event::Error(failure));
        }
        context
            .host
            .deliver(*owner, form, &mut settings.framing, Event::Closed);
    }

    /// The kernel won't watch the socket, which is passive: each call learns why once.
    pub(crate) fn break_off(&mut self, context: &mut Context<'_, H>, failure: Failure) {
        let told = self.drop_output(Some(failure));
        self.reader.clear(&mut context.common.settings.framing);
        let husk = Husk {
            receive: Some(failure),
            send: (!told).then_some(failure),
            activate: Some(failure),
        };
        self.become_husk(&context.common.settings, husk);
    }

    /// Ends the stream whatever state it is in.
    pub(crate) fn abort(&mut self, context: &mut Context<'_, H>, failure: Failure) {
        self.tell_closed(context, Some(failure));
        self.link = Link::Over(self.take_socket(), Some(failure));
    }

    /// A send that timed out under `send_timeout_close`.
    pub(crate) fn close_after_timeout(&mut self, context: &mut Context<'_, H>) {
        self.drop_output(None);
        if context.common.settings.active.is_passive() {
            self.become_husk(&context.common.settings, Husk::default());
        } else {
            self.tell_closed(context, None);
            self.link = Link::Over(self.take_socket(), None);
        }
    }

    /// Answers everybody who waits: the socket is closed.
    pub(crate) fn dismiss(&mut self, failure: Failure) {
        if let Some(receiver) = self.receiver.take()
            && let Some(tag) = receiver.tag
        {
            H::reply(receiver.pid, tag, Reply::Failed(failure));
        }
        self.drop_output(Some(failure));
    }
}
