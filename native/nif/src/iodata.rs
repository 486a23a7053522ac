//! Data to send: iodata as pieces that one write can take.
//!
//! Small parts are copied together, large binaries stay where they are. What the kernel
//! does not take at once is kept by reference.

use crate::message::KeptBinary;
use net::Outgoing;
use rustler::{Binary, Error, NifResult, Term, TermType};
use std::cell::Cell;
use std::io::IoSlice;

/// A binary above so many bytes is not copied.
const REFERENCE_FROM: usize = 16 * 1024;
/// Most bytes of a buffer that a thread keeps for the next send.
const KEEP_UP_TO: usize = 32 * 1024;

thread_local! {
    /// Where small parts are copied together: growing a new one costs more than the copies.
    static FLAT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is queued of a send.
pub(crate) enum Kept {
    /// A large binary of the caller's.
    Binary(KeptBinary),
    /// A part of flattened iodata.
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        match self {
            Kept::Binary(binary) => binary.as_ref(),
            Kept::Copied(bytes) => bytes,
        }
    }
}

/// Where the bytes of a piece are.
enum Origin<'a> {
    Binary(Term<'a>),
    Flattened,
}

/// One binary.
struct Whole<'a, 'b> {
    slice: [IoSlice<'b>; 1],
    binary: Term<'a>,
}

impl Outgoing<Kept> for Whole<'_, '_> {
    fn pieces(&self) -> &[IoSlice<'_>] {
        &self.slice
    }

    fn keep(&self, _piece: usize, from: usize) -> Kept {
        by_reference(self.binary, from).unwrap_or_else(|| copied(&self.slice, 0, from))
    }
}

/// Iodata without large binaries.
struct Flat<'b>([IoSlice<'b>; 1]);

impl Outgoing<Kept> for Flat<'_> {
    fn pieces(&self) -> &[IoSlice<'_>] {
        &self.0
    }

    fn keep(&self, piece: usize, from: usize) -> Kept {
        copied(&self.0, piece, from)
    }
}

/// Iodata, ready to be written.
struct Pieces<'a, 'b> {
    slices: Vec<IoSlice<'b>>,
    origins: Vec<Origin<'a>>,
}

impl Outgoing<Kept> for Pieces<'_, '_> {
    fn pieces(&self) -> &[IoSlice<'_>] {
        &self.slices
    }

    fn keep(&self, piece: usize, from: usize) -> Kept {
        let kept = match self.origins.get(piece) {
            Some(Origin::Binary(term)) => by_reference(*term, from),
            _ => None,
        };
        kept.unwrap_or_else(|| copied(&self.slices, piece, from))
    }
}

fn by_reference(binary: Term<'_>, from: usize) -> Option<Kept> {
    KeptBinary::new(binary, from).map(Kept::Binary)
}

fn copied(slices: &[IoSlice<'_>], piece: usize, from: usize) -> Kept {
    let bytes = slices.get(piece).and_then(|slice| slice.get(from..));
    Kept::Copied(bytes.unwrap_or_default().to_vec())
}

/// Makes pieces of `data` and hands them to `work`.
///
/// **Errors** `badarg`: no iodata.
pub(crate) fn with_pieces<'a, R>(
    data: Term<'a>,
    work: impl FnOnce(&dyn Outgoing<Kept>) -> R,
) -> NifResult<R> {
    if data.get_type() == TermType::Binary {
        let binary: Binary<'a> = data.decode()?;
        return Ok(work(&Whole {
            slice: [IoSlice::new(binary.as_slice())],
            binary: data,
        }));
    }
    let mut flat = FLAT.take();
    flat.clear();
    let mut parts = Vec::new();
    flatten(data, &mut flat, &mut parts)?;
    let result = match parts.as_slice() {
        [] => work(&Flat([IoSlice::new(&flat)])),
        parts => work(&interleaved(&flat, parts)),
    };
    if flat.capacity() <= KEEP_UP_TO {
        FLAT.set(flat);
    }
    Ok(result)
}

/// Large binaries, and the flattened ones between them.
fn interleaved<'a, 'b>(flat: &'b [u8], parts: &'b [Part<'a>]) -> Pieces<'a, 'b> {
    let mut slices = Vec::with_capacity(parts.len() * 2 + 1);
    let mut origins = Vec::with_capacity(parts.len() * 2 + 1);
    let mut before = 0;
    for (until, term, binary) in parts {
        if before < *until {
            slices.push(IoSlice::new(flat.get(before..*until).unwrap_or_default()));
            origins.push(Origin::Flattened);
        }
        slices.push(IoSlice::new(binary.as_slice()));
        origins.push(Origin::Binary(*term));
        before = *until;
    }
    if before < flat.len() {
        slices.push(IoSlice::new(flat.get(before..).unwrap_or_default()));
        origins.push(Origin::Flattened);
    }
    Pieces { slices, origins }
}

/// A large binary, behind so many bytes of flattened ones.
type Part<'a> = (usize, Term<'a>, Binary<'a>);

/// Walks `data` without recursion: its depth is the caller's choice.
fn flatten<'a>(data: Term<'a>, flat: &mut Vec<u8>, parts: &mut Vec<Part<'a>>) -> NifResult<()> {
    // What is still to be walked after the term at hand.
    let mut later = Vec::new();
    let mut term = data;
    let mut take =
        |binary: Binary<'a>, term, flat: &mut Vec<u8>| match binary.len() > REFERENCE_FROM {
            true => parts.push((flat.len(), term, binary)),
            false => flat.extend_from_slice(binary.as_slice()),
        };
    loop {
        // Most elements are binaries, then bytes: two or three calls of the VM for each.
        match term.list_get_cell() {
            Ok((head, tail)) => {
                term = tail;
                if let Ok(binary) = head.decode() {
                    take(binary, head, flat);
                } else if let Ok(byte) = head.decode::<i64>() {
                    flat.push(u8::try_from(byte).map_err(|_| Error::BadArg)?);
                } else {
                    later.push(tail);
                    term = head;
                }
                continue;
            }
            Err(_) => match term.get_type() {
                // Empty.
                TermType::List => {}
                TermType::Binary => take(term.decode()?, term, flat),
                _ => return Err(Error::BadArg),
            },
        }
        match later.pop() {
            Some(next) => term = next,
            None => return Ok(()),
        }
    }
}
