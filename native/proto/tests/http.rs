//! The lines of http: what they are parsed into, and where they end.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

use proto::packet::http::KNOWN_HEADERS;
use proto::packet::{Field, HttpPacket, Method, Scheme, Uri};
use proto::{BadFrame, Framing, PacketType, Scan};

fn framing(packet: PacketType) -> Framing {
    let mut framing = Framing::new();
    framing.packet = packet;
    framing
}

/// All packets of the stream, in words.
fn packets(packet: PacketType, stream: &[u8]) -> Vec<String> {
    let mut framing = framing(packet);
    let mut rest = stream;
    let mut packets = Vec::new();
    while let Scan::Frame(frame) = framing.scan(rest).unwrap() {
        let line = &rest[frame.body];
        packets.push(match framing.parse_http(line) {
            HttpPacket::Error(text) => format!("error {:?}", text.escape_ascii().to_string()),
            HttpPacket::EndOfHeaders => "end".to_string(),
            HttpPacket::Request {
                method,
                uri,
                version,
            } => {
                let method = match method {
                    Method::Known(name) => name.to_string(),
                    Method::Other(name) => format!("<{}>", name.escape_ascii()),
                };
                format!("{method} {} {}.{}", words(uri), version.0, version.1)
            }
            HttpPacket::Response {
                version,
                status,
                phrase,
            } => {
                format!(
                    "{}.{} {status} {}",
                    version.0,
                    version.1,
                    phrase.escape_ascii()
                )
            }
            HttpPacket::Header {
                index,
                field,
                name,
                value,
            } => {
                let field = match field {
                    Field::Known(name) => name.to_string(),
                    Field::Normalized(name) => format!("<{}>", name.as_slice().escape_ascii()),
                    Field::Received(name) => format!("<<{}>>", name.escape_ascii()),
                };
                let (name, value) = (name.escape_ascii(), value.escape_ascii());
                format!("{index} {field} {name}={value}")
            }
        });
        rest = &rest[frame.wire..];
    }
    packets
}

fn words(uri: Uri<'_>) -> String {
    match uri {
        Uri::Star => "star".to_string(),
        Uri::AbsPath(path) => format!("path:{}", path.escape_ascii()),
        Uri::Absolute {
            scheme,
            host,
            port,
            path,
        } => {
            let scheme = match scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            let (host, path) = (host.escape_ascii(), path.escape_ascii());
            format!("{scheme}:{host}:{}:{path}", port.map_or(-1, i64::from))
        }
        Uri::Scheme(before, after) => {
            format!("scheme:{}:{}", before.escape_ascii(), after.escape_ascii())
        }
        Uri::Other(text) => format!("text:{}", text.escape_ascii()),
    }
}

fn start_line(line: &str) -> String {
    packets(PacketType::Http, format!("{line}\r\n").as_bytes()).concat()
}

fn header(line: &str) -> String {
    packets(PacketType::HttpHeader, format!("{line}\r\nx").as_bytes()).concat()
}

/// A request and a response run through start line, headers and end.
#[test]
fn messages() {
    assert_eq!(
        packets(
            PacketType::Http,
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nHTTP/1.0 200 OK\nx-y:1\n\nGET /b\r\n"
        ),
        [
            "GET path:/ 1.1",
            "14 Host Host=a",
            "end",
            "1.0 200 OK",
            "0 <X-Y> x-y=1",
            "end",
            "GET path:/b 0.9"
        ]
    );
}

/// What does not parse is an error item, and the state stays.
#[test]
fn errors_do_not_stop() {
    assert_eq!(
        packets(
            PacketType::Http,
            b"\r\nGET / HTTP/1.1\r\nno header\r\nA:b\r\n\r\nBODY\n"
        ),
        [
            r#"error "\\r\\n""#,
            "GET path:/ 1.1",
            r#"error "no header\\r\\n""#,
            "0 <A> A=b",
            "end",
            r#"error "BODY\\n""#
        ]
    );
}

/// `httph` takes every line for a header; `http` goes on where `httph` left.
#[test]
fn header_types() {
    assert_eq!(
        packets(
            PacketType::HttpHeaderBin,
            b"GET / HTTP/1.1\r\n\r\nA:b\r\n\r\n"
        ),
        [r#"error "GET / HTTP/1.1\\r\\n""#, "end", "0 <A> A=b", "end"]
    );
    let mut framing = framing(PacketType::HttpHeader);
    assert!(framing.scan(b"A:b").is_ok());
    framing.packet = PacketType::Http;
    assert!(matches!(
        framing.parse_http(b"A:b\r\n"),
        HttpPacket::Header { .. }
    ));
    // A look at nothing is no attempt to decode.
    let mut framing = self::framing(PacketType::HttpHeader);
    assert_eq!(framing.scan(b""), Ok(Scan::Incomplete { at_least: 1 }));
    framing.packet = PacketType::Http;
    assert!(matches!(
        framing.parse_http(b"GET /\r\n"),
        HttpPacket::Request { .. }
    ));
}

/// Request lines: methods, blanks and versions.
#[test]
fn request_lines() {
    for (line, expected) in [
        ("OPTIONS * HTTP/1.1", "OPTIONS star 1.1"),
        ("PATCH \t /x\t HTTP/2.10 junk", "<PATCH> path:/x 2.10"),
        ("get /", "<get> path:/ 0.9"),
        ("GET / ", "GET path:/ 0.9"),
        ("GET / HTTP/1.0\rX", "GET path:/ 1.0"),
        ("\x7fM /", "<\\x7fM> path:/ 0.9"),
    ] {
        assert_eq!(start_line(line), expected);
    }
    for line in [
        "",
        "GET",
        "GET ",
        " GET /",
        "GE(T /",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / http/1.1",
        "GET / junk",
        "\u{80} /",
    ] {
        assert!(start_line(line).starts_with("error"), "{line:?}");
    }
}

/// Status lines: digits, blanks and phrases.
#[test]
fn status_lines() {
    for (line, expected) in [
        ("HTTP/1.1 200 OK", "1.1 200 OK"),
        ("HTTP/1.1\t 99999 \t a b ", "1.1 99999 a b "),
        ("HTTP/1.1 204", "1.1 204 "),
        ("HTTP/1.1 204 ", "1.1 204 "),
        ("HTTP/1.1  ", "1.1 0 "),
        (
            "HTTP/4294967297.1 99999999999 x",
            "2147483647.1 2147483647 x",
        ),
    ] {
        assert_eq!(start_line(line), expected);
    }
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 OK",
        "HTTP/1.1 2x",
        "HTTP/1 200 OK",
        "HTTP/.1 200 OK",
        "HTTP/1.1200",
    ] {
        assert!(start_line(line).starts_with("error"), "{line:?}");
    }
}

/// Which bytes may stand in a method and in a header's name.
#[test]
fn tokens() {
    for byte in 0..=255 {
        let allowed = (33..=127).contains(&byte) && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        let request = [b'M', byte, b'M', b' ', b'/', b'\n'];
        let parsed = framing(PacketType::Http).parse_http(&request);
        // A blank ends the method, a line end the line.
        if !matches!(byte, b' ' | b'\t' | b'\n') {
            assert_eq!(
                matches!(parsed, HttpPacket::Request { .. }),
                allowed,
                "{byte}"
            );
        }
        let header = [b'n', byte, b':', b'v', b'\n'];
        let mut headers = framing(PacketType::HttpHeader);
        assert!(headers.scan(&header).is_ok());
        let parsed = headers.parse_http(&header);
        if byte != b':' {
            assert_eq!(
                matches!(parsed, HttpPacket::Header { .. }),
                allowed,
                "{byte}"
            );
        }
    }
}

/// Every form of a URI, IPv6 literals among them.
#[test]
fn uris() {
    for (uri, expected) in [
        ("*", "star"),
        ("/", "path:/"),
        ("/*", "path:/*"),
        ("x", "path:x"),
        ("xy", "text:xy"),
        ("host:443", "scheme:host:443"),
        (":", "path::"),
        ("::", "scheme:::"),
        ("ftp://h/p", "scheme:ftp://h/p"),
        ("http:/", "scheme:http:/"),
        ("http://", "http::-1:/"),
        ("HTTPS://h", "https:h:-1:/"),
        ("hTTp://h:8080/p:q?r#s", "http:h:8080:/p:q?r#s"),
        ("http://h:0/", "http:h:-1:/"),
        ("http://h:/", "http:h:-1:/"),
        ("http://h:8x/", "http:h:-1:/"),
        ("http://h:80:81/", "http:h:-1:/"),
        ("http://h:99999999999/", "http:h:2147483647:/"),
        ("http://[::1]:80/p", "http:[::1]:80:/p"),
        ("http://[::1]/p", "http:[::1]:-1:/p"),
        ("http://[::1]", "http:[::1]:-1:/"),
        ("http://[::1]x:80/", "http:[::1]:-1:/"),
        ("http://[::1]:80:81/", "http:[::1]:-1:/"),
        ("http://[ab]/", "http:[ab]:-1:/"),
        ("http://[ab]x/", "http:[ab]x:-1:/"),
        ("http://[::1/", "http:[:-1:/"),
    ] {
        assert_eq!(
            start_line(&format!("GET {uri} HTTP/1.1")),
            format!("GET {expected} 1.1")
        );
    }
}

/// A known name has its index and spelling in any case; no other has one.
#[test]
fn known_names() {
    for (place, name) in KNOWN_HEADERS.iter().enumerate() {
        for written in [name.to_string(), name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(
                header(&format!("{written}:v")),
                format!("{} {name} {written}=v", place + 1)
            );
        }
        for other in [
            format!("{name}s"),
            name[1..].to_string(),
            name.replace('-', "_") + "_",
        ] {
            assert!(header(&format!("{other}:v")).starts_with("0 <"), "{other}");
        }
    }
}

/// The spelling of unknown names, up to fifty bytes.
#[test]
fn unknown_names() {
    for (name, expected) in [
        ("x-MY-header", "X-My-Header"),
        ("-a--b-c", "-a--b-C"),
        ("", ""),
        ("a1-2b", "A1-2b"),
    ] {
        assert_eq!(
            header(&format!("{name}: v")),
            format!("0 <{expected}> {name}=v")
        );
    }
    let (fifty, more) = ("a".repeat(50), "a".repeat(51));
    assert_eq!(
        header(&format!("{fifty}:")),
        format!("0 <A{}> {fifty}=", "a".repeat(49))
    );
    assert_eq!(header(&format!("{more}:")), format!("0 <<{more}>> {more}="));
}

/// Values keep everything but the blanks in front.
#[test]
fn values() {
    for (line, expected) in [
        ("A:", "0 <A> A="),
        ("A: \t b  ", "0 <A> A=b  "),
        ("A:b\r\n  c\r\n\td", "0 <A> A=b\\r\\n  c\\r\\n\\td"),
        ("A:b\n c", "0 <A> A=b\\n c"),
        ("A:b:\0c", "0 <A> A=b:\\x00c"),
    ] {
        assert_eq!(header(line), expected);
    }
    for line in ["A :b", " A:b", "A", "a@b:c"] {
        assert!(header(line).starts_with("error"), "{line:?}");
    }
}

/// A header ends with the first byte of the next line, all else with its LF.
#[test]
fn where_lines_end() {
    let mut headers = framing(PacketType::HttpHeader);
    assert_eq!(
        headers.scan(b"A: b\r\n"),
        Ok(Scan::Incomplete { at_least: 7 })
    );
    assert_eq!(
        headers.scan(b"A: b\r\n "),
        Ok(Scan::Incomplete { at_least: 8 })
    );
    assert!(matches!(headers.scan(b"A: b\r\n \nX"), Ok(Scan::Frame(frame)) if frame.wire == 8));
    for (packet, line) in [
        (PacketType::HttpHeader, &b"\r\n"[..]),
        // Too short for a header, and not continued therefore.
        (PacketType::HttpHeader, b"a\n"),
        (PacketType::HttpHeader, b"\n"),
        (PacketType::Http, b"GET /\r\n"),
        (PacketType::Http, b"\n"),
    ] {
        for more in [&b" x"[..], b"x", b""] {
            if line == b"a\n" && more.is_empty() {
                continue;
            }
            let scan = framing(packet).scan(&[line, more].concat());
            assert!(matches!(scan, Ok(Scan::Frame(frame)) if frame.wire == line.len()));
        }
    }
}

/// `packet_size`, or `line_limit` without it, limits a line with all it is continued by.
#[test]
fn limits() {
    for (packet_size, line_limit) in [(10, 0), (0, 10), (10, 5), (10, 100)] {
        let scan = |packet, bytes: &[u8]| {
            let mut framing = framing(packet);
            framing.packet_size = packet_size;
            framing.line_limit = line_limit;
            framing.scan(bytes)
        };
        assert!(matches!(
            scan(PacketType::Http, b"12345678\r\n"),
            Ok(Scan::Frame(_))
        ));
        assert_eq!(scan(PacketType::Http, b"123456789\r\n"), Err(BadFrame));
        assert_eq!(
            scan(PacketType::Http, b"123456789"),
            Ok(Scan::Incomplete { at_least: 10 })
        );
        assert_eq!(scan(PacketType::Http, b"1234567890"), Err(BadFrame));
        assert!(matches!(
            scan(PacketType::HttpHeader, b"A:b\r\n c\r\nx"),
            Ok(Scan::Frame(_))
        ));
        assert_eq!(
            scan(PacketType::HttpHeader, b"A:b\r\n cde\r\nx"),
            Err(BadFrame)
        );
        // A full buffer with a complete line waits for the byte behind it.
        assert_eq!(
            scan(PacketType::HttpHeader, b"A:345678\r\n"),
            Ok(Scan::Incomplete { at_least: 11 })
        );
    }
}
