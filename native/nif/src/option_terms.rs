//! Options as Erlang terms: `{Name, Value}` and `{raw, Level, Option, Bytes}` to settings, what
//! was read back to terms.
//!
//! Every `badarg` of an option's name or value is decided here, by the row of the table; a whole
//! list is decoded before any of it has an effect.

use std::sync::OnceLock;

use net::option::{Ancillary, Calls, Codec, Deliver, Mode, Query, Row, Setting, TABLE, Value};
use net::settings::{MaxQueue, Overflow, packet_read_back};
use net::tcp_info::TcpInfo;
use proto::{Active, ActiveRequest, PacketType};
use rustler::{
    Atom, Binary, Encoder, Env, Error, ListIterator, NewBinary, NifResult, Term, TermType,
};

mod atoms {
    rustler::atoms! {
        binary, close, infinity, list, mode, once, port, raw, refuse, ssl, state, tclass, term, tos, ttl,
    }
}

/// The most bytes `getopts` reads for one raw option: what fits the port driver's whole answer.
const RAW_MAX: usize = 65522;

/// The atoms of the table, of the packet types and of the statistics.
struct Names {
    /// In the order of the atoms' terms.
    rows: Vec<(Atom, &'static Row)>,
    packets: Vec<(Atom, PacketType)>,
    /// In the order of [`TcpInfo::names`].
    numbers: Vec<Atom>,
}

impl Names {
    fn of(env: Env<'_>) -> &'static Names {
        static NAMES: OnceLock<Names> = OnceLock::new();
        NAMES.get_or_init(|| {
            let named = |row: &'static Row| Some((Atom::from_str(env, row.name).ok()?, row));
            let mut rows: Vec<_> = TABLE.iter().filter_map(named).collect();
            rows.sort_by_key(|(name, _)| name.as_c_arg());
            let typed =
                |packet: PacketType| Some((Atom::from_str(env, packet.name()).ok()?, packet));
            let mut packets: Vec<_> = PacketType::ALL.into_iter().filter_map(typed).collect();
            packets.push((atoms::ssl(), PacketType::SslTls));
            let numbers = TcpInfo::names()
                .filter_map(|name| Atom::from_str(env, name).ok())
                .collect();
            Names {
                rows,
                packets,
                numbers,
            }
        })
    }

    fn row(&self, name: Term<'_>) -> NifResult<&'static Row> {
        let found = self
            .rows
            .binary_search_by_key(&name.as_c_arg(), |(name, _)| name.as_c_arg());
        let row = found
            .ok()
            .and_then(|index| self.rows.get(index))
            .map(|(_, row)| *row);
        row.ok_or(Error::BadArg)
    }

    fn packet(&self, name: Term<'_>) -> NifResult<PacketType> {
        let found = self.packets.iter().find(|(atom, _)| *atom == name);
        found.map(|(_, packet)| *packet).ok_or(Error::BadArg)
    }
}

/// Decodes a list of options for one of `connect`, `listen` and `setopts`.
///
/// The settings come in the list's order: the caller applies them last to first. For `connect`
/// and `listen` only the last of each name is kept, and every raw one; `setopts` keeps all.
///
/// **Errors** `badarg`: no proper list, an option that does not exist or that the call does not
/// take, a value of the wrong type.
pub(crate) fn settings(list: Term<'_>, call: Calls) -> NifResult<Vec<Setting>> {
    let settings: NifResult<Vec<Setting>> = elements(list)?
        .into_iter()
        .map(|term| setting(term, call))
        .collect();
    settings.map(|settings| {
        if call == Calls::SET {
            settings
        } else {
            last_of_each(settings)
        }
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

/// An option to read, as the caller named it.
pub(crate) enum Asked {
    /// By its name.
    Name(Atom),
    /// By level and number.
    Raw { level: i32, option: i32 },
}

/// Decodes a list of options for `getopts`, in its order and with its duplicates.
///
/// **Errors** `badarg`: no proper list, an option that does not exist or cannot be read.
pub(crate) fn queries(list: Term<'_>) -> NifResult<Vec<(Asked, Query)>> {
    elements(list)?.into_iter().map(query).collect()
}

/// What `getopts` answers for one option.
pub(crate) fn answer<'a>(env: Env<'a>, asked: &Asked, value: &Value) -> Term<'a> {
    match asked {
        Asked::Name(name) => (*name, value_term(env, value)).encode(env),
        Asked::Raw { level, option } => {
            (atoms::raw(), *level, *option, value_term(env, value)).encode(env)
        }
    }
}

fn elements(list: Term<'_>) -> NifResult<Vec<Term<'_>>> {
    // The iterator stops at an improper tail without a word.
    list.list_length()?;
    Ok(list.decode::<ListIterator<'_>>()?.collect())
}

fn setting(term: Term<'_>, call: Calls) -> NifResult<Setting> {
    let names = Names::of(term.get_env());
    if let Ok((name, value)) = term.decode::<(Term<'_>, Term<'_>)>() {
        if atoms::raw() == name {
            let (level, option, bytes) = value.decode()?;
            return raw_setting(level, option, bytes);
        }
        let row = names.row(name)?;
        if !row.calls.contain(call) {
            return Err(Error::BadArg);
        }
        return Ok(Setting::Named(row, value_of(row.codec, value, names)?));
    }
    if let Ok((tag, level, option, bytes)) = term.decode::<(Atom, _, _, _)>() {
        return if tag == atoms::raw() {
            raw_setting(level, option, bytes)
        } else {
            Err(Error::BadArg)
        };
    }
    let mode = mode(term)?;
    Ok(Setting::Named(
        names.row(atoms::mode().to_term(term.get_env()))?,
        Value::Mode(mode),
    ))
}

fn raw_setting(level: Term<'_>, option: Term<'_>, bytes: Term<'_>) -> NifResult<Setting> {
    let bytes = bytes_of(bytes)?;
    Ok(Setting::Raw {
        level: low32(level)?,
        option: low32(option)?,
        bytes,
    })
}

fn query(term: Term<'_>) -> NifResult<(Asked, Query)> {
    if let Ok(name) = term.decode::<Atom>() {
        let row = Names::of(term.get_env()).row(term)?;
        return match row.calls.contain(Calls::GET) {
            true => Ok((Asked::Name(name), Query::Named(row))),
            false => Err(Error::BadArg),
        };
    }
    let (tag, level, option, buffer): (Atom, Term<'_>, Term<'_>, Term<'_>) =
        match term.decode::<(Atom, (Term<'_>, Term<'_>, Term<'_>))>() {
            Ok((tag, (level, option, buffer))) => (tag, level, option, buffer),
            Err(_) => term.decode()?,
        };
    if tag != atoms::raw() {
        return Err(Error::BadArg);
    }
    let (level, option) = (low32(level)?, low32(option)?);
    let buffer = match buffer.decode::<usize>() {
        Ok(size) if size <= RAW_MAX => vec![0; size],
        Ok(_) => return Err(Error::BadArg),
        Err(_) => bytes_of(buffer)?,
    };
    if buffer.len() > RAW_MAX {
        return Err(Error::BadArg);
    }
    Ok((
        Asked::Raw { level, option },
        Query::Raw {
            level,
            option,
            buffer,
        },
    ))
}

fn value_of(codec: Codec, term: Term<'_>, names: &Names) -> NifResult<Value> {
    match codec {
        Codec::Bool => term.decode().map(Value::Bool),
        Codec::Int => integer(term).map(|integer| Value::Int(integer.low)),
        Codec::Uint => unsigned(term).map(Value::Int),
        Codec::BoolOrInt => match term.decode() {
            Ok(on) => Ok(Value::Bool(on)),
            Err(_) => integer(term).map(|integer| Value::Int(integer.low)),
        },
        Codec::Time if atoms::infinity() == term => Ok(Value::Time(None)),
        // The port driver keeps infinity as the greatest of its 32-bit integers.
        Codec::Time => unsigned(term).map(|low| match low as u32 {
            u32::MAX => Value::Time(None),
            time => Value::Time(Some(time)),
        }),
        Codec::Linger => {
            let (on, seconds): (bool, Term<'_>) = term.decode()?;
            integer(seconds).map(|seconds| Value::Linger(on, seconds.low))
        }
        Codec::Bytes => bytes_of(term).map(Value::Bytes),
        Codec::Text => bytes_of(term)
            .or_else(|_| string_of(term))
            .map(Value::Bytes),
        Codec::MaxQueue => max_queue(term).map(Value::MaxQueue),
        Codec::Mode => mode(term).map(Value::Mode),
        Codec::Packet => match term.decode::<i64>() {
            Ok(0) => Ok(Value::Packet(PacketType::Raw)),
            Ok(1) => Ok(Value::Packet(PacketType::Length1)),
            Ok(2) => Ok(Value::Packet(PacketType::Length2)),
            Ok(4) => Ok(Value::Packet(PacketType::Length4)),
            Ok(_) => Err(Error::BadArg),
            Err(_) => names.packet(term).map(Value::Packet),
        },
        Codec::Active => active(term).map(Value::Request),
        Codec::Deliver if atoms::term() == term => Ok(Value::Deliver(Deliver::Term)),
        Codec::Deliver if atoms::port() == term => Ok(Value::Deliver(Deliver::Port)),
        Codec::Deliver | Codec::Ancillary | Codec::TcpInfo => Err(Error::BadArg),
    }
}

fn max_queue(term: Term<'_>) -> NifResult<Option<MaxQueue>> {
    if atoms::infinity() == term {
        return Ok(None);
    }
    if let Ok(bytes) = term.decode() {
        let overflow = Overflow::Refuse;
        return Ok(Some(MaxQueue { bytes, overflow }));
    }
    let (bytes, policy): (u32, Atom) = term.decode()?;
    let overflow = match policy {
        policy if policy == atoms::refuse() => Overflow::Refuse,
        policy if policy == atoms::close() => Overflow::Close,
        _ => return Err(Error::BadArg),
    };
    Ok(Some(MaxQueue { bytes, overflow }))
}

fn mode(term: Term<'_>) -> NifResult<Mode> {
    if atoms::list() == term {
        Ok(Mode::List)
    } else if atoms::binary() == term {
        Ok(Mode::Binary)
    } else {
        Err(Error::BadArg)
    }
}

fn active(term: Term<'_>) -> NifResult<ActiveRequest> {
    if atoms::once() == term {
        return Ok(ActiveRequest::Once);
    }
    match term.decode::<bool>() {
        Ok(true) => Ok(ActiveRequest::Always),
        Ok(false) => Ok(ActiveRequest::Passive),
        Err(_) => match term.decode::<i32>()? {
            count if (Active::MIN_ADD..=Active::MAX_COUNT).contains(&count) => {
                Ok(ActiveRequest::Add(count))
            }
            _ => Err(Error::BadArg),
        },
    }
}

fn bytes_of(term: Term<'_>) -> NifResult<Vec<u8>> {
    Ok(term.decode::<Binary<'_>>()?.as_slice().to_vec())
}

/// A list of bytes. (Decoding one as `Vec<u8>` would cut greater numbers down to a byte.)
fn string_of(term: Term<'_>) -> NifResult<Vec<u8>> {
    let byte = |element: Term<'_>| {
        let number: i64 = element.decode()?;
        u8::try_from(number).map_err(|_| Error::BadArg)
    };
    elements(term)?.into_iter().map(byte).collect()
}

/// An integer of any size, of which only the low bits and the sign count.
struct Integer {
    low: i64,
    negative: bool,
}

fn low32(term: Term<'_>) -> NifResult<i32> {
    Ok(integer(term)?.low as i32)
}

fn unsigned(term: Term<'_>) -> NifResult<i64> {
    match integer(term)? {
        Integer { negative: true, .. } => Err(Error::BadArg),
        Integer { low, .. } => Ok(low),
    }
}

fn integer(term: Term<'_>) -> NifResult<Integer> {
    if let Ok(low) = term.decode::<i64>() {
        return Ok(Integer {
            low,
            negative: low < 0,
        });
    }
    if term.get_type() != TermType::Integer {
        return Err(Error::BadArg);
    }
    big_integer(term.to_binary().as_slice()).ok_or(Error::BadArg)
}

/// An integer too great for 64 bits, in the external term format.
///
/// **Shape** `[131 | 110 | n: u8 | sign: u8 | n bytes, lowest first]`, or with 111 and n: u32.
fn big_integer(external: &[u8]) -> Option<Integer> {
    let (negative, digits) = match external {
        [131, 110, _, sign, digits @ ..] => (*sign != 0, digits),
        [131, 111, _, _, _, _, sign, digits @ ..] => (*sign != 0, digits),
        _ => return None,
    };
    let low = i64::from_le_bytes(*digits.first_chunk()?);
    Some(Integer {
        low: if negative { low.wrapping_neg() } else { low },
        negative,
    })
}

fn value_term<'a>(env: Env<'a>, value: &Value) -> Term<'a> {
    match value {
        Value::Bool(on) => on.encode(env),
        Value::Int(integer) => integer.encode(env),
        Value::Time(None) => atoms::infinity().encode(env),
        Value::Time(Some(time)) => time.encode(env),
        Value::Linger(on, seconds) => (on, seconds).encode(env),
        Value::Bytes(bytes) => NewBinary::from_slice(env, bytes).into(),
        Value::MaxQueue(None) => atoms::infinity().encode(env),
        Value::MaxQueue(Some(MaxQueue { bytes, overflow })) => {
            let policy = match overflow {
                Overflow::Refuse => atoms::refuse(),
                Overflow::Close => atoms::close(),
            };
            (bytes, policy).encode(env)
        }
        Value::Mode(Mode::List) => atoms::list().encode(env),
        Value::Mode(Mode::Binary) => atoms::binary().encode(env),
        Value::Packet(packet) => packet_term(env, *packet),
        // Never read; for completeness what was asked for.
        Value::Request(request) => match request {
            ActiveRequest::Passive => false.encode(env),
            ActiveRequest::Always => true.encode(env),
            ActiveRequest::Once => atoms::once().encode(env),
            ActiveRequest::Add(count) => count.encode(env),
        },
        Value::Active(active) => match active {
            Active::Passive => false.encode(env),
            Active::Always => true.encode(env),
            Active::Once => atoms::once().encode(env),
            Active::Count(count) => count.encode(env),
        },
        Value::Deliver(Deliver::Term) => atoms::term().encode(env),
        Value::Deliver(Deliver::Port) => atoms::port().encode(env),
        Value::Ancillary(items) => {
            let item = |item: &Ancillary| match item {
                Ancillary::Tos(value) => (atoms::tos(), *value),
                Ancillary::Ttl(value) => (atoms::ttl(), *value),
                Ancillary::Tclass(value) => (atoms::tclass(), *value),
            };
            items.iter().map(item).collect::<Vec<_>>().encode(env)
        }
        Value::TcpInfo(info) => tcp_info_term(env, info),
    }
}

/// Digits read back as integers, the rest as atoms.
pub(crate) fn packet_term(env: Env<'_>, packet: PacketType) -> Term<'_> {
    let name = packet_read_back(packet);
    match name.parse::<u8>() {
        Ok(digit) => digit.encode(env),
        Err(_) => name_term(env, name),
    }
}

fn tcp_info_term<'a>(env: Env<'a>, info: &TcpInfo) -> Term<'a> {
    let names = &Names::of(env).numbers;
    let numbers = names.iter().zip(info.numbers());
    let numbers = numbers.map(|(name, (_, number))| (name.encode(env), number.encode(env)));
    let state = (atoms::state().encode(env), name_term(env, info.state()));
    let (names, values): (Vec<_>, Vec<_>) = std::iter::once(state).chain(numbers).unzip();
    // Fails for duplicate names alone, of which the table of numbers has none.
    Term::map_from_term_arrays(env, &names, &values).unwrap_or_else(|_| Term::map_new(env))
}

fn name_term<'a>(env: Env<'a>, name: &str) -> Term<'a> {
    // Fails for characters beyond Latin-1 alone, of which no table has any.
    Atom::from_str(env, name).map_or_else(|_| atoms::raw().encode(env), |atom| atom.encode(env))
}
