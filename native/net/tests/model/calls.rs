//! The calls that may wait, and what their results say of the model.

use super::{Kind, Stage, World};
use crate::fake::{bytes, tag};
use net::{Call, Failure, Reply, Sent};
use proto::Active;

impl World<'_> {
    pub(super) fn recv(&mut self, index: usize) {
        let tag = tag();
        // Who waits, or was called, has the right to the next delivery.
        let taken = self.actors.iter().enumerate().any(|(other, actor)| {
            other != index && !actor.dead && matches!(actor.stage, Stage::Waits(Kind::Recv, ..))
        });
        let actor = &mut self.actors[index];
        actor.stage = Stage::Idle;
        match actor.process.try_recv(&self.socket, self.setup.len, tag) {
            Call::Done(bytes) => {
                assert!(!taken, "received by {index}, out of turn");
                assert!(self.active.is_passive() && !self.closed);
                self.received.extend(bytes);
            }
            Call::Wait => {
                actor.stage = Stage::Waits(Kind::Recv, tag, None);
                let nothing = !self.active.is_passive() || !self.is_readable();
                assert!(nothing, "{index} waits for what is there");
            }
            Call::Failed(Failure::Posix(libc::EINVAL)) => assert!(!self.active.is_passive()),
            Call::Failed(Failure::Posix(libc::EALREADY)) => assert!(taken),
            Call::Failed(failure) => {
                let ended = self.peer_gone || self.closed || self.dropped;
                assert!(ended, "{failure:?} of an open socket");
                let all = self.received.len() == self.written.len();
                assert!(all || self.closed || self.dropped, "ended before the data");
            }
        }
    }

    pub(super) fn accept(&mut self, index: usize) {
        let tag = tag();
        let first = match self.turn {
            Some(turn) => turn == index,
            None => self.line.iter().all(|waits| self.actors[*waits].dead),
        };
        self.actors[index].stage = Stage::Idle;
        let process = &self.actors[index].process;
        match self.socket.accept(process.pid, || tag) {
            Call::Done(socket) => {
                assert!(first, "accepted by {index}, out of turn");
                match process.try_recv(&socket, 1, tag) {
                    Call::Done(number) => assert_eq!(number, [self.accepted as u8]),
                    other => panic!("{other:?}"),
                }
                socket.abandon();
                self.accepted += 1;
                self.turn = None;
            }
            Call::Wait => {
                let nothing = !first || self.accepted == self.connected.len();
                // A dead one whose end is not known yet is still in the line.
                assert!(nothing || !self.line.is_empty(), "{index} waits in vain");
                self.actors[index].stage = Stage::Waits(Kind::Accept, tag, None);
                match self.turn.take_if(|turn| *turn == index) {
                    Some(_) => self.line.insert(0, index),
                    None => self.line.push(index),
                }
            }
            Call::Failed(failure) => assert!(self.closed, "{failure:?}"),
        }
    }

    pub(super) fn send(&mut self, index: usize, force: bool) {
        let barred = match self.turn {
            Some(turn) => turn != index,
            None => self.line.iter().any(|waits| !self.actors[*waits].dead),
        };
        let actor = &mut self.actors[index];
        actor.stage = Stage::Idle;
        let taken = match actor
            .process
            .try_send(&self.socket, &bytes(&actor.body), force)
        {
            Sent::Done => true,
            Sent::Wait { queued, .. } => {
                actor.stage = Stage::MustWait(Kind::Send { queued });
                queued
            }
            Sent::Busy { .. } => panic!("a send that waits is never refused as busy"),
            Sent::Failed(failure) => {
                let ended = self.peer_gone || self.closed || self.dropped;
                assert!(ended, "{failure:?} of an open socket");
                false
            }
        };
        if taken {
            assert!(!barred || force, "sent by {index}, out of turn");
            self.sent.extend(&actor.body);
            self.turn.take_if(|turn| *turn == index);
        }
    }

    pub(super) fn go(&mut self, index: usize) {
        let stage = std::mem::replace(&mut self.actors[index].stage, Stage::Idle);
        match stage {
            Stage::Idle => {}
            Stage::MustSend => self.send(index, false),
            Stage::MustWait(kind) => self.wait(index, kind),
            Stage::Waits(_, _, None) => self.actors[index].stage = stage,
            Stage::Waits(kind, _, Some(reply)) => match (kind, reply) {
                (_, Reply::Failed(_)) | (Kind::Send { queued: true }, Reply::Done) => {}
                (Kind::Recv, Reply::Ready) => self.recv_again(index, stage),
                (Kind::Accept, Reply::Ready) => self.accept(index),
                (Kind::Send { queued: false }, Reply::Ready) => self.send(index, false),
                (Kind::Drained, Reply::Ready) => self.abandon(),
                other => panic!("{other:?}"),
            },
        }
    }

    /// Who was called keeps its right until it has looked.
    fn recv_again(&mut self, index: usize, stage: Stage) {
        self.actors[index].stage = stage;
        self.recv(index);
    }

    fn wait(&mut self, index: usize, kind: Kind) {
        let tag = tag();
        let pid = self.pid(index);
        let call = match kind {
            Kind::Send { queued } => self.socket.await_send(pid, tag, queued),
            _ => self.socket.await_drained(pid, tag),
        };
        self.actors[index].stage = match (call, kind) {
            (Call::Wait, _) => {
                if kind == (Kind::Send { queued: false }) {
                    match self.turn.take_if(|turn| *turn == index) {
                        Some(_) => self.line.insert(0, index),
                        None => self.line.push(index),
                    }
                }
                Stage::Waits(kind, tag, None)
            }
            (Call::Done(()), Kind::Send { queued: false }) => Stage::MustSend,
            (Call::Done(()), Kind::Drained) => {
                self.abandon();
                Stage::Idle
            }
            (Call::Done(()), _) => Stage::Idle,
            (Call::Failed(failure), _) => {
                let ended = self.peer_gone || self.closed || self.dropped;
                assert!(ended, "{failure:?} of an open socket");
                Stage::Idle
            }
        };
    }

    pub(super) fn time_out(&mut self, index: usize) {
        let Stage::Waits(kind, tag, reply) = self.actors[index].stage else {
            return;
        };
        let pid = self.pid(index);
        let close = self.setup.send_timeout_close;
        let cancelled = match kind {
            Kind::Send { .. } => self.socket.send_timed_out(pid, &tag, close),
            _ => self.socket.cancel(pid, &tag),
        };
        assert_ne!(cancelled, reply.is_some(), "both or neither");
        match kind {
            Kind::Send { .. } if !cancelled => return self.go(index),
            Kind::Send { .. } => {
                self.leave_line(index);
                self.actors[index].stage = Stage::Idle;
                if close {
                    self.dropped = true;
                    self.turn = None;
                }
                // Those it has let go on come before what it leaves behind.
                self.collect();
                let waits = self.line.iter().any(|waits| !self.actors[*waits].dead);
                assert!(
                    self.turn.is_some() || !waits,
                    "a timeout holds up the others"
                );
                if !close && kind == (Kind::Send { queued: false }) {
                    self.send(index, true);
                    // Forced: nobody waits for it.
                    assert_eq!(self.actors[index].stage, Stage::Idle);
                }
            }
            Kind::Recv | Kind::Accept => {
                self.leave_line(index);
                self.actors[index].stage = Stage::Idle;
            }
            Kind::Drained => {
                self.actors[index].stage = Stage::Idle;
                self.abandon();
            }
        }
        if self.closed {
            self.active = Active::Passive;
        }
    }
}
