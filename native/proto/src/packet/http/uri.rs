//! The target of a request.

use super::number;

/// A request's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'a> {
    /// `'*'`.
    Star,
    /// `{abs_path, Path}`: begins with a slash, or is one character.
    AbsPath(&'a [u8]),
    /// `{absoluteURI, Scheme, Host, Port, Path}`.
    Absolute {
        /// The scheme.
        scheme: Scheme,
        /// The host; an IPv6 address with its brackets.
        host: &'a [u8],
        /// The port, `undefined` when it is missing, 0 or no number.
        port: Option<u32>,
        /// The path and all behind it; "/" when there is none.
        path: &'a [u8],
    },
    /// `{scheme, Before, After}`: what stands before and after the first colon.
    Scheme(&'a [u8], &'a [u8]),
    /// Anything else, as it is.
    Other(&'a [u8]),
}

/// The schemes that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

pub(super) fn parse(uri: &[u8]) -> Uri<'_> {
    match uri {
        b"*" => Uri::Star,
        [] | [_] | [b'/', ..] => Uri::AbsPath(uri),
        _ => {
            if let Some(rest) = strip_ignoring_case(uri, b"http://") {
                absolute(Scheme::Http, rest)
            } else if let Some(rest) = strip_ignoring_case(uri, b"https://") {
                absolute(Scheme::Https, rest)
            } else {
                match split_at_byte(uri, b':') {
                    (before, [_, after @ ..]) => Uri::Scheme(before, after),
                    (whole, []) => Uri::Other(whole),
                }
            }
        }
    }
}

/// **Shape** `[Authority (Path)]`, behind the scheme.
fn absolute(scheme: Scheme, text: &[u8]) -> Uri<'_> {
    let (authority, path) = split_at_byte(text, b'/');
    let path = if path.is_empty() { b"/" } else { path };
    let (host, port) = host_and_port(authority);
    Uri::Absolute {
        scheme,
        host,
        port,
        path,
    }
}

/// **Shape** `[Host (":" Port)]` or `["[" IPv6 "]" (":" Port)]`.
///
/// What stands between a closing bracket and the slash is lost unless it is a
/// port.
fn host_and_port(authority: &[u8]) -> (&[u8], Option<u32>) {
    let bracket = authority.iter().position(|&byte| byte == b']');
    let (host, rest) = match (authority, bracket) {
        // Without any colon there is neither an address nor a port.
        ([b'[', ..], Some(bracket)) if authority.contains(&b':') => authority
            .split_at_checked(bracket + 1)
            .unwrap_or((authority, &[])),
        _ => split_at_byte(authority, b':'),
    };
    let port = match rest {
        [b':', digits @ ..] => match number(digits) {
            (port, _, []) if port != 0 => Some(port),
            _ => None,
        },
        _ => None,
    };
    (host, port)
}

/// Splits before the first `byte`; all and nothing when there is none.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| b == byte).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

fn strip_ignoring_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
