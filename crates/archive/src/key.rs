//! Object keys: where log files, manifests and public keys lie in a bucket.
//!
//! ```text
//! home      = [prefix "/"] "AWSLogs/" [organization "/"] account "/"
//! log file  = home "CloudTrail/"         day account "_CloudTrail_"         region "_" minute "_" unique ".json.gz"
//! manifest  = home "Sidetrail-Manifest/" day account "_Sidetrail-Manifest_" region "_" minute "_" unique ".json"
//! key       = home "Sidetrail-Key/" key-id ".json"
//! frame     = home "Sidetrail-Quarantine/" collector "/" trail "/" sha256 ".frame"
//! day       = region "/" YYYY "/" MM "/" DD "/"
//! minute    = YYYYMMDD "T" HHmm "Z"      ; of delivery, UTC
//! unique    = 16 of 0-9 A-Z a-z
//! ```
//!
//! The grammar of log files is CloudTrail's, and readers find them by it: the CloudTrail Processing Library by
//! `.+_CloudTrail_[\w\-]+_\d{8}T\d{4}Z_[\w]+\.json\.gz`, which no manifest and no key matches. A log file and its manifest
//! differ in kind and extension only, so each key is computed from the other. Parsing is strict: the parts that appear
//! twice must agree, and a parsed key prints as it was.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hash::Sha256;
pub use crate::name::{Account, Id, InvalidName, OrgId, Prefix, Region, Trail};
use crate::sign::KeyId;

/// The text is not a key of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the key of a {0}")]
pub struct InvalidKey(&'static str);

/// Where the evidence of one account lies: everything of a key up to the kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Home {
    /// What precedes `AWSLogs/`.
    pub prefix: Option<Prefix>,
    /// The organization, for an organization trail.
    pub organization: Option<OrgId>,
    /// The account whose records these are.
    pub account: Account,
}

impl Home {
    /// `AWSLogs/{account}/`, after a prefix if there is one.
    #[must_use]
    pub fn new(prefix: Option<Prefix>, account: Account) -> Self {
        Self { prefix, organization: None, account }
    }

    /// Splits a key into its home and the rest.
    fn split(key: &str) -> Option<(Self, &str)> {
        // The last `AWSLogs/` that begins a part: a prefix may hold the word too, what follows may not.
        let at = match key.rfind("/AWSLogs/") {
            Some(slash) => slash + 1,
            None => key.starts_with("AWSLogs/").then_some(0)?,
        };
        let prefix = key[..at].strip_suffix('/').map(Prefix::new).transpose().ok()?;
        let (first, rest) = key[at..].strip_prefix("AWSLogs/")?.split_once('/')?;
        let (organization, account, rest) = match OrgId::new(first) {
            Ok(organization) => {
                rest.split_once('/').map(|(account, rest)| (Some(organization), account, rest))?
            }
            Err(_) => (None, first, rest),
        };
        Some((Self { prefix, organization, account: Account::new(account).ok()? }, rest))
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = &self.prefix {
            write!(f, "{prefix}/")?;
        }
        f.write_str("AWSLogs/")?;
        if let Some(organization) = &self.organization {
            write!(f, "{organization}/")?;
        }
        write!(f, "{}/", self.account)
    }
}

/// What makes a log file's name its own: 16 base-62 digits.
///
/// Made by [`Unique::of`] they are computed from the place in a chain, so a repeated plan names the same object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unique([u8; 16]);

impl Unique {
    /// The digits by value: 0 to 9, A to Z, a to z.
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    /// The name of the object at `index` of the chain that `collector` writes for `trail`.
    ///
    /// It is the SHA-256 of the text `{collector}/{trail}/{index}` (a UUID, a trail name, a decimal number), of which
    /// the first 12 bytes are read as a big-endian number, taken modulo 62^16, and written in base 62, most significant
    /// digit first.
    #[must_use]
    pub fn of(collector: Id, trail: &Trail, index: u64) -> Self {
        Self::of_text(&format!("{collector}/{trail}/{index}"))
    }

    /// The name of the object at the same place where `attempt` names were found taken by something else. The first is
    /// [`Unique::of`]; the text of the others goes on with `/{attempt}`.
    #[must_use]
    pub fn of_attempt(collector: Id, trail: &Trail, index: u64, attempt: u32) -> Self {
        match attempt {
            0 => Self::of(collector, trail, index),
            _ => Self::of_text(&format!("{collector}/{trail}/{index}/{attempt}")),
        }
    }

    fn of_text(text: &str) -> Self {
        let hash = Sha256::of(text.as_bytes());
        let mut number =
            hash.as_bytes()[..12].iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        let mut digits = [0; 16];
        for digit in digits.iter_mut().rev() {
            *digit = Self::DIGITS[(number % 62) as usize];
            number /= 62;
        }
        Self(digits)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 16] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_alphanumeric).then_some(Self(digits))
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A minute of delivery, UTC, in the years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Minute(DateTime);

impl Minute {
    /// The minute that `at` lies in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let at = TimeZone::UTC.to_datetime(at);
        Self(at.with().second(0).subsec_nanosecond(0).build().unwrap_or(at))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        // Every minute that `of` or `parse` makes is within the range of `Timestamp`.
        TimeZone::UTC.to_timestamp(self.0).unwrap_or(Timestamp::MIN)
    }

    /// The first instant after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.start().saturating_add(1.minute()).unwrap_or(Timestamp::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let shape = digits.len() == 14 && digits[8] == b'T' && digits[13] == b'Z';
        if !shape
            || !digits.iter().enumerate().all(|(at, digit)| at == 8 || at == 13 || digit.is_ascii_digit())
        {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            text.get(range).and_then(|digits: &str| digits.parse::<i16>().ok())
        };
        let small =
            |range: std::ops::Range<usize>| number(range).and_then(|number| i8::try_from(number).ok());
        DateTime::new(number(0..4)?, small(4..6)?, small(6..8)?, small(9..11)?, small(11..13)?, 0, 0)
            .ok()
            .map(Self)
    }

    fn day(self) -> impl fmt::Display {
        self.0.strftime("%Y/%m/%d")
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y%m%dT%H%MZ"))
    }
}

/// What a log file and its manifest have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The region the records come from.
    pub region: Region,
    /// When it was delivered.
    pub minute: Minute,
    /// What makes the name its own.
    pub unique: Unique,
}

impl Place {
    fn parse(key: &str, kind: &str, extension: &str) -> Option<Self> {
        let (home, rest) = Home::split(key)?;
        let file = rest.rsplit('/').next()?.strip_suffix(extension)?;
        let file = file
            .strip_prefix(home.account.as_str())?
            .strip_prefix('_')?
            .strip_prefix(kind)?
            .strip_prefix('_')?;
        let mut parts = file.split('_');
        let place = Self {
            region: Region::new(parts.next()?).ok()?,
            minute: Minute::parse(parts.next()?)?,
            unique: Unique::parse(parts.next()?)?,
            home,
        };
        // Printing it again checks what appears twice, and that nothing is left over.
        (place.render(kind, extension) == key).then_some(place)
    }

    fn render(&self, kind: &str, extension: &str) -> String {
        let Self { home, region, minute, unique } = self;
        let (account, day) = (&home.account, minute.day());
        format!("{home}{kind}/{region}/{day}/{account}_{kind}_{region}_{minute}_{unique}{extension}")
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $what:literal, $kind:literal, $extension:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Place);

        impl $name {
            /// The key of the object delivered at `at`.
            #[must_use]
            pub fn new(home: Home, region: Region, at: Timestamp, unique: Unique) -> Self {
                Self(Place { home, region, minute: Minute::of(at), unique })
            }
        }

        impl FromStr for $name {
            type Err = InvalidKey;

            fn from_str(text: &str) -> Result<Self, InvalidKey> {
                Place::parse(text, $kind, $extension).map(Self).ok_or(InvalidKey($what))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.render($kind, $extension))
            }
        }

        text!($name);
    };
}

/// Debug and serde by way of `Display` and `FromStr`.
macro_rules! text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

key! {
    /// The key of a log file.
    LogKey, "log file", "CloudTrail", ".json.gz"
}

key! {
    /// The key of a manifest.
    ManifestKey, "manifest", "Sidetrail-Manifest", ".json"
}

impl LogKey {
    /// The key of this log file's manifest.
    #[must_use]
    pub fn manifest(&self) -> ManifestKey {
        ManifestKey(self.0.clone())
    }
}

impl ManifestKey {
    /// The key of the log file that this manifest is for.
    #[must_use]
    pub fn log(&self) -> LogKey {
        LogKey(self.0.clone())
    }
}

/// The key of a published public key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyObjectKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The name of the key.
    pub id: KeyId,
}

impl FromStr for KeyObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Home::split(text)
            .and_then(|(home, rest)| {
                let id = rest.strip_prefix("Sidetrail-Key/")?.strip_suffix(".json")?.parse().ok()?;
                Some(Self { home, id })
            })
            .ok_or(InvalidKey("public key"))
    }
}

impl fmt::Display for KeyObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Sidetrail-Key/{}.json", self.home, self.id)
    }
}

text!(KeyObjectKey);

mod digest;
mod quarantine;
mod tree;
pub use digest::{AnyKeyId, DigestKey, DigestKeyObjectKey, DigestStartKey, RevocationKey, Second};
pub use quarantine::QuarantineKey;
pub use tree::{TreeKey, TreeObject, TreePlace};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;

    fn home() -> Home {
        Home::new(None, Account::new("111122223333").unwrap())
    }

    fn log_key() -> LogKey {
        let collector = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let unique = Unique::of(collector, &Trail::new("default").unwrap(), 7);
        LogKey::new(
            home(),
            Region::new("us-east-1").unwrap(),
            "2026-01-15T11:05:59.9Z".parse().unwrap(),
            unique,
        )
    }

    /// The names are for ever: a change here orphans every bucket.
    #[test]
    fn golden_keys() {
        assert_eq!(
            log_key().to_string(),
            "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/\
             111122223333_CloudTrail_us-east-1_20260115T1105Z_H7LJUaNkSzKC5yIS.json.gz"
        );
        assert_eq!(
            log_key().manifest().to_string(),
            "AWSLogs/111122223333/Sidetrail-Manifest/us-east-1/2026/01/15/\
             111122223333_Sidetrail-Manifest_us-east-1_20260115T1105Z_H7LJUaNkSzKC5yIS.json"
        );
    }

    #[test]
    fn readers_of_cloudtrail_find_log_files_only() {
        let library = Regex::new(r".+_CloudTrail_[\w\-]+_\d{8}T\d{4}Z_[\w]+\.json\.gz").unwrap();
        let prefixed = |mut key: LogKey| {
            key.0.home.prefix = Some(Prefix::new("a_CloudTrail_b").unwrap());
            key
        };
        for log in [log_key(), prefixed(log_key())] {
            let published = KeyObjectKey { home: log.0.home.clone(), id: "0".repeat(64).parse().unwrap() };
            assert!(library.is_match(&log.to_string()));
            assert!(!library.is_match(&log.manifest().to_string()));
            assert!(!library.is_match(&published.to_string()));
        }
    }

    #[test]
    fn what_is_not_exactly_a_key_is_refused() {
        let key = log_key().to_string();
        assert_eq!(key.parse::<LogKey>(), Ok(log_key()));
        for (from, to) in [
            ("/01/15/", "/01/16/"),
            ("T1105Z", "T2405Z"),
            ("/us-east-1/", "/us-east-2/"),
            ("AWSLogs/1", "AWSLogs/2"),
            ("AWSLogs/", "/AWSLogs/"),
            ("AWSLogs/", "awslogs/"),
            ("CloudTrail/", "CloudTrail-Insight/"),
            (".json.gz", ".json"),
            (".json.gz", "a.json.gz"),
            (".json.gz", "/.json.gz"),
            ("T1105Z_", "T1105Z_-"),
        ] {
            let changed = key.replacen(from, to, 1);
            assert_ne!(changed, key);
            assert_eq!(changed.parse::<LogKey>(), Err(InvalidKey("log file")), "{changed}");
        }
        assert!(key.parse::<ManifestKey>().is_err());
        assert!("AWSLogs/111122223333/CloudTrail/".parse::<LogKey>().is_err());
        assert!("AWSLogs/111122223333/Sidetrail-Key/00.json".parse::<KeyObjectKey>().is_err());
    }

    #[test]
    fn minutes_are_half_open() {
        let minute = Minute::of("2026-01-15T11:05:59.9Z".parse().unwrap());
        assert_eq!(minute.start().to_string(), "2026-01-15T11:05:00Z");
        assert_eq!(minute.end().to_string(), "2026-01-15T11:06:00Z");
    }

    prop_compose! {
        fn homes()(
            prefix in proptest::option::of("[a-zA-Z0-9!_()-]{1,20}(/(AWSLogs|[a-z]{1,9})){0,3}"),
            organization in proptest::option::of("o-[a-z0-9]{10,32}"),
            account in "[0-9]{12}",
        ) -> Home {
            Home {
                prefix: prefix.map(|prefix| Prefix::new(prefix).unwrap()),
                organization: organization.map(|organization| OrgId::new(organization).unwrap()),
                account: Account::new(account).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn keys_parse_back(
            home in homes(),
            region in "[a-z][a-z0-9-]{0,20}",
            at in 0_i64..250_000_000_000,
            trail in "[a-z0-9]{3,9}",
            index: u64,
            collector: [u8; 16],
            id in "[0-9a-f]{64}",
        ) {
            let unique = Unique::of(Id(collector), &Trail::new(trail).unwrap(), index);
            let at = Timestamp::from_second(at).unwrap();
            let log = LogKey::new(home.clone(), Region::new(region).unwrap(), at, unique);
            prop_assert_eq!(&log.to_string().parse::<LogKey>().unwrap(), &log);
            let manifest = log.manifest();
            prop_assert_eq!(&manifest.to_string().parse::<ManifestKey>().unwrap(), &manifest);
            prop_assert_eq!(manifest.log(), log);
            let published = KeyObjectKey { home, id: id.parse().unwrap() };
            prop_assert_eq!(&published.to_string().parse::<KeyObjectKey>().unwrap(), &published);
        }

        #[test]
        fn no_text_panics(text in "(AWSLogs/|[0-9]{12}/|CloudTrail/|/|.|_){0,12}") {
            let _ = text.parse::<LogKey>();
            let _ = text.parse::<ManifestKey>();
            let _ = text.parse::<KeyObjectKey>();
        }
    }
}
