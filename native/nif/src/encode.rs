//! Deliveries as terms.
//!
//! **Shape** list or binary; with `{header, N}` and a binary the first N bytes are list
//! elements and the rest the tail; http lines are the tuples of `erlang:decode_packet/3`.

use crate::atoms;
use crate::block::VmBlock;
use net::Form;
use net::option::{Deliver, Mode};
use proto::packet::{Field, HttpPacket, Method, Scheme, Uri, ssl_tls_header};
use proto::reader::Payload;
use proto::{Framing, PacketType};
use rustler::types::tuple::make_tuple;
use rustler::{Atom, Encoder, Env, NewBinary, Term};
use std::sync::OnceLock;

/// A delivery, and what kind of message it makes.
pub(crate) enum Delivery<'a> {
    /// `{tcp, S, Data}` or `{S, {data, Data}}`, `{ok, Data}` from recv.
    Data(Term<'a>),
    /// `{http, S, Packet}`, `{ok, Packet}`.
    Http(Term<'a>),
    /// `{ssl_tls, S, Type, Version, Data}`, `{ok, {ssl_tls, …}}`.
    Tls(u8, (u8, u8), Term<'a>),
}

/// Makes the term of a delivery.
pub(crate) fn delivery<'a>(
    env: Env<'a>,
    form: Form,
    framing: &mut Framing,
    payload: Payload<'_, VmBlock>,
) -> Delivery<'a> {
    let (wire, body) = match payload {
        Payload::Block(block) => return Delivery::Data(block_term(env, form, block)),
        Payload::Frame { wire, body } => (wire, wire.get(body).unwrap_or_default()),
    };
    if form.deliver == Deliver::Term && framing.packet.is_http() {
        let strings = Strings {
            env,
            binary: framing.packet.http_binary(),
        };
        return Delivery::Http(http(&strings, &framing.parse_http(wire)));
    }
    if framing.packet == PacketType::SslTls {
        return match ssl_tls_header(wire) {
            Some(header) if form.deliver == Deliver::Term => {
                let data = match header.prefix() {
                    [] => binary(env, body),
                    prefix => binary(env, &[prefix, body].concat()),
                };
                Delivery::Tls(header.content_type, header.version, data)
            }
            // Not parsed, as http is not.
            _ => Delivery::Data(bytes(env, form, wire)),
        };
    }
    Delivery::Data(bytes(env, form, body))
}

fn block_term(env: Env<'_>, form: Form, block: VmBlock) -> Term<'_> {
    match form {
        Form {
            mode: Mode::Binary,
            header: 0,
            ..
        } => block.into_binary().release(env).to_term(env),
        _ => bytes(env, form, block.as_ref()),
    }
}

fn bytes<'a>(env: Env<'a>, form: Form, bytes: &[u8]) -> Term<'a> {
    match form {
        Form {
            mode: Mode::List, ..
        } => list(env, bytes, Term::list_new_empty(env)),
        Form { header: 0, .. } => binary(env, bytes),
        Form { header, .. } => match bytes.split_at_checked(header as usize) {
            Some((head, tail)) => list(env, head, binary(env, tail)),
            None => list(env, bytes, Term::list_new_empty(env)),
        },
    }
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

fn list<'a>(env: Env<'a>, bytes: &[u8], tail: Term<'a>) -> Term<'a> {
    let _ = env;
    bytes
        .iter()
        .rev()
        .fold(tail, |tail, byte| tail.list_prepend(byte))
}

/// How an http type hands over its strings.
struct Strings<'a> {
    env: Env<'a>,
    binary: bool,
}

impl<'a> Strings<'a> {
    fn make(&self, bytes: &[u8]) -> Term<'a> {
        match self.binary {
            true => binary(self.env, bytes),
            false => list(self.env, bytes, Term::list_new_empty(self.env)),
        }
    }
}

fn http<'a>(strings: &Strings<'a>, packet: &HttpPacket<'_>) -> Term<'a> {
    let env = strings.env;
    match packet {
        HttpPacket::Request {
            method,
            uri,
            version,
        } => {
            let method = match method {
                Method::Known(name) => known(env, name),
                Method::Other(name) => strings.make(name),
            };
            (
                atoms::http_request(),
                method,
                uri_term(strings, uri),
                *version,
            )
                .encode(env)
        }
        HttpPacket::Response {
            version,
            status,
            phrase,
        } => (
            atoms::http_response(),
            *version,
            *status,
            strings.make(phrase),
        )
            .encode(env),
        HttpPacket::Header {
            index,
            field,
            name,
            value,
        } => {
            let field = match field {
                Field::Known(known_name) => header_name(env, *index, known_name),
                Field::Normalized(normalized) => strings.make(normalized.as_slice()),
                Field::Received(received) => strings.make(received),
            };
            let (name, value) = (strings.make(name), strings.make(value));
            (atoms::http_header(), *index, field, name, value).encode(env)
        }
        HttpPacket::EndOfHeaders => atoms::http_eoh().encode(env),
        HttpPacket::Error(line) => (atoms::http_error(), strings.make(line)).encode(env),
    }
}

fn uri_term<'a>(strings: &Strings<'a>, uri: &Uri<'_>) -> Term<'a> {
    let env = strings.env;
    match uri {
        Uri::Star => atoms::star().encode(env),
        Uri::AbsPath(path) => (atoms::abs_path(), strings.make(path)).encode(env),
        Uri::Absolute {
            scheme,
            host,
            port,
            path,
        } => {
            let scheme = match scheme {
                Scheme::Http => atoms::http_scheme(),
                Scheme::Https => atoms::https_scheme(),
            };
            let port = match port {
                Some(port) => port.encode(env),
                None => atoms::undefined().encode(env),
            };
            let parts = [
                atoms::absolute_uri().encode(env),
                scheme.encode(env),
                strings.make(host),
                port,
                strings.make(path),
            ];
            make_tuple(env, &parts)
        }
        Uri::Scheme(before, after) => {
            (atoms::scheme(), strings.make(before), strings.make(after)).encode(env)
        }
        Uri::Other(string) => strings.make(string),
    }
}

/// The atom of a known header, by its index from 1.
fn header_name<'a>(env: Env<'a>, index: u8, name: &str) -> Term<'a> {
    static NAMES: OnceLock<Vec<Option<Atom>>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let atom = |name: &&str| Atom::from_str(env, name).ok();
        proto::packet::KNOWN_HEADERS.iter().map(atom).collect()
    });
    match usize::from(index)
        .checked_sub(1)
        .and_then(|place| names.get(place))
    {
        Some(Some(atom)) => atom.encode(env),
        _ => known(env, name),
    }
}

fn known<'a>(env: Env<'a>, name: &str) -> Term<'a> {
    // Fails for characters beyond Latin-1 alone, of which no table has any.
    Atom::from_str(env, name)
        .map_or_else(|_| atoms::undefined().encode(env), |atom| atom.encode(env))
}
