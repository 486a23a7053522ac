//! Defaults, ranges, couplings and inheritance of the behavioural options.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

use net::Settings;
use net::option::{Deliver, Field, Mode, Refused, TABLE, Target, Value};
use net::settings::{MaxQueue, Overflow};
use proto::{Active, ActiveRequest, PacketType};

/// Every behavioural option: its default, another value, and what an accepted socket has of it.
#[rustfmt::skip]
fn samples() -> Vec<(Field, Option<Value>, Value, bool)> {
    let (no, yes) = (|| Some(Value::Bool(false)), || Value::Bool(true));
    let int = |value| Some(Value::Int(value));
    vec![
        (Field::Active, Some(Value::Active(Active::Passive)), Value::Request(ActiveRequest::Add(7)), true),
        (Field::Buffer, int(9216), Value::Int(300), true),
        (Field::Debug, no(), yes(), true),
        (Field::DelaySend, no(), yes(), true),
        (Field::Deliver, Some(Value::Deliver(Deliver::Term)), Value::Deliver(Deliver::Port), true),
        // Taken, but it has no meaning here.
        (Field::Exclusiveaddruse, no(), Value::Bool(false), true),
        (Field::ExitOnClose, Some(yes()), Value::Bool(false), true),
        (Field::Header, int(0), Value::Int(2), true),
        (Field::HighMsgqWatermark, int(8192), Value::Int(9000), true),
        (Field::HighWatermark, int(8192), Value::Int(9001), true),
        (Field::LineDelimiter, int(10), Value::Int(59), false),
        (Field::LowMsgqWatermark, int(4096), Value::Int(77), true),
        (Field::LowWatermark, int(4096), Value::Int(78), true),
        (Field::MaxMailbox, Some(Value::MaxMailbox(None)), Value::MaxMailbox(Some(5)), true),
        (Field::MaxQueue, Some(Value::MaxQueue(None)), Value::MaxQueue(Some(MaxQueue { bytes: 5, overflow: Overflow::Close })), true),
        (Field::Mode, Some(Value::Mode(Mode::List)), Value::Mode(Mode::Binary), true),
        (Field::Netns, None, Value::Bytes(b"/run/netns/a".into()), false),
        (Field::Packet, Some(Value::Packet(PacketType::Raw)), Value::Packet(PacketType::Line), true),
        (Field::PacketSize, int(0), Value::Int(1000), true),
        (Field::ReadAhead, Some(yes()), Value::Bool(false), true),
        (Field::SendTimeout, Some(Value::Time(None)), Value::Time(Some(5)), true),
        (Field::SendTimeoutClose, no(), yes(), true),
        (Field::ShowEconnreset, no(), yes(), true),
    ]
}

fn shown(value: Value) -> Value {
    match value {
        Value::Request(ActiveRequest::Add(count)) => {
            Value::Active(Active::Count(u16::try_from(count).unwrap()))
        }
        value => value,
    }
}

fn set(settings: &mut Settings, field: Field, value: i64) -> Result<bool, Refused> {
    settings.set(field, &Value::Int(value))
}

fn int(settings: &Settings, field: Field) -> i64 {
    match settings.get(field) {
        Some(Value::Int(value)) => value,
        other => panic!("{field:?} is {other:?}"),
    }
}

/// Every field of the table has its line here, once.
#[test]
fn the_samples_are_complete() {
    let sampled: Vec<_> = samples().into_iter().map(|(field, ..)| field).collect();
    let of_row = |target: &Target| match target {
        Target::Field(field) => Some(*field),
        _ => None,
    };
    let fields: Vec<_> = TABLE.iter().filter_map(|row| of_row(&row.target)).collect();
    assert_eq!(sampled, fields);
}

/// Each has its default, keeps another value, and passes it on or not.
#[test]
fn default_set_read_back_and_inherit() {
    for (field, default, other, inherited) in samples() {
        let mut settings = Settings::default();
        assert_eq!(settings.get(field), default, "{field:?}");
        assert_eq!(settings.set(field, &other), Ok(false), "{field:?}");
        let other = shown(other);
        assert_eq!(settings.get(field), Some(other.clone()), "{field:?}");
        let accepted = settings.inherit();
        let expected = if inherited { Some(other) } else { default };
        assert_eq!(accepted.get(field), expected, "{field:?} accepted");
    }
}

/// A value of another type is refused and changes nothing.
#[test]
fn other_types_are_refused() {
    let values = [
        Value::Bool(true),
        Value::Int(1),
        Value::Time(Some(1)),
        Value::Bytes(b"x".into()),
        Value::Mode(Mode::Binary),
        Value::Packet(PacketType::Line),
        Value::Request(ActiveRequest::Once),
        Value::Deliver(Deliver::Port),
    ];
    for (field, default, sample, _) in samples() {
        for value in &values {
            if std::mem::discriminant(value) != std::mem::discriminant(&sample) {
                let mut settings = Settings::default();
                assert_eq!(
                    settings.set(field, value),
                    Err(Refused::EINVAL),
                    "{field:?} {value:?}"
                );
                assert_eq!(settings.get(field), default, "{field:?} {value:?}");
            }
        }
    }
}

/// Integers are cut to 32 bits and pulled into range, none of these is refused.
#[test]
fn integers_are_pulled_into_range() {
    for (field, value, expected) in [
        (Field::Buffer, 0, 1),
        (Field::Buffer, -5, 1),
        (Field::Buffer, 1 << 31, 1),
        (Field::Buffer, 1 << 40, 1),
        (Field::Buffer, (1 << 31) - 1, (1 << 31) - 1),
        (Field::Header, 1 << 32, 0),
        (Field::Header, (1 << 32) - 1, (1 << 32) - 1),
        (Field::PacketSize, 1 << 31, 1 << 31),
        (Field::HighWatermark, -1, 0),
        (Field::HighWatermark, 1 << 31, 0),
        (Field::LowWatermark, -5, 0),
        (Field::HighMsgqWatermark, 1 << 31, (1 << 31) - 1),
        (Field::HighMsgqWatermark, (1 << 32) + 5, 5),
        (Field::LowMsgqWatermark, 1 << 31, (1 << 31) - 1),
        (Field::LineDelimiter, 256 + 65, 65),
        (Field::LineDelimiter, -1, 255),
    ] {
        let mut settings = Settings::default();
        assert_eq!(
            set(&mut settings, field, value),
            Ok(false),
            "{field:?} {value}"
        );
        assert_eq!(int(&settings, field), expected, "{field:?} {value}");
    }
}

/// Watermarks of messages have two values that mean something else.
#[test]
fn watermarks_of_messages() {
    for field in [Field::HighMsgqWatermark, Field::LowMsgqWatermark] {
        for value in [0, -1, 1 << 32, (1 << 32) - 1] {
            let mut settings = Settings::default();
            let before = int(&settings, field);
            assert_eq!(
                set(&mut settings, field, value),
                Err(Refused::EINVAL),
                "{value}"
            );
            assert_eq!(int(&settings, field), before);
        }
    }
}

/// A low mark above the high one takes it along, and the other way round.
#[test]
fn watermarks_are_coupled() {
    for (low, high) in [
        (Field::LowWatermark, Field::HighWatermark),
        (Field::LowMsgqWatermark, Field::HighMsgqWatermark),
    ] {
        let mut settings = Settings::default();
        set(&mut settings, high, 50).unwrap();
        assert_eq!((int(&settings, low), int(&settings, high)), (50, 50));
        set(&mut settings, low, 100).unwrap();
        assert_eq!((int(&settings, low), int(&settings, high)), (100, 100));
        set(&mut settings, low, 20).unwrap();
        assert_eq!((int(&settings, low), int(&settings, high)), (20, 100));
    }
}

/// Only a buffer the user set limits a delivery; lines are limited by whatever it is.
#[test]
fn buffer_limits() {
    let mut settings = Settings::default();
    assert_eq!(settings.buffer.delivery_limit(), None);
    assert_eq!(settings.framing.line_limit, 9216);
    set(&mut settings, Field::Buffer, 300).unwrap();
    assert_eq!(settings.buffer.delivery_limit(), Some(300));
    assert_eq!(settings.framing.line_limit, 300);
    let accepted = settings.inherit();
    assert_eq!(accepted.buffer.delivery_limit(), Some(300));
    assert_eq!(accepted.framing.line_limit, 300);
}

/// A count that comes to nothing is told each time; too great a count is refused.
#[test]
fn active() {
    let mut settings = Settings::default();
    let mut request = |request| settings.set(Field::Active, &Value::Request(request));
    assert_eq!(request(ActiveRequest::Add(0)), Ok(true));
    assert_eq!(request(ActiveRequest::Add(3)), Ok(false));
    assert_eq!(request(ActiveRequest::Add(32767)), Err(Refused::EINVAL));
    assert_eq!(request(ActiveRequest::Add(-3)), Ok(true));
    assert_eq!(request(ActiveRequest::Once), Ok(false));
    assert_eq!(settings.active, Active::Once);
}

/// The framing of an accepted socket has no memory of the listener's.
#[test]
fn inherited_framing() {
    let mut settings = Settings::default();
    settings
        .set(Field::Packet, &Value::Packet(PacketType::HttpBin))
        .unwrap();
    set(&mut settings, Field::PacketSize, 500).unwrap();
    let accepted = settings.inherit();
    assert_eq!(accepted.framing.packet, PacketType::HttpBin);
    assert_eq!(accepted.framing.packet_size, 500);
    assert_eq!(accepted.framing.delimiter, b'\n');
}

/// A listener and what it has accepted share limits in memory only.
#[test]
fn a_limit_is_changed_for_one_socket_alone() {
    let mut listener = Settings::default();
    set(&mut listener, Field::HighWatermark, 100_000).unwrap();
    let mut changed = listener.inherit();
    let untouched = listener.inherit();
    set(&mut changed, Field::HighWatermark, 50_000).unwrap();
    set(&mut listener, Field::Header, 3).unwrap();
    for (settings, watermark, header) in [
        (&listener, 100_000, 3),
        (&changed, 50_000, 0),
        (&untouched, 100_000, 0),
        (&Settings::default(), 8192, 0),
    ] {
        assert_eq!(int(settings, Field::HighWatermark), watermark);
        assert_eq!(int(settings, Field::Header), header);
    }
}
