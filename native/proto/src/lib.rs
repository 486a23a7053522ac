//! The TCP stream as `gen_tcp` sees it, without any input or output: bytes in,
//! ranges out.
//!
//! The crate does no I/O, allocates nothing for framing, and has no
//! dependencies. What it cannot know (sockets, mailboxes, clocks) is handed in
//! by the crates above it.
//!
//! - [`packet`]: finds the frames of every `{packet, Type}`, and parses http.
//! - [`active`]: the arithmetic of `{active, Mode}`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod active;
pub mod packet;
pub mod reader;
pub mod writer;

pub use active::{Active, ActiveRequest, OutOfRange};
pub use packet::{BadFrame, Frame, Framing, Header, PacketType, Scan};
