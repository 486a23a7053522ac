//! A kernel that says no: every system call that the crate makes, itself or through
//! socket2, mio and std, goes through this layer, which lets one of them fail.
//!
//! The functions of the C library are defined here again (`calls.rs`). The linker takes
//! these, for every crate of the program; the library itself has nothing of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod calls;
pub(crate) mod scenarios;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// A function of the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Accept,
    Bind,
    Close,
    Connect,
    EpollCreate,
    /// `epoll_ctl` with `EPOLL_CTL_ADD` or `EPOLL_CTL_MOD`.
    EpollArm,
    /// With `EPOLL_CTL_DEL`.
    EpollDelete,
    EpollWait,
    Eventfd,
    Fcntl,
    Getpeername,
    Getsockname,
    Getsockopt,
    Listen,
    Open,
    PthreadCreate,
    Recv,
    Send,
    Sendfile,
    Sendmsg,
    Setns,
    Setsockopt,
    Shutdown,
    Socket,
    Write,
}

impl Function {
    pub(crate) const ALL: [Function; 25] = [
        Function::Accept,
        Function::Bind,
        Function::Close,
        Function::Connect,
        Function::EpollCreate,
        Function::EpollArm,
        Function::EpollDelete,
        Function::EpollWait,
        Function::Eventfd,
        Function::Fcntl,
        Function::Getpeername,
        Function::Getsockname,
        Function::Getsockopt,
        Function::Listen,
        Function::Open,
        Function::PthreadCreate,
        Function::Recv,
        Function::Send,
        Function::Sendfile,
        Function::Sendmsg,
        Function::Setns,
        Function::Setsockopt,
        Function::Shutdown,
        Function::Socket,
        Function::Write,
    ];

    /// Whether it moves bytes, of which there can be fewer than asked for.
    pub(crate) fn moves_bytes(self) -> bool {
        use Function::{Recv, Send, Sendfile, Sendmsg};
        matches!(self, Recv | Send | Sendfile | Sendmsg)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The call fails and does nothing.
    Errno(i32),
    /// It moves at most so many bytes. Calls that move none succeed.
    Short(usize),
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Never.
    Never,
    /// At the call of this number, from 0, whichever function it is of.
    At(usize),
    /// At each call of this function.
    Each(Function),
}

/// A call that was made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) function: Function,
    pub(crate) count: usize,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    when: When,
    /// Calls so far.
    calls: usize,
    of_each: BTreeMap<Function, usize>,
    hit: Option<Hit>,
}

static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

thread_local! {
    /// Threads of the test are let through but for what they call inside `subject`.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
    /// The last call of this thread, if the kernel had nothing for it.
    static REFUSED: Cell<Option<(Function, i32)>> = const { Cell::new(None) };
}

fn plan() -> MutexGuard<'static, Option<Plan>> {
    PLAN.lock().unwrap()
}

/// This thread is the test's or the peer's, not the library's.
pub(crate) fn exempt() {
    EXEMPT.set(true);
}

/// Calls into the library: the system calls of `work` may fail.
pub(crate) fn subject<R>(work: impl FnOnce() -> R) -> R {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            EXEMPT.set(true);
        }
    }
    EXEMPT.set(false);
    REFUSED.set(None);
    let _again = Again;
    work()
}

/// From now on calls are counted, and fail as planned.
pub(crate) fn begin(fault: Fault, when: When) {
    *plan() = Some(Plan {
        fault,
        when,
        calls: 0,
        of_each: BTreeMap::new(),
        hit: None,
    });
}

/// All calls succeed again. Returns what has failed, and the calls of each function.
pub(crate) fn end() -> (Option<Hit>, BTreeMap<Function, usize>) {
    plan()
        .take()
        .map_or_else(Default::default, |plan| (plan.hit, plan.of_each))
}

/// How many calls have failed so far.
pub(crate) fn hits() -> usize {
    let hit = plan().as_ref().and_then(|plan| plan.hit);
    hit.map_or(0, |hit| hit.count)
}

/// What is to become of a call.
fn verdict(function: Function, fd: i32) -> Option<Fault> {
    // SAFETY: no arguments, no failure.
    let is_first_thread = unsafe { libc::gettid() } == std::process::id().cast_signed();
    if EXEMPT.get() || is_first_thread {
        return None;
    }
    let mut plan = plan();
    let plan = plan.as_mut()?;
    let planned = match plan.when {
        When::Each(each) => each == function,
        // A spin asks again and again: that is one call.
        _ if REFUSED.get() == Some((function, fd)) => return None,
        When::Never => false,
        When::At(number) => number == plan.calls,
    };
    plan.calls += 1;
    *plan.of_each.entry(function).or_default() += 1;
    let fits = !matches!(plan.fault, Fault::Short(_)) || function.moves_bytes();
    if planned && fits {
        let count = plan.hit.map_or(1, |hit| hit.count + 1);
        plan.hit = Some(Hit { function, count });
        return Some(plan.fault);
    }
    None
}

/// Takes note of what the kernel has said.
fn answered(function: Function, fd: i32, refused: bool) {
    if !EXEMPT.get() {
        REFUSED.set(refused.then_some((function, fd)));
    }
}
