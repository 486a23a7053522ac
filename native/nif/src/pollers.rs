//! The pollers of this VM: started with the first socket. Those of the application
//! stop with it; the sockets of the node's distribution have their own, which go on, and
//! where other sockets' traffic does not delay them.

use crate::atoms;
use crate::host::{Beam, Handle};
use crate::message::{self, Pid, tuple};
use net::{Failure, Poller, Tuning};
use parking_lot::Mutex;
use rustler::Encoder;
use std::os::fd::RawFd;
use std::sync::Arc;

/// Processors that one poller serves.
const PROCESSORS: usize = 8;

/// Serve what the application's users open.
pub(crate) static APPLICATION: Pollers = Pollers::new();
/// Serve the connections between nodes.
pub(crate) static DISTRIBUTION: Pollers = Pollers::new();

/// Pollers that start and stop together.
pub(crate) struct Pollers(Mutex<Running>);

struct Running {
    tuning: Option<Tuning>,
    pollers: Vec<Arc<Poller<Beam>>>,
    next: usize,
}

impl Pollers {
    const fn new() -> Self {
        Pollers(Mutex::new(Running {
            tuning: None,
            pollers: Vec::new(),
            next: 0,
        }))
    }

    /// The poller for a new socket.
    ///
    /// **Errors:** no fd, memory or thread for a first one.
    pub(crate) fn assign(&self) -> Result<Arc<Poller<Beam>>, Failure> {
        let mut running = self.0.lock();
        if running.pollers.is_empty() {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..processors.div_ceil(PROCESSORS) {
                let poller = Poller::start(running.tuning.unwrap_or_default())?;
                announce(&poller);
                running.pollers.push(poller);
            }
        }
        running.next = (running.next + 1) % running.pollers.len();
        let next = running.next;
        running
            .pollers
            .get(next)
            .cloned()
            .ok_or(Failure::Posix(libc::ENOMEM))
    }

    /// Sets the rules of the pollers that start from now on.
    pub(crate) fn tune(&self, tuning: Tuning) {
        self.0.lock().tuning = Some(tuning);
    }

    /// The pollers that run.
    pub(crate) fn running(&self) -> Vec<Arc<Poller<Beam>>> {
        self.0.lock().pollers.clone()
    }

    /// Every open socket of theirs.
    pub(crate) fn sockets(&self) -> Vec<Handle> {
        self.running()
            .iter()
            .flat_map(|poller| poller.sockets())
            .collect()
    }

    /// Ends the threads and waits for them; what is still open stays as it is and is
    /// served no more. The next socket starts new ones.
    pub(crate) fn stop(&self) {
        let running = std::mem::take(&mut self.0.lock().pollers);
        for poller in running {
            poller.stop();
        }
    }
}

/// Who is told of every poller that starts.
static WATCHER: Mutex<Option<Pid>> = Mutex::new(None);

/// `{gen_tcp_rs, poller, Fd}`: a port can be opened for it.
pub(crate) fn announce(poller: &Poller<Beam>) {
    let Some(to) = *WATCHER.lock() else { return };
    message::send(to, |env| {
        let fd = poller.fd().encode(env).as_c_arg();
        let (library, what) = (atoms::gen_tcp_rs(), atoms::poller());
        tuple(env, &[library.as_c_arg(), what.as_c_arg(), fd])
    });
}

/// Has `watcher` told of every poller that starts. Returns the fds of those that run; of one
/// that starts at this moment it may be told, too.
pub(crate) fn watch(watcher: Pid) -> Vec<RawFd> {
    *WATCHER.lock() = Some(watcher);
    all().iter().map(|poller| poller.fd()).collect()
}

/// The running poller whose set of sockets is `fd`.
pub(crate) fn find(fd: RawFd) -> Option<Arc<Poller<Beam>>> {
    all().into_iter().find(|poller| poller.fd() == fd)
}

fn all() -> Vec<Arc<Poller<Beam>>> {
    let mut pollers = APPLICATION.running();
    pollers.append(&mut DISTRIBUTION.running());
    pollers
}

/// The threads of all pollers wait for events again: the schedulers are about to end.
pub(crate) fn take_back() {
    for poller in all() {
        poller.take_back();
    }
}

/// Every open socket.
pub(crate) fn sockets() -> Vec<Handle> {
    let mut sockets = APPLICATION.sockets();
    sockets.append(&mut DISTRIBUTION.sockets());
    sockets
}

/// Bytes queued for sending on all of them, and those that the peers of such sockets have
/// acknowledged.
pub(crate) fn output_progress() -> (usize, u64) {
    sockets()
        .iter()
        .fold((0, 0), |(queued, acknowledged), socket| {
            let (more, taken) = socket.output_progress();
            (queued + more, acknowledged + taken)
        })
}

/// How many pollers run.
pub(crate) fn running() -> usize {
    all().len()
}
