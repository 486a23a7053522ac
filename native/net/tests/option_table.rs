//! Sets, reads back and inherits every kernel option of the table on IPv4, IPv6 and local sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod sockets;

use std::os::fd::AsFd;

use net::Family;
use net::option::{
    Calls, KernelOption, Reading, Refusal, Refused, Row, TABLE, Target, Value, kernel,
};
use sockets::{accept, get, listen, open, row, set_only, value};

/// The sockets that have an option.
#[derive(Clone, Copy, PartialEq)]
enum On {
    All,
    /// IPv4 and IPv6.
    Tcp,
    Inet6,
}

/// Which accepted sockets have what their listener has.
#[derive(Clone, Copy, PartialEq)]
enum Inherits {
    /// Those of every family.
    All,
    /// Those of TCP, by the kernel.
    Tcp,
    /// The kernel has its own mind about it.
    Unspecified,
}

/// One line a kernel row: a value that is not the default, how it reads back, and where.
#[rustfmt::skip]
fn samples() -> Vec<(&'static str, Value, Value, On, Inherits)> {
    let on = || Value::Bool(true);
    let int = Value::Int;
    let text = |text: &str| Value::Bytes(text.into());
    let same = |value: Value| (value.clone(), value);
    let row = |name, (set, get), on, inherits| (name, set, get, on, inherits);
    vec![
        row("bind_to_device", same(text("lo")), On::All, Inherits::Tcp),
        row("busy_poll", same(int(50)), On::All, Inherits::Tcp),
        row("dontroute", same(on()), On::All, Inherits::Tcp),
        row("incoming_cpu", same(int(0)), On::All, Inherits::Unspecified),
        row("keepalive", same(on()), On::All, Inherits::All),
        row("linger", same(Value::Linger(true, 5)), On::All, Inherits::All),
        row("priority", same(int(3)), On::All, Inherits::All),
        // The kernel doubles it.
        row("recbuf", (int(5000), int(10000)), On::All, Inherits::Tcp),
        row("reuseaddr", same(on()), On::All, Inherits::All),
        row("reuseport", same(on()), On::Tcp, Inherits::Tcp),
        row("reuseport_lb", same(on()), On::Tcp, Inherits::Tcp),
        row("sndbuf", (int(7000), int(14000)), On::All, Inherits::Tcp),
        row("recvtos", same(on()), On::Tcp, Inherits::Tcp),
        row("recvttl", same(on()), On::Tcp, Inherits::Tcp),
        // Without the two bits of ECN.
        row("tos", (int(255), int(252)), On::Tcp, Inherits::Tcp),
        row("ttl", same(int(33)), On::Tcp, Inherits::Tcp),
        row("ipv6_v6only", same(on()), On::Inet6, Inherits::Tcp),
        row("recvtclass", same(on()), On::Inet6, Inherits::Tcp),
        row("tclass", same(int(32)), On::Inet6, Inherits::Tcp),
        row("congestion", same(text("reno")), On::Tcp, Inherits::Tcp),
        row("defer_accept", same(int(1)), On::Tcp, Inherits::Unspecified),
        row("keepcnt", same(int(5)), On::Tcp, Inherits::Tcp),
        row("keepidle", same(int(100)), On::Tcp, Inherits::Tcp),
        row("keepintvl", same(int(20)), On::Tcp, Inherits::Tcp),
        row("nodelay", same(on()), On::Tcp, Inherits::Tcp),
        row("nopush", same(on()), On::Tcp, Inherits::Tcp),
        row("notsent_lowat", same(int(16384)), On::Tcp, Inherits::Tcp),
        row("quickack", same(Value::Bool(false)), On::Tcp, Inherits::Unspecified),
        row("user_timeout", same(int(5000)), On::Tcp, Inherits::Tcp),
    ]
}

impl On {
    fn has(self, family: Family) -> bool {
        match self {
            On::All => true,
            On::Tcp => family != Family::Local,
            On::Inet6 => family == Family::Inet6,
        }
    }
}

fn kernel_option(row: &Row) -> Option<&KernelOption> {
    match &row.target {
        Target::Kernel(option) => Some(option),
        _ => None,
    }
}

/// Every kernel row has its line here, once.
#[test]
fn the_samples_are_complete() {
    let sampled: Vec<_> = samples().into_iter().map(|(name, ..)| name).collect();
    let rows: Vec<_> = TABLE
        .iter()
        .filter(|row| kernel_option(row).is_some())
        .map(|row| row.name)
        .collect();
    assert_eq!(sampled, rows);
}

/// No name is there twice.
#[test]
fn names_are_unique() {
    for (index, row) in TABLE.iter().enumerate() {
        assert!(
            !TABLE[..index].iter().any(|other| other.name == row.name),
            "{}",
            row.name
        );
    }
}

/// What was set reads back, on every socket that has the option; an accepted socket has it too.
#[test]
fn set_read_back_and_inherit() {
    for (name, to, expected, on, inherits) in samples() {
        for family in Family::ALL.into_iter().filter(|family| on.has(*family)) {
            let listener = open(family);
            match set_only(&listener, name, to.clone()) {
                Ok(passive) => assert!(!passive),
                // Taken from a privileged process only, or a kernel that lacks it.
                Err(Refused {
                    errno: libc::EPERM | libc::ENOPROTOOPT,
                }) if name == "busy_poll" => {
                    continue;
                }
                Err(refused) => panic!("{name} on {family:?}: {refused:?}"),
            }
            assert_eq!(value(&listener, name), expected, "{name} on {family:?}");
            listen(&listener, family);
            let (_client, accepted) = accept(&listener, family);
            kernel::inherit(listener.as_fd(), accepted.as_fd(), family).unwrap();
            let inherited = match (inherits, family) {
                (Inherits::Unspecified, _) => continue,
                (Inherits::All, _) | (Inherits::Tcp, Family::Inet | Family::Inet6) => {
                    expected.clone()
                }
                (Inherits::Tcp, Family::Local) => value(&open(family), name),
            };
            assert_eq!(
                value(&accepted, name),
                inherited,
                "{name} accepted on {family:?}"
            );
        }
    }
}

/// The samples are no defaults: otherwise nothing above would be shown.
#[test]
fn samples_are_not_defaults() {
    for (name, _, expected, on, _) in samples() {
        for family in Family::ALL.into_iter().filter(|family| on.has(*family)) {
            // The kernel's congestion control may be reno, and it remembers any CPU.
            if !matches!(name, "congestion" | "incoming_cpu") {
                assert_ne!(value(&open(family), name), expected, "{name} on {family:?}");
            }
        }
    }
}

/// A socket that lacks the option: what the row says becomes of the refusal, and reading omits it.
#[test]
fn refusals_of_a_family() {
    for (name, to, _, on, _) in samples() {
        for family in Family::ALL.into_iter().filter(|family| !on.has(*family)) {
            // Kernels differ about it, and it is ignored if refused.
            if name.starts_with("reuseport") {
                continue;
            }
            let socket = open(family);
            let result = set_only(&socket, name, to.clone());
            match kernel_option(row(name)).unwrap().refusal {
                Refusal::Ignored => assert_eq!(result, Ok(false), "{name} on {family:?}"),
                Refusal::Einval => assert_eq!(result, Err(Refused::EINVAL), "{name} on {family:?}"),
                Refusal::Errno => {
                    let errno = result.unwrap_err().errno;
                    let expected = [libc::EOPNOTSUPP, libc::ENOPROTOOPT];
                    assert!(expected.contains(&errno), "{name} on {family:?}: {errno}");
                }
            }
            assert_eq!(get(&socket, name), Reading::Omitted, "{name} on {family:?}");
        }
    }
}

/// What a row sets is the option it says: another crate's reading of the same socket agrees.
#[test]
fn rows_name_the_right_options() {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap();
    let trimmed = |name: Vec<u8>| name.into_iter().take_while(|byte| *byte != 0).collect();
    let socket = open(Family::Inet6);
    for (name, to, ..) in samples() {
        let _ = set_only(&socket, name, to);
    }
    let s = &socket;
    let int = |value: usize| Value::Int(i64::try_from(value).unwrap());
    let u32 = |value: u32| Value::Int(value.into());
    for (name, read) in [
        (
            "bind_to_device",
            s.device().map(|name| Value::Bytes(name.unwrap())),
        ),
        ("busy_poll", s.busy_poll().map(u32)),
        ("incoming_cpu", s.cpu_affinity().map(int)),
        ("keepalive", s.keepalive().map(Value::Bool)),
        (
            "linger",
            s.linger()
                .map(|time| Value::Linger(true, seconds(time.unwrap()))),
        ),
        ("priority", s.priority().map(u32)),
        ("recbuf", s.recv_buffer_size().map(int)),
        ("reuseaddr", s.reuse_address().map(Value::Bool)),
        ("reuseport", s.reuse_port().map(Value::Bool)),
        ("sndbuf", s.send_buffer_size().map(int)),
        ("recvtos", s.recv_tos_v4().map(Value::Bool)),
        ("tos", s.tos_v4().map(u32)),
        ("ttl", s.ttl_v4().map(u32)),
        ("ipv6_v6only", s.only_v6().map(Value::Bool)),
        ("recvtclass", s.recv_tclass_v6().map(Value::Bool)),
        ("tclass", s.tclass_v6().map(u32)),
        (
            "congestion",
            s.tcp_congestion().map(|name| Value::Bytes(trimmed(name))),
        ),
        ("keepcnt", s.tcp_keepalive_retries().map(u32)),
        (
            "keepidle",
            s.tcp_keepalive_time().map(|time| Value::Int(seconds(time))),
        ),
        (
            "keepintvl",
            s.tcp_keepalive_interval()
                .map(|time| Value::Int(seconds(time))),
        ),
        ("nodelay", s.tcp_nodelay().map(Value::Bool)),
        ("nopush", s.tcp_cork().map(Value::Bool)),
        ("notsent_lowat", s.tcp_notsent_lowat().map(u32)),
        ("quickack", s.tcp_quickack().map(Value::Bool)),
        (
            "user_timeout",
            s.tcp_user_timeout()
                .map(|time| Value::Int(i64::try_from(time.unwrap().as_millis()).unwrap())),
        ),
    ] {
        match read {
            Ok(read) => assert_eq!(value(&socket, name), read, "{name}"),
            Err(error) => assert_eq!(name, "busy_poll", "{name}: {error}"),
        }
    }
    // Those that the other crate lacks, by their numbers in the kernel's headers.
    for (name, level, number) in [
        ("dontroute", 1, 5),
        ("recvttl", 0, 12),
        ("defer_accept", 6, 9),
        ("reuseport_lb", 1, 15),
    ] {
        let option = kernel_option(row(name)).unwrap();
        assert_eq!((option.level, option.option), (level, number), "{name}");
    }
}

/// The manual has each option with the calls that take it, and no other.
#[test]
fn the_manual_is_complete() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/options.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (settable, opening) = manual.split_once("## How to open").unwrap();
    let mut documented = Vec::new();
    for line in settable.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line
            .split(" | ")
            .map(|cell| cell.trim_matches(['|', ' ']))
            .collect();
        let calls = |cell: &&str| cell.starts_with(['C', 'L', 'S', 'G']) && cell.len() <= 4;
        let Some(calls) = cells.iter().copied().find(calls) else {
            continue; // The heads of the tables.
        };
        let names = cells[0]
            .split([',', ';'])
            .map(|name| name.trim_matches([' ', '`']));
        documented.extend(names.map(|name| (name, calls)));
    }
    for row in TABLE.iter().filter(|row| row.name != "netns") {
        let calls: String = [
            ('C', Calls::CONNECT),
            ('L', Calls::LISTEN),
            ('S', Calls::SET),
            ('G', Calls::GET),
        ]
        .into_iter()
        .filter(|(_, call)| row.calls.contain(*call))
        .map(|(letter, _)| letter)
        .collect();
        assert!(
            documented.contains(&(row.name, &calls)),
            "{} {calls}",
            row.name
        );
    }
    for (name, _) in documented {
        let is_no_row = matches!(name, "raw" | "list" | "binary");
        assert!(
            is_no_row || Row::named(name).is_some(),
            "{name} is not in the table"
        );
    }
    assert!(opening.contains("\n| netns |"));
}
