//! The poller threads of this VM: started with the first socket, stopped with the
//! application.

use crate::host::{Beam, Handle};
use net::{Failure, Poller, Tuning};
use parking_lot::Mutex;
use std::sync::Arc;

/// Processors that one poller serves.
const PROCESSORS: usize = 8;

static POLLERS: Mutex<Pollers> = Mutex::new(Pollers {
    tuning: None,
    running: Vec::new(),
    next: 0,
});

struct Pollers {
    tuning: Option<Tuning>,
    running: Vec<Arc<Poller<Beam>>>,
    next: usize,
}

/// The poller for a new socket.
///
/// **Errors:** no fd, memory or thread for a first one.
pub(crate) fn assign() -> Result<Arc<Poller<Beam>>, Failure> {
    let mut pollers = POLLERS.lock();
    if pollers.running.is_empty() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..processors.div_ceil(PROCESSORS) {
            let poller = Poller::start(pollers.tuning.unwrap_or_default())?;
            pollers.running.push(poller);
        }
    }
    pollers.next = (pollers.next + 1) % pollers.running.len();
    let next = pollers.next;
    pollers
        .running
        .get(next)
        .cloned()
        .ok_or(Failure::Posix(libc::ENOMEM))
}

/// Sets the rules of the pollers that start from now on.
pub(crate) fn tune(tuning: Tuning) {
    POLLERS.lock().tuning = Some(tuning);
}

/// The pollers that run.
pub(crate) fn running() -> Vec<Arc<Poller<Beam>>> {
    POLLERS.lock().running.clone()
}

/// Every open socket.
pub(crate) fn sockets() -> Vec<Handle> {
    running()
        .iter()
        .flat_map(|poller| poller.sockets())
        .collect()
}

/// Bytes queued for sending on all of them.
pub(crate) fn queued() -> usize {
    sockets().iter().map(|socket| socket.queued()).sum()
}

/// Ends the poller threads and waits for them; what is still open stays as it is and is
/// served no more. The next socket starts new ones.
pub(crate) fn stop() {
    let running = std::mem::take(&mut POLLERS.lock().running);
    for poller in running {
        poller.stop();
    }
}
