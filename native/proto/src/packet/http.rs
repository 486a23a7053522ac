//! `{packet, http | httph | http_bin | httph_bin}`: the lines of an HTTP/1
//! message's head, as ranges of the bytes they came in.
//!
//! The four types share one grammar. They differ in where a line is expected to
//! be a start line (`http`) or always a header (`httph`), and in how strings
//! are handed over, which is the business of whoever makes the terms.
//!
//! **Guarantees** No allocation. A line is searched once for its end, however
//! it arrives. What does not parse is [`HttpPacket::Error`] and never a bad
//! frame: only the length of a line can be refused.
//!
//! **Source** the `packet` option in `erlang:decode_packet/3`; RFC 2616 for the
//! grammar it follows (folded headers, any method).

use super::find::find_byte;
use super::{BadFrame, Found};

mod header;
mod uri;

pub use header::{Field, KNOWN_HEADERS, NormalizedName};
pub use uri::{Scheme, Uri};

/// What the next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpState {
    /// A request or a status line.
    StartLine,
    /// A header or the end of the headers.
    Headers,
}

/// One parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpPacket<'a> {
    /// `{http_request, Method, Uri, Version}`.
    Request {
        /// The method.
        method: Method<'a>,
        /// The request's target.
        uri: Uri<'a>,
        /// Major and minor; 0.9 when the line has none.
        version: (u32, u32),
    },
    /// `{http_response, Version, Status, Phrase}`.
    Response {
        /// Major and minor.
        version: (u32, u32),
        /// The status code; 0 when the line has none.
        status: u32,
        /// The reason phrase, which may be empty.
        phrase: &'a [u8],
    },
    /// `{http_header, Index, Field, Name, Value}`.
    Header {
        /// The index of a known name, from 1; 0 for any other.
        index: u8,
        /// The name in its usual spelling.
        field: Field<'a>,
        /// The name as it was received.
        name: &'a [u8],
        /// The value: leading blanks removed; of a folded header the line
        /// ends and blanks inside are kept.
        value: &'a [u8],
    },
    /// `http_eoh`.
    EndOfHeaders,
    /// `{http_error, Line}`: the whole line with its end.
    Error(&'a [u8]),
}

/// The methods that become atoms.
pub const KNOWN_METHODS: [&str; 7] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE"];

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// One of [`KNOWN_METHODS`]: an atom.
    Known(&'static str),
    /// Any other: a string. Methods are case-sensitive.
    Other(&'a [u8]),
}

/// Finds the end of the first line, at most `limit` bytes long (0: no limit).
///
/// A header goes on when the next line begins with a blank, so its end is
/// known only with one byte of the next line. Start lines and the empty line
/// end with their LF.
pub(super) fn line(
    bytes: &[u8],
    offset: usize,
    state: HttpState,
    limit: u32,
) -> Result<Found, BadFrame> {
    let limit = match limit {
        0 => usize::MAX,
        limit => limit as usize,
    };
    let mut from = offset;
    while let Some(end) = find_byte(bytes, from, b'\n') {
        let len = end + 1;
        if len > limit {
            return Err(BadFrame);
        }
        // A line of at most two bytes is the empty one or holds no header.
        let complete = match bytes.get(len) {
            _ if state == HttpState::StartLine || is_empty_line(bytes, len) => true,
            Some(b' ' | b'\t') => len <= 2,
            Some(_) => true,
            // This LF is to be found again when more has come.
            None => return Ok(Found::Nothing { searched: end }),
        };
        if complete {
            return Ok(Found::Line(len));
        }
        from = len;
    }
    if bytes.len() >= limit {
        return Err(BadFrame);
    }
    Ok(Found::Nothing {
        searched: bytes.len(),
    })
}

fn is_empty_line(bytes: &[u8], len: usize) -> bool {
    matches!(bytes.get(..len), Some(b"\n" | b"\r\n"))
}

/// Parses one line, its end included.
pub(super) fn parse(state: HttpState, line: &[u8]) -> HttpPacket<'_> {
    let text = match line {
        [text @ .., b'\r', _] => text,
        [text @ .., b'\n'] => text,
        text => text,
    };
    let packet = match state {
        HttpState::StartLine => match text.strip_prefix(b"HTTP/") {
            Some(rest) => status_line(rest),
            None => request_line(text),
        },
        HttpState::Headers if text.is_empty() => Some(HttpPacket::EndOfHeaders),
        HttpState::Headers => header::parse(text),
    };
    packet.unwrap_or(HttpPacket::Error(line))
}

/// **Shape** `[Major.Minor blanks (Digits) (blanks Phrase)]`, behind `HTTP/`.
fn status_line(text: &[u8]) -> Option<HttpPacket<'_>> {
    let (version, rest) = version(text)?;
    let (blanks, rest) = split_blanks(rest);
    if blanks == 0 {
        return None;
    }
    let (status, _, rest) = number(rest);
    let (blanks, phrase) = split_blanks(rest);
    if blanks == 0 && !phrase.is_empty() {
        return None;
    }
    Some(HttpPacket::Response {
        version,
        status,
        phrase,
    })
}

/// **Shape** `[Method blanks Uri (blanks (HTTP/Major.Minor anything))]`.
fn request_line(text: &[u8]) -> Option<HttpPacket<'_>> {
    let (method, rest) = split_token(text);
    let (blanks, rest) = split_blanks(rest);
    if method.is_empty() || blanks == 0 {
        return None;
    }
    let end = rest
        .iter()
        .position(|&byte| is_blank(byte))
        .unwrap_or(rest.len());
    let (uri, rest) = rest.split_at_checked(end)?;
    if uri.is_empty() {
        return None;
    }
    let (_, protocol) = split_blanks(rest);
    let version = match protocol {
        [] => (0, 9),
        _ => version(protocol.strip_prefix(b"HTTP/")?)?.0,
    };
    let method = match KNOWN_METHODS
        .iter()
        .find(|known| known.as_bytes() == method)
    {
        Some(known) => Method::Known(known),
        None => Method::Other(method),
    };
    Some(HttpPacket::Request {
        method,
        uri: uri::parse(uri),
        version,
    })
}

/// **Shape** `[Digits "." Digits rest]`.
fn version(text: &[u8]) -> Option<((u32, u32), &[u8])> {
    let (major, digits, rest) = number(text);
    if digits == 0 {
        return None;
    }
    let (minor, digits, rest) = number(rest.strip_prefix(b".")?);
    if digits == 0 {
        return None;
    }
    Some(((major, minor), rest))
}

/// The number in front, how many digits it has (which may be none, for 0), and
/// what follows. A number too big becomes 2^31-1.
fn number(text: &[u8]) -> (u32, usize, &[u8]) {
    const MOST: u32 = i32::MAX as u32;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits).unwrap_or((text, &[]));
    let value = number.iter().fold(0u32, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
            .min(MOST)
    });
    (value, digits, rest)
}

/// The characters of a method or a header's name, and what follows.
fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .take_while(|&&byte| TOKEN.get(usize::from(byte)) == Some(&true))
        .count();
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// How many blanks there are in front, and what follows.
fn split_blanks(text: &[u8]) -> (usize, &[u8]) {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    (blanks, text.get(blanks..).unwrap_or_default())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The bytes a method or a header's name may have, by their value.
static TOKEN: [bool; 256] = tokens();

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where a miss is an error"
)]
const fn tokens() -> [bool; 256] {
    let mut tokens = [false; 256];
    let mut byte = 33;
    while byte <= 127 {
        tokens[byte] = true;
        byte += 1;
    }
    let mut separators: &[u8] = b"()<>@,;:\\\"/[]?={}";
    while let [separator, rest @ ..] = separators {
        tokens[*separator as usize] = false;
        separators = rest;
    }
    tokens
}
