//! Header lines, and the names that are known.

use core::str;

use super::{HttpPacket, split_blanks, split_token};

/// The header names that become atoms, in their usual spelling. The index in
/// `{http_header, Index, _, _, _}` is the place in this table plus one, and is
/// part of the interface of `gen_tcp`: names are never moved.
pub const KNOWN_HEADERS: [&str; 52] = [
    "Cache-Control",
    "Connection",
    "Date",
    "Pragma",
    "Transfer-Encoding",
    "Upgrade",
    "Via",
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "From",
    "Host",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Max-Forwards",
    "Proxy-Authorization",
    "Range",
    "Referer",
    "User-Agent",
    "Age",
    "Location",
    "Proxy-Authenticate",
    "Public",
    "Retry-After",
    "Server",
    "Vary",
    "Warning",
    "Www-Authenticate",
    "Allow",
    "Content-Base",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Md5",
    "Content-Range",
    "Content-Type",
    "Etag",
    "Expires",
    "Last-Modified",
    "Accept-Ranges",
    "Set-Cookie",
    "Set-Cookie2",
    "X-Forwarded-For",
    "Cookie",
    "Keep-Alive",
    "Proxy-Connection",
];

/// A header's name in its usual spelling: the first letter and each letter
/// behind a hyphen in upper case, all others in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// One of [`KNOWN_HEADERS`]: an atom.
    Known(&'static str),
    /// Any other of at most 50 bytes: a string.
    Normalized(NormalizedName),
    /// A longer one, as it was received: a string.
    Received(&'a [u8]),
}

/// The longest name in bytes whose spelling is changed.
const MAX_NORMALIZED: usize = 50;

/// A name in its usual spelling, in place.
#[derive(Clone, PartialEq, Eq)]
pub struct NormalizedName {
    bytes: [u8; MAX_NORMALIZED],
    len: u8,
}

impl NormalizedName {
    /// The name.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// `None` for a name above 50 bytes.
    fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_NORMALIZED];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        let mut upper = true;
        for byte in &mut bytes {
            if upper {
                byte.make_ascii_uppercase();
                // A hyphen in front does not count as one.
                upper = false;
            } else {
                byte.make_ascii_lowercase();
                upper = *byte == b'-';
            }
        }
        Some(NormalizedName {
            bytes,
            len: name.len() as u8,
        })
    }
}

impl core::fmt::Debug for NormalizedName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match str::from_utf8(self.as_slice()) {
            Ok(name) => name.fmt(f),
            Err(_) => self.as_slice().fmt(f),
        }
    }
}

/// **Shape** `[Name ":" (blanks) Value]`, the line end removed. The name may be
/// empty; a blank in front of the colon is an error.
pub(super) fn parse(text: &[u8]) -> Option<HttpPacket<'_>> {
    let (name, rest) = split_token(text);
    let (_, value) = split_blanks(rest.strip_prefix(b":")?);
    let (index, field) = match lookup(name) {
        Some((index, known)) => (index, Field::Known(known)),
        None => match NormalizedName::new(name) {
            Some(normalized) => (0, Field::Normalized(normalized)),
            None => (0, Field::Received(name)),
        },
    };
    Some(HttpPacket::Header {
        index,
        field,
        name,
        value,
    })
}

/// How many places the hash table of the known names has.
const PLACES: usize = 128;

/// The index of a known name at the place its hash points to or, when that is
/// taken, at the next free one; 0 is free.
static TABLE: [u8; PLACES] = table();

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where a miss is an error"
)]
const fn table() -> [u8; PLACES] {
    let mut table = [0; PLACES];
    let mut index = 0;
    while index < KNOWN_HEADERS.len() {
        let mut place = hash(KNOWN_HEADERS[index].as_bytes());
        while table[place] != 0 {
            place = (place + 1) % PLACES;
        }
        index += 1;
        table[place] = index as u8;
    }
    table
}

/// Made of the length and three letters, their case ignored. 0 for an empty
/// name, which is as good as any.
const fn hash(name: &[u8]) -> usize {
    let ([first, ..], [.., last]) = (name, name) else {
        return 0;
    };
    let (_, [middle, ..]) = name.split_at(name.len() / 2) else {
        return 0;
    };
    let mut hash = name.len();
    hash = hash * 7 + (*first | 0x20) as usize;
    hash = hash * 5 + (*middle | 0x20) as usize;
    hash = hash * 3 + (*last | 0x20) as usize;
    hash % PLACES
}

/// The index and the usual spelling of a known name.
fn lookup(name: &[u8]) -> Option<(u8, &'static str)> {
    let (before, from) = TABLE.split_at_checked(hash(name))?;
    for &index in from.iter().chain(before) {
        let known = *KNOWN_HEADERS.get(usize::from(index.checked_sub(1)?))?;
        // A known spelling is its own usual one, so that ignoring case is
        // the same as comparing the usual spellings.
        if known.as_bytes().eq_ignore_ascii_case(name) {
            return Some((index, known));
        }
    }
    None
}
