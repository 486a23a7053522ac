//! The processes that monitor a socket, and the one that tells them why its owner exited.
//!
//! Whoever learns of an owner's exit from the VM learns no reason. A process above us, the
//! reporter, watches the owners of monitored sockets and knows it; until it has spoken
//! those who monitor the socket of a dead owner are bereaved: not told yet.

use crate::endpoint::{Common, End, Endpoint};
use crate::host::Host;
use crate::seldom::Vacant;

pub(crate) struct Monitors<H: Host> {
    watchers: Vec<(H::Pid, H::Tag)>,
    /// Those who wait for the reason of the owner's exit, while there is a reporter.
    bereaved: Vec<(H::Pid, H::Tag)>,
    reporter: Option<Reporter<H>>,
}

/// A promise to say why `owner` exits.
struct Reporter<H: Host> {
    pid: H::Pid,
    owner: H::Pid,
}

impl<H: Host> Vacant for Monitors<H> {
    fn vacant() -> Self {
        Monitors {
            watchers: Vec::new(),
            bereaved: Vec::new(),
            reporter: None,
        }
    }

    fn is_vacant(&self) -> bool {
        !self.is_used() && self.reporter.is_none()
    }
}

impl<H: Host> Monitors<H> {
    fn is_used(&self) -> bool {
        !self.watchers.is_empty() || !self.bereaved.is_empty()
    }

    /// The owner has exited: the watchers wait for the reporter, who is returned, if there
    /// is one.
    pub(crate) fn bereave(&mut self, owner: H::Pid) -> Option<H::Pid> {
        let reporter = self.reporter.as_ref()?;
        if reporter.owner != owner || self.watchers.is_empty() {
            return None;
        }
        self.bereaved = std::mem::take(&mut self.watchers);
        Some(reporter.pid)
    }
}

impl<H: Host> Endpoint<H> {
    /// Tells `pid` once the socket is gone. False: it is gone already.
    pub fn monitor(&self, pid: H::Pid, monitor: H::Tag) -> bool {
        let mut state = self.lock();
        if state.role.is_gone() {
            return false;
        }
        let watchers = &mut state.common.monitors.make().watchers;
        if watchers.len() == watchers.capacity() {
            watchers.retain(|(pid, _)| H::is_alive(*pid));
        }
        watchers.push((pid, monitor));
        true
    }

    /// Takes back a monitor of `pid`. False: there is none.
    pub fn cancel_monitor(&self, pid: H::Pid, monitor: &H::Tag) -> bool {
        let mut state = self.lock();
        let Some(monitors) = state.common.monitors.get_mut() else {
            return false;
        };
        let before = monitors.watchers.len() + monitors.bereaved.len();
        let is_other = |(watcher, tag): &(H::Pid, H::Tag)| *watcher != pid || tag != monitor;
        monitors.watchers.retain(is_other);
        monitors.bereaved.retain(is_other);
        let found = monitors.watchers.len() + monitors.bereaved.len() < before;
        if !monitors.is_used() {
            self.release_reporter(&mut state.common);
        }
        found
    }

    /// The owner, whose exit somebody would like to have explained. `None`: nobody would.
    pub fn monitored_owner(&self) -> Option<H::Pid> {
        let state = self.lock();
        let monitors = state.common.monitors.get()?;
        monitors.is_used().then_some(state.common.owner)
    }

    /// `reporter` is going to [`Endpoint::report`] why `owner` exits. False: the owner is
    /// another one meanwhile, or nobody wants to know.
    ///
    /// Where `owner` has exited the first promise stands: it is that reporter whose exit
    /// matters, and the report may be anybody's.
    pub fn promise_report(&self, reporter: H::Pid, owner: H::Pid) -> bool {
        let mut state = self.lock();
        let common = &mut state.common;
        match common.monitors.get_mut() {
            Some(monitors) if monitors.is_used() && common.owner == owner => {
                if monitors.bereaved.is_empty() {
                    let pid = reporter;
                    monitors.reporter = Some(Reporter { pid, owner });
                }
                true
            }
            _ => false,
        }
    }

    /// `owner` has exited: closes the socket if it is still the owner's, and has `tell` say
    /// why to everybody who monitors it.
    pub fn report(&self, owner: H::Pid, tell: impl FnMut((H::Pid, H::Tag))) {
        let mut state = self.lock();
        let is_known = |reporter: &mut Reporter<H>| reporter.owner == owner;
        if state.common.owner != owner {
            return;
        }
        let Some(monitors) = state.common.monitors.get_mut() else {
            return;
        };
        if monitors.reporter.take_if(is_known).is_none() {
            return;
        }
        let mut watchers = std::mem::take(&mut monitors.bereaved);
        watchers.append(&mut monitors.watchers);
        self.leave(&mut state);
        self.settle(&mut state);
        watchers.into_iter().for_each(tell);
    }

    /// The reporter has exited: the bereaved will hear no more than that it is over.
    pub(crate) fn reporter_down(&self, common: &mut Common<H>, pid: H::Pid) {
        let Some(monitors) = common.monitors.get_mut() else {
            return;
        };
        let is_gone = |reporter: &mut Reporter<H>| reporter.pid == pid;
        if monitors.reporter.take_if(is_gone).is_some() {
            for (watcher, tag) in monitors.bereaved.drain(..) {
                self.host.down(watcher, tag, None);
            }
        }
        common.monitors.tidy();
    }

    pub(crate) fn tell_monitors(&self, common: &mut Common<H>, end: End) {
        let Some(monitors) = common.monitors.get_mut() else {
            return;
        };
        let watchers = std::mem::take(&mut monitors.watchers);
        if watchers.is_empty() {
            common.monitors.tidy();
            return;
        }
        for (pid, monitor) in watchers {
            self.host.down(pid, monitor, end);
        }
        self.release_reporter(common);
    }

    fn release_reporter(&self, common: &mut Common<H>) {
        if let Some(monitors) = common.monitors.get_mut()
            && let Some(reporter) = monitors.reporter.take()
        {
            self.host.release_reporter(reporter.pid);
        }
        common.monitors.tidy();
    }
}
