//! Answers questions about framing on standard input, as an Erlang port with
//! `{packet, 4}` asks them: test/packet_property_SUITE.erl compares the answers
//! with `erlang:decode_packet/3`.
//!
//! A request is any number of cases, each
//!
//! ```text
//! [type:8 packet_size:32 line_limit:32 delimiter:8 seed:32 len:32 | stream]
//! ```
//!
//! where type is the place in `PacketType::ALL`. The answer is a list in the
//! external term format with one element a case:
//!
//! ```text
//! {Packets, {incomplete, Consumed, AtLeast}} | {Packets, {bad, Consumed}}
//! {split, Packets, PacketsOfPieces}    the pieces gave something else
//! ```
//!
//! Every stream but a raw one is also fed in pieces, cut where `seed` says.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a tool for tests: it may die on a wrong answer"
)]

use proto::packet::{Field, HttpPacket, Method, Scheme, Uri, ssl_tls_header};
use proto::{Framing, PacketType, Scan};
use std::io::{self, ErrorKind, Read, Write};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let mut len = [0; 4];
        match input.read_exact(&mut len) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut request = vec![0; u32::from_be_bytes(len) as usize];
        input.read_exact(&mut request)?;
        let answer = answer(&request).ok_or(ErrorKind::InvalidData)?;
        output.write_all(&(answer.len() as u32).to_be_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
}

fn answer(mut request: &[u8]) -> Option<Vec<u8>> {
    let mut cases = 0u32;
    let mut results = Term(Vec::new());
    while !request.is_empty() {
        let packet = *PacketType::ALL.get(usize::from(take::<1>(&mut request)?[0]))?;
        let packet_size = u32::from_be_bytes(take(&mut request)?);
        let line_limit = u32::from_be_bytes(take(&mut request)?);
        let [delimiter] = take(&mut request)?;
        let seed = u32::from_be_bytes(take(&mut request)?);
        let len = u32::from_be_bytes(take(&mut request)?) as usize;
        let (stream, rest) = request.split_at_checked(len)?;
        request = rest;
        let mut framing = Framing::new();
        framing.packet = packet;
        framing.packet_size = packet_size;
        framing.line_limit = line_limit;
        framing.delimiter = delimiter;
        case(&mut results, framing, stream, seed);
        cases += 1;
    }
    let mut answer = vec![131, 108];
    answer.extend(cases.to_be_bytes());
    answer.append(&mut results.0);
    answer.push(106);
    // An empty list has no LIST_EXT.
    Some(if cases == 0 { vec![131, 106] } else { answer })
}

fn take<const N: usize>(request: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = request.split_first_chunk::<N>()?;
    *request = rest;
    Some(*head)
}

fn case(results: &mut Term, framing: Framing, stream: &[u8], seed: u32) {
    let whole = whole(framing.clone(), stream);
    if framing.packet != PacketType::Raw {
        let pieces = pieces(framing, stream, seed);
        if pieces != whole {
            results.tuple(3);
            results.atom("split");
            results.0.extend(whole);
            results.0.extend(pieces);
            return;
        }
    }
    results.0.extend(whole);
}

/// The stream's packets and end when all of it is there at once.
fn whole(mut framing: Framing, stream: &[u8]) -> Vec<u8> {
    let mut packets = Packets::default();
    let mut consumed = 0;
    loop {
        let bytes = &stream[consumed..];
        match framing.scan(bytes) {
            Ok(Scan::Frame(frame)) => {
                packets.push(&mut framing, &bytes[..frame.wire], &bytes[frame.body]);
                consumed += frame.wire;
            }
            Ok(Scan::Incomplete { at_least }) => {
                assert!(at_least > bytes.len());
                return packets.end("incomplete", consumed, Some(at_least));
            }
            Err(_) => return packets.end("bad", consumed, None),
        }
    }
}

/// The same when it arrives in pieces of one to `longest` bytes.
fn pieces(mut framing: Framing, stream: &[u8], seed: u32) -> Vec<u8> {
    let mut random = seed;
    let longest = [1, 3, 20, 200][seed as usize % 4];
    let mut packets = Packets::default();
    let (mut consumed, mut arrived, mut needed) = (0, 0, 0);
    loop {
        let bytes = &stream[consumed..arrived];
        match framing.scan(bytes) {
            Ok(Scan::Frame(frame)) => {
                // No frame may come with fewer bytes than were said to be needed.
                assert!(bytes.len() >= needed);
                packets.push(&mut framing, &bytes[..frame.wire], &bytes[frame.body]);
                consumed += frame.wire;
                needed = 0;
            }
            Ok(Scan::Incomplete { at_least }) => {
                assert!(at_least > bytes.len() && at_least >= needed);
                needed = at_least;
                if arrived == stream.len() {
                    return packets.end("incomplete", consumed, Some(at_least));
                }
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let piece = 1 + (random >> 16) as usize % longest;
                arrived = stream.len().min(arrived + piece);
            }
            Err(_) => return packets.end("bad", consumed, None),
        }
    }
}

#[derive(Default)]
struct Packets {
    count: u32,
    terms: Term,
}

impl Packets {
    fn push(&mut self, framing: &mut Framing, wire: &[u8], body: &[u8]) {
        self.count += 1;
        let term = &mut self.terms;
        match framing.packet {
            packet if packet.is_http() => {
                term.http(&framing.parse_http(body), packet.http_binary());
            }
            PacketType::SslTls => {
                let header = ssl_tls_header(wire).expect("a frame has a header");
                term.tuple(5);
                term.atom("ssl_tls");
                term.nil();
                term.integer(header.content_type.into());
                term.pair(header.version.0.into(), header.version.1.into());
                term.binary(&[header.prefix(), body].concat());
            }
            _ => term.binary(body),
        }
    }

    fn end(self, word: &str, consumed: usize, at_least: Option<usize>) -> Vec<u8> {
        let mut term = Term(Vec::new());
        term.tuple(2);
        if self.count > 0 {
            term.0.push(108);
            term.0.extend(self.count.to_be_bytes());
            term.0.extend(self.terms.0);
        }
        term.nil();
        term.tuple(2 + u8::from(at_least.is_some()));
        term.atom(word);
        term.integer(consumed as u32);
        if let Some(at_least) = at_least {
            term.integer(at_least as u32);
        }
        term.0
    }
}

/// The external term format, as far as it is needed here.
#[derive(Default)]
struct Term(Vec<u8>);

impl Term {
    fn tuple(&mut self, arity: u8) {
        self.0.extend([104, arity]);
    }

    fn nil(&mut self) {
        self.0.push(106);
    }

    fn atom(&mut self, name: &str) {
        self.0.extend([119, name.len() as u8]);
        self.0.extend(name.as_bytes());
    }

    /// At most 2^31-1.
    fn integer(&mut self, value: u32) {
        self.0.push(98);
        self.0.extend(value.to_be_bytes());
    }

    fn pair(&mut self, first: u32, second: u32) {
        self.tuple(2);
        self.integer(first);
        self.integer(second);
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.0.push(109);
        self.0.extend((bytes.len() as u32).to_be_bytes());
        self.0.extend(bytes);
    }

    fn string(&mut self, bytes: &[u8], binary: bool) {
        if binary {
            return self.binary(bytes);
        }
        match u16::try_from(bytes.len()) {
            Ok(0) => self.nil(),
            Ok(len) => {
                self.0.push(107);
                self.0.extend(len.to_be_bytes());
                self.0.extend(bytes);
            }
            Err(_) => {
                self.0.push(108);
                self.0.extend((bytes.len() as u32).to_be_bytes());
                bytes.iter().for_each(|&byte| self.0.extend([97, byte]));
                self.nil();
            }
        }
    }

    fn http(&mut self, packet: &HttpPacket<'_>, binary: bool) {
        match packet {
            HttpPacket::Request {
                method,
                uri,
                version,
            } => {
                self.tuple(4);
                self.atom("http_request");
                match method {
                    Method::Known(name) => self.atom(name),
                    Method::Other(name) => self.string(name, binary),
                }
                self.uri(uri, binary);
                self.pair(version.0, version.1);
            }
            HttpPacket::Response {
                version,
                status,
                phrase,
            } => {
                self.tuple(4);
                self.atom("http_response");
                self.pair(version.0, version.1);
                self.integer(*status);
                self.string(phrase, binary);
            }
            HttpPacket::Header {
                index,
                field,
                name,
                value,
            } => {
                self.tuple(5);
                self.atom("http_header");
                self.integer((*index).into());
                match field {
                    Field::Known(name) => self.atom(name),
                    Field::Normalized(name) => self.string(name.as_slice(), binary),
                    Field::Received(name) => self.string(name, binary),
                }
                self.string(name, binary);
                self.string(value, binary);
            }
            HttpPacket::EndOfHeaders => self.atom("http_eoh"),
            HttpPacket::Error(line) => {
                self.tuple(2);
                self.atom("http_error");
                self.string(line, binary);
            }
        }
    }

    fn uri(&mut self, uri: &Uri<'_>, binary: bool) {
        match uri {
            Uri::Star => self.atom("*"),
            Uri::AbsPath(path) => {
                self.tuple(2);
                self.atom("abs_path");
                self.string(path, binary);
            }
            Uri::Absolute {
                scheme,
                host,
                port,
                path,
            } => {
                self.tuple(5);
                self.atom("absoluteURI");
                self.atom(match scheme {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                });
                self.string(host, binary);
                match port {
                    Some(port) => self.integer(*port),
                    None => self.atom("undefined"),
                }
                self.string(path, binary);
            }
            Uri::Scheme(before, after) => {
                self.tuple(3);
                self.atom("scheme");
                self.string(before, binary);
                self.string(after, binary);
            }
            Uri::Other(text) => self.string(text, binary),
        }
    }
}
