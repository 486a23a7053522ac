//! The control data of `pktoptions`: a sequence of `struct cmsghdr` with their data.
//!
//! **Shape** `[len: usize | level: i32 | type: i32 | data | padding to a usize]*`, where `len`
//! counts the header and the data. Source: cmsg(3).

use libc::{IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_TCLASS};

/// One item of control data that came with a segment of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancillary {
    /// The type of service of IPv4.
    Tos(i32),
    /// The time to live of IPv4, the hop limit of IPv6.
    Ttl(i32),
    /// The traffic class of IPv6.
    Tclass(i32),
}

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

/// The items known here, in the kernel's order; others are passed over.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<Ancillary> {
    let mut items = Vec::new();
    while let Some((header, level, kind)) = header(bytes) {
        let Some(data) = bytes.get(HEADER..header) else {
            break;
        };
        items.extend(item(level, kind, data));
        bytes = bytes
            .get(header.next_multiple_of(WORD)..)
            .unwrap_or_default();
    }
    items
}

/// The length in bytes of the first item with its header, its level and its type.
fn header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let (len, rest) = bytes.split_first_chunk::<WORD>()?;
    let (level, rest) = rest.split_first_chunk::<4>()?;
    let (kind, _) = rest.split_first_chunk::<4>()?;
    let len = usize::from_ne_bytes(*len);
    (len >= HEADER).then_some((len, i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)))
}

fn item(level: i32, kind: i32, data: &[u8]) -> Option<Ancillary> {
    let value = match (<[u8; 4]>::try_from(data), data) {
        (Ok(bytes), _) => i32::from_ne_bytes(bytes),
        (Err(_), [byte]) => i32::from(*byte),
        _ => return None,
    };
    match (level, kind) {
        (IPPROTO_IP, IP_TOS) => Some(Ancillary::Tos(value)),
        (IPPROTO_IP, IP_TTL) | (IPPROTO_IPV6, IPV6_HOPLIMIT) => Some(Ancillary::Ttl(value)),
        (IPPROTO_IPV6, IPV6_TCLASS) => Some(Ancillary::Tclass(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmsg(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(WORD), 0xee);
        bytes
    }

    /// Known items come out in order, unknown ones are passed over, in both data sizes.
    #[test]
    fn items_in_order() {
        let bytes = [
            cmsg(IPPROTO_IP, IP_TTL, &77_i32.to_ne_bytes()),
            cmsg(1, 99, b"unknown"),
            cmsg(IPPROTO_IP, IP_TOS, &[16]),
            cmsg(IPPROTO_IPV6, IPV6_TCLASS, &32_i32.to_ne_bytes()),
        ]
        .concat();
        assert_eq!(
            decode(&bytes),
            [
                Ancillary::Ttl(77),
                Ancillary::Tos(16),
                Ancillary::Tclass(32)
            ]
        );
    }

    /// A length that lies, or a cut item, ends the list; nothing is read past the end.
    #[test]
    fn lies_end_the_list() {
        let good = cmsg(IPPROTO_IP, IP_TTL, &1_i32.to_ne_bytes());
        for cut in 0..HEADER + 4 {
            assert_eq!(decode(&good[..cut]), []);
        }
        for len in [0, 1, HEADER - 1, HEADER + 100, usize::MAX] {
            let mut bytes = good.clone();
            bytes[..WORD].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(decode(&bytes), []);
        }
    }
}
