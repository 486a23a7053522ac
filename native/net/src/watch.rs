//! What the kernel was told to wake the poller up for, and whether that still serves.
//!
//! A registration is made by whoever has to wait, for one event. Where event after event
//! has come for somebody who waited, as with a peer that is asked and answers, it stays and
//! reports every arrival, which spares a call for each wait. The first event that comes for
//! nobody ends that: a process that is busy is not to be disturbed by what it does not
//! want yet.

use crate::address::Family;
use crate::host::Host;
use crate::poller::{Poller, Token};
use crate::sys::{Interest, Trigger};
use crate::tuning::Tuning;
use std::io;
use std::os::fd::BorrowedFd;

/// What the poller and the kernel know of a socket.
pub(crate) struct Watch {
    /// None before the socket is in the poller's table.
    pub(crate) token: Option<Token>,
    /// The family it was opened with.
    pub(crate) family: Family,
    /// The kernel has refused a read, and no event has come since.
    pub(crate) is_dry: bool,
    /// Whether the kernel has a registration of the fd.
    is_known: bool,
    /// What an event may come for.
    armed: Interest,
    /// Events in a row that came for somebody.
    awaited: u8,
}

impl Watch {
    pub(crate) fn new(family: Family) -> Self {
        Watch {
            token: None,
            family,
            is_dry: false,
            is_known: false,
            armed: Interest::NONE,
            awaited: 0,
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(crate) fn is_for_reading_alone(&self) -> bool {
        self.armed.read && !self.armed.write
    }

    /// Whether the next registration is to stay.
    pub(crate) fn is_regular(&self, tuning: Tuning) -> bool {
        tuning.stay_after.is_some_and(|count| self.awaited >= count)
    }

    /// Whether the kernel tells all that `interest` asks for.
    pub(crate) fn serves(&self, interest: Interest) -> bool {
        // Of what lay there before the last read a registration for arrivals says nothing.
        let tells_all = self.armed.trigger != Trigger::Edge || self.is_dry;
        self.armed.covers(interest) && tells_all
    }

    /// Tells the kernel. What is there already counts as an event.
    ///
    /// **Errors:** the kernel has no room for another watch.
    pub(crate) fn arm<H: Host>(
        &mut self,
        poller: &Poller<H>,
        fd: BorrowedFd<'_>,
        interest: Interest,
    ) -> io::Result<()> {
        let Some(token) = self.token else {
            return Ok(());
        };
        poller.arm(fd, token, interest, self.is_known)?;
        self.is_known = true;
        self.armed = interest;
        Ok(())
    }

    /// No event is wanted for now.
    pub(crate) fn silence<H: Host>(&mut self, poller: &Poller<H>, fd: BorrowedFd<'_>) {
        // It fails for nothing that is registered.
        let _ = self.arm(poller, fd, Interest::NONE);
    }

    /// An event has come, for somebody who waits for input or not. What was armed for one
    /// event is used up.
    pub(crate) fn spend<H: Host>(
        &mut self,
        poller: &Poller<H>,
        fd: BorrowedFd<'_>,
        is_awaited: bool,
    ) {
        self.is_dry = false;
        self.awaited = match is_awaited {
            true => self.awaited.saturating_add(1),
            false => 0,
        };
        if self.armed.trigger == Trigger::Once {
            self.armed = Interest::NONE;
        } else if !is_awaited {
            self.silence(poller, fd);
        }
    }

    /// The fd is gone, or about to be, and the kernel's registration with it.
    pub(crate) fn forget(&mut self) {
        self.is_known = false;
        self.armed = Interest::NONE;
    }
}
