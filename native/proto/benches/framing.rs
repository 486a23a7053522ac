//! How fast frames are found and http is parsed: `cargo bench -p gen_tcp_rs_proto`, or
//! `make bench-framing` to see it beside `erlang:decode_packet/3`.
//!
//! - `frames`: a buffer of 100-byte frames of each type with a length, and of
//!   lines, in bytes a second.
//! - `http`: one request of 500 bytes, beside httparse on the same bytes.
//! - `pieces`: the same request in single bytes.

#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without a comment"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto::{Framing, PacketType, Scan};
use std::hint::black_box;

const FRAME: usize = 100;
const BUFFER: usize = 64 * 1024 / FRAME * FRAME;

/// A request line and ten headers of usual length; 500 bytes.
const REQUEST: &[u8] = include_bytes!("request.http");

fn framing(packet: PacketType) -> Framing {
    let mut framing = Framing::new();
    framing.packet = packet;
    framing
}

fn frame(packet: PacketType) -> Vec<u8> {
    let mut frame: Vec<u8> = match packet {
        PacketType::Length1 => vec![99],
        PacketType::Length2 => vec![0, 98],
        PacketType::Length4 => vec![0, 0, 0, 96],
        PacketType::Sunrm => vec![0x80, 0, 0, 96],
        PacketType::Asn1 => vec![0x30, 98],
        PacketType::Cdr => b"GIOP\x01\x02\0\0\0\0\0\x58".to_vec(),
        PacketType::Fcgi => vec![1, 6, 0, 1, 0, 90, 2, 0],
        PacketType::Tpkt => vec![3, 0, 0, 100],
        PacketType::SslTls => vec![23, 3, 3, 0, 95],
        _ => vec![],
    };
    frame.resize(FRAME - 1, b'a');
    frame.push(b'\n');
    frame
}

/// Takes the bodies' ends, so that no part of a frame is left unknown.
fn walk(framing: &mut Framing, mut bytes: &[u8]) -> usize {
    let mut sum = 0;
    while let Ok(Scan::Frame(frame)) = framing.scan(bytes) {
        sum += frame.body.end - frame.body.start;
        bytes = bytes.get(frame.wire..).unwrap_or_default();
    }
    sum
}

fn parse(framing: &mut Framing, mut bytes: &[u8]) {
    while let Ok(Scan::Frame(frame)) = framing.scan(bytes) {
        let (line, rest) = bytes.split_at_checked(frame.wire).unwrap_or_default();
        black_box(framing.parse_http(line));
        bytes = rest;
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Bytes(BUFFER as u64));
    for packet in PacketType::ALL {
        if packet.is_http() || packet == PacketType::Raw {
            continue;
        }
        let buffer = frame(packet).repeat(BUFFER / FRAME);
        let mut framing = framing(packet);
        assert!(
            walk(&mut framing, &buffer) >= BUFFER / FRAME * 90,
            "{packet:?}"
        );
        group.bench_function(packet.name(), |bencher| {
            bencher.iter(|| walk(&mut framing, black_box(&buffer)));
        });
    }
    group.finish();
}

fn http(criterion: &mut Criterion) {
    let request = REQUEST;
    assert_eq!(request.len(), 500);
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut framing = framing(PacketType::HttpBin);
    group.bench_function("proto", |bencher| {
        bencher.iter(|| parse(&mut framing, black_box(request)));
    });
    group.bench_function("httparse", |bencher| {
        bencher.iter(|| {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut parsed = httparse::Request::new(&mut headers);
            let status = parsed.parse(black_box(request));
            assert!(matches!(status, Ok(httparse::Status::Complete(500))));
            black_box(&parsed);
        });
    });
    group.finish();
}

fn pieces(criterion: &mut Criterion) {
    let request = REQUEST;
    let mut group = criterion.benchmark_group("pieces");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut framing = framing(PacketType::HttpBin);
    group.bench_function("http", |bencher| {
        bencher.iter(|| {
            let mut start = 0;
            for end in 1..=request.len() {
                let bytes = request.get(start..end).unwrap_or_default();
                if let Ok(Scan::Frame(frame)) = framing.scan(black_box(bytes)) {
                    black_box(framing.parse_http(bytes.get(..frame.wire).unwrap_or_default()));
                    start += frame.wire;
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, frames, http, pieces);
criterion_main!(benches);
