//! The C library's functions, as the linker finds them first.
//!
//! `fcntl`, `open` and the like are variadic in C; on the platforms of this library an
//! argument of theirs is passed as that of a function with a fixed number of them.

use super::{Fault, Function, answered, verdict};
use libc::{
    c_char, c_int, c_long, c_void, epoll_event, msghdr, off_t, pthread_attr_t, pthread_t, size_t,
    sockaddr, socklen_t, ssize_t,
};

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_errno(errno: c_int) {
    // SAFETY: the address of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is valid as long as the thread.
    unsafe { *place = errno };
}

/// A call that may be planned to fail. `real` makes it, for at most so many bytes.
fn call(function: Function, fd: c_int, real: impl FnOnce(usize) -> c_long) -> c_long {
    let before = errno();
    let verdict = verdict(function, fd);
    set_errno(before);
    if let Some(Fault::Errno(errno)) = verdict {
        if function == Function::Close {
            // Linux has closed the fd whatever it says.
            real(usize::MAX);
        }
        set_errno(errno);
        let nothing_now = matches!(errno, libc::EAGAIN | libc::EALREADY | libc::EINPROGRESS);
        answered(function, fd, nothing_now);
        return -1;
    }
    let most = match verdict {
        Some(Fault::Short(len)) => len,
        _ => usize::MAX,
    };
    let result = real(most);
    let after = errno();
    let nothing_now = matches!(after, libc::EAGAIN | libc::EALREADY | libc::EINPROGRESS);
    answered(function, fd, result < 0 && nothing_now);
    set_errno(after);
    result
}

/// The system call itself, with errno set as the C library does.
macro_rules! kernel {
    ($number:ident $(, $arg:expr)*) => {
        // SAFETY: the arguments are those that the caller of the C library has passed,
        // who guarantees what the system call asks for.
        unsafe { libc::syscall(libc::$number $(, $arg)*) }
    };
}

macro_rules! functions {
    ($($function:ident $name:ident($($arg:ident: $type:ty),*) -> $result:ty: $fd:expr, $real:expr;)*) => {
        $(
            // SAFETY: the same signature and meaning as in the C library.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($arg: $type),*) -> $result {
                call(Function::$function, $fd, $real) as $result
            }
        )*
    };
}

functions! {
    Accept accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int:
        fd, |_| kernel!(SYS_accept4, fd, address, len, flags);
    Bind bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int:
        fd, |_| kernel!(SYS_bind, fd, address, len);
    Close close(fd: c_int) -> c_int:
        fd, |_| kernel!(SYS_close, fd);
    Connect connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int:
        fd, |_| kernel!(SYS_connect, fd, address, len);
    EpollCreate epoll_create1(flags: c_int) -> c_int:
        -1, |_| kernel!(SYS_epoll_create1, flags);
    EpollWait epoll_wait(fd: c_int, events: *mut epoll_event, most: c_int, timeout: c_int) -> c_int:
        fd, |_| kernel!(SYS_epoll_pwait, fd, events, most, timeout, 0, 8);
    Eventfd eventfd(value: u32, flags: c_int) -> c_int:
        -1, |_| kernel!(SYS_eventfd2, value, flags);
    Getpeername getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int:
        fd, |_| kernel!(SYS_getpeername, fd, address, len);
    Getsockname getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int:
        fd, |_| kernel!(SYS_getsockname, fd, address, len);
    Getsockopt getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int:
        fd, |_| kernel!(SYS_getsockopt, fd, level, name, value, len);
    Listen listen(fd: c_int, backlog: c_int) -> c_int:
        fd, |_| kernel!(SYS_listen, fd, backlog);
    Open open(path: *const c_char, flags: c_int, mode: c_int) -> c_int:
        -1, |_| kernel!(SYS_openat, libc::AT_FDCWD, path, flags, mode);
    Recv recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t:
        fd, |most| kernel!(SYS_recvfrom, fd, buf, len.min(most), flags, 0, 0);
    Send send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t:
        fd, |most| kernel!(SYS_sendto, fd, buf, len.min(most), flags, 0, 0);
    Sendfile sendfile(socket: c_int, file: c_int, offset: *mut off_t, len: size_t) -> ssize_t:
        socket, |most| kernel!(SYS_sendfile, socket, file, offset, len.min(most));
    Setns setns(fd: c_int, kind: c_int) -> c_int:
        fd, |_| kernel!(SYS_setns, fd, kind);
    Setsockopt setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int:
        fd, |_| kernel!(SYS_setsockopt, fd, level, name, value, len);
    Shutdown shutdown(fd: c_int, how: c_int) -> c_int:
        fd, |_| kernel!(SYS_shutdown, fd, how);
    Socket socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int:
        -1, |_| kernel!(SYS_socket, domain, kind, protocol);
    Write write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t:
        fd, |_| kernel!(SYS_write, fd, buf, len);
}

// SAFETY: the same signature and meaning as in the C library.
#[unsafe(no_mangle)]
extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    let real = |_| kernel!(SYS_fcntl, fd, command, argument);
    // With assertions, std looks whether an fd that it closes is open.
    if command == libc::F_GETFD {
        return real(usize::MAX) as c_int;
    }
    call(Function::Fcntl, fd, real) as c_int
}

// SAFETY: the same signature and meaning as in the C library.
#[unsafe(no_mangle)]
extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    let function = match operation {
        libc::EPOLL_CTL_DEL => Function::EpollDelete,
        _ => Function::EpollArm,
    };
    call(function, fd, |_| {
        kernel!(SYS_epoll_ctl, epoll, operation, fd, event)
    }) as c_int
}

// SAFETY: the same signature and meaning as in the C library.
#[unsafe(no_mangle)]
extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    call(Function::Sendmsg, fd, |most| {
        if most < usize::MAX {
            // SAFETY: the caller guarantees that the message is valid.
            let message = unsafe { &*message };
            // SAFETY: and that it has so many pieces.
            let pieces = unsafe { std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen) };
            if let Some(piece) = pieces.iter().find(|piece| piece.iov_len > 0) {
                let len = piece.iov_len.min(most);
                return kernel!(SYS_sendto, fd, piece.iov_base, len, flags, 0, 0);
            }
        }
        kernel!(SYS_sendmsg, fd, message, flags)
    }) as ssize_t
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;

/// Says its error in its result.
// SAFETY: the same signature and meaning as in the C library.
#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let mut result = 0;
    let failed = call(Function::PthreadCreate, -1, |_| {
        // SAFETY: a look-up of a name.
        let real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
        // SAFETY: the C library has it with this type.
        let real = unsafe { std::mem::transmute::<*mut c_void, PthreadCreate>(real) };
        // SAFETY: the caller's arguments.
        result = unsafe { real(thread, attributes, start, argument) };
        0
    });
    if failed < 0 { errno() } else { result }
}
