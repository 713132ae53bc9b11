//! What makes an event one event, and says which of two is newer.

use std::fmt;

use jiff::Timestamp;

/// The place of an event in history: time, then number at its source, then what it says.
///
/// The order is that of the bytes, the greatest is the newest. It follows from the record alone, so it is the same for
/// every server, and stays through every rebuild: a page token is the key of the last event that was shown. Two records
/// have the same key only if they are the same to the byte: the same event, by way of two trails, or live and sealed.
/// An event cannot hide another one by taking its `eventID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; Key::SIZE]);

impl Key {
    /// Bytes of a key.
    pub const SIZE: usize = 20;
    /// Before every event.
    pub const OLDEST: Self = Self([0; Self::SIZE]);
    /// After every event.
    pub const NEWEST: Self = Self([0xff; Self::SIZE]);

    /// The key of a record that happened `at` and has this number at its source, 0 if it has none.
    #[must_use]
    pub fn new(at: Seconds, sequence: u64, record: &str) -> Self {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&at.0.to_be_bytes());
        let sequence = u32::try_from(sequence).unwrap_or(u32::MAX);
        bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
        // Every byte of history goes through this: where processors have no instructions for SHA-256, that would be a
        // third of the work.
        bytes[8..].copy_from_slice(&blake3::hash(record.as_bytes()).as_bytes()[..12]);
        Self(bytes)
    }

    /// When it happened.
    #[must_use]
    pub fn at(self) -> Seconds {
        let [a, b, c, d, ..] = self.0;
        Seconds(u32::from_be_bytes([a, b, c, d]))
    }

    /// The least key of that second.
    #[must_use]
    pub fn first_of(at: Seconds) -> Self {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&at.0.to_be_bytes());
        Self(bytes)
    }

    /// The greatest key of that second.
    #[must_use]
    pub fn last_of(at: Seconds) -> Self {
        let mut bytes = [0xff; Self::SIZE];
        bytes[..4].copy_from_slice(&at.0.to_be_bytes());
        Self(bytes)
    }

    /// The greatest key that is less, if there is one.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            let (less, borrowed) = byte.overflowing_sub(1);
            *byte = less;
            if !borrowed {
                return Some(Self(bytes));
            }
        }
        None
    }

    /// As stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

impl From<[u8; Key::SIZE]> for Key {
    fn from(bytes: [u8; Key::SIZE]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at().timestamp())?;
        self.0[4..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A second since 1970, up to 2106: `eventTime` has no finer part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u32);

impl Seconds {
    /// The second that `at` lies in, or the nearest there is.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX))
    }

    /// Its first instant.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        // Every u32 is within the range of `Timestamp`.
        Timestamp::from_second(i64::from(self.0)).unwrap_or(Timestamp::MAX)
    }

    /// Reads an `eventTime`. Records that nobody wrote for CloudTrail have fractions, or offsets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        plain(text.as_bytes()).or_else(|| {
            let at: Timestamp = text.parse().ok()?;
            u32::try_from(at.as_second()).ok().map(Self)
        })
    }
}

/// `2026-01-15T10:41:17Z`, without a parser for everything that a time can look like. Dates that are none are left to
/// that.
fn plain(text: &[u8]) -> Option<Seconds> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'Z'] = text
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[n0, n1])?, number(&[s0, s1])?);
    if !(1970..2106).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=28).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days of the civil calendar, counted from March on so that the leap day is the last of a year.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1;
    Some(Seconds((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_times_are_those_of_the_calendar() {
        let mut at: Timestamp = "1970-01-01T00:00:00Z".parse().unwrap();
        let step = jiff::SignedDuration::from_secs(86_400 * 3 + 12_347);
        while at < "2105-12-31T00:00:00Z".parse().unwrap() {
            assert_eq!(Seconds::parse(&at.to_string()), Some(Seconds::of(at)), "{at}");
            at += step;
        }
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-15T10:41:17.25+01:00", Some(1_768_470_077)),
            ("2026-02-31T10:41:17Z", None),
            ("redacted", None),
            ("1969-12-31T23:59:59Z", None),
            ("2200-01-01T00:00:00Z", None),
        ] {
            assert_eq!(Seconds::parse(text), seconds.map(Seconds), "{text}");
        }
    }

    #[test]
    fn newer_is_greater() {
        let key = |at, sequence, record| Key::new(Seconds(at), sequence, record);
        assert!(key(2, 0, "a") > key(1, 9, "b"));
        assert!(key(1, 300, "a") > key(1, 2, "b"));
        assert_ne!(key(1, 1, "a"), key(1, 1, "b"));
        assert_eq!(key(1, u64::MAX, "a"), key(1, u64::from(u32::MAX), "a"));
        assert_eq!(Key::first_of(Seconds(5)).before(), Some(Key::last_of(Seconds(4))));
        assert_eq!(Key::OLDEST.before(), None);
        assert!(Key::first_of(Seconds(5)) < key(5, 7, "a") && key(5, 7, "a") < Key::last_of(Seconds(5)));
    }
}
