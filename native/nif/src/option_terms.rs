//! Options as Erlang terms: `{Name, Value}` and `{raw, Level, Option, Bytes}` to settings, what
//! was read back to terms. What is a good term `net::option::decode` decides.

use std::sync::OnceLock;

use net::option::decode::{self, Integer, Word};
use net::option::{Ancillary, Calls, Deliver, Mode, Query, Row, Setting, TABLE, Value};
use net::settings::{MaxQueue, Overflow, packet_read_back};
use net::tcp_info::TcpInfo;
use proto::{Active, ActiveRequest, PacketType};
use rustler::{
    Atom, Binary, Encoder, Env, Error, ListIterator, NewBinary, NifResult, Term, TermType,
};

mod atoms {
    rustler::atoms! {
        binary, close, infinity, list, once, port, raw, refuse, ssl, state, tclass, term, tos, ttl,
    }
}

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

    fn row(&self, name: Term<'_>) -> Option<&'static Row> {
        let found = self
            .rows
            .binary_search_by_key(&name.as_c_arg(), |(name, _)| name.as_c_arg());
        self.rows.get(found.ok()?).map(|(_, row)| *row)
    }

    fn packet(&self, name: Term<'_>) -> Option<PacketType> {
        let found = self.packets.iter().find(|(atom, _)| *atom == name);
        found.map(|(_, packet)| *packet)
    }
}

/// Decodes a list of options for one of `connect`, `listen` and `setopts`.
///
/// **Errors** `badarg`, see [`decode::settings`].
pub(crate) fn settings(list: Term<'_>, call: Calls) -> NifResult<Vec<Setting>> {
    decode::settings(Looked(list), call).map_err(|_| Error::BadArg)
}

/// An option to read, as the caller named it.
pub(crate) type Asked<'a> = decode::Asked<Looked<'a>>;

/// Decodes a list of options for `getopts`, in its order and with its duplicates.
///
/// **Errors** `badarg`, see [`decode::queries`].
pub(crate) fn queries(list: Term<'_>) -> NifResult<Vec<(Asked<'_>, Query)>> {
    decode::queries(Looked(list)).map_err(|_| Error::BadArg)
}

/// A term of the VM that options look into.
#[derive(Clone, Copy)]
pub(crate) struct Looked<'a>(Term<'a>);

impl<'a> decode::Term for Looked<'a> {
    fn row(self) -> Option<&'static Row> {
        Names::of(self.0.get_env()).row(self.0)
    }

    fn packet(self) -> Option<PacketType> {
        Names::of(self.0.get_env()).packet(self.0)
    }

    fn word(self) -> Option<Word> {
        let words = [
            (rustler::types::atom::true_(), Word::True),
            (rustler::types::atom::false_(), Word::False),
            (atoms::once(), Word::Once),
            (atoms::binary(), Word::Binary),
            (atoms::list(), Word::List),
            (atoms::raw(), Word::Raw),
            (atoms::infinity(), Word::Infinity),
            (atoms::term(), Word::Term),
            (atoms::port(), Word::Port),
            (atoms::refuse(), Word::Refuse),
            (atoms::close(), Word::Close),
        ];
        let found = words.iter().find(|(atom, _)| *atom == self.0);
        found.map(|(_, word)| *word)
    }

    fn pair(self) -> Option<(Self, Self)> {
        let (a, b) = self.0.decode().ok()?;
        Some((Looked(a), Looked(b)))
    }

    fn triple(self) -> Option<(Self, Self, Self)> {
        let (a, b, c) = self.0.decode().ok()?;
        Some((Looked(a), Looked(b), Looked(c)))
    }

    fn quadruple(self) -> Option<(Self, Self, Self, Self)> {
        let (a, b, c, d) = self.0.decode().ok()?;
        Some((Looked(a), Looked(b), Looked(c), Looked(d)))
    }

    fn elements(self) -> Option<Vec<Self>> {
        // The iterator stops at an improper tail without a word.
        self.0.list_length().ok()?;
        let elements = self.0.decode::<ListIterator<'a>>().ok()?;
        Some(elements.map(Looked).collect())
    }

    fn integer(self) -> Option<Integer> {
        if let Ok(integer) = self.0.decode::<i64>() {
            return Some(Integer::Small(integer));
        }
        if self.0.get_type() != TermType::Integer {
            return None;
        }
        big_integer(self.0.to_binary().as_slice())
    }

    fn bytes(self) -> Option<Vec<u8>> {
        let binary = self.0.decode::<Binary<'a>>().ok()?;
        Some(binary.as_slice().to_vec())
    }
}

/// What `getopts` answers for one option.
pub(crate) fn answer<'a>(env: Env<'a>, asked: &Asked<'a>, value: &Value) -> Term<'a> {
    match asked {
        Asked::Name(Looked(name)) => (*name, value_term(env, value)).encode(env),
        Asked::Raw { level, option } => {
            (atoms::raw(), *level, *option, value_term(env, value)).encode(env)
        }
    }
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
    Some(Integer::Big {
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
        Value::MaxMailbox(None) => atoms::infinity().encode(env),
        Value::MaxMailbox(Some(messages)) => messages.encode(env),
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
