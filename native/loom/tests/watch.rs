//! A registration that stays, in every order that loom finds: whoever waits by it learns of all that
//! comes (`native/net/src/watch.rs`, `endpoint.rs`: `settle`, `ready`; `receiving.rs`:
//! `receive_with`).
//!
//! This is a model, not that code, as in `poller.rs`.

use gen_tcp_rs_loom::{Epoll, Found, WAKER};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What is under the lock of the endpoint.
#[derive(Default)]
struct State {
    is_armed: bool,
    /// The kernel has refused a read, and no event has come since.
    is_dry: bool,
    /// A process waits for the message below.
    waits: bool,
    told: bool,
}

struct Endpoint {
    epoll: Epoll,
    state: Mutex<State>,
    message: Condvar,
}

impl Endpoint {
    /// Reads until the end, and waits in between. Returns how many reads found something.
    fn read_to_end(&self) -> u32 {
        let mut found = 0;
        loop {
            let mut state = self.state.lock().unwrap();
            match self.epoll.read(0) {
                Found::End => return found,
                Found::Bytes => {
                    // There may be more, or an end, of which the kernel has told already.
                    state.is_dry = false;
                    found += 1;
                    if found == 1 {
                        // As one that has a part of a frame waits for the rest.
                        self.wait(state);
                    }
                }
                Found::Nothing => {
                    state.is_dry = true;
                    self.wait(state);
                }
            }
        }
    }

    fn wait(&self, mut state: loom::sync::MutexGuard<'_, State>) {
        if !(state.is_armed && state.is_dry) {
            self.epoll.arm_for_arrivals(0);
            state.is_armed = true;
        }
        state.waits = true;
        while !std::mem::take(&mut state.told) {
            state = self.message.wait(state).unwrap();
        }
    }

    /// The poller, until it is woken.
    fn serve(&self) {
        while self.epoll.wait() != WAKER {
            let mut state = self.state.lock().unwrap();
            state.is_dry = false;
            if std::mem::take(&mut state.waits) {
                state.told = true;
                self.message.notify_one();
            } else {
                self.epoll.silence(0);
                state.is_armed = false;
            }
        }
    }
}

/// Data, its end, and a reader that waits in between: it reaches the end. Loom fails where it does
/// not, as it waits for ever.
#[test]
fn the_end_is_reached() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let endpoint = Arc::new(Endpoint {
            epoll: Epoll::new(1),
            state: Mutex::default(),
            message: Condvar::new(),
        });
        let poller = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || endpoint.serve())
        };
        let peer = {
            let endpoint = Arc::clone(&endpoint);
            thread::spawn(move || {
                endpoint.epoll.arrive(0);
                endpoint.epoll.arrive(0);
                endpoint.epoll.end(0);
            })
        };
        assert!((1..=2).contains(&endpoint.read_to_end()));
        peer.join().unwrap();
        endpoint.epoll.wake();
        poller.join().unwrap();
    });
}
