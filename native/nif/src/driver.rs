//! A port driver by which the VM's schedulers wait for our sockets.
//!
//! The set of sockets that a poller waits for is itself an fd. While a port of this driver
//! has it selected, a scheduler that has nothing to do waits for our sockets in the call in
//! which it waits for those of ports, and serves them where their owners run: no other
//! thread is woken, and none competes with the schedulers for a processor. Where there is no
//! port the poller's thread waits.
//!
//! **Source** erl_driver(3), driver_entry(3); erl_driver.h for the layout and the numbers.

use crate::host::Beam;
use crate::pollers;
use net::Poller;
use parking_lot::Mutex;
use rustler::sys::{c_char, c_int, c_void};
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

type Port = *mut c_void;
type Data = *mut c_void;
type Event = *mut c_void;
type Select = unsafe extern "C" fn(Port, Event, c_int, c_int) -> c_int;
type ConsumeTimeslice = unsafe extern "C" fn(Port, c_int) -> c_int;

/// `ErlDrvEntry`. What stays null has no type here.
#[repr(C)]
struct Entry {
    init: *const c_void,
    start: unsafe extern "C" fn(Port, *const c_char) -> Data,
    stop: unsafe extern "C" fn(Data),
    output: *const c_void,
    ready_input: unsafe extern "C" fn(Data, Event),
    ready_output: *const c_void,
    driver_name: *const c_char,
    finish: *const c_void,
    handle: *mut c_void,
    control: *const c_void,
    timeout: *const c_void,
    outputv: *const c_void,
    ready_async: *const c_void,
    flush: *const c_void,
    call: *const c_void,
    unused_event_callback: *const c_void,
    extended_marker: c_int,
    major_version: c_int,
    minor_version: c_int,
    driver_flags: c_int,
    handle2: *mut c_void,
    process_exit: *const c_void,
    stop_select: unsafe extern "C" fn(Event, *mut c_void),
    emergency_close: *const c_void,
}

// The C compiler's word is in test/driver_SUITE.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Entry>() == 176);
    assert!(std::mem::offset_of!(Entry, extended_marker) == 128);
    assert!(std::mem::offset_of!(Entry, stop_select) == 160);
};

/// `ERL_DRV_EXTENDED_MARKER` and the version of the interface that the layout is of.
const EXTENDED_MARKER: c_int = 0xfeee_eeed_u32 as c_int;
const MAJOR_VERSION: c_int = 3;
const MINOR_VERSION: c_int = 3;
/// `ERL_DRV_FLAG_USE_PORT_LOCKING`: ports are independent of each other.
const USE_PORT_LOCKING: c_int = 1;
/// `ERL_DRV_READ` and `ERL_DRV_USE`.
const READ: c_int = 1 << 0;
const USE: c_int = 1 << 2;
/// `ERL_DRV_ERROR_BADARG`: open_port raises badarg.
const BADARG: Data = -3_isize as Data;
/// Nanoseconds of a hundredth of what a port may use at a time.
const PERCENT: u64 = 10_000;

struct Shared(UnsafeCell<Entry>);

// SAFETY: the entry belongs to the VM, which writes into two of its fields.
unsafe impl Sync for Shared {}

static ENTRY: Shared = Shared(UnsafeCell::new(Entry {
    init: null(),
    start,
    stop,
    output: null(),
    ready_input,
    ready_output: null(),
    driver_name: c"gen_tcp_rs".as_ptr(),
    finish: null(),
    handle: null_mut(),
    control: null(),
    timeout: null(),
    outputv: null(),
    ready_async: null(),
    flush: null(),
    call: null(),
    unused_event_callback: null(),
    extended_marker: EXTENDED_MARKER,
    major_version: MAJOR_VERSION,
    minor_version: MINOR_VERSION,
    driver_flags: USE_PORT_LOCKING,
    handle2: null_mut(),
    process_exit: null(),
    stop_select,
    emergency_close: null(),
}));

/// What the VM looks for in a library that it loads as a driver.
// SAFETY: nothing else in the library has this name, and nobody looks it up but to load this library.
#[unsafe(no_mangle)]
extern "C" fn driver_init() -> *mut c_void {
    ENTRY.0.get().cast()
}

/// The VM's functions for drivers. They are looked up, as the library is a NIF's first.
struct Vm {
    select: Select,
    consume_timeslice: ConsumeTimeslice,
}

impl Vm {
    /// None: this VM has no such functions.
    fn get() -> Option<&'static Vm> {
        static VM: OnceLock<Option<Vm>> = OnceLock::new();
        let look = |name: &CStr| {
            // SAFETY: a look-up of a name.
            let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!function.is_null()).then_some(function)
        };
        VM.get_or_init(|| {
            let (select, consume) = (look(c"driver_select")?, look(c"erl_drv_consume_timeslice")?);
            Some(Vm {
                // SAFETY: the VM has the function with this type, by its documentation.
                select: unsafe { std::mem::transmute::<*mut c_void, Select>(select) },
                consume_timeslice: {
                    // SAFETY: the same.
                    unsafe { std::mem::transmute::<*mut c_void, ConsumeTimeslice>(consume) }
                },
            })
        })
        .as_ref()
    }

    /// Has the VM wait for `fd`, or no more. False: it can't.
    ///
    /// Only in a callback of `port`.
    fn select(&self, port: Port, fd: RawFd, mode: c_int, on: bool) -> bool {
        // SAFETY: a callback of the port is running; the fd is open until stop_select.
        unsafe { (self.select)(port, fd as usize as Event, mode, c_int::from(on)) == 0 }
    }
}

/// An open port, and the poller whose thread rests meanwhile.
struct Driven {
    vm: &'static Vm,
    port: Port,
    poller: Arc<Poller<Beam>>,
}

/// The pollers whose fd the VM may look at: it closes no earlier than they are forgotten.
static SELECTED: Mutex<Vec<Arc<Poller<Beam>>>> = Mutex::new(Vec::new());

/// `gen_tcp_rs FD`: the poller with that fd.
///
/// **Errors:** badarg if there is none, or it has a port already.
fn open(port: Port, command: &CStr) -> Option<Driven> {
    let vm = Vm::get()?;
    let (_, fd) = command.to_str().ok()?.split_once(' ')?;
    let fd = fd.parse().ok()?;
    let poller = pollers::find(fd)?;
    {
        let mut selected = SELECTED.lock();
        if selected.iter().any(|known| known.fd() == fd) {
            return None;
        }
        selected.push(Arc::clone(&poller));
    }
    if !vm.select(port, fd, READ | USE, true) {
        forget(fd);
        return None;
    }
    poller.hand_over();
    Some(Driven { vm, port, poller })
}

fn forget(fd: RawFd) {
    SELECTED.lock().retain(|known| known.fd() != fd);
}

unsafe extern "C" fn start(port: Port, command: *const c_char) -> Data {
    // SAFETY: the VM gives the command of open_port, which lives through the call.
    let command = unsafe { CStr::from_ptr(command) };
    match catch_unwind(|| open(port, command)) {
        Ok(Some(driven)) => Box::into_raw(Box::new(driven)).cast(),
        _ => BADARG,
    }
}

unsafe extern "C" fn stop(data: Data) {
    // SAFETY: made by `start`, and stopped once.
    let driven = unsafe { Box::from_raw(data.cast::<Driven>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        driven.poller.take_back();
        let fd = driven.poller.fd();
        driven.vm.select(driven.port, fd, READ | USE, false);
    }));
}

unsafe extern "C" fn stop_select(event: Event, _reserved: *mut c_void) {
    let fd = event as usize as RawFd;
    let _ = catch_unwind(|| {
        forget(fd);
        // A port that was refused while this one ended can be opened now.
        if let Some(poller) = pollers::find(fd) {
            pollers::announce(&poller);
        }
    });
}

unsafe extern "C" fn ready_input(data: Data, _event: Event) {
    // SAFETY: made by `start`, and not stopped.
    let driven = unsafe { &*data.cast::<Driven>() };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if !driven.poller.serve() {
            // Its thread ends; the fd may stay readable.
            let fd = driven.poller.fd();
            driven.vm.select(driven.port, fd, READ, false);
        }
        let percent = net::take_time_held(PERCENT).clamp(1, 100) as c_int;
        // SAFETY: this is a callback of the port.
        unsafe { (driven.vm.consume_timeslice)(driven.port, percent) };
    }));
}
