//! Prints what this library was compiled with, in the form of `c_src_compat/abi_probe.c`:
//! one "name value" a line. A test compares the two.

use std::mem::{offset_of, size_of};

use net::option::{TABLE, Target};
use net::tcp_info::TcpInfo;

macro_rules! constants {
    ($($name:ident,)*) => { $( println!("{} {}", stringify!($name), i64::from(libc::$name)); )* };
}

macro_rules! sizes {
    ($($name:ident,)*) => { $( println!("sizeof({}) {}", stringify!($name), size_of::<libc::$name>()); )* };
}

macro_rules! offsets {
    ($($name:ident.$field:ident,)*) => { $( println!(
        "offsetof({}.{}) {}",
        stringify!($name),
        stringify!($field),
        offset_of!(libc::$name, $field)
    ); )* };
}

fn main() {
    constants! {
        // Address families and socket types.
        AF_INET,
        AF_INET6,
        AF_UNIX,
        AF_UNSPEC,
        SOCK_STREAM,
        SOCK_NONBLOCK,
        SOCK_CLOEXEC,
        // Levels and protocols.
        SOL_SOCKET,
        IPPROTO_IP,
        IPPROTO_IPV6,
        IPPROTO_TCP,
        IPPROTO_MPTCP,
        // The socket level.
        SO_ACCEPTCONN,
        SO_BINDTODEVICE,
        SO_BUSY_POLL,
        SO_DOMAIN,
        SO_DONTROUTE,
        SO_ERROR,
        SO_INCOMING_CPU,
        SO_KEEPALIVE,
        SO_LINGER,
        SO_MARK,
        SO_PRIORITY,
        SO_PROTOCOL,
        SO_RCVBUF,
        SO_RCVLOWAT,
        SO_REUSEADDR,
        SO_REUSEPORT,
        SO_SNDBUF,
        SO_TYPE,
        // IPv4.
        IP_PKTOPTIONS,
        IP_RECVTOS,
        IP_RECVTTL,
        IP_TOS,
        IP_TTL,
        // IPv6.
        IPV6_HOPLIMIT,
        IPV6_RECVHOPLIMIT,
        IPV6_RECVTCLASS,
        IPV6_TCLASS,
        IPV6_UNICAST_HOPS,
        IPV6_V6ONLY,
        // TCP.
        TCP_CONGESTION,
        TCP_CORK,
        TCP_DEFER_ACCEPT,
        TCP_FASTOPEN,
        TCP_FASTOPEN_CONNECT,
        TCP_INFO,
        TCP_KEEPCNT,
        TCP_KEEPIDLE,
        TCP_KEEPINTVL,
        TCP_MAXSEG,
        TCP_NODELAY,
        TCP_NOTSENT_LOWAT,
        TCP_QUICKACK,
        TCP_USER_TIMEOUT,
        // Calls.
        CLONE_NEWNET,
        F_GETFL,
        F_SETFL,
        MSG_DONTWAIT,
        MSG_MORE,
        MSG_NOSIGNAL,
        MSG_OOB,
        MSG_PEEK,
        O_CLOEXEC,
        O_NONBLOCK,
        O_RDONLY,
        SHUT_RD,
        SHUT_RDWR,
        SHUT_WR,
        // epoll.
        EPOLLERR,
        EPOLLHUP,
        EPOLLIN,
        EPOLLONESHOT,
        EPOLLOUT,
        EPOLLPRI,
        EPOLLRDHUP,
        EPOLL_CLOEXEC,
        EPOLL_CTL_ADD,
        EPOLL_CTL_DEL,
        EPOLL_CTL_MOD,
        // Errors.
        EACCES,
        EADDRINUSE,
        EADDRNOTAVAIL,
        EAFNOSUPPORT,
        EAGAIN,
        EALREADY,
        EBADF,
        ECONNABORTED,
        ECONNREFUSED,
        ECONNRESET,
        EDESTADDRREQ,
        EEXIST,
        EFAULT,
        EHOSTDOWN,
        EHOSTUNREACH,
        EINPROGRESS,
        EINTR,
        EINVAL,
        EIO,
        EISCONN,
        ELOOP,
        EMFILE,
        EMSGSIZE,
        ENAMETOOLONG,
        ENETDOWN,
        ENETRESET,
        ENETUNREACH,
        ENFILE,
        ENOBUFS,
        ENODEV,
        ENOENT,
        ENOMEM,
        ENOPROTOOPT,
        ENOSYS,
        ENOTCONN,
        ENOTDIR,
        ENOTSOCK,
        ENXIO,
        EOPNOTSUPP,
        EPERM,
        EPIPE,
        EPROTO,
        EPROTONOSUPPORT,
        EPROTOTYPE,
        EROFS,
        ESOCKTNOSUPPORT,
        ETIMEDOUT,
    }
    sizes! {
        sockaddr_in,
        sockaddr_in6,
        sockaddr_un,
        sockaddr_storage,
        linger,
        epoll_event,
        iovec,
        msghdr,
        cmsghdr,
        socklen_t,
    }
    offsets! {
        sockaddr_in.sin_port,
        sockaddr_in.sin_addr,
        sockaddr_in6.sin6_port,
        sockaddr_in6.sin6_flowinfo,
        sockaddr_in6.sin6_addr,
        sockaddr_in6.sin6_scope_id,
        sockaddr_un.sun_path,
        linger.l_onoff,
        linger.l_linger,
        cmsghdr.cmsg_len,
        cmsghdr.cmsg_level,
        cmsghdr.cmsg_type,
    }
    for row in TABLE {
        if let Target::Kernel(kernel) = row.target {
            println!("option({}) {}:{}", row.name, kernel.level, kernel.option);
        }
    }
    // Byte k of this structure is k: the lowest byte of a number tells where it lies,
    // the highest where it ends.
    let structure: Vec<u8> = (0..=u8::MAX).collect();
    for (name, number) in TcpInfo::decode(&structure).numbers() {
        let offset = number & 0xff;
        let size = (u64::from(u64::BITS - number.leading_zeros())).div_ceil(8);
        println!("tcp_info({name}) {offset}:{size}");
    }
}
