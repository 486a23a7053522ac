//! What must hold when nothing happens any more.

use super::{ACTORS, Actor, Kind, Stage, Step, World};
use crate::fake::Process;
use proto::Active;

impl World<'_> {
    /// Lets the poller and a peer that reads go on until nothing happens any more, and
    /// looks for waits that are over and have had no answer.
    pub(super) fn settle(&mut self) {
        loop {
            for _ in 0..4 {
                self.step(Step::Turn);
            }
            if !self.drain() {
                break;
            }
        }
        if self.setup.listens {
            if self.accepted < self.connected.len() && self.turn.is_none() {
                self.assert_all_answered(|kind| kind == Kind::Accept);
            }
            return;
        }
        if self.active.is_passive() && self.is_readable() {
            self.assert_all_answered(|kind| kind == Kind::Recv);
        }
        if !self.active.is_passive() && !self.closed {
            assert_eq!(self.received, self.written, "not delivered");
            assert!(self.told_closed || !self.peer_gone, "nobody told the end");
        }
        if self.peer.is_some() {
            assert_eq!(self.socket.queued(), 0, "not written");
            let called = self.turn.is_some();
            self.assert_all_answered(|kind| match kind {
                Kind::Send { queued } => queued || !called,
                kind => kind == Kind::Drained,
            });
        }
    }

    /// Ends everything; nothing may be left.
    pub(crate) fn end(mut self) {
        self.settle();
        loop {
            let before: Vec<Stage> = self.actors.iter().map(|actor| actor.stage).collect();
            for index in 0..ACTORS {
                self.step(Step::Go(index));
            }
            self.settle();
            let now = self.actors.iter().map(|actor| actor.stage);
            if now.eq(before) {
                break;
            }
        }
        for index in 0..ACTORS {
            let stage = self.actors[index].stage;
            let waits = matches!(stage, Stage::Waits(Kind::Recv | Kind::Accept, ..));
            assert!(stage == Stage::Idle || waits, "{index}: {stage:?}");
            self.step(Step::TimeOut(index));
        }
        if !self.closed {
            self.take_the_rest();
        }
        self.step(Step::Abandon);
        for _ in 0..4 {
            self.step(Step::Turn);
        }
        assert!(self.socket.is_closed());
        assert_eq!(self.poller.sockets(), 0, "left in the poller's table");
    }

    /// What nobody has received or accepted is still there.
    fn take_the_rest(&mut self) {
        self.actors.push(Actor {
            process: Process::spawn(),
            stage: Stage::Idle,
            dead: false,
            body: Vec::new(),
        });
        if self.setup.listens {
            while self.accepted < self.connected.len() {
                self.accept(ACTORS);
            }
            return;
        }
        if !self.dropped {
            self.step(Step::Active(Active::Passive));
        }
        self.setup.len = 0;
        while self.received.len() < self.written.len() && !self.dropped {
            let before = self.received.len();
            self.recv(ACTORS);
            assert!(self.received.len() > before, "bytes are lost");
        }
        assert!(self.dropped || self.peer_gone || self.drained == self.sent);
    }
}
