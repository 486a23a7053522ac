//! Framing: where a frame of `{packet, Type}` begins and ends.
//!
//! [`Framing::scan`] looks at the bytes that came so far and answers with the
//! first frame, or with how many bytes it needs at least. "Incomplete" is no
//! error. No function here allocates, and feeding a frame byte by byte takes
//! linear time, because a search remembers where it stopped.
//!
//! **Source** the manual of `gen_tcp` (`inet:setopts/2`, `packet`) and
//! `erlang:decode_packet/3`, which is the reference the tests compare with.

use core::ops::Range;

mod find;
pub mod http;
mod length;
mod line;

pub use http::{Field, HttpPacket, KNOWN_HEADERS, Method, NormalizedName, Scheme, Uri};
pub use length::{SslTlsHeader, ssl_tls_header};

use http::HttpState;

/// The types of `{packet, Type}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// `raw` or `0`: no frames, bytes as they were read.
    Raw,
    /// `1`: `[L0 | body]`.
    Length1,
    /// `2`: `[L1 L0 | body]`.
    Length2,
    /// `4`: `[L3 L2 L1 L0 | body]`.
    Length4,
    /// `sunrm`: a fragment of ONC RPC record marking.
    Sunrm,
    /// `asn1`: one BER element.
    Asn1,
    /// `cdr`: one GIOP message.
    Cdr,
    /// `fcgi`: one FastCGI record.
    Fcgi,
    /// `tpkt`: one TPKT packet of RFC 1006.
    Tpkt,
    /// `line`: up to and with the delimiter.
    Line,
    /// `http`: start line and headers, strings as lists.
    Http,
    /// `httph`: headers, strings as lists.
    HttpHeader,
    /// `http_bin`: as `http`, strings as binaries.
    HttpBin,
    /// `httph_bin`: as `httph`, strings as binaries.
    HttpHeaderBin,
    /// `ssl_tls` (not documented): one TLS record.
    SslTls,
}

impl PacketType {
    /// Every type, for tables and tests.
    pub const ALL: [PacketType; 15] = [
        PacketType::Raw,
        PacketType::Length1,
        PacketType::Length2,
        PacketType::Length4,
        PacketType::Sunrm,
        PacketType::Asn1,
        PacketType::Cdr,
        PacketType::Fcgi,
        PacketType::Tpkt,
        PacketType::Line,
        PacketType::Http,
        PacketType::HttpHeader,
        PacketType::HttpBin,
        PacketType::HttpHeaderBin,
        PacketType::SslTls,
    ];

    /// The Erlang term as text: an atom's name, or the digit of 1, 2 and 4.
    pub fn name(self) -> &'static str {
        match self {
            PacketType::Raw => "raw",
            PacketType::Length1 => "1",
            PacketType::Length2 => "2",
            PacketType::Length4 => "4",
            PacketType::Sunrm => "sunrm",
            PacketType::Asn1 => "asn1",
            PacketType::Cdr => "cdr",
            PacketType::Fcgi => "fcgi",
            PacketType::Tpkt => "tpkt",
            PacketType::Line => "line",
            PacketType::Http => "http",
            PacketType::HttpHeader => "httph",
            PacketType::HttpBin => "http_bin",
            PacketType::HttpHeaderBin => "httph_bin",
            PacketType::SslTls => "ssl_tls",
        }
    }

    /// What `send` puts before a body of `body_len` bytes.
    ///
    /// Only 1, 2 and 4 have one. The length is cut to the width of the header:
    /// the caller is not told when its body does not fit, as with the other
    /// backends of `gen_tcp`.
    pub fn header(self, body_len: usize) -> Header {
        let [.., b3, b2, b1, b0] = (body_len as u64).to_be_bytes();
        match self {
            PacketType::Length1 => Header {
                bytes: [b0, 0, 0, 0],
                len: 1,
            },
            PacketType::Length2 => Header {
                bytes: [b1, b0, 0, 0],
                len: 2,
            },
            PacketType::Length4 => Header {
                bytes: [b3, b2, b1, b0],
                len: 4,
            },
            _ => Header {
                bytes: [0; 4],
                len: 0,
            },
        }
    }

    /// Whether frames are to be parsed with [`Framing::parse_http`].
    pub fn is_http(self) -> bool {
        matches!(
            self,
            PacketType::Http
                | PacketType::HttpHeader
                | PacketType::HttpBin
                | PacketType::HttpHeaderBin
        )
    }

    /// Whether the strings of a parsed http packet are binaries.
    pub fn http_binary(self) -> bool {
        matches!(self, PacketType::HttpBin | PacketType::HttpHeaderBin)
    }
}

/// The bytes `send` puts before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 4],
    /// How many of `bytes` count: 0, 1, 2 or 4.
    len: u8,
}

impl Header {
    /// The header's bytes; empty for a type that has none.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// A framing type with its parameters, and what a search has to remember
/// between two looks at a growing buffer.
#[derive(Clone, Debug)]
pub struct Framing {
    /// The type in force.
    pub packet: PacketType,
    /// The longest body in bytes, 0 for no limit but 2^31-1 for the whole
    /// frame. For `line` and http it counts the whole line. `raw` ignores it.
    pub packet_size: u32,
    /// The `buffer` option in bytes: where `line` cuts a long line, and the
    /// longest http line when `packet_size` is 0. 0 for no limit.
    pub line_limit: u32,
    /// The byte that ends a frame of type `line`.
    pub delimiter: u8,
    http: HttpState,
    resume: Resume,
}

/// Where the next search goes on.
#[derive(Clone, Copy, Debug)]
struct Resume {
    /// The search this position belongs to. The parameters are open to the
    /// caller, so a position found for others must not be believed.
    packet: PacketType,
    delimiter: u8,
    /// No frame ends within the first `offset` bytes.
    offset: u32,
}

/// What [`Framing::scan`] found at the start of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A complete frame.
    Frame(Frame),
    /// No complete frame yet.
    Incomplete {
        /// So many bytes are needed at least, counted from the start of the
        /// bytes; always more than there are. With fewer the answer stays
        /// `Incomplete`. Once a header has told the length it is exact; the
        /// end of an http header is known with one byte more than it has.
        at_least: usize,
    },
}

/// A complete frame at the start of the scanned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How many bytes it takes off the stream. Never 0.
    pub wire: usize,
    /// The part that is delivered, within the first `wire` bytes. For http the
    /// whole line (see [`Framing::parse_http`]), for `ssl_tls` the payload
    /// (see [`ssl_tls_header`]).
    pub body: Range<usize>,
}

/// The peer sent something that cannot become a frame, or one above the limit.
/// Becomes `emsgsize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// The default of `buffer` in bytes.
const DEFAULT_LINE_LIMIT: u32 = 9216;

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

impl Framing {
    /// The framing of a fresh socket: raw, no `packet_size`, a `buffer` of
    /// 9216 bytes and LF as delimiter.
    pub fn new() -> Self {
        Framing {
            packet: PacketType::Raw,
            packet_size: 0,
            line_limit: DEFAULT_LINE_LIMIT,
            delimiter: b'\n',
            http: HttpState::StartLine,
            resume: Resume {
                packet: PacketType::Raw,
                delimiter: b'\n',
                offset: 0,
            },
        }
    }

    /// Looks at the start of `bytes` for one complete frame.
    ///
    /// `bytes` is everything that came since the last frame. Between two calls
    /// it may only grow at its end; after a frame it begins behind it. When the
    /// caller drops or replaces bytes otherwise it calls [`Framing::reset_scan`].
    /// The parameters may change at any time: the same bytes are then looked at
    /// in the new way.
    ///
    /// `raw` takes everything as one frame.
    ///
    /// **Errors** [`BadFrame`] (`emsgsize`).
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scan, BadFrame> {
        let offset = self.take_resume_offset();
        let announced = match self.packet {
            PacketType::Raw => return Ok(raw(bytes)),
            PacketType::Length1 => length::length1(bytes),
            PacketType::Length2 => length::length2(bytes),
            PacketType::Length4 => length::length4(bytes),
            PacketType::Sunrm => length::sunrm(bytes),
            PacketType::Cdr => length::cdr(bytes)?,
            PacketType::Fcgi => length::fcgi(bytes)?,
            PacketType::Tpkt => length::tpkt(bytes)?,
            PacketType::SslTls => length::ssl_tls(bytes)?,
            PacketType::Asn1
            | PacketType::Line
            | PacketType::Http
            | PacketType::HttpHeader
            | PacketType::HttpBin
            | PacketType::HttpHeaderBin => return self.search(bytes, offset),
        };
        announced.scan(bytes, self.packet_size)
    }

    /// Forgets where the last search stopped. Needed when the bytes of the next
    /// [`Framing::scan`] do not begin with the bytes of the last one. The http
    /// state is not touched.
    pub fn reset_scan(&mut self) {
        self.resume.offset = 0;
    }

    /// Parses a frame that [`Framing::scan`] returned for an http type, and
    /// moves the http state on.
    ///
    /// `line` is the frame with its line end. Anything that does not parse is
    /// [`HttpPacket::Error`] with the whole line, and the state stays.
    pub fn parse_http<'a>(&mut self, line: &'a [u8]) -> HttpPacket<'a> {
        let packet = http::parse(self.http, line);
        self.http = match packet {
            HttpPacket::Request { .. } | HttpPacket::Response { .. } => HttpState::Headers,
            HttpPacket::EndOfHeaders => HttpState::StartLine,
            HttpPacket::Header { .. } | HttpPacket::Error(_) => self.http,
        };
        packet
    }

    /// The types whose end, or whose header's end, is found by searching. The
    /// first `offset` bytes have been searched before.
    fn search(&mut self, bytes: &[u8], offset: usize) -> Result<Scan, BadFrame> {
        let found = match self.packet {
            PacketType::Asn1 => {
                let (searched, announced) = length::asn1(bytes, offset)?;
                let scan = announced.scan(bytes, self.packet_size)?;
                if let Scan::Incomplete { .. } = scan {
                    self.resume_at(searched);
                }
                return Ok(scan);
            }
            PacketType::Line => line::line(
                bytes,
                offset,
                self.delimiter,
                self.packet_size,
                self.line_limit,
            )?,
            _ => self.http_line(bytes, offset)?,
        };
        Ok(match found {
            Found::Line(wire) => Scan::Frame(Frame {
                wire,
                body: 0..wire,
            }),
            Found::Nothing { searched } => {
                self.resume_at(searched);
                Scan::Incomplete {
                    at_least: bytes.len() + 1,
                }
            }
        })
    }

    fn http_line(&mut self, bytes: &[u8], offset: usize) -> Result<Found, BadFrame> {
        let headers_only = matches!(
            self.packet,
            PacketType::HttpHeader | PacketType::HttpHeaderBin
        );
        if headers_only && !bytes.is_empty() {
            self.http = HttpState::Headers;
        }
        let limit = match self.packet_size {
            0 => self.line_limit,
            packet_size => packet_size,
        };
        http::line(bytes, offset, self.http, limit)
    }

    /// The position to go on from. It is taken, not read: only a search that
    /// ends without a frame puts one back.
    #[inline]
    fn take_resume_offset(&mut self) -> usize {
        let offset = core::mem::take(&mut self.resume.offset) as usize;
        let same_search =
            self.resume.packet == self.packet && self.resume.delimiter == self.delimiter;
        if same_search { offset } else { 0 }
    }

    fn resume_at(&mut self, offset: usize) {
        self.resume = Resume {
            packet: self.packet,
            delimiter: self.delimiter,
            // Less is allowed: it is searched again.
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        };
    }
}

/// What a search for the end of a line found.
enum Found {
    /// A line of so many bytes, its end included.
    Line(usize),
    /// Nothing yet; no line ends within the first `searched` bytes.
    Nothing { searched: usize },
}

fn raw(bytes: &[u8]) -> Scan {
    match bytes.len() {
        0 => Scan::Incomplete { at_least: 1 },
        wire => Scan::Frame(Frame {
            wire,
            body: 0..wire,
        }),
    }
}
