//! The ten counters of `inet:getstat/2`, counted as the driver counts them.

/// Deliveries or sends in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Direction {
    /// Bytes on the wire, headers included.
    pub octets: u64,
    /// Deliveries, or calls of send.
    pub count: u64,
    /// The largest one, in bytes.
    pub max: u64,
    /// Running mean, in bytes.
    pub average: f64,
    /// Running mean of the difference to the mean so far, in bytes.
    pub deviation: f64,
}

impl Direction {
    /// Counts one delivery or send of `len` bytes.
    pub fn count(&mut self, len: usize) {
        let len = len as u64;
        self.octets = self.octets.wrapping_add(len);
        self.count = self.count.wrapping_add(1);
        self.max = self.max.max(len);
        let count = self.count as f64;
        let difference = len as f64 - self.average;
        self.average += difference / count;
        self.deviation += (len as f64 - self.average - self.deviation) / count;
    }
}

/// What a socket counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received: Direction,
    pub(crate) sent: Direction,
}

impl Traffic {
    /// With what is queued at the moment, in bytes.
    pub(crate) fn and_pending(self, queued: usize) -> Counters {
        Counters {
            received: self.received,
            sent: self.sent,
            pending: queued as u64,
        }
    }
}

/// All counters of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// What was delivered.
    pub received: Direction,
    /// What was given to send.
    pub sent: Direction,
    /// Bytes queued for sending.
    pub pending: u64,
}

/// A counter by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `recv_oct`
    ReceivedOctets,
    /// `recv_cnt`
    ReceivedCount,
    /// `recv_max`
    ReceivedMax,
    /// `recv_avg`
    ReceivedAverage,
    /// `recv_dvi`
    ReceivedDeviation,
    /// `send_oct`
    SentOctets,
    /// `send_cnt`
    SentCount,
    /// `send_max`
    SentMax,
    /// `send_avg`
    SentAverage,
    /// `send_pend`
    SendPending,
}

impl Counter {
    /// Every counter with its name, in the order of `inet:getstat/1`.
    pub const ALL: [(&'static str, Counter); 10] = [
        ("recv_oct", Counter::ReceivedOctets),
        ("recv_cnt", Counter::ReceivedCount),
        ("recv_max", Counter::ReceivedMax),
        ("recv_avg", Counter::ReceivedAverage),
        ("recv_dvi", Counter::ReceivedDeviation),
        ("send_oct", Counter::SentOctets),
        ("send_cnt", Counter::SentCount),
        ("send_max", Counter::SentMax),
        ("send_avg", Counter::SentAverage),
        ("send_pend", Counter::SendPending),
    ];

    /// The counter called `name`.
    pub fn named(name: &str) -> Option<Counter> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, counter)| *counter)
    }
}

impl Counters {
    /// The value that `getstat` shows: octets in 64 bits, the others modulo 2^32, means
    /// truncated.
    pub fn value(&self, counter: Counter) -> u64 {
        const MODULUS: u64 = 1 << 32;
        match counter {
            Counter::ReceivedOctets => self.received.octets,
            Counter::ReceivedCount => self.received.count % MODULUS,
            Counter::ReceivedMax => self.received.max % MODULUS,
            Counter::ReceivedAverage => self.received.average as u64 % MODULUS,
            Counter::ReceivedDeviation => self.received.deviation.abs() as u64 % MODULUS,
            Counter::SentOctets => self.sent.octets,
            Counter::SentCount => self.sent.count % MODULUS,
            Counter::SentMax => self.sent.max % MODULUS,
            Counter::SentAverage => self.sent.average as u64 % MODULUS,
            Counter::SendPending => self.pending % MODULUS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_truncated_as_the_driver_does() {
        let mut counters = Counters::default();
        counters.received.count(90);
        counters.received.count(5);
        assert_eq!(counters.value(Counter::ReceivedOctets), 95);
        assert_eq!(counters.value(Counter::ReceivedCount), 2);
        assert_eq!(counters.value(Counter::ReceivedMax), 90);
        assert_eq!(counters.value(Counter::ReceivedAverage), 47);
        assert_eq!(counters.value(Counter::ReceivedDeviation), 21);
    }
}
