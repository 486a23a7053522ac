//! Failures as terms: the one table of errno names.

use crate::atoms;
use net::Failure;
use rustler::{Atom, Encoder, Env, Term};

macro_rules! errnos {
    ($($name:ident $constant:ident),* $(,)?) => {
        mod names { rustler::atoms! { $($name),* } }

        fn name_of(errno: i32) -> Atom {
            match errno {
                $(libc::$constant => names::$name(),)*
                // No call of a stream socket is known to give any other.
                _ => names::eio(),
            }
        }
    };
}

errnos! {
    eacces EACCES, eaddrinuse EADDRINUSE, eaddrnotavail EADDRNOTAVAIL,
    eafnosupport EAFNOSUPPORT, eagain EAGAIN, ealready EALREADY, ebadf EBADF, ebusy EBUSY,
    econnaborted ECONNABORTED, econnrefused ECONNREFUSED, econnreset ECONNRESET,
    edestaddrreq EDESTADDRREQ, edom EDOM, eexist EEXIST, efault EFAULT, efbig EFBIG,
    ehostdown EHOSTDOWN, ehostunreach EHOSTUNREACH, einprogress EINPROGRESS, eintr EINTR,
    einval EINVAL, eio EIO, eisconn EISCONN, eisdir EISDIR, eloop ELOOP, emfile EMFILE,
    emsgsize EMSGSIZE, enametoolong ENAMETOOLONG, enetdown ENETDOWN, enetreset ENETRESET,
    enetunreach ENETUNREACH, enfile ENFILE, enobufs ENOBUFS, enodev ENODEV, enoent ENOENT,
    enomem ENOMEM, enopkg ENOPKG, enoprotoopt ENOPROTOOPT, enospc ENOSPC, enosys ENOSYS,
    enotconn ENOTCONN, enotdir ENOTDIR, enotsock ENOTSOCK, enotsup ENOTSUP, enxio ENXIO,
    eoverflow EOVERFLOW, eperm EPERM, epipe EPIPE, eproto EPROTO,
    eprotonosupport EPROTONOSUPPORT, eprototype EPROTOTYPE, erange ERANGE, erofs EROFS,
    eshutdown ESHUTDOWN, esocktnosupport ESOCKTNOSUPPORT, espipe ESPIPE,
    etimedout ETIMEDOUT, exdev EXDEV,
}

/// The reason of a failure.
pub(crate) fn reason(failure: Failure) -> Atom {
    match failure {
        Failure::Closed => atoms::closed(),
        Failure::Timeout => atoms::timeout(),
        Failure::BadArgument => atoms::badarg(),
        Failure::NotOwner => atoms::not_owner(),
        Failure::Posix(errno) => name_of(errno),
    }
}

/// `{error, Reason}`.
pub(crate) fn error(env: Env<'_>, failure: Failure) -> Term<'_> {
    (atoms::error(), reason(failure)).encode(env)
}
