//! Streams for tests: the same random bytes in every run.

#![allow(clippy::indexing_slicing, reason = "helpers of tests may panic")]

extern crate std;

use super::PacketType;
use std::vec::Vec;

/// A small generator of random numbers (xorshift), the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// Bytes that are likely to mean something to the type.
pub(crate) fn stream(packet: PacketType, random: &mut Random) -> Vec<u8> {
    let parts: &[&[u8]] = match packet {
        PacketType::Length1 => &[b"\x03abc", b"\0", b"\x05hello"],
        PacketType::Length2 => &[b"\0\x03abc", b"\0\0", b"\0\x05hello"],
        PacketType::Length4 | PacketType::Sunrm => &[
            b"\0\0\0\x03abc",
            b"\0\0\0\0",
            b"\x80\0\0\x02ab",
            b"\x7f\xff\xff\xff",
        ],
        PacketType::Asn1 => &[
            b"\x30\x03abc",
            b"\x1f\xff\xff\x01\x02ab",
            b"\x30\x82\0\x01a",
            b"\x30\x80",
            b"\x30\x86",
        ],
        PacketType::Cdr => &[
            b"GIOP\x01\0\0\0\0\0\0\x02ab",
            b"GIOP\x01\0\x01\0\x02\0\0\0ab",
            b"GIOX",
        ],
        PacketType::Fcgi => &[
            b"\x01\x06\0\x01\0\x03\x02\0abc\0\0",
            b"\x01\0\0\0\0\0\0\0",
            b"\x02",
        ],
        PacketType::Tpkt => &[
            b"\x03\0\0\x07abc",
            b"\x03\0\0\x04",
            b"\x03\0\0\x03",
            b"\x02",
        ],
        PacketType::SslTls => &[
            b"\x16\x03\x01\0\x03abc",
            b"\x80\x05\x01\x03\x01ab",
            b"\x80\0\x01",
        ],
        PacketType::Raw | PacketType::Line => &[b"abc", b"\n", b";", b"\r\n", b"0123456789"],
        _ => &[
            b"GET /a HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"Host: b\r\n",
            b"a: b\r\n c\n\td\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"x",
        ],
    };
    let mut stream = Vec::new();
    for _ in 0..random.below(8) {
        stream.extend_from_slice(random.pick::<&[u8]>(parts));
    }
    if random.below(4) == 0 && !stream.is_empty() {
        let at = random.below(stream.len());
        stream[at] = random.below(256) as u8;
    }
    stream
}
