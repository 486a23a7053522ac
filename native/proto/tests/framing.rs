//! Each packet type but http: its frames, its limits, and what is no frame.

use proto::packet::ssl_tls_header;
use proto::{BadFrame, Frame, Framing, PacketType, Scan};

fn framing(packet: PacketType, packet_size: u32) -> Framing {
    let mut framing = Framing::new();
    framing.packet = packet;
    framing.packet_size = packet_size;
    framing
}

fn scan(packet: PacketType, packet_size: u32, bytes: &[u8]) -> Result<Scan, BadFrame> {
    framing(packet, packet_size).scan(bytes)
}

fn frame(wire: usize, body: std::ops::Range<usize>) -> Result<Scan, BadFrame> {
    Ok(Scan::Frame(Frame { wire, body }))
}

fn incomplete(at_least: usize) -> Result<Scan, BadFrame> {
    Ok(Scan::Incomplete { at_least })
}

/// A valid frame of each type with a length, what `packet_size` counts of it,
/// and the part that is delivered.
const LENGTH_FRAMES: [(PacketType, &[u8], u32, std::ops::Range<usize>); 18] = [
    (PacketType::Length1, b"\x03abc", 3, 1..4),
    (PacketType::Length2, b"\x00\x03abc", 3, 2..5),
    (PacketType::Length4, b"\x00\x00\x00\x03abc", 3, 4..7),
    (PacketType::Sunrm, b"\x80\x00\x00\x03abc", 3, 0..7),
    (PacketType::Sunrm, b"\x00\x00\x00\x03abc", 3, 0..7),
    (PacketType::Asn1, b"\x30\x03abc", 3, 0..5),
    (PacketType::Asn1, b"\x30\x81\x03abc", 3, 0..6),
    (PacketType::Asn1, b"\x30\x82\x00\x03abc", 3, 0..7),
    (PacketType::Asn1, b"\x30\x83\x00\x00\x03abc", 3, 0..8),
    (PacketType::Asn1, b"\x30\x84\x00\x00\x00\x03abc", 3, 0..9),
    (PacketType::Asn1, b"\x3f\x05\x03abc", 3, 0..6),
    (PacketType::Asn1, b"\xff\x80\xff\x05\x81\x03abc", 3, 0..9),
    (
        PacketType::Cdr,
        b"GIOP\x01\x02\x02\x00\x00\x00\x00\x03abc",
        3,
        0..15,
    ),
    (
        PacketType::Cdr,
        b"GIOP\x01\x02\x01\x00\x03\x00\x00\x00abc",
        3,
        0..15,
    ),
    (
        PacketType::Fcgi,
        b"\x01\x06\x00\x01\x00\x03\x02\x00abc\0\0",
        5,
        0..11,
    ),
    (PacketType::Tpkt, b"\x03\x00\x00\x07abc", 3, 0..7),
    (PacketType::SslTls, b"\x16\x03\x01\x00\x03abc", 3, 5..8),
    (PacketType::SslTls, b"\x80\x06\x01\x03\x01abc", 3, 3..8),
];

/// A frame is found whether or not more follows, and each shorter piece of it
/// is incomplete and asks for no more than the frame.
#[test]
fn frames_and_their_pieces() {
    for (packet, bytes, _, body) in LENGTH_FRAMES {
        let wire = bytes.len();
        assert_eq!(
            scan(packet, 0, bytes),
            frame(wire, body.clone()),
            "{packet:?}"
        );
        let more = [bytes, b"\xff\xff"].concat();
        assert_eq!(scan(packet, 0, &more), frame(wire, body), "{packet:?}");
        for len in 0..wire {
            match scan(packet, 0, &bytes[..len]) {
                Ok(Scan::Incomplete { at_least }) => assert!((len + 1..=wire).contains(&at_least)),
                other => panic!("{packet:?} {len}: {other:?}"),
            }
        }
    }
}

/// `packet_size` refuses a longer body as soon as the header tells, and no other.
#[test]
fn packet_size_counts_the_body() {
    for (packet, bytes, size, body) in LENGTH_FRAMES {
        assert_eq!(
            scan(packet, size, bytes),
            frame(bytes.len(), body),
            "{packet:?}"
        );
        assert_eq!(scan(packet, size - 1, bytes), Err(BadFrame), "{packet:?}");
        let header = bytes.len() - size as usize;
        assert_eq!(
            scan(packet, size - 1, &bytes[..header]),
            Err(BadFrame),
            "{packet:?}"
        );
    }
}

/// An empty body is a frame; 1, 2 and 4 deliver nothing of it.
#[test]
fn empty_bodies() {
    for (packet, bytes, body) in [
        (PacketType::Length1, &b"\0"[..], 1..1),
        (PacketType::Length2, b"\0\0", 2..2),
        (PacketType::Length4, b"\0\0\0\0", 4..4),
        (PacketType::Sunrm, b"\x80\0\0\0", 0..4),
        (PacketType::Asn1, b"\x05\0", 0..2),
        // The indefinite length counts as none.
        (PacketType::Asn1, b"\x30\x80", 0..2),
        (PacketType::Cdr, b"GIOP\x01\0\0\0\0\0\0\0", 0..12),
        (PacketType::Fcgi, b"\x01\x06\0\x01\0\0\0\0", 0..8),
        (PacketType::Tpkt, b"\x03\0\0\x04", 0..4),
        (PacketType::SslTls, b"\x17\x03\x03\0\0", 5..5),
    ] {
        assert_eq!(
            scan(packet, 0, bytes),
            frame(bytes.len(), body.clone()),
            "{packet:?}"
        );
        assert_eq!(
            scan(packet, 1, bytes),
            frame(bytes.len(), body),
            "{packet:?}"
        );
    }
}

/// What violates a header's grammar is bad as soon as the header is there.
#[test]
fn bad_headers() {
    for (packet, bytes) in [
        (PacketType::Asn1, &b"\x30\x85\0\0\0\0\x01"[..]),
        (PacketType::Cdr, b"GIOQ\x01\0\0\0\0\0\0\0"),
        (PacketType::Fcgi, b"\x02\x06\0\x01\0\0\0\0"),
        (PacketType::Tpkt, b"\x02\0\0\x04"),
        (PacketType::Tpkt, b"\x03\0\0\x03"),
        (PacketType::SslTls, b"\x80\x02\x01\x03\x01"),
    ] {
        assert_eq!(scan(packet, 0, bytes), Err(BadFrame), "{packet:?}");
        let short = &bytes[..bytes.len() - 1];
        assert!(
            matches!(scan(packet, 0, short), Ok(Scan::Incomplete { .. })),
            "{packet:?}"
        );
    }
}

/// The incomplete header asks for itself, the complete one for the whole frame.
#[test]
fn needed_bytes_are_exact() {
    for (packet, empty) in [
        (PacketType::Raw, 1),
        (PacketType::Length1, 1),
        (PacketType::Length2, 2),
        (PacketType::Length4, 4),
        (PacketType::Sunrm, 4),
        (PacketType::Asn1, 2),
        (PacketType::Cdr, 12),
        (PacketType::Fcgi, 8),
        (PacketType::Tpkt, 4),
        (PacketType::Line, 1),
        (PacketType::Http, 1),
        (PacketType::SslTls, 5),
    ] {
        assert_eq!(scan(packet, 0, b""), incomplete(empty), "{packet:?}");
    }
    assert_eq!(
        scan(PacketType::Length4, 0, b"\x04\0\0\x01"),
        incomplete(0x400_0005)
    );
    assert_eq!(scan(PacketType::Asn1, 0, b"\x1f\x85"), incomplete(4));
    assert_eq!(scan(PacketType::Asn1, 0, b"\x1f\x05"), incomplete(3));
    assert_eq!(scan(PacketType::Asn1, 0, b"\x30\x83\x01"), incomplete(5));
}

/// No frame exceeds 2^31-1 bytes, with or without `packet_size`.
#[test]
fn frames_end_at_two_gigabytes() {
    for packet_size in [0, 0x7fff_fffb, 0x7fff_ffff, u32::MAX] {
        for (packet, header) in [(PacketType::Length4, 0), (PacketType::Sunrm, 0x8000_0000)] {
            let with = |len: u32| scan(packet, packet_size, &(len | header).to_be_bytes());
            assert_eq!(with(0x7fff_fffb), incomplete(0x7fff_ffff));
            assert_eq!(with(0x7fff_fffc), Err(BadFrame));
            assert_eq!(with(0x7fff_ffff), Err(BadFrame));
        }
        let with = |len: u32| {
            scan(
                PacketType::Cdr,
                packet_size,
                &[b"GIOP\x01\0\0\0", &len.to_be_bytes()[..]].concat(),
            )
        };
        assert_eq!(with(0x7fff_fff3), incomplete(0x7fff_ffff));
        assert_eq!(with(0x7fff_fff4), Err(BadFrame));
        assert_eq!(with(u32::MAX), Err(BadFrame));
    }
    assert_eq!(scan(PacketType::Length4, 0, b"\x80\0\0\0"), Err(BadFrame));
}

/// A tag that does not end is refused before it takes memory for ever.
#[test]
fn asn1_tags_end() {
    let mut framing = framing(PacketType::Asn1, 0);
    let mut bytes = vec![0x1f];
    loop {
        match framing.scan(&bytes) {
            Ok(Scan::Incomplete { .. }) => bytes.push(0xff),
            other => break assert_eq!(other, Err(BadFrame)),
        }
    }
    assert_eq!(bytes.len(), 9216);
}

/// A line is delivered with its delimiter, whichever byte that is.
#[test]
fn lines() {
    let mut framing = framing(PacketType::Line, 0);
    assert_eq!(framing.scan(b"abc\r\ndef"), frame(5, 0..5));
    assert_eq!(framing.scan(b"\n"), frame(1, 0..1));
    assert_eq!(framing.scan(b"abc"), incomplete(4));
    for delimiter in [0, b';', 255] {
        framing.delimiter = delimiter;
        assert_eq!(
            framing.scan(&[b'a', b'\n', delimiter, b'b']),
            frame(3, 0..3)
        );
    }
}

/// A long line is cut at `line_limit`, and the rest of it is the next line.
#[test]
fn long_lines_are_cut() {
    let mut framing = framing(PacketType::Line, 0);
    framing.line_limit = 10;
    let mut stream = &b"0123456789abcdefghij0123\n0123456789\n"[..];
    let mut lines = Vec::new();
    while let Ok(Scan::Frame(Frame { wire, body })) = framing.scan(stream) {
        lines.push(&stream[body]);
        stream = &stream[wire..];
    }
    let expected: [&[u8]; 5] = [
        b"0123456789",
        b"abcdefghij",
        b"0123\n",
        b"0123456789",
        b"\n",
    ];
    assert_eq!(lines, expected);
}

/// `packet_size` refuses a longer line, unless cutting comes first.
#[test]
fn line_limits() {
    let mut framing = framing(PacketType::Line, 5);
    assert_eq!(framing.scan(b"abcd\n"), frame(5, 0..5));
    assert_eq!(framing.scan(b"abcde\n"), Err(BadFrame));
    assert_eq!(framing.scan(b"abcde"), incomplete(6));
    assert_eq!(framing.scan(b"abcdef"), Err(BadFrame));
    for line_limit in [1, 4, 5] {
        framing.line_limit = line_limit;
        let cut = line_limit as usize;
        assert_eq!(framing.scan(b"abcdefghijk\n"), frame(cut, 0..cut));
    }
    framing.line_limit = 6;
    assert_eq!(framing.scan(b"abcdefghijk\n"), Err(BadFrame));
}

/// Raw takes what there is, and ignores every limit.
#[test]
fn raw() {
    let mut framing = framing(PacketType::Raw, 2);
    framing.line_limit = 2;
    assert_eq!(framing.scan(b"abcdef"), frame(6, 0..6));
    assert_eq!(framing.scan(b""), incomplete(1));
}

/// Type and version of a TLS record, and what an SSL 2 hello is made into.
#[test]
fn ssl_tls_headers() {
    let header = ssl_tls_header(b"\x16\x03\x01\x00\x03abc").unwrap();
    assert_eq!(
        (header.content_type, header.version, header.prefix()),
        (22, (3, 1), &b""[..])
    );
    let header = ssl_tls_header(b"\x80\x06\x01\x03\x01abc").unwrap();
    assert_eq!(
        (header.content_type, header.version, header.prefix()),
        (22, (3, 1), &b"\x01\x00\x00\x05"[..])
    );
    assert_eq!(ssl_tls_header(b"\x16\x03\x01\x00"), None);
}

/// Only 1, 2 and 4 have a header, of which the length's low bytes are sent.
#[test]
fn send_headers() {
    for packet in PacketType::ALL {
        let header = |len| packet.header(len).as_slice().to_vec();
        match packet {
            PacketType::Length1 => {
                assert_eq!(header(0), [0]);
                assert_eq!(header(255), [255]);
                assert_eq!(header(256), [0]);
                assert_eq!(header(600), [88]);
            }
            PacketType::Length2 => {
                assert_eq!(header(258), [1, 2]);
                assert_eq!(header(65536), [0, 0]);
            }
            PacketType::Length4 => assert_eq!(header(0x0102_0304), [1, 2, 3, 4]),
            _ => assert_eq!(header(77), []),
        }
    }
}

/// The list of all types is complete and their names differ.
#[test]
fn all_types_have_names() {
    let names: std::collections::BTreeSet<_> = PacketType::ALL.map(PacketType::name).into();
    assert_eq!(names.len(), PacketType::ALL.len());
    let http = PacketType::ALL
        .into_iter()
        .filter(|packet| packet.is_http());
    assert_eq!(http.clone().count(), 4);
    assert_eq!(http.filter(|packet| packet.http_binary()).count(), 2);
}
