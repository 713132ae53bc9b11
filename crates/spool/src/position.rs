//! Where a frame is.

use std::{fmt, num::ParseIntError, str::FromStr};

/// A place in the log: a segment and a byte in it. Later places are greater.
///
/// As text it is `segment:offset`, both decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of the segment; the first one is 1.
    pub segment: u64,
    /// The byte in its file. 0 stands for the first frame of the segment.
    pub offset: u64,
}

impl Position {
    /// Before everything: a reader that starts here starts at the oldest segment there is.
    pub const START: Self = Self { segment: 0, offset: 0 };

    /// The place `offset` in `segment`.
    #[must_use]
    pub const fn new(segment: u64, offset: u64) -> Self {
        Self { segment, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// The text is not `segment:offset`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is written segment:offset")]
pub struct ParsePositionError(#[source] Option<ParseIntError>);

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (segment, offset) = text.split_once(':').ok_or(ParsePositionError(None))?;
        let number = |text: &str| text.parse().map_err(|error| ParsePositionError(Some(error)));
        Ok(Self { segment: number(segment)?, offset: number(offset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_order() {
        let position = Position::new(42, 7);
        assert_eq!(position.to_string(), "42:7");
        assert_eq!("42:7".parse(), Ok(position));
        assert!(Position::new(1, 900) < Position::new(2, 0));
        for bad in ["", "42", "42:", ":7", "a:7", "42:-1"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
