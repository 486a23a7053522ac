//! The owner of a socket, and the exits that concern it.

use crate::endpoint::{Endpoint, Role};
use crate::host::{Failure, Host};
use proto::Active;

impl<H: Host> Endpoint<H> {
    /// The owner.
    pub fn owner(&self) -> H::Pid {
        self.lock().common.owner
    }

    /// First half of a change of owner: makes the socket passive, so that no message
    /// comes any more, and returns what it was. `None`: `to` is the owner already.
    ///
    /// **Errors:** `Closed`, `NotOwner`.
    pub fn begin_transfer(&self, from: H::Pid, to: H::Pid) -> Result<Option<Active>, Failure> {
        let mut state = self.lock();
        if state.role.is_gone() {
            return Err(Failure::Closed);
        }
        if state.common.owner == to {
            return Ok(None);
        }
        if state.common.owner != from {
            return Err(Failure::NotOwner);
        }
        let active = std::mem::replace(&mut state.common.settings.active, Active::Passive);
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role {
            stream.flush(&mut context);
        }
        self.settle(&mut state);
        Ok(Some(active))
    }

    /// Second half: the new owner gets what comes from now on. False: closed meanwhile.
    pub fn finish_transfer(&self, to: H::Pid, active: Active) -> bool {
        let mut state = self.lock();
        if state.role.is_gone() {
            return false;
        }
        state.common.owner = to;
        state.common.settings.active = active;
        self.rearm(state);
        true
    }

    /// A process that owned the socket, waited in accept or send, or was to report has
    /// exited. Returns the reporter whose exit matters from now on: somebody waits to hear
    /// from it why the owner has exited.
    pub fn process_down(&self, pid: H::Pid) -> Option<H::Pid> {
        let mut state = self.lock();
        let mut reporter = None;
        self.reporter_down(&mut state.common, pid);
        if state.common.owner == pid {
            let monitors = state.common.monitors.get_mut();
            reporter = monitors.and_then(|monitors| monitors.bereave(pid));
            self.leave(&mut state);
        } else {
            let low_watermark = state.common.settings.low_watermark;
            match &mut state.role {
                Role::Listener(listener) => listener.forget(pid),
                Role::Stream(stream) => stream.forget_sender(pid, low_watermark),
                Role::Connecting(_) | Role::Draining(_) | Role::Closed => {}
            }
        }
        self.settle(&mut state);
        reporter
    }
}
