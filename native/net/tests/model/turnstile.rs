//! A poller that makes one step at a time.

use crate::fake::{Gate, Handle, Peer, Process, Rig, active};
use net::{Family, Tuning};
use proto::ActiveRequest;

/// A socket whose owner holds up the poller when it delivers.
struct Wing {
    owner: Process,
    peer: Peer,
    gate: Gate,
    _socket: Handle,
}

impl Wing {
    fn new(rig: &Rig) -> Wing {
        let owner = Process::spawn();
        let always = [active(ActiveRequest::Always)];
        let (socket, peer) = rig.stream(Family::Local, &owner, &always);
        Wing {
            owner,
            peer,
            gate: Gate::default(),
            _socket: socket,
        }
    }

    /// The poller's next event, but for those that it has fetched.
    fn be_next(&mut self) {
        self.owner.take_of_streams();
        self.gate = self.owner.hold_up_delivery();
        self.peer.write(b"x");
    }
}

/// The poller is held up in one of the wings; the event of the other is there already,
/// before those of anything that happens meanwhile.
pub(crate) struct Turnstile {
    here: Wing,
    next: Wing,
    pub(crate) rig: Rig,
}

impl Turnstile {
    pub(crate) fn new(tuning: Tuning) -> Turnstile {
        let rig = Rig::tuned(tuning);
        let (mut here, mut next) = (Wing::new(&rig), Wing::new(&rig));
        here.be_next();
        here.gate.await_arrival();
        next.be_next();
        Turnstile { here, next, rig }
    }

    /// The poller handles the events that it has fetched in the turn before, then fetches
    /// those that are there, of which the first holds it up. Between the two, what has
    /// been fetched may have become untrue.
    pub(crate) fn turn(&mut self) {
        self.here.gate.open();
        self.next.gate.await_arrival();
        std::mem::swap(&mut self.here, &mut self.next);
        self.next.be_next();
    }

    /// Open sockets beside the own ones.
    pub(crate) fn sockets(&self) -> usize {
        self.rig.poller.sockets().len() - 2
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.here.gate.open();
        self.next.gate.open();
    }
}
