//! An orderly halt of the VM writes what is queued, as it does for ports.
//!
//! From OTP 26 on the VM calls us when it halts and flushes. OTP 25 can't be asked: there
//! we are called when the process exits, and see by a variable of the VM whether it
//! flushed before.

use crate::pollers;
use rustler::Env;
use rustler::sys::{ErlNifEnv, c_int, c_void};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `ERL_NIF_OPT_ON_HALT` of erl_nif.h, since OTP 26.
const ON_HALT: c_int = 2;
/// How long a halt waits for a peer that takes nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);
/// What `erts_halt_progress` is at the end of a halt that has flushed.
const FLUSHED: i32 = 0;

type SetOption = unsafe extern "C" fn(*mut ErlNifEnv, c_int, ...) -> c_int;

fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: a look-up of a name.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// Asks to be called when the VM halts and flushes.
pub(crate) fn prepare(env: Env<'_>) {
    // The library is built for NIF 2.16, where the function does not exist.
    let function = symbol(c"enif_set_option");
    if function.is_null() {
        prepare_for_exit();
        return;
    }
    // SAFETY: a VM that has the symbol has it with this type, by its documentation.
    let set_option = unsafe { std::mem::transmute::<*mut c_void, SetOption>(function) };
    let callback: unsafe extern "C" fn(*mut c_void) = on_halt;
    // SAFETY: called from load, with load's environment; the library is never unmapped. A
    // refusal leaves a halt that does not flush.
    unsafe { set_option(env.as_c_arg(), ON_HALT, callback) };
}

unsafe extern "C" fn on_halt(_private: *mut c_void) {
    write_queues();
}

/// `erts_halt_progress` of OTP 25: -1 until a halt that flushes begins, then a count of
/// those who have not finished; the one who makes it 0 exits.
static HALT_PROGRESS: AtomicPtr<AtomicI32> = AtomicPtr::new(std::ptr::null_mut());

/// Once in the life of the VM: an exit calls back as often as it was asked to.
fn prepare_for_exit() {
    static PREPARED: AtomicBool = AtomicBool::new(false);
    let progress = symbol(c"erts_halt_progress").cast::<AtomicI32>();
    if progress.is_null() || PREPARED.swap(true, Ordering::AcqRel) {
        return;
    }
    HALT_PROGRESS.store(progress, Ordering::Release);
    // SAFETY: the library is never unmapped. A refusal leaves a halt that does not flush.
    unsafe { libc::atexit(on_exit) };
}

/// Called with no lock of ours or of the VM's held. An exit without a flush, and the
/// orderly end of a child that somebody else's library has forked, find another count.
extern "C" fn on_exit() {
    let progress = HALT_PROGRESS.load(Ordering::Acquire);
    // SAFETY: a variable of the VM's, aligned and there as long as the process.
    let flushed = unsafe { progress.as_ref() }
        .is_some_and(|progress| progress.load(Ordering::Acquire) == FLUSHED);
    if flushed {
        write_queues();
    }
}

/// Closes every socket as the death of its owner would, and waits while the pollers
/// write what is queued and there is progress: a peer that takes little at a time makes
/// room in the kernel for long before anything leaves the queue.
///
/// A thread does it. The one that exits has destroyed its thread-local variables already,
/// and must not wait for a lock that another thread was stopped with.
fn write_queues() {
    static MOVED: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    let write = || {
        pollers::take_back();
        for socket in pollers::sockets() {
            socket.abandon();
        }
        let mut last = pollers::output_progress();
        while last.0 > 0 {
            std::thread::sleep(LOOK);
            let now = pollers::output_progress();
            if now != last {
                MOVED.fetch_add(1, Ordering::Release);
            }
            last = now;
        }
        DONE.store(true, Ordering::Release);
    };
    // A panic must not cross into the VM, which is going down anyway.
    let _ = std::panic::catch_unwind(|| {
        if std::thread::Builder::new().spawn(write).is_err() {
            return;
        }
        let (mut moved, mut progress) = (0, Instant::now());
        while !DONE.load(Ordering::Acquire) && progress.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            let now = MOVED.load(Ordering::Acquire);
            if now != moved {
                (moved, progress) = (now, Instant::now());
            }
        }
    });
}
