//! Socket addresses of the three families and their conversion to and from the
//! system's form.
//!
//! A name of the local family is a byte string, never a path type: it may be an
//! abstract name (its first byte is NUL) or empty (the side was never bound; at
//! bind: let the kernel choose an abstract name).

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::{Domain, SockAddr};

/// The address family a socket was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6, dual-stack unless `ipv6_v6only` says otherwise.
    Inet6,
    /// A local (Unix domain) stream socket.
    Local,
}

impl Family {
    /// All families, in the order of the declarations.
    pub const ALL: [Family; 3] = [Family::Inet, Family::Inet6, Family::Local];

    /// The family as `socket(2)` takes it.
    #[must_use]
    pub fn domain(self) -> Domain {
        match self {
            Family::Inet => Domain::IPV4,
            Family::Inet6 => Domain::IPV6,
            Family::Local => Domain::UNIX,
        }
    }

    /// The family of a domain the system reports; None for a domain this crate does not serve.
    #[must_use]
    pub fn from_domain(domain: Domain) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.domain() == domain)
    }
}

/// The address of one end of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 address and port.
    V4(SocketAddrV4),
    /// An IPv6 address and port with flow information and scope.
    V6(SocketAddrV6),
    /// The name of a local socket: a path, an abstract name (leading NUL) or empty (unbound).
    Local(Vec<u8>),
    /// An address of a family this crate does not serve; only ever returned by the system.
    Unspec,
}

impl Address {
    /// The wildcard address of a family: any address and port 0, or the empty local name.
    #[must_use]
    pub fn any(family: Family) -> Address {
        match family {
            Family::Inet => Address::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            Family::Inet6 => Address::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)),
            Family::Local => Address::Local(Vec::new()),
        }
    }

    /// The family a socket needs to use this address.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match self {
            Address::V4(_) => Some(Family::Inet),
            Address::V6(_) => Some(Family::Inet6),
            Address::Local(_) => Some(Family::Local),
            Address::Unspec => None,
        }
    }

    /// The port, 0 where the family has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Address::V4(address) => address.port(),
            Address::V6(address) => address.port(),
            Address::Local(_) | Address::Unspec => 0,
        }
    }

    /// Whether the peer is certainly on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Address::V4(address) => address.ip().is_loopback(),
            Address::V6(address) => address.ip().is_loopback(),
            Address::Local(_) => true,
            Address::Unspec => false,
        }
    }

    /// The address as `bind(2)` and `connect(2)` take it.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a local name that does not fit (107 bytes for a path, 108 for an abstract
    /// name), `EAFNOSUPPORT` for [`Address::Unspec`].
    pub fn to_system(&self) -> io::Result<SockAddr> {
        match self {
            Address::V4(address) => Ok((*address).into()),
            Address::V6(address) => Ok((*address).into()),
            Address::Local(name) => SockAddr::unix(Path::new(OsStr::from_bytes(name)))
                // socket2 makes this error without an errno.
                .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL)),
            Address::Unspec => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    /// The address the system returned.
    #[must_use]
    pub fn from_system(address: &SockAddr) -> Address {
        if let Some(v4) = address.as_socket_ipv4() {
            Address::V4(v4)
        } else if let Some(v6) = address.as_socket_ipv6() {
            Address::V6(v6)
        } else if !address.is_unix() {
            Address::Unspec
        } else if let Some(path) = address.as_pathname() {
            Address::Local(path.as_os_str().as_bytes().to_vec())
        } else if let Some(name) = address.as_abstract_namespace() {
            let mut bytes = Vec::with_capacity(name.len() + 1);
            bytes.push(0);
            bytes.extend_from_slice(name);
            Address::Local(bytes)
        } else {
            Address::Local(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address goes to the system's form and back unchanged.
    #[test]
    fn round_trip() {
        for address in [
            Address::V4("127.0.0.1:80".parse().unwrap()),
            Address::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 7, 3)),
            Address::Local(b"/run/socket".to_vec()),
            Address::Local(b"\0abstract\0name".to_vec()),
            Address::Local(Vec::new()),
        ] {
            let system = address.to_system().unwrap();
            assert_eq!(Address::from_system(&system), address);
        }
    }

    /// The longest names that fit are taken, one byte more is refused with EINVAL.
    #[test]
    fn local_name_lengths() {
        let path = |len: usize| Address::Local(vec![b'p'; len]);
        let name = |len: usize| {
            let mut bytes = vec![b'n'; len];
            bytes[0] = 0;
            Address::Local(bytes)
        };
        assert!(path(107).to_system().is_ok());
        assert!(name(108).to_system().is_ok());
        for too_long in [path(108), name(109)] {
            let error = too_long.to_system().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    }

    /// The kernel accepts the empty name as "choose one": an abstract name comes back.
    #[test]
    fn autobind() {
        let socket = socket2::Socket::new(Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&Address::Local(Vec::new()).to_system().unwrap())
            .unwrap();
        let Address::Local(name) = Address::from_system(&socket.local_addr().unwrap()) else {
            panic!("not a local name")
        };
        assert_eq!(name.first(), Some(&0));
        assert!(name.len() > 1);
    }
}
