//! Lists of options, as terms of any form: no list makes the decoder panic or take memory out
//! of proportion, a list is good exactly if each of its elements is, and what was decoded
//! can be set and read back.
//!
//! **Input** a term in a form of its own, one byte a tag; see [`Node::read`].
#![no_main]

use fuzz::peak;
use libfuzzer_sys::fuzz_target;
use net::Settings;
use net::option::decode::{Integer, Term, Word, queries, settings};
use net::option::{Calls, Row, Setting, TABLE, Value};
use proto::{ActiveRequest, PacketType};

fuzz_target!(|input: &[u8]| {
    let Some((&call, mut rest)) = input.split_first() else {
        return;
    };
    let call = match call % 3 {
        0 => Calls::SET,
        1 => Calls::CONNECT,
        _ => Calls::LISTEN,
    };
    let list = Node::read(&mut rest, 4);
    let (decoded, memory) = peak(|| settings(&list, call));
    assert!(memory <= 64 * input.len() + 4096, "{memory} bytes");
    let (asked, memory) = peak(|| queries(&list));
    // A query of n bytes takes them at once: 65522 at most, and each takes three of the input.
    assert!(memory <= 32 * 1024 * input.len() + 4096, "{memory} bytes");
    let Node::List(elements, true) = &list else {
        assert!(decoded.is_err() && asked.is_err());
        return;
    };
    let alone = |element: &Node| Node::List(vec![element.clone()], true);
    let each: Vec<_> = elements
        .iter()
        .map(|element| settings(&alone(element), call))
        .collect();
    assert_eq!(decoded.is_ok(), each.iter().all(Result::is_ok));
    let readable = |element: &Node| queries(&alone(element)).is_ok();
    assert_eq!(asked.is_ok(), elements.iter().all(readable));
    if let Ok(asked) = asked {
        assert_eq!(asked.len(), elements.len());
    }
    let Ok(decoded) = decoded else { return };
    let of_each: Vec<Setting> = each.into_iter().flatten().flatten().collect();
    match call == Calls::SET {
        true => assert_eq!(format!("{decoded:?}"), format!("{of_each:?}")),
        false => assert_no_name_twice(&decoded, &of_each),
    }
    set_and_read_back(&decoded);
});

/// `connect` and `listen` keep the last of each name, in its place, and every raw one.
fn assert_no_name_twice(decoded: &[Setting], all: &[Setting]) {
    let same = |a: &Setting, b: &Setting| matches!((a, b), (Setting::Named(a, _), Setting::Named(b, _)) if a.name == b.name);
    let last = all
        .iter()
        .enumerate()
        .filter(|(index, setting)| !all.iter().skip(index + 1).any(|later| same(later, setting)));
    let last: Vec<_> = last.map(|(_, setting)| setting).collect();
    assert_eq!(
        format!("{last:?}"),
        format!("{:?}", decoded.iter().collect::<Vec<_>>())
    );
}

/// What sets a behavioural option reads back as a value that sets the same.
fn set_and_read_back(decoded: &[Setting]) {
    let mut there = Settings::default();
    for setting in decoded.iter().rev() {
        let (Some(field), Setting::Named(_, value)) = (setting.field(), setting) else {
            continue;
        };
        let before = format!("{there:?}");
        if there.set(field, value).is_err() {
            assert_eq!(
                before,
                format!("{there:?}"),
                "refused, and something was set"
            );
            continue;
        }
        let adds = matches!(value, Value::Request(ActiveRequest::Add(_)));
        if let Some(read @ (Value::Bool(_) | Value::Int(_) | Value::Time(_) | Value::Mode(_))) =
            there.get(field)
            && !adds
        {
            let mut again = there.clone();
            let _ = again.set(field, &read);
            assert_eq!(there.get(field), again.get(field));
        }
    }
}

/// A term.
#[derive(Clone, Debug)]
enum Node {
    Row(&'static Row),
    Packet(PacketType),
    Word(Word),
    /// An atom that nobody knows, a float, a reference and so on.
    Other,
    Integer(Integer),
    Binary(Vec<u8>),
    Tuple(Vec<Node>),
    /// Its elements, and whether it is a proper list.
    List(Vec<Node>, bool),
}

const WORDS: [Word; 11] = [
    Word::Binary,
    Word::Close,
    Word::False,
    Word::Infinity,
    Word::List,
    Word::Once,
    Word::Port,
    Word::Raw,
    Word::Refuse,
    Word::Term,
    Word::True,
];

impl Node {
    /// Takes a term of at most this depth from the input.
    ///
    /// **Shape** `[tag | value]`, the tag modulo 10: an option's number, a packet type's, a
    /// word's, nothing, one byte, eight bytes, a big one's sign and eight bytes, `[n | n
    /// bytes]`, `[n | n terms]` as a tuple, and as a list, proper if n is below 128.
    fn read(input: &mut &[u8], depth: u32) -> Node {
        let tag = byte(input) % 10;
        let tag = if depth == 0 { tag % 8 } else { tag };
        match tag {
            0 => at(&TABLE, byte(input)).map_or(Node::Other, Node::Row),
            1 => Node::Packet(PacketType::ALL[usize::from(byte(input)) % PacketType::ALL.len()]),
            2 => Node::Word(WORDS[usize::from(byte(input)) % WORDS.len()]),
            3 => Node::Other,
            4 => Node::Integer(Integer::Small(i64::from(byte(input).cast_signed()))),
            5 => Node::Integer(Integer::Small(long(input))),
            6 => Node::Integer(Integer::Big {
                negative: byte(input) % 2 == 1,
                low: long(input),
            }),
            7 => {
                let len = usize::from(byte(input));
                Node::Binary((0..len.min(input.len())).map(|_| byte(input)).collect())
            }
            8 => {
                let len = usize::from(byte(input) % 6);
                Node::Tuple(terms(input, len, depth))
            }
            _ => {
                let len = byte(input);
                Node::List(terms(input, usize::from(len % 128), depth), len < 128)
            }
        }
    }
}

fn at(table: &'static [Row], index: u8) -> Option<&'static Row> {
    table.get(usize::from(index) % (table.len() + 1))
}

fn terms(input: &mut &[u8], count: usize, depth: u32) -> Vec<Node> {
    let mut terms = Vec::new();
    while terms.len() < count && !input.is_empty() {
        terms.push(Node::read(input, depth - 1));
    }
    terms
}

fn byte(input: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = input.split_first() else {
        return 3;
    };
    *input = rest;
    first
}

fn long(input: &mut &[u8]) -> i64 {
    i64::from_le_bytes(std::array::from_fn(|_| byte(input)))
}

impl Term for &Node {
    fn row(self) -> Option<&'static Row> {
        match self {
            Node::Row(row) => Some(row),
            // Names of options that are words or types, too.
            _ => None,
        }
    }

    fn packet(self) -> Option<PacketType> {
        match self {
            Node::Packet(packet) => Some(*packet),
            _ => None,
        }
    }

    fn word(self) -> Option<Word> {
        match self {
            Node::Word(word) => Some(*word),
            _ => None,
        }
    }

    fn pair(self) -> Option<(Self, Self)> {
        match self {
            Node::Tuple(terms) => match terms.as_slice() {
                [a, b] => Some((a, b)),
                _ => None,
            },
            _ => None,
        }
    }

    fn triple(self) -> Option<(Self, Self, Self)> {
        match self {
            Node::Tuple(terms) => match terms.as_slice() {
                [a, b, c] => Some((a, b, c)),
                _ => None,
            },
            _ => None,
        }
    }

    fn quadruple(self) -> Option<(Self, Self, Self, Self)> {
        match self {
            Node::Tuple(terms) => match terms.as_slice() {
                [a, b, c, d] => Some((a, b, c, d)),
                _ => None,
            },
            _ => None,
        }
    }

    fn elements(self) -> Option<Vec<Self>> {
        match self {
            Node::List(terms, true) => Some(terms.iter().collect()),
            _ => None,
        }
    }

    fn integer(self) -> Option<Integer> {
        match self {
            Node::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Node::Binary(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}
