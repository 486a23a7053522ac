//! Closing a socket: at once, or when its queued output is written.

use crate::endpoint::{Call, Endpoint, Role, State, Waiter};
use crate::host::Host;
use crate::option::kernel;
use crate::settings::Settings;
use socket2::Socket;
use std::os::fd::AsFd;

/// Before an fd is closed: with `linger` the kernel would hold up the thread, whichever it is,
/// until the peer has what was sent or the time is over. It is sent without that, too.
pub(crate) fn let_go(socket: &Socket, settings: &Settings) {
    if settings.lingers() {
        // Fails for a connection that is gone, and that holds up nobody.
        let _ = socket.set_linger(None);
    }
}

/// Whether the peer does not have all yet that the kernel took for it.
fn is_owed(socket: &Socket) -> bool {
    kernel::tcp_info(socket.as_fd()).is_ok_and(|info| {
        ["unacked", "notsent"]
            .into_iter()
            .any(|name| info.number(name).is_some_and(|count| count > 0))
    })
}

fn acknowledged(socket: &Socket) -> u64 {
    let info = kernel::tcp_info(socket.as_fd()).ok();
    info.and_then(|info| info.number("bytes_acked"))
        .unwrap_or(0)
}

impl<H: Host> Endpoint<H> {
    /// Closes the socket without waiting. False: output is queued, or with the kernel where
    /// `linger` asks to wait for that, too. The caller should wait for it with
    /// [`Endpoint::await_drained`] and [`Endpoint::owes`], then call [`Endpoint::abandon`].
    pub fn close(&self) -> bool {
        let mut state = self.lock();
        let resets = state.common.settings.resets_on_close();
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role
            && !resets
        {
            stream.flush(&mut context);
            let lingers = context.common.settings.lingers();
            if stream.can_drain() || lingers && stream.socket().is_some_and(is_owed) {
                self.settle(&mut state);
                return false;
            }
        }
        self.leave(&mut state);
        true
    }

    /// Whether the kernel still has something for the peer.
    pub fn owes(&self) -> bool {
        self.lock().role.socket().is_some_and(is_owed)
    }

    /// How far the output is: bytes queued for sending, and, while there are any, the bytes
    /// that the peer has acknowledged, where the kernel counts them. Either changes with all
    /// that a peer takes, however slowly.
    pub fn output_progress(&self) -> (usize, u64) {
        let state = self.lock();
        let queued = state.role.queued();
        let acknowledged = match state.role.socket() {
            Some(socket) if queued > 0 => acknowledged(socket),
            _ => 0,
        };
        (queued, acknowledged)
    }

    /// Seconds that close may wait for queued output, `None` for the default.
    pub fn linger(&self) -> Option<u32> {
        self.lock().common.settings.linger
    }

    /// Waits for the end of the queued output: `Done(())` if none is queued.
    pub fn await_drained(&self, pid: H::Pid, tag: H::Tag) -> Call<()> {
        let mut state = self.lock();
        match &mut state.role {
            Role::Stream(stream) if stream.can_drain() => {
                stream.await_drained(Waiter { pid, tag });
                self.settle(&mut state);
                Call::Wait
            }
            _ => Call::Done(()),
        }
    }

    /// Closes the socket for everybody, at once. What is queued goes on being written,
    /// unless `{linger, {true, 0}}` says to reset.
    pub fn abandon(&self) {
        let mut state = self.lock();
        self.leave(&mut state);
        self.settle(&mut state);
    }

    /// Closes the socket with everything that is queued: nobody serves it any more.
    pub(crate) fn discard(&self) {
        self.finish(&mut self.lock(), None);
    }

    pub(crate) fn leave(&self, state: &mut State<H>) {
        let resets = state.common.settings.resets_on_close();
        match std::mem::replace(&mut state.role, Role::Closed) {
            Role::Closed => {}
            Role::Draining(draining) => state.role = Role::Draining(draining),
            Role::Stream(stream) if !resets && stream.can_drain() => {
                if let Some(draining) = stream.drain() {
                    state.role = Role::Draining(draining);
                }
                self.tell_monitors(&mut state.common, None);
            }
            role => {
                state.role = role;
                self.finish(state, None);
            }
        }
    }
}
