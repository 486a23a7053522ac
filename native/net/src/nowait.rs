//! Sends that never wait: what is not taken at once is refused, and who was refused is
//! told once when it is worth trying again.

use crate::endpoint::{Endpoint, Role, Waiter};
use crate::host::{Failure, Host, Reply};
use crate::sending::{Outgoing, Patience, Sent};
use crate::stream::{Awaits, Sender, Stream};
use crate::totals::{self, Total};

impl<H: Host> Endpoint<H> {
    /// Sends `data` like [`send`](Self::send), but never waits: above the high watermark, or
    /// while others wait for their turn, nothing is taken.
    ///
    /// Then `pid` gets one reply with the first tag it gave, when the queue is short and
    /// nobody is before it, or the stream is over: the next send tells which.
    ///
    /// **Errors:** those of send.
    pub fn send_now(
        &self,
        pid: H::Pid,
        data: &dyn Outgoing<H::Kept>,
        tag: impl FnOnce() -> H::Tag,
    ) -> Sent {
        let mut state = self.lock();
        let (mut context, role) = self.split(&mut state);
        let sent = match role {
            Role::Stream(stream) => {
                let sent = stream.send(&mut context, pid, data, Patience::Never);
                if let Sent::Busy { .. } = sent {
                    stream.await_notice(pid, tag);
                }
                stream.release_senders(context.common.settings.low_watermark);
                sent
            }
            Role::Closed | Role::Draining(_) => Sent::Failed(Failure::Closed),
            Role::Connecting(_) | Role::Listener(_) => Sent::Failed(Failure::Posix(libc::ENOTCONN)),
        };
        self.settle(&mut state);
        sent
    }
}

impl<H: Host> Stream<H> {
    pub(crate) fn refused_as_busy(&self) -> Sent {
        totals::add(Total::SendsRefused, 1);
        Sent::Busy {
            queued: self.writer.queued(),
        }
    }

    /// Tells `pid` once when it is worth sending again.
    pub(crate) fn await_notice(&mut self, pid: H::Pid, tag: impl FnOnce() -> H::Tag) {
        let is_notice = |sender: &Sender<H>| sender.awaits == Awaits::Notice;
        let senders = &mut self.waiting.make().senders;
        if senders
            .iter()
            .any(|sender| is_notice(sender) && sender.waiter.pid == pid)
        {
            return;
        }
        if senders.len() == senders.capacity() {
            // Nobody watches them: those that died waiting must not pile up.
            senders.retain(|sender| !is_notice(sender) || H::is_alive(sender.waiter.pid));
        }
        senders.push(Sender {
            waiter: Waiter { pid, tag: tag() },
            awaits: Awaits::Notice,
        });
    }

    /// Tells those who would not wait, if the queue is short and nobody is before them.
    pub(crate) fn give_notice(&mut self, low_watermark: u32) {
        let Some(waiting) = self.waiting.get_mut() else {
            return;
        };
        let is_clear = waiting.turn.is_none()
            && !self.writer.is_busy()
            && self.writer.queued() <= low_watermark as usize
            && waiting.file_sender.is_none()
            && !waiting.anybody_awaits_turn();
        if !is_clear {
            return;
        }
        let (notices, others) = waiting
            .senders
            .drain(..)
            .partition::<Vec<_>, _>(|sender| sender.awaits == Awaits::Notice);
        waiting.senders = others;
        for notice in notices {
            notice.waiter.answer(Reply::Writable);
        }
    }
}
