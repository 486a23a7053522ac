//! Options as terms to settings and queries, for terms of any kind: the NIF's are those of
//! the VM, the fuzzer's its own.
//!
//! Every `badarg` of an option's name or value is decided here, by the row of the table; a whole
//! list is decoded before any of it has an effect.

use std::sync::LazyLock;

use proto::{Active, ActiveRequest, PacketType};

use super::{Calls, Codec, Deliver, Mode, Query, Row, Setting, Value};
use crate::settings::{MaxQueue, Overflow};

/// The most bytes `getopts` reads for one raw option: what fits the port driver's whole answer.
const RAW_MAX: i64 = 65522;

/// A term, as far as options look into it.
pub trait Term: Copy {
    /// The option that this atom names.
    fn row(self) -> Option<&'static Row>;
    /// The packet type that this atom names.
    fn packet(self) -> Option<PacketType>;
    /// Another atom that options know.
    fn word(self) -> Option<Word>;
    /// A tuple of two.
    fn pair(self) -> Option<(Self, Self)>;
    /// A tuple of three.
    fn triple(self) -> Option<(Self, Self, Self)>;
    /// A tuple of four.
    fn quadruple(self) -> Option<(Self, Self, Self, Self)>;
    /// The elements of a proper list.
    fn elements(self) -> Option<Vec<Self>>;
    /// An integer of any size.
    fn integer(self) -> Option<Integer>;
    /// The bytes of a binary.
    fn bytes(self) -> Option<Vec<u8>>;
}

/// An atom that is part of options, but the name of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the atom of its name")]
pub enum Word {
    Binary,
    Close,
    False,
    Infinity,
    List,
    Once,
    Port,
    Raw,
    Refuse,
    Term,
    True,
}

/// An integer of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// One that fits.
    Small(i64),
    /// A greater one, of which only the low 64 bits and the sign count.
    Big {
        /// The low bits of the two's complement.
        low: i64,
        /// Whether it is below zero.
        negative: bool,
    },
}

impl Integer {
    fn low(self) -> i64 {
        match self {
            Integer::Small(low) | Integer::Big { low, .. } => low,
        }
    }

    fn is_negative(self) -> bool {
        match self {
            Integer::Small(integer) => integer < 0,
            Integer::Big { negative, .. } => negative,
        }
    }
}

/// No term of the form that an option has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTerm;

/// An option to read, as the caller named it.
#[derive(Clone, Copy, Debug)]
pub enum Asked<T> {
    /// By its name.
    Name(T),
    /// By level and number.
    Raw {
        /// The level of `getsockopt(2)`.
        level: i32,
        /// The name within the level.
        option: i32,
    },
}

type Decoded<R> = Result<R, BadTerm>;

/// Decodes a list of options for one of `connect`, `listen` and `setopts`.
///
/// The settings come in the list's order: the caller applies them last to first. For `connect`
/// and `listen` only the last of each name is kept, and every raw one; `setopts` keeps all.
///
/// # Errors
///
/// No proper list, an option that does not exist or that the call does not take, a value of the
/// wrong type.
pub fn settings<T: Term>(list: T, call: Calls) -> Decoded<Vec<Setting>> {
    let elements = list.elements().ok_or(BadTerm)?.into_iter();
    let settings = elements
        .map(|term| setting(term, call))
        .collect::<Decoded<Vec<Setting>>>()?;
    Ok(match call == Calls::SET {
        true => settings,
        false => last_of_each(settings),
    })
}

fn last_of_each(settings: Vec<Setting>) -> Vec<Setting> {
    let mut kept: Vec<Setting> = Vec::with_capacity(settings.len());
    for setting in settings {
        if let Setting::Named(row, _) = &setting {
            let is_same = |other: &Setting| matches!(other, Setting::Named(other, _) if other.name == row.name);
            kept.retain(|other| !is_same(other));
        }
        kept.push(setting);
    }
    kept
}

/// Decodes a list of options for `getopts`, in its order and with its duplicates.
///
/// # Errors
///
/// No proper list, an option that does not exist or cannot be read.
pub fn queries<T: Term>(list: T) -> Decoded<Vec<(Asked<T>, Query)>> {
    let elements = list.elements().ok_or(BadTerm)?;
    elements.into_iter().map(query).collect()
}

fn setting<T: Term>(term: T, call: Calls) -> Decoded<Setting> {
    if let Some((name, value)) = term.pair() {
        let Some(row) = name.row() else {
            is_raw(name)?;
            let (level, option, bytes) = value.triple().ok_or(BadTerm)?;
            return raw_setting(level, option, bytes);
        };
        if !row.calls.contain(call) {
            return Err(BadTerm);
        }
        return Ok(Setting::Named(row, value_of(row.codec, value)?));
    }
    if let Some((tag, level, option, bytes)) = term.quadruple() {
        is_raw(tag)?;
        return raw_setting(level, option, bytes);
    }
    static MODE: LazyLock<Option<&Row>> = LazyLock::new(|| Row::named("mode"));
    let value = Value::Mode(mode(term)?);
    Ok(Setting::Named((*MODE).ok_or(BadTerm)?, value))
}

fn is_raw<T: Term>(tag: T) -> Decoded<()> {
    match tag.word() {
        Some(Word::Raw) => Ok(()),
        _ => Err(BadTerm),
    }
}

fn raw_setting<T: Term>(level: T, option: T, bytes: T) -> Decoded<Setting> {
    let bytes = bytes.bytes().ok_or(BadTerm)?;
    Ok(Setting::Raw {
        level: low32(level)?,
        option: low32(option)?,
        bytes,
    })
}

fn query<T: Term>(term: T) -> Decoded<(Asked<T>, Query)> {
    if let Some(row) = term.row() {
        return match row.calls.contain(Calls::GET) {
            true => Ok((Asked::Name(term), Query::Named(row))),
            false => Err(BadTerm),
        };
    }
    let (tag, level, option, buffer) = match term.pair() {
        Some((tag, rest)) => {
            let (level, option, buffer) = rest.triple().ok_or(BadTerm)?;
            (tag, level, option, buffer)
        }
        None => term.quadruple().ok_or(BadTerm)?,
    };
    is_raw(tag)?;
    let (level, option) = (low32(level)?, low32(option)?);
    let buffer = match buffer.integer() {
        Some(Integer::Small(size @ 0..=RAW_MAX)) => vec![0; usize::try_from(size).unwrap_or(0)],
        Some(_) => return Err(BadTerm),
        None => buffer.bytes().ok_or(BadTerm)?,
    };
    if buffer.len() as u64 > RAW_MAX.cast_unsigned() {
        return Err(BadTerm);
    }
    let query = Query::Raw {
        level,
        option,
        buffer,
    };
    Ok((Asked::Raw { level, option }, query))
}

fn value_of<T: Term>(codec: Codec, term: T) -> Decoded<Value> {
    match codec {
        Codec::Bool => boolean(term).map(Value::Bool),
        Codec::Int => integer(term).map(|integer| Value::Int(integer.low())),
        Codec::Uint => unsigned(term).map(Value::Int),
        Codec::BoolOrInt => match boolean(term) {
            Ok(on) => Ok(Value::Bool(on)),
            Err(BadTerm) => integer(term).map(|integer| Value::Int(integer.low())),
        },
        Codec::Time if term.word() == Some(Word::Infinity) => Ok(Value::Time(None)),
        // The port driver keeps infinity as the greatest of its 32-bit integers.
        Codec::Time => unsigned(term).map(|low| match low as u32 {
            u32::MAX => Value::Time(None),
            time => Value::Time(Some(time)),
        }),
        Codec::Linger => {
            let (on, seconds) = term.pair().ok_or(BadTerm)?;
            let on = boolean(on)?;
            integer(seconds).map(|seconds| Value::Linger(on, seconds.low()))
        }
        Codec::Bytes => term.bytes().map(Value::Bytes).ok_or(BadTerm),
        Codec::Text => match term.bytes() {
            Some(bytes) => Ok(Value::Bytes(bytes)),
            None => string(term).map(Value::Bytes),
        },
        Codec::MaxQueue => max_queue(term).map(Value::MaxQueue),
        Codec::MaxMailbox if term.word() == Some(Word::Infinity) => Ok(Value::MaxMailbox(None)),
        Codec::MaxMailbox => match u32::try_from(small(term)?) {
            Ok(messages) if messages > 0 => Ok(Value::MaxMailbox(Some(messages))),
            _ => Err(BadTerm),
        },
        Codec::Mode => mode(term).map(Value::Mode),
        Codec::Packet => packet(term).map(Value::Packet),
        Codec::Active => active(term).map(Value::Request),
        Codec::Deliver => match term.word() {
            Some(Word::Term) => Ok(Value::Deliver(Deliver::Term)),
            Some(Word::Port) => Ok(Value::Deliver(Deliver::Port)),
            _ => Err(BadTerm),
        },
        Codec::Ancillary | Codec::TcpInfo => Err(BadTerm),
    }
}

fn max_queue<T: Term>(term: T) -> Decoded<Option<MaxQueue>> {
    if term.word() == Some(Word::Infinity) {
        return Ok(None);
    }
    let (bytes, overflow) = match term.pair() {
        None => (term, Overflow::Refuse),
        Some((bytes, policy)) => match policy.word() {
            Some(Word::Refuse) => (bytes, Overflow::Refuse),
            Some(Word::Close) => (bytes, Overflow::Close),
            _ => return Err(BadTerm),
        },
    };
    let bytes = small(bytes)?.try_into().map_err(|_| BadTerm)?;
    Ok(Some(MaxQueue { bytes, overflow }))
}

fn mode<T: Term>(term: T) -> Decoded<Mode> {
    match term.word() {
        Some(Word::List) => Ok(Mode::List),
        Some(Word::Binary) => Ok(Mode::Binary),
        _ => Err(BadTerm),
    }
}

fn packet<T: Term>(term: T) -> Decoded<PacketType> {
    match term.integer() {
        Some(Integer::Small(0)) => Ok(PacketType::Raw),
        Some(Integer::Small(1)) => Ok(PacketType::Length1),
        Some(Integer::Small(2)) => Ok(PacketType::Length2),
        Some(Integer::Small(4)) => Ok(PacketType::Length4),
        Some(_) => Err(BadTerm),
        None => term.packet().ok_or(BadTerm),
    }
}

fn active<T: Term>(term: T) -> Decoded<ActiveRequest> {
    match term.word() {
        Some(Word::Once) => Ok(ActiveRequest::Once),
        Some(Word::True) => Ok(ActiveRequest::Always),
        Some(Word::False) => Ok(ActiveRequest::Passive),
        Some(_) => Err(BadTerm),
        None => match i32::try_from(small(term)?) {
            Ok(count) if (Active::MIN_ADD..=Active::MAX_COUNT).contains(&count) => {
                Ok(ActiveRequest::Add(count))
            }
            _ => Err(BadTerm),
        },
    }
}

fn boolean<T: Term>(term: T) -> Decoded<bool> {
    match term.word() {
        Some(Word::True) => Ok(true),
        Some(Word::False) => Ok(false),
        _ => Err(BadTerm),
    }
}

/// A list of bytes.
fn string<T: Term>(term: T) -> Decoded<Vec<u8>> {
    let byte = |element: T| u8::try_from(small(element)?).map_err(|_| BadTerm);
    let elements = term.elements().ok_or(BadTerm)?;
    elements.into_iter().map(byte).collect()
}

fn integer<T: Term>(term: T) -> Decoded<Integer> {
    term.integer().ok_or(BadTerm)
}

fn small<T: Term>(term: T) -> Decoded<i64> {
    match term.integer() {
        Some(Integer::Small(integer)) => Ok(integer),
        _ => Err(BadTerm),
    }
}

/// The low bits of an integer that is not below zero.
fn unsigned<T: Term>(term: T) -> Decoded<i64> {
    match integer(term)? {
        integer if integer.is_negative() => Err(BadTerm),
        integer => Ok(integer.low()),
    }
}

fn low32<T: Term>(term: T) -> Decoded<i32> {
    Ok(super::kernel::low32(integer(term)?.low()))
}
