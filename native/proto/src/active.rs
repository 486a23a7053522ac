//! The arithmetic of `{active, Mode}`: which mode a socket is in, what a request
//! makes of it, and what one delivered message takes off it.
//!
//! Nothing here sends a message: the functions say when `tcp_passive` is due
//! and the caller sends it.

/// How a socket hands its data over, as `inet:getopts(S, [active])` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// `false`: data waits until a `recv` asks for it.
    Passive,
    /// `true`: every frame is sent to the owner.
    Always,
    /// `once`: one frame is sent, then the socket is passive.
    Once,
    /// `N`: so many frames are sent, then `tcp_passive`. Never zero, at most
    /// [`Active::MAX_COUNT`].
    Count(u16),
}

/// What a caller may ask for with `{active, _}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveRequest {
    /// `false`.
    Passive,
    /// `true`.
    Always,
    /// `once`.
    Once,
    /// An integer: it is added to the count there is. Valid from
    /// [`Active::MIN_ADD`] to [`Active::MAX_COUNT`].
    Add(i32),
}

/// The integer of `{active, N}`, or the count it would lead to, does not fit
/// 16 bits. Becomes `einval`; the mode is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl Active {
    /// The highest count of messages, and the highest integer accepted.
    pub const MAX_COUNT: i32 = i16::MAX as i32;
    /// The lowest integer accepted in `{active, N}`.
    pub const MIN_ADD: i32 = i16::MIN as i32;

    /// Applies `{active, request}`.
    ///
    /// `Ok(true)`: the owner must be told `tcp_passive`. That is the case each
    /// time an integer brings the count to zero or below, whatever the mode was
    /// before, and never when the mode is replaced by `false`, `true` or `once`.
    ///
    /// **Errors** [`OutOfRange`] (`einval`), the mode is unchanged.
    pub fn request(&mut self, request: ActiveRequest) -> Result<bool, OutOfRange> {
        let (mode, passive) = match request {
            ActiveRequest::Passive => (Active::Passive, false),
            ActiveRequest::Always => (Active::Always, false),
            ActiveRequest::Once => (Active::Once, false),
            ActiveRequest::Add(n) => self.plus(n)?,
        };
        *self = mode;
        Ok(passive)
    }

    /// Takes one delivered message off the mode.
    ///
    /// `true`: the count has run out, `tcp_passive` follows this message and
    /// the socket is passive. `once` becomes passive without being told.
    pub fn delivered(&mut self) -> bool {
        match *self {
            Active::Passive | Active::Always => false,
            Active::Once => {
                *self = Active::Passive;
                false
            }
            Active::Count(count) if count > 1 => {
                *self = Active::Count(count - 1);
                false
            }
            Active::Count(_) => {
                *self = Active::Passive;
                true
            }
        }
    }

    /// Whether data has to wait for a `recv`.
    pub fn is_passive(self) -> bool {
        self == Active::Passive
    }

    fn plus(self, n: i32) -> Result<(Active, bool), OutOfRange> {
        if !(Self::MIN_ADD..=Self::MAX_COUNT).contains(&n) {
            return Err(OutOfRange);
        }
        let counted = match self {
            Active::Count(count) => i32::from(count),
            Active::Passive | Active::Always | Active::Once => 0,
        };
        match counted + n {
            sum if sum > Self::MAX_COUNT => Err(OutOfRange),
            sum => match u16::try_from(sum) {
                Ok(count) if count > 0 => Ok((Active::Count(count), false)),
                // Zero or below.
                _ => Ok((Active::Passive, true)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words replace the mode, clear the count and are never answered with `tcp_passive`.
    #[test]
    fn words_replace_the_mode() {
        let modes = [
            Active::Passive,
            Active::Always,
            Active::Once,
            Active::Count(7),
        ];
        for before in modes {
            for (request, after) in [
                (ActiveRequest::Passive, Active::Passive),
                (ActiveRequest::Always, Active::Always),
                (ActiveRequest::Once, Active::Once),
            ] {
                let mut active = before;
                assert_eq!(active.request(request), Ok(false));
                assert_eq!(active, after);
            }
        }
    }

    /// An integer is added to a count, and starts one from any other mode.
    #[test]
    fn integers_add_up() {
        let mut active = Active::Count(5);
        assert_eq!(active.request(ActiveRequest::Add(3)), Ok(false));
        assert_eq!(active, Active::Count(8));
        assert_eq!(active.request(ActiveRequest::Add(-7)), Ok(false));
        assert_eq!(active, Active::Count(1));
        for before in [Active::Passive, Active::Always, Active::Once] {
            let mut active = before;
            assert_eq!(active.request(ActiveRequest::Add(2)), Ok(false));
            assert_eq!(active, Active::Count(2));
        }
    }

    /// A sum of zero or below makes passive and tells so, each time.
    #[test]
    fn zero_and_below_are_passive_and_told() {
        for before in [
            Active::Passive,
            Active::Always,
            Active::Once,
            Active::Count(4),
        ] {
            for n in [-4, -5, -32768] {
                let mut active = before;
                assert_eq!(active.request(ActiveRequest::Add(n)), Ok(true));
                assert_eq!(active, Active::Passive);
            }
        }
        let mut active = Active::Passive;
        assert_eq!(active.request(ActiveRequest::Add(0)), Ok(true));
        assert_eq!(active.request(ActiveRequest::Add(0)), Ok(true));
        // Zero added to a count leaves it.
        let mut active = Active::Count(3);
        assert_eq!(active.request(ActiveRequest::Add(0)), Ok(false));
        assert_eq!(active, Active::Count(3));
    }

    /// Neither the integer nor the sum may leave 16 bits, and a refusal changes nothing.
    #[test]
    fn sixteen_bits_are_the_limit() {
        let mut active = Active::Passive;
        for n in [32768, -32769, i32::MAX, i32::MIN] {
            assert_eq!(active.request(ActiveRequest::Add(n)), Err(OutOfRange));
            assert_eq!(active, Active::Passive);
        }
        assert_eq!(active.request(ActiveRequest::Add(32767)), Ok(false));
        assert_eq!(active.request(ActiveRequest::Add(1)), Err(OutOfRange));
        assert_eq!(active, Active::Count(32767));
    }

    /// `once` ends silently after one message, a count ends with `tcp_passive`.
    #[test]
    fn deliveries_count_down() {
        let mut active = Active::Once;
        assert!(!active.delivered());
        assert!(active.is_passive());
        let mut active = Active::Count(2);
        assert!(!active.delivered());
        assert_eq!(active, Active::Count(1));
        assert!(active.delivered());
        assert!(active.is_passive());
        let mut active = Active::Always;
        assert!(!active.delivered());
        assert_eq!(active, Active::Always);
    }
}
