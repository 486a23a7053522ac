//! The statistics of a TCP connection: `struct tcp_info` of linux/tcp.h.
//!
//! The structure only ever grows at its end, and a kernel answers with as much of it as it knows.
//! So it is decoded from bytes by offset, and what the kernel did not send is absent.

/// The statistics the kernel gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    state: u8,
    numbers: Vec<(&'static str, u64)>,
}

/// Where a number lies in the structure.
#[derive(Clone, Copy)]
enum At {
    /// One byte.
    Byte(usize),
    /// Four bytes.
    Word(usize),
    /// Eight bytes.
    Long(usize),
}

/// The numbers told, by place.
///
/// **Units** microseconds for times, unless the name ends in `_ms`; bytes a second for rates;
/// segments for `unacked`, `sacked`, `lost`, `retrans`, `ssthresh`, `cwnd`, `reordering`; bytes
/// for sizes, windows and what is named so; counts since the start for the rest.
const NUMBERS: &[(&str, At)] = &[
    ("ca_state", At::Byte(1)),
    ("retransmits", At::Byte(2)),
    ("probes", At::Byte(3)),
    ("backoff", At::Byte(4)),
    ("rto", At::Word(8)),
    ("ato", At::Word(12)),
    ("snd_mss", At::Word(16)),
    ("rcv_mss", At::Word(20)),
    ("unacked", At::Word(24)),
    ("sacked", At::Word(28)),
    ("lost", At::Word(32)),
    ("retrans", At::Word(36)),
    ("last_data_sent_ms", At::Word(44)),
    ("last_data_recv_ms", At::Word(52)),
    ("last_ack_recv_ms", At::Word(56)),
    ("pmtu", At::Word(60)),
    ("rcv_ssthresh", At::Word(64)),
    ("rtt", At::Word(68)),
    ("rttvar", At::Word(72)),
    ("ssthresh", At::Word(76)),
    ("cwnd", At::Word(80)),
    ("advmss", At::Word(84)),
    ("reordering", At::Word(88)),
    ("rcv_rtt", At::Word(92)),
    ("rcv_space", At::Word(96)),
    ("total_retrans", At::Word(100)),
    ("pacing_rate", At::Long(104)),
    ("max_pacing_rate", At::Long(112)),
    ("bytes_acked", At::Long(120)),
    ("bytes_received", At::Long(128)),
    ("segs_out", At::Word(136)),
    ("segs_in", At::Word(140)),
    ("notsent", At::Word(144)),
    ("min_rtt", At::Word(148)),
    ("data_segs_in", At::Word(152)),
    ("data_segs_out", At::Word(156)),
    ("delivery_rate", At::Long(160)),
    ("busy_time", At::Long(168)),
    ("rwnd_limited", At::Long(176)),
    ("sndbuf_limited", At::Long(184)),
    ("delivered", At::Word(192)),
    ("delivered_ce", At::Word(196)),
    ("bytes_sent", At::Long(200)),
    ("bytes_retrans", At::Long(208)),
    ("dsack_dups", At::Word(216)),
    ("reord_seen", At::Word(220)),
    ("rcv_ooopack", At::Word(224)),
    ("snd_wnd", At::Word(228)),
    ("rcv_wnd", At::Word(232)),
    ("rehash", At::Word(236)),
];

/// The states in the kernel's numbering, from 1.
const STATES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
];

impl TcpInfo {
    /// Decodes as much as there is.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> TcpInfo {
        let number = |(name, at): &(&'static str, At)| Some((*name, at.read(bytes)?));
        TcpInfo {
            state: bytes.first().copied().unwrap_or_default(),
            numbers: NUMBERS.iter().filter_map(number).collect(),
        }
    }

    /// The state of the connection, by its name in lower case.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let index = usize::from(self.state).checked_sub(1);
        index
            .and_then(|index| STATES.get(index))
            .copied()
            .unwrap_or("unknown")
    }

    /// The names of all numbers known here, in the order of the structure.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NUMBERS.iter().map(|(name, _)| *name)
    }

    /// The numbers there are, by name. As the structure grows at its end, their names are the
    /// first of [`TcpInfo::names`].
    #[must_use]
    pub fn numbers(&self) -> &[(&'static str, u64)] {
        &self.numbers
    }

    /// The number of this name, if the kernel sent it.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.numbers
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, number)| *number)
    }
}

impl At {
    fn read(self, bytes: &[u8]) -> Option<u64> {
        fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
            bytes.get(offset..)?.first_chunk().copied()
        }
        match self {
            At::Byte(offset) => bytes.get(offset).copied().map(u64::from),
            At::Word(offset) => at(bytes, offset).map(u32::from_ne_bytes).map(u64::from),
            At::Long(offset) => at(bytes, offset).map(u64::from_ne_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets are those of the structure as libc declares it.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn offsets() {
        use std::mem::offset_of;
        let offset = |name: &str| match NUMBERS.iter().find(|(other, _)| *other == name) {
            Some((_, At::Byte(offset) | At::Word(offset) | At::Long(offset))) => *offset,
            None => panic!("{name} is not told"),
        };
        for (name, expected) in [
            ("backoff", offset_of!(libc::tcp_info, tcpi_backoff)),
            ("rto", offset_of!(libc::tcp_info, tcpi_rto)),
            ("unacked", offset_of!(libc::tcp_info, tcpi_unacked)),
            ("retrans", offset_of!(libc::tcp_info, tcpi_retrans)),
            (
                "last_data_sent_ms",
                offset_of!(libc::tcp_info, tcpi_last_data_sent),
            ),
            (
                "last_data_recv_ms",
                offset_of!(libc::tcp_info, tcpi_last_data_recv),
            ),
            (
                "last_ack_recv_ms",
                offset_of!(libc::tcp_info, tcpi_last_ack_recv),
            ),
            ("pmtu", offset_of!(libc::tcp_info, tcpi_pmtu)),
            ("rtt", offset_of!(libc::tcp_info, tcpi_rtt)),
            ("rttvar", offset_of!(libc::tcp_info, tcpi_rttvar)),
            ("cwnd", offset_of!(libc::tcp_info, tcpi_snd_cwnd)),
            ("rcv_space", offset_of!(libc::tcp_info, tcpi_rcv_space)),
            (
                "total_retrans",
                offset_of!(libc::tcp_info, tcpi_total_retrans),
            ),
            ("pacing_rate", offset_of!(libc::tcp_info, tcpi_pacing_rate)),
            (
                "bytes_received",
                offset_of!(libc::tcp_info, tcpi_bytes_received),
            ),
            ("notsent", offset_of!(libc::tcp_info, tcpi_notsent_bytes)),
            ("min_rtt", offset_of!(libc::tcp_info, tcpi_min_rtt)),
            (
                "delivery_rate",
                offset_of!(libc::tcp_info, tcpi_delivery_rate),
            ),
            (
                "sndbuf_limited",
                offset_of!(libc::tcp_info, tcpi_sndbuf_limited),
            ),
            ("bytes_sent", offset_of!(libc::tcp_info, tcpi_bytes_sent)),
            ("reord_seen", offset_of!(libc::tcp_info, tcpi_reord_seen)),
            ("snd_wnd", offset_of!(libc::tcp_info, tcpi_snd_wnd)),
            ("rehash", offset_of!(libc::tcp_info, tcpi_rehash)),
        ] {
            assert_eq!(offset(name), expected, "{name}");
        }
    }

    /// A kernel that knows less sends less: the rest is absent, nothing is made up.
    #[test]
    fn a_shorter_structure() {
        let mut bytes = vec![0; 104];
        bytes[0] = 10;
        bytes[68] = 7;
        let info = TcpInfo::decode(&bytes);
        assert_eq!(info.state(), "listen");
        assert!(info.number("rtt").is_some());
        assert!(info.number("total_retrans").is_some());
        assert_eq!(info.number("pacing_rate"), None);
        let names: Vec<_> = info.numbers().iter().map(|(name, _)| *name).collect();
        assert!(
            names
                .into_iter()
                .eq(TcpInfo::names().take(info.numbers().len()))
        );
        assert_eq!(TcpInfo::decode(&[]).state(), "unknown");
        assert_eq!(TcpInfo::decode(&[]).numbers(), []);
    }
}
