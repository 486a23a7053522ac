//! An orderly halt of the VM writes what is queued, as it does for ports.

use crate::pollers;
use rustler::Env;
use rustler::sys::{ErlNifEnv, c_int, c_void};
use std::time::{Duration, Instant};

/// `ERL_NIF_OPT_ON_HALT` of erl_nif.h, since OTP 26.
const ON_HALT: c_int = 2;
/// How long a halt waits for a peer that takes nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

type SetOption = unsafe extern "C" fn(*mut ErlNifEnv, c_int, ...) -> c_int;

/// Asks the VM to call us when it halts and flushes. OTP 25 can't be asked: there a halt
/// loses what is queued, unless the application was stopped first.
pub(crate) fn prepare(env: Env<'_>) {
    // The library is built for NIF 2.16, where the function does not exist.
    // SAFETY: a look-up of a name.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"enif_set_option".as_ptr()) };
    if symbol.is_null() {
        return;
    }
    // SAFETY: a VM that has the symbol has it with this type, by its documentation.
    let set_option = unsafe { std::mem::transmute::<*mut c_void, SetOption>(symbol) };
    let callback: unsafe extern "C" fn(*mut c_void) = on_halt;
    // SAFETY: called from load, with load's environment; the library is never unmapped. A
    // refusal leaves a halt that does not flush.
    unsafe { set_option(env.as_c_arg(), ON_HALT, callback) };
}

/// Closes every socket as the death of its owner would, and waits while the pollers
/// write what is queued and there is progress.
unsafe extern "C" fn on_halt(_private: *mut c_void) {
    // A panic must not cross into the VM, which is going down anyway.
    let _ = std::panic::catch_unwind(|| {
        for socket in pollers::sockets() {
            socket.abandon();
        }
        let mut queued = pollers::queued();
        let mut progress = Instant::now();
        while queued > 0 && progress.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            let now = pollers::queued();
            if now != queued {
                progress = Instant::now();
            }
            queued = now;
        }
    });
}
