//! The calls that change what a socket delivers, and looking for that in the caller
//! before the poller is asked.

use crate::endpoint::{Common, Endpoint, Locked, Role, State};
use crate::host::Host;
use crate::option::{self, Refused, Setting};
use crate::spin::{self, Place};
use crate::stream::Stream;
use proto::Active;
use std::os::fd::AsFd;

impl<H: Host> Endpoint<H> {
    /// Applies a list of options, last to first.
    ///
    /// **Errors:** `EINVAL` if the socket is closed, else the refusal of an option; those
    /// behind it in the list stay applied.
    pub fn set_options(&self, list: &[Setting]) -> Result<(), Refused> {
        let mut state = self.lock();
        let State { common, role } = &mut *state;
        if role.is_gone() {
            return Err(Refused::EINVAL);
        }
        let mut result = Ok(());
        for setting in list.iter().rev() {
            let applied = match role.socket() {
                Some(socket) => option::apply(setting, socket.as_fd(), &mut common.settings),
                // The fd of a husk is gone: a kernel option is taken and forgotten.
                None => match (setting.field(), setting) {
                    (Some(field), Setting::Named(_, value)) => common.settings.set(field, value),
                    _ => Ok(false),
                },
            };
            match applied {
                Ok(false) => {}
                Ok(true) => Stream::<H>::tell_owner_passive(&self.host, common),
                Err(refused) => {
                    result = Err(refused);
                    break;
                }
            }
        }
        self.rearm(state);
        result
    }

    /// `setopts(S, [{active, true | once}])` without the way through the table.
    ///
    /// **Errors:** `EINVAL` if the socket is closed.
    pub fn activate(&self, active: Active) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.role.is_gone() {
            return Err(Refused::EINVAL);
        }
        state.common.settings.active = active;
        self.rearm(state);
        Ok(())
    }

    /// The settings have changed: delivers what is there and waits for more, first by
    /// spinning if that has paid here.
    pub(crate) fn rearm<'a>(&'a self, mut state: Locked<'a, H>) {
        let (mut context, role) = self.split(&mut state);
        if let Role::Stream(stream) = role {
            stream.settings_changed(&mut context);
            if stream.waits_for_once(context.common)
                && context.tuning.spin
                && context.common.scores.is_due(Place::Arm)
            {
                state = self.spin_for_delivery(state, Place::Arm);
            }
        }
        self.settle(&mut state);
    }

    /// Tries for a moment to read and deliver in the caller.
    pub(crate) fn spin_for_delivery<'a>(
        &'a self,
        state: Locked<'a, H>,
        place: Place,
    ) -> Locked<'a, H> {
        let before = state.common.counters.received.count;
        let attempt = || {
            let mut state = self.lock();
            let (mut context, role) = self.split(&mut state);
            let Role::Stream(stream) = role else {
                return Some(false);
            };
            if context.common.counters.received.count != before {
                return Some(true);
            }
            if !stream.is_open() || context.common.settings.active.is_passive() {
                return Some(false);
            }
            stream.deliver(&mut context, 1);
            let hit = context.common.counters.received.count != before;
            let over = !stream.is_open();
            if hit || over {
                self.settle(&mut state);
                return Some(true);
            }
            None
        };
        self.spin_at(state, place, attempt, |hit| *hit).1
    }

    /// Before a spin that nearly always succeeds: keeps the poller from waking up for
    /// what the spin will find.
    pub(crate) fn hold_back_poller(&self, state: &mut State<H>, place: Place) {
        let Common { watch, scores, .. } = &mut state.common;
        if !watch.is_for_reading_alone() || !scores.is_sure(place) {
            return;
        }
        if let Some(socket) = state.role.socket() {
            watch.silence(&self.poller, socket.as_fd());
        }
    }

    /// Spins at `place` for `attempt` to give something, unless the poller gets other
    /// work, and learns from it. The lock is free meanwhile.
    pub(crate) fn spin_at<'a, R>(
        &'a self,
        state: Locked<'a, H>,
        place: Place,
        attempt: impl FnMut() -> Option<R>,
        is_hit: impl FnOnce(&R) -> bool,
    ) -> (Option<R>, Locked<'a, H>) {
        let Some(token) = state.common.watch.token else {
            return (None, state);
        };
        drop(state);
        let last = self.poller.last_event();
        let found = spin::spin(attempt, || self.poller.has_other_work(token, last));
        let mut state = self.lock();
        let hit = found.as_ref().is_some_and(is_hit);
        state.common.scores.learn(place, hit);
        (found, state)
    }
}
