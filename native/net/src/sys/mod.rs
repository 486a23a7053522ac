//! The system calls that the well-kept crates do not offer, each behind one safe
//! function. The only `unsafe` of this crate is in this module and its children.

pub(crate) mod sockopt;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How often a watched socket wakes the poller up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Once, at the first event.
    #[default]
    Once,
    /// For as long as there is something.
    Level,
    /// For each arrival. What was there before counts as one.
    Edge,
}

/// What the poller shall wake up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) trigger: Trigger,
}

impl Interest {
    pub(crate) const NONE: Interest = Interest {
        read: false,
        write: false,
        trigger: Trigger::Once,
    };

    pub(crate) fn is_none(self) -> bool {
        self == Interest::NONE
    }

    /// Whether being armed for `self` serves a need for `other`.
    pub(crate) fn covers(self, other: Interest) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Repeats a call that a signal has interrupted.
fn retry(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Arms `fd`, whose events come with `token`; `known` tells whether the epoll instance has
/// seen the fd before.
pub(crate) fn arm(
    epoll: RawFd,
    fd: BorrowedFd<'_>,
    token: u64,
    interest: Interest,
    known: bool,
) -> io::Result<()> {
    let mut flags = match interest.trigger {
        Trigger::Once => libc::EPOLLONESHOT,
        Trigger::Level => 0,
        Trigger::Edge => libc::EPOLLET,
    };
    if interest.read {
        flags |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.write {
        flags |= libc::EPOLLOUT;
    }
    let mut event = libc::epoll_event {
        events: flags as u32,
        u64: token,
    };
    let mut control = |operation| {
        // SAFETY: `event` lives through the call; a stale epoll fd gives EBADF.
        check(unsafe { libc::epoll_ctl(epoll, operation, fd.as_raw_fd(), &mut event) }).map(drop)
    };
    let (likely, other) = match known {
        true => (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD),
        false => (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD),
    };
    match control(likely) {
        // An fd that the user has duplicated may be known longer, or shorter, than we think.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENOENT)) => {
            control(other)
        }
        result => result,
    }
}

/// Takes up to `N` events that are there now, without waiting: each with its token and
/// what is ready. An error looks like no event.
pub(crate) fn events_now<const N: usize>(epoll: RawFd) -> impl Iterator<Item = (u64, Interest)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; N];
    // SAFETY: the kernel writes at most N events; a stale epoll fd gives EBADF.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), N as libc::c_int, 0) };
    let count = usize::try_from(count).unwrap_or(0);
    events.into_iter().take(count).map(|event| {
        let is = |flags: libc::c_int| event.events & flags as u32 != 0;
        let ended = is(libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLRDHUP);
        let ready = Interest {
            read: ended || is(libc::EPOLLIN),
            write: ended || is(libc::EPOLLOUT),
            trigger: Trigger::Once,
        };
        (event.u64, ready)
    })
}

/// Takes `fd` out of the epoll instance.
pub(crate) fn disarm(epoll: RawFd, fd: BorrowedFd<'_>) {
    // SAFETY: no memory is involved; the kernel ignores the null event. An error means
    // that the fd was not registered, which is what is wanted.
    unsafe {
        libc::epoll_ctl(
            epoll,
            libc::EPOLL_CTL_DEL,
            fd.as_raw_fd(),
            std::ptr::null_mut(),
        )
    };
}

/// Accepts a connection, non-blocking and closed on exec.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let fd = fd.as_raw_fd();
    // SAFETY: accept4 takes null pointers for an address that nobody wants.
    let new =
        retry(|| unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) })?;
    // SAFETY: the kernel has just made this fd for us.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Another fd for what an fd of the user's refers to, closed on exec.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a number that is no open fd gives EBADF.
    let new = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just made this fd for us.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Gives the rest of this thread's time slice away.
pub(crate) fn yield_now() {
    // SAFETY: no arguments, no failure on Linux.
    unsafe { libc::sched_yield() };
}

/// Sends up to `count` bytes of the open file `file` from `offset` on, without copying
/// them through this process. Returns how many the socket took; 0 at the end of the file.
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: RawFd,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: `offset` lives through the call; a wrong file fd gives EBADF.
        let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file, &mut offset, count) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Runs `make` in the network namespace that `path` names: on a thread of its own, so that
/// no other thread ever has to find its way back.
///
/// **Errors:** those of `make`; no thread, no such namespace, `EPERM`.
pub(crate) fn in_namespace<R: Send>(
    path: &CStr,
    make: impl FnOnce() -> io::Result<R> + Send,
) -> io::Result<R> {
    std::thread::scope(|scope| {
        let work = move || {
            let namespace = open(path)?;
            enter(&namespace)?;
            make()
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::EIO)))
    })
}

fn open(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `path` is a C string that lives through the call.
    let fd = retry(|| unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made this fd for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn enter(namespace: &OwnedFd) -> io::Result<()> {
    // SAFETY: no memory is involved; an fd that is no namespace gives EINVAL.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}
