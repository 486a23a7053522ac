//! Any bytes as http: no panic, every part lies within its line, and known
//! names are what they claim to be; nothing of it allocates.
//!
//! Input: `[type | stream]`.

#![no_main]

use fuzz::without_allocating;
use libfuzzer_sys::fuzz_target;
use proto::packet::http::{KNOWN_HEADERS, KNOWN_METHODS};
use proto::packet::{Field, HttpPacket, Method, Uri};
use proto::{Framing, PacketType, Scan};

fuzz_target!(|input: &[u8]| {
    let Some((&packet, mut stream)) = input.split_first() else {
        return;
    };
    let types = PacketType::ALL
        .map(|packet| packet)
        .into_iter()
        .filter(|packet| packet.is_http());
    let mut framing = Framing::new();
    framing.packet = types
        .cycle()
        .nth(usize::from(packet % 4))
        .unwrap_or(PacketType::Http);
    framing.line_limit = 0;
    while let Ok(Scan::Frame(frame)) = framing.scan(stream) {
        let (line, rest) = stream.split_at(frame.wire);
        assert_eq!(frame.body, 0..frame.wire);
        check(line, &without_allocating(|| framing.parse_http(line)));
        stream = rest;
    }
    // What is no frame is parsed without harm, too.
    check(stream, &without_allocating(|| framing.parse_http(stream)));
});

fn check(line: &[u8], packet: &HttpPacket<'_>) {
    match packet {
        HttpPacket::Request {
            method,
            uri,
            version,
        } => {
            match method {
                Method::Known(name) => {
                    assert!(KNOWN_METHODS.contains(name) && line.starts_with(name.as_bytes()));
                }
                Method::Other(name) => {
                    assert!(line.starts_with(name) && !name.is_empty());
                    assert!(KNOWN_METHODS.iter().all(|known| known.as_bytes() != *name));
                }
            }
            check_uri(line, uri);
            check_number(version.0);
            check_number(version.1);
        }
        HttpPacket::Response {
            version,
            status,
            phrase,
        } => {
            within(line, phrase);
            [version.0, version.1, *status]
                .into_iter()
                .for_each(check_number);
        }
        HttpPacket::Header {
            index,
            field,
            name,
            value,
        } => {
            assert!(line.starts_with(name));
            within(line, value);
            match field {
                Field::Known(known) => {
                    assert_eq!(KNOWN_HEADERS[usize::from(*index) - 1], *known);
                    assert!(known.as_bytes().eq_ignore_ascii_case(name));
                }
                Field::Normalized(normalized) => {
                    assert!(*index == 0 && name.len() <= 50);
                    assert!(normalized.as_slice().eq_ignore_ascii_case(name));
                    assert!(
                        KNOWN_HEADERS
                            .iter()
                            .all(|known| known.as_bytes() != normalized.as_slice())
                    );
                }
                Field::Received(received) => {
                    assert!(*index == 0 && received.len() > 50 && received == name);
                }
            }
        }
        HttpPacket::EndOfHeaders => assert!(line.len() <= 2),
        HttpPacket::Error(text) => assert_eq!(*text, line),
    }
}

fn check_uri(line: &[u8], uri: &Uri<'_>) {
    match uri {
        Uri::Star => {}
        Uri::AbsPath(path) => assert!(path.len() == 1 || path.starts_with(b"/")),
        Uri::Absolute {
            host, port, path, ..
        } => {
            within(line, host);
            assert!(*path == b"/" || line.windows(path.len()).any(|part| part == *path));
            assert!(path.starts_with(b"/") && *port != Some(0));
            port.map(check_number);
        }
        Uri::Scheme(before, after) => {
            within(line, before);
            within(line, after);
            assert!(!before.contains(&b':'));
        }
        Uri::Other(text) => within(line, text),
    }
}

fn check_number(number: u32) {
    assert!(number <= i32::MAX as u32);
}

fn within(line: &[u8], part: &[u8]) {
    let (line, part) = (line.as_ptr_range(), part.as_ptr_range());
    assert!(part.is_empty() || (line.start <= part.start && part.end <= line.end));
}
