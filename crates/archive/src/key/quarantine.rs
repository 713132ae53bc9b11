//! The key of a frame that was set aside.

use super::*;

/// The key of a quarantine object: a frame of a spool that could not be understood, byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuarantineKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The collector whose spool it was in.
    pub collector: Id,
    /// The trail that came across it.
    pub trail: Trail,
    /// The SHA-256 of meta and body of the frame, in one piece.
    pub frame: Sha256,
}

impl FromStr for QuarantineKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Home::split(text)
            .and_then(|(home, rest)| {
                let mut parts =
                    rest.strip_prefix("Sidetrail-Quarantine/")?.strip_suffix(".frame")?.split('/');
                let key = Self {
                    home,
                    collector: parts.next()?.parse().ok()?,
                    trail: Trail::new(parts.next()?).ok()?,
                    frame: parts.next()?.parse().ok()?,
                };
                (parts.next().is_none() && key.to_string() == text).then_some(key)
            })
            .ok_or(InvalidKey("quarantined frame"))
    }
}

impl fmt::Display for QuarantineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, collector, trail, frame } = self;
        write!(f, "{home}Sidetrail-Quarantine/{collector}/{trail}/{frame}.frame")
    }
}

text!(QuarantineKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_parses_back_and_nothing_else_does() {
        let key = QuarantineKey {
            home: Home::new(None, Account::new("111122223333").unwrap()),
            collector: Id([7; 16]),
            trail: Trail::new("a_trail.of-mine").unwrap(),
            frame: Sha256::of(b"frame"),
        };
        let text = key.to_string();
        assert_eq!(text.parse::<QuarantineKey>(), Ok(key));
        for (from, to) in
            [(".frame", ".json"), ("/a_trail", "/a/a_trail"), ("Quarantine", "Key"), ("07", "7")]
        {
            assert!(text.replacen(from, to, 1).parse::<QuarantineKey>().is_err(), "{from}");
        }
        assert!(text.parse::<LogKey>().is_err() && text.parse::<ManifestKey>().is_err());
    }
}
