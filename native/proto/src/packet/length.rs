//! The types whose header tells the length: 1, 2, 4, sunrm, asn1, cdr, fcgi,
//! tpkt and ssl_tls. One short function each says what the header announces;
//! limits and completeness are judged once, in [`Announced::scan`].
//!
//! Integers are big-endian unless a function says otherwise.

use super::{BadFrame, Frame, Scan};

/// The longest frame in bytes, header and body: 2^31-1, as lengths are signed
/// 32-bit integers in the other backends.
const MAX_FRAME: u32 = i32::MAX as u32;

/// The most octets of an `asn1` tag. A tag has no limit of its own and
/// `packet_size` does not count it, so a peer could send tag octets for ever.
const MAX_TAG: usize = 9216;

/// What the bytes so far say about the length of a frame.
#[derive(Clone, Copy)]
pub(super) enum Announced {
    /// The header is not complete; it takes at least so many bytes.
    Header { at_least: usize },
    /// The header is complete.
    Body(Lengths),
}

/// The lengths of a frame in bytes.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    header: u32,
    /// What `packet_size` is compared with.
    body: u32,
    /// How many bytes at the front are not delivered.
    skip: u32,
    /// How many bytes at the end are not delivered.
    padding: u32,
}

impl Announced {
    /// The header is delivered with the body.
    #[inline]
    fn whole(header: u32, body: u32) -> Self {
        Announced::Body(Lengths {
            header,
            body,
            skip: 0,
            padding: 0,
        })
    }

    /// The header is cut off.
    #[inline]
    fn body_only(header: u32, body: u32) -> Self {
        Announced::Body(Lengths {
            header,
            body,
            skip: header,
            padding: 0,
        })
    }

    /// Judges the announced length before anyone takes memory for it.
    #[inline]
    pub(super) fn scan(self, bytes: &[u8], packet_size: u32) -> Result<Scan, BadFrame> {
        let Lengths {
            header,
            body,
            skip,
            padding,
        } = match self {
            Announced::Header { at_least } => return Ok(Scan::Incomplete { at_least }),
            Announced::Body(lengths) => lengths,
        };
        let most = MAX_FRAME.saturating_sub(header);
        let limit = if packet_size == 0 {
            most
        } else {
            packet_size.min(most)
        };
        if body > limit {
            return Err(BadFrame);
        }
        // At most 2^31-1, by the limit.
        let wire = (header + body) as usize;
        if bytes.len() < wire {
            return Ok(Scan::Incomplete { at_least: wire });
        }
        Ok(Scan::Frame(Frame {
            wire,
            body: skip as usize..wire - padding as usize,
        }))
    }
}

/// **Shape** `[L0 | body]`.
#[inline]
pub(super) fn length1(bytes: &[u8]) -> Announced {
    match bytes.first_chunk() {
        Some(&[len]) => Announced::body_only(1, u32::from(len)),
        None => Announced::Header { at_least: 1 },
    }
}

/// **Shape** `[L1 L0 | body]`.
#[inline]
pub(super) fn length2(bytes: &[u8]) -> Announced {
    match bytes.first_chunk() {
        Some(&len) => Announced::body_only(2, u32::from(u16::from_be_bytes(len))),
        None => Announced::Header { at_least: 2 },
    }
}

/// **Shape** `[L3 L2 L1 L0 | body]`.
#[inline]
pub(super) fn length4(bytes: &[u8]) -> Announced {
    match bytes.first_chunk() {
        Some(&len) => Announced::body_only(4, u32::from_be_bytes(len)),
        None => Announced::Header { at_least: 4 },
    }
}

/// **Shape** `[F:1 L:31 | body]`, delivered as it is. Fragments are not merged,
/// whatever the last-fragment bit F says.
///
/// **Source** RFC 5531, section 11.
#[inline]
pub(super) fn sunrm(bytes: &[u8]) -> Announced {
    match bytes.first_chunk() {
        Some(&len) => Announced::whole(4, u32::from_be_bytes(len) & 0x7fff_ffff),
        None => Announced::Header { at_least: 4 },
    }
}

/// **Shape** `[tag length | contents]` of BER, delivered as it is. A tag whose
/// low five bits are ones goes on until an octet without its top bit. The
/// length is one octet below 128, or 128 plus the number of octets that follow
/// with it, at most four. The indefinite length (128) counts as 0, so that the
/// header alone is a frame.
///
/// Returns how many bytes a next look at the same frame can leave out, too: so
/// many belong to a tag that goes on.
///
/// **Source** X.690, 8.1.
pub(super) fn asn1(bytes: &[u8], offset: usize) -> Result<(usize, Announced), BadFrame> {
    let (first, tail) = match bytes {
        [first, _, ..] => (first, bytes.get(offset.max(1)..).unwrap_or_default()),
        _ => return Ok((0, Announced::Header { at_least: 2 })),
    };
    // The last octet of the tag is at `tag_end - 1`.
    let mut searched = 0;
    let mut tag_end = 1;
    if first & 0x1f == 0x1f {
        searched = offset.max(1) + tail.iter().take_while(|&&octet| octet & 0x80 != 0).count();
        tag_end = searched + 1;
        if tag_end > MAX_TAG {
            return Err(BadFrame);
        }
    }
    let announced = match bytes.get(tag_end..).unwrap_or_default() {
        [] => Announced::Header {
            at_least: tag_end + 1,
        },
        [octet, ..] if octet & 0x80 == 0 => Announced::whole(tag_end as u32 + 1, u32::from(*octet)),
        [octet, octets @ ..] => {
            let count = usize::from(octet & 0x7f);
            match octets.get(..count) {
                None => Announced::Header {
                    at_least: tag_end + 1 + count,
                },
                Some(_) if count > 4 => return Err(BadFrame),
                Some(octets) => {
                    let body = octets
                        .iter()
                        .fold(0, |sum, &octet| sum << 8 | u32::from(octet));
                    Announced::whole((tag_end + 1 + count) as u32, body)
                }
            }
        }
    };
    Ok((searched, announced))
}

/// **Shape** `["GIOP" major minor flags type size:32 | body]`, delivered as it
/// is. The size is little-endian when bit 0 of the flags is set. That more
/// fragments follow (bit 1) makes no difference.
///
/// **Source** CORBA 3.3 part 2, 9.4.1.
#[inline]
pub(super) fn cdr(bytes: &[u8]) -> Result<Announced, BadFrame> {
    match bytes.first_chunk() {
        None => Ok(Announced::Header { at_least: 12 }),
        Some(&[b'G', b'I', b'O', b'P', _, _, flags, _, s0, s1, s2, s3]) => {
            let size = [s0, s1, s2, s3];
            let size = if flags & 1 == 1 {
                u32::from_le_bytes(size)
            } else {
                u32::from_be_bytes(size)
            };
            Ok(Announced::whole(12, size))
        }
        Some(_) => Err(BadFrame),
    }
}

/// **Shape** `[1 type id:16 length:16 padding:8 reserved | contents | padding]`,
/// delivered without the padding.
///
/// **Source** FastCGI 1.0, 3.3.
#[inline]
pub(super) fn fcgi(bytes: &[u8]) -> Result<Announced, BadFrame> {
    match bytes.first_chunk() {
        None => Ok(Announced::Header { at_least: 8 }),
        Some(&[1, _, _, _, l1, l0, padding, _]) => {
            let padding = u32::from(padding);
            let body = u32::from(u16::from_be_bytes([l1, l0])) + padding;
            Ok(Announced::Body(Lengths {
                header: 8,
                body,
                skip: 0,
                padding,
            }))
        }
        Some(_) => Err(BadFrame),
    }
}

/// **Shape** `[3 reserved length:16 | body]`, delivered as it is. The length
/// counts the header, the `packet_size` does not.
///
/// **Source** RFC 1006, section 6.
#[inline]
pub(super) fn tpkt(bytes: &[u8]) -> Result<Announced, BadFrame> {
    match bytes.first_chunk() {
        None => Ok(Announced::Header { at_least: 4 }),
        Some(&[3, _, l1, l0]) => match u32::from(u16::from_be_bytes([l1, l0])).checked_sub(4) {
            Some(body) => Ok(Announced::whole(4, body)),
            None => Err(BadFrame),
        },
        Some(_) => Err(BadFrame),
    }
}

/// **Shape** `[type major minor length:16 | payload]`; or the hello of an SSL 2
/// client `[1:1 length:15 | 1 major minor rest]`, its length counted from the
/// octet 1 on.
///
/// **Source** RFC 8446, 5.1; RFC 5246, E.2.
#[inline]
pub(super) fn ssl_tls(bytes: &[u8]) -> Result<Announced, BadFrame> {
    match bytes.first_chunk() {
        None => Ok(Announced::Header { at_least: 5 }),
        Some(&[l1, l0, 1, _, _]) if l1 & 0x80 != 0 => {
            match u32::from(u16::from_be_bytes([l1 & 0x7f, l0])).checked_sub(3) {
                // Major and minor are delivered with the rest.
                Some(body) => Ok(Announced::Body(Lengths {
                    header: 5,
                    body,
                    skip: 3,
                    padding: 0,
                })),
                None => Err(BadFrame),
            }
        }
        Some(&[_, _, _, l1, l0]) => Ok(Announced::body_only(
            5,
            u32::from(u16::from_be_bytes([l1, l0])),
        )),
    }
}

/// What is delivered beside the payload of an `ssl_tls` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SslTlsHeader {
    /// The content type; 22 (handshake) for the hello of an SSL 2 client.
    pub content_type: u8,
    /// The major and the minor version.
    pub version: (u8, u8),
    prefix: [u8; 4],
    prefix_len: u8,
}

impl SslTlsHeader {
    /// What to deliver before the frame's body: the handshake header
    /// `[1 length:24]` for the hello of an SSL 2 client, else nothing.
    pub fn prefix(&self) -> &[u8] {
        self.prefix
            .get(..usize::from(self.prefix_len))
            .unwrap_or_default()
    }
}

/// Reads type and version of a complete `ssl_tls` frame.
///
/// `None` when there are less than five bytes, which is never so with a frame.
pub fn ssl_tls_header(frame: &[u8]) -> Option<SslTlsHeader> {
    Some(match *frame.first_chunk()? {
        [l1, l0, 1, major, minor] if l1 & 0x80 != 0 => {
            let len = u32::from(u16::from_be_bytes([l1 & 0x7f, l0])).saturating_sub(1);
            let [_, b2, b1, b0] = len.to_be_bytes();
            SslTlsHeader {
                content_type: 22,
                version: (major, minor),
                prefix: [1, b2, b1, b0],
                prefix_len: 4,
            }
        }
        [content_type, major, minor, _, _] => SslTlsHeader {
            content_type,
            version: (major, minor),
            prefix: [0; 4],
            prefix_len: 0,
        },
    })
}
