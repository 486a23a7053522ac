//! Making sockets: connect, listen, and taking over an fd.

use crate::address::{Address, Family};
use crate::endpoint::{Call, Connecting, Endpoint, Role, Waiter};
use crate::host::{Failure, Host};
use crate::listener::Listener;
use crate::option::{self, Setting, kernel};
use crate::poller::Poller;
use crate::settings::Settings;
use crate::spin;
use crate::stream::Stream;
use crate::sys;
use proto::Active;
use socket2::{Protocol, Socket, Type};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;

/// `IPPROTO_MPTCP`, which no crate names yet.
const MPTCP: i32 = 262;

/// Where the fd of a new socket comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A new one.
    New,
    /// A duplicate of one the user has, and keeps: whoever opened it may need it to start
    /// again. The driver never closes it either.
    Fd(RawFd),
    /// A new one in the network namespace of this path.
    Namespace(CString),
}

/// What a new socket shall be.
#[derive(Debug)]
pub struct Spec {
    /// The address family.
    pub family: Family,
    /// Multipath TCP.
    pub multipath: bool,
    /// Where the fd comes from.
    pub source: Source,
    /// The local address, if it shall be bound.
    pub bind: Option<Address>,
    /// The options, applied last to first, before the socket is bound.
    pub options: Vec<Setting>,
}

/// A socket that is not yet in anybody's hands.
struct Fresh {
    socket: Socket,
    settings: Settings,
    tell_passive: bool,
}

impl Spec {
    /// **Errors:** the kernel's; `EINVAL` for a refused option.
    fn open(&self, active: Active) -> Result<Fresh, Failure> {
        let socket = match &self.source {
            Source::New => self.new_socket()?,
            Source::Fd(fd) => {
                let socket = Socket::from(sys::duplicate(*fd)?);
                socket.set_nonblocking(true)?;
                socket
            }
            Source::Namespace(path) => sys::in_namespace(path, || self.new_socket())?,
        };
        let mut settings = Settings::default();
        settings.active = active;
        if let Source::Namespace(path) = &self.source {
            settings.change(|limits| limits.netns = Some(path.as_bytes().into()));
        }
        let mut tell_passive = false;
        for setting in self.options.iter().rev() {
            tell_passive |= option::apply(setting, socket.as_fd(), &mut settings)
                .map_err(|refused| Failure::Posix(refused.errno))?;
        }
        if let Some(address) = &self.bind {
            socket.bind(&address.to_system()?)?;
        }
        Ok(Fresh {
            socket,
            settings,
            tell_passive,
        })
    }

    fn new_socket(&self) -> io::Result<Socket> {
        let protocol = (self.multipath && self.family != Family::Local).then_some(MPTCP);
        let kind = Type::STREAM.nonblocking().cloexec();
        Socket::new_raw(self.family.domain(), kind, protocol.map(Protocol::from))
    }
}

impl<H: Host> Endpoint<H> {
    /// Connects to `address`. The reply with `tag` comes when the kernel has finished.
    ///
    /// **Errors:** the kernel's.
    pub fn connect(
        poller: &Arc<Poller<H>>,
        owner: H::Pid,
        spec: &Spec,
        address: &Address,
        tag: H::Tag,
    ) -> Result<(H::Handle, Call<()>), Failure> {
        let Fresh {
            socket,
            settings,
            tell_passive,
        } = spec.open(Active::Always)?;
        // An fd that is connected already may look as if this connect had done it.
        if matches!(spec.source, Source::Fd(_)) && socket.peer_addr().is_ok() {
            return Err(Failure::Posix(libc::EISCONN));
        }
        let (role, call) = match connect(&socket, address, poller.tuning.spin)? {
            true => (Role::Stream(Stream::new(socket)), Call::Done(())),
            false => {
                let waiter = Some(Waiter { pid: owner, tag });
                (Role::Connecting(Connecting { socket, waiter }), Call::Wait)
            }
        };
        let handle = Self::adopt(poller, owner, spec.family, settings, role, tell_passive);
        Ok((handle, call))
    }

    /// Listens for connections; at most `backlog` wait for an accept.
    ///
    /// **Errors:** the kernel's.
    pub fn listen(
        poller: &Arc<Poller<H>>,
        owner: H::Pid,
        spec: &Spec,
        backlog: i32,
    ) -> Result<H::Handle, Failure> {
        let Fresh {
            socket,
            settings,
            tell_passive,
        } = spec.open(Active::Always)?;
        socket.listen(backlog)?;
        let role = Role::Listener(Listener::new(socket));
        Ok(Self::adopt(
            poller,
            owner,
            spec.family,
            settings,
            role,
            tell_passive,
        ))
    }

    /// Takes over the fd of `spec`, connected or listening.
    ///
    /// **Errors:** `EBADF`; the kernel's.
    pub fn take_over(
        poller: &Arc<Poller<H>>,
        owner: H::Pid,
        spec: &Spec,
    ) -> Result<H::Handle, Failure> {
        let Fresh {
            socket,
            settings,
            tell_passive,
        } = spec.open(Active::Passive)?;
        let family = kernel::family(socket.as_fd())?.unwrap_or(spec.family);
        let role = match socket.is_listener() {
            Ok(true) => Role::Listener(Listener::new(socket)),
            _ => Role::Stream(Stream::new(socket)),
        };
        Ok(Self::adopt(
            poller,
            owner,
            family,
            settings,
            role,
            tell_passive,
        ))
    }
}

/// Connects. False: it goes on in the kernel. A peer on the same machine answers at
/// once, sooner than the poller could tell.
fn connect(socket: &Socket, address: &Address, may_spin: bool) -> io::Result<bool> {
    let system_address = address.to_system()?;
    let start = || loop {
        match socket.connect(&system_address) {
            Ok(()) => return Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINPROGRESS | libc::EALREADY) => return Ok(false),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    };
    if start()? {
        return Ok(true);
    }
    if !address.is_loopback() {
        return Ok(false);
    }
    let ask = || match start() {
        Ok(false) => None,
        Err(error) if error.raw_os_error() == Some(libc::EISCONN) => Some(Ok(true)),
        done => Some(done),
    };
    // The handshake over loopback is most often done when the first call returns.
    if let Some(done) = ask() {
        return done;
    }
    if !may_spin || !spin::is_quiet() {
        return Ok(false);
    }
    spin::spin(ask, || false).unwrap_or(Ok(false))
}
