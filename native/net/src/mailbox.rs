//! `max_mailbox`: an owner that does not read stops its `{active, true}` socket from reading.
//!
//! Only a process of the VM can look into a mailbox, and asking it for every message would
//! cost more than the message. So a socket pauses after each half of what is allowed and asks
//! the world above to look; that resumes it as soon as the other half is free. Between two
//! looks the mailbox grows by half of what is allowed at most. Meanwhile the data stays with
//! the kernel, whose window holds the peer back, or with the reader: none is lost.

use crate::endpoint::{Endpoint, Role};
use crate::host::Host;
use crate::settings::Settings;
use crate::stream::Stream;
use crate::totals::{self, Total};
use proto::Active;

/// Whether a stream waits for its owner to read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) paused: bool,
    /// Tells one pause from the one before.
    number: u8,
}

/// A socket that waits for its owner to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused<Pid> {
    /// The owner.
    pub owner: Pid,
    /// Resume it when at most so many messages are in the owner's mailbox.
    pub room: u32,
    /// Which pause it is, for [`Endpoint::resume`].
    pub number: u8,
}

/// The messages between two looks.
fn step(max: u32) -> u64 {
    u64::from(max.div_ceil(2))
}

/// The count of deliveries at which a stream that has made `count` pauses.
pub(crate) fn pause_at<H: Host>(settings: &Settings, count: u64) -> u64 {
    match settings.max_mailbox {
        Some(max) if settings.active == Active::Always && H::sees_mailboxes() => {
            let step = step(max);
            (count / step + 1) * step
        }
        _ => u64::MAX,
    }
}

impl<H: Host> Stream<H> {
    /// Waits until the owner's mailbox was looked at.
    pub(crate) fn pause(&mut self, host: &H) {
        totals::add(Total::Pauses, 1);
        let number = self.gauge.number.wrapping_add(1);
        let paused = true;
        self.gauge = Gauge { paused, number };
        host.look_at_mailbox();
    }

    /// Other modes than `true` bound themselves, and without a limit there is nothing to wait for.
    pub(crate) fn tidy_gauge(&mut self, settings: &Settings) {
        if settings.active != Active::Always || settings.max_mailbox.is_none() {
            self.gauge.paused = false;
        }
    }
}

impl<H: Host> Endpoint<H> {
    /// `None`: it does not wait for its owner to read.
    pub fn paused(&self) -> Option<Paused<H::Pid>> {
        let state = self.lock();
        let Role::Stream(stream) = &state.role else {
            return None;
        };
        let max = state.common.settings.max_mailbox?;
        stream.gauge.paused.then_some(Paused {
            owner: state.common.owner,
            room: max / 2,
            number: stream.gauge.number,
        })
    }

    /// There is room in the owner's mailbox again. Nothing, if it is not that pause any more.
    pub fn resume(&self, number: u8) {
        let mut state = self.lock();
        let Role::Stream(stream) = &mut state.role else {
            return;
        };
        if stream.gauge.paused && stream.gauge.number == number {
            stream.gauge.paused = false;
            self.rearm(state);
        }
    }
}
