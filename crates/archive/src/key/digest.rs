//! Where digests, the keys that sign them, and revocations lie.
//!
//! ```text
//! digest     = home "CloudTrail-Digest/" day account "_CloudTrail-Digest_" region "_" trail "_" region "_" second
//!              ["_backfill"] ".json.gz"                  ; the second region is the trail's home region
//! companion  = digest ".metadata.json"                   ; only where objects have no metadata of their own
//! digest key = home "Sidetrail-Digest-Key/" fingerprint ".json"
//! revocation = home "Sidetrail-Revocation/" (key-id | fingerprint) ".json"
//! start      = home "Sidetrail-Digest-Start/" region "/" trail "_" region ".json"      ; the second one as above
//! second     = YYYYMMDD "T" HHmmss "Z"                   ; the end of the period, UTC
//! ```
//!
//! The grammar of digests is CloudTrail's, and `aws cloudtrail validate-logs` finds them by it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Home, InvalidKey, Minute, Region, Trail};
use crate::sign::{Fingerprint, KeyId};

/// A second of UTC in the years 0 to 9999, as it stands in the key of a digest: `20260115T110000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Second(DateTime);

impl Second {
    /// The second that `at` lies in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let at = TimeZone::UTC.to_datetime(at);
        Self(at.with().subsec_nanosecond(0).build().unwrap_or(at))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        // Every second that `of` or `parse` makes is within the range of `Timestamp`.
        TimeZone::UTC.to_timestamp(self.0).unwrap_or(Timestamp::MIN)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (minute, seconds) = (text.get(..13)?, text.get(13..)?.strip_suffix('Z')?);
        let two_digits = seconds.len() == 2 && seconds.bytes().all(|digit| digit.is_ascii_digit());
        let Minute(minute) = Minute::parse(&format!("{minute}Z"))?;
        let seconds = two_digits.then(|| seconds.parse().ok()).flatten()?;
        minute.with().second(seconds).build().ok().map(Self)
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y%m%dT%H%M%SZ"))
    }
}

/// The key of a digest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The region whose log files are covered.
    pub region: Region,
    /// The trail.
    pub trail: Trail,
    /// The region in the trail's ARN.
    pub home_region: Region,
    /// The end of the period.
    pub end: Second,
    /// Whether it is one of CloudTrail's that cover what its ordinary digests missed. Sidetrail writes none: a late file
    /// is in a later digest.
    pub backfill: bool,
}

const DIGEST: &str = "CloudTrail-Digest";
const BACKFILL: &str = "_backfill";
const EXTENSION: &str = ".json.gz";
const METADATA: &str = ".metadata.json";

impl DigestKey {
    /// What the keys of all digests of a region begin with; other trails' too.
    #[must_use]
    pub fn prefix(home: &Home, region: &Region) -> String {
        format!("{home}{DIGEST}/{region}/")
    }

    /// The key of the object beside the digest that holds what S3 keeps as metadata, where the store has none.
    #[must_use]
    pub fn companion(&self) -> String {
        format!("{self}{METADATA}")
    }

    /// The digest that a companion belongs to.
    #[must_use]
    pub fn of_companion(key: &str) -> Option<Self> {
        key.strip_suffix(METADATA)?.parse().ok()
    }

    fn parse(key: &str) -> Option<Self> {
        let (home, rest) = Home::split(key)?;
        let file = rest.strip_prefix(DIGEST)?.rsplit('/').next()?.strip_suffix(EXTENSION)?;
        let (file, backfill) = match file.strip_suffix(BACKFILL) {
            Some(file) => (file, true),
            None => (file, false),
        };
        let file = file.strip_prefix(home.account.as_str())?.strip_prefix('_')?.strip_prefix(DIGEST)?;
        // A trail's name may hold underscores; what stands around it does not.
        let (region, rest) = file.strip_prefix('_')?.split_once('_')?;
        let (rest, end) = rest.rsplit_once('_')?;
        let (trail, home_region) = rest.rsplit_once('_')?;
        let parsed = Self {
            region: Region::new(region).ok()?,
            trail: Trail::new(trail).ok()?,
            home_region: Region::new(home_region).ok()?,
            end: Second::parse(end)?,
            backfill,
            home,
        };
        // Printing it again checks what appears twice, and that nothing is left over.
        (parsed.to_string() == key).then_some(parsed)
    }
}

impl FromStr for DigestKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text).ok_or(InvalidKey("digest"))
    }
}

impl fmt::Display for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, region, trail, home_region, end, backfill } = self;
        let (account, day) = (&home.account, end.0.strftime("%Y/%m/%d"));
        write!(f, "{home}{DIGEST}/{region}/{day}/{account}_{DIGEST}_{region}_{trail}_{home_region}_{end}")?;
        f.write_str(if *backfill { BACKFILL } else { "" })?;
        f.write_str(EXTENSION)
    }
}

text!(DigestKey);

/// The key of the object that publishes a key digests are signed with.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestKeyObjectKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The name of the key.
    pub fingerprint: Fingerprint,
}

impl DigestKeyObjectKey {
    /// What the keys of all these objects begin with.
    #[must_use]
    pub fn prefix(home: &Home) -> String {
        format!("{home}Sidetrail-Digest-Key/")
    }
}

impl FromStr for DigestKeyObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Home::split(text)
            .and_then(|(home, rest)| {
                let name = rest.strip_prefix("Sidetrail-Digest-Key/")?.strip_suffix(".json")?;
                Some(Self { home, fingerprint: name.parse().ok()? })
            })
            .ok_or(InvalidKey("digest key"))
    }
}

impl fmt::Display for DigestKeyObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.json", Self::prefix(&self.home), self.fingerprint)
    }
}

text!(DigestKeyObjectKey);

/// The key of the object that says where the digests of a trail in a region begin.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestStartKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The region whose log files are covered.
    pub region: Region,
    /// The trail.
    pub trail: Trail,
    /// The region in the trail's ARN.
    pub home_region: Region,
}

impl FromStr for DigestStartKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Home::split(text)
            .and_then(|(home, rest)| {
                let name = rest.strip_prefix("Sidetrail-Digest-Start/")?.strip_suffix(".json")?;
                let (region, name) = name.split_once('/')?;
                // A trail's name may hold underscores; a region's does not.
                let (trail, home_region) = name.rsplit_once('_')?;
                Some(Self {
                    region: Region::new(region).ok()?,
                    trail: Trail::new(trail).ok()?,
                    home_region: Region::new(home_region).ok()?,
                    home,
                })
            })
            .ok_or(InvalidKey("start of digests"))
    }
}

impl fmt::Display for DigestStartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, region, trail, home_region } = self;
        write!(f, "{home}Sidetrail-Digest-Start/{region}/{trail}_{home_region}.json")
    }
}

text!(DigestStartKey);

/// A key by its name, whichever kind it is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnyKeyId {
    /// One that signs manifests.
    Manifest(KeyId),
    /// One that signs digests.
    Digest(Fingerprint),
}

impl FromStr for AnyKeyId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let manifest = text.parse().map(Self::Manifest).ok();
        manifest.or_else(|| text.parse().map(Self::Digest).ok()).ok_or(InvalidKey("signing key"))
    }
}

impl fmt::Display for AnyKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(id) => id.fmt(f),
            Self::Digest(fingerprint) => fingerprint.fmt(f),
        }
    }
}

text!(AnyKeyId);

/// The key of the object that revokes a key. There is one at most for each.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevocationKey {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The key that is revoked.
    pub key: AnyKeyId,
}

impl RevocationKey {
    /// What the keys of all these objects begin with.
    #[must_use]
    pub fn prefix(home: &Home) -> String {
        format!("{home}Sidetrail-Revocation/")
    }
}

impl FromStr for RevocationKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Home::split(text)
            .and_then(|(home, rest)| {
                let key = rest.strip_prefix("Sidetrail-Revocation/")?.strip_suffix(".json")?.parse().ok()?;
                Some(Self { home, key })
            })
            .ok_or(InvalidKey("revocation"))
    }
}

impl fmt::Display for RevocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.json", Self::prefix(&self.home), self.key)
    }
}

text!(RevocationKey);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Account, LogKey, OrgId, Prefix};
    use super::*;

    const KEY: &str = "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/01/15/\
        111122223333_CloudTrail-Digest_us-east-1_demo-trail_us-east-1_20260115T110000Z.json.gz";

    #[test]
    fn golden_keys() {
        let key: DigestKey = KEY.parse().unwrap();
        assert_eq!(key.trail.as_str(), "demo-trail");
        assert_eq!(key.end.start().to_string(), "2026-01-15T11:00:00Z");
        assert!(!key.backfill);
        assert_eq!(key.to_string(), KEY);
        assert_eq!(key.companion(), format!("{KEY}.metadata.json"));
        assert_eq!(DigestKey::of_companion(&key.companion()).as_ref(), Some(&key));
        assert!(KEY.starts_with(&DigestKey::prefix(&key.home, &key.region)));
        let backfill: DigestKey = KEY.replace(".json", "_backfill.json").parse().unwrap();
        assert_eq!(backfill, DigestKey { backfill: true, ..key });
        assert!(KEY.parse::<LogKey>().is_err());
    }

    /// What `validate-logs` keeps of a listing, and of companions that it must not take for digests.
    #[test]
    fn the_aws_cli_finds_digests_only() {
        let pattern = regex_lite::Regex::new(
            r"^AWSLogs/111122223333/CloudTrail\-Digest/us\-east\-1/\d+/\d+/\d+/111122223333_CloudTrail\-Digest_us\-east\-1_demo\-trail_us\-east\-1_.+(?:_backfill)?\.json\.gz$",
        )
        .unwrap();
        assert!(pattern.is_match(KEY));
        assert!(!pattern.is_match(&format!("{KEY}.metadata.json")));
    }

    #[test]
    fn what_is_not_exactly_a_key_is_refused() {
        for (from, to) in [
            ("/01/15/", "/01/16/"),
            ("T110000Z", "T1100Z"),
            ("T110000Z", "T110060Z"),
            ("T110000Z", "T1100+0Z"),
            ("/us-east-1/", "/us-east-2/"),
            ("_us-east-1_demo", "_us-east-2_demo"),
            ("demo-trail", "-demo-trail"),
            ("CloudTrail-Digest/", "CloudTrail/"),
            (".json.gz", "_backfill_backfill.json.gz"),
            (".json.gz", ".json"),
        ] {
            let changed = KEY.replacen(from, to, 1);
            assert_ne!(changed, KEY);
            assert_eq!(changed.parse::<DigestKey>(), Err(InvalidKey("digest")), "{changed}");
        }
    }

    proptest! {
        #[test]
        fn keys_parse_back(
            prefix in proptest::option::of("[a-zA-Z0-9!_()-]{1,20}(/(AWSLogs|[a-z]{1,9})){0,3}"),
            organization in proptest::option::of("o-[a-z0-9]{10,32}"),
            account in "[0-9]{12}",
            regions in ("[a-z][a-z0-9-]{0,20}", "[a-z][a-z0-9-]{0,20}"),
            trail in "[a-zA-Z0-9][a-zA-Z0-9._-]{1,30}[a-zA-Z0-9]",
            end in 0_i64..250_000_000_000,
            backfill: bool,
            fingerprint in "[0-9a-f]{32}",
            id in "[0-9a-f]{64}",
        ) {
            let home = Home {
                prefix: prefix.map(|prefix| Prefix::new(prefix).unwrap()),
                organization: organization.map(|organization| OrgId::new(organization).unwrap()),
                account: Account::new(account).unwrap(),
            };
            let key = DigestKey {
                home: home.clone(),
                region: Region::new(regions.0).unwrap(),
                trail: Trail::new(trail).unwrap(),
                home_region: Region::new(regions.1).unwrap(),
                end: Second::of(Timestamp::from_second(end).unwrap()),
                backfill,
            };
            prop_assert_eq!(&key.to_string().parse::<DigestKey>().unwrap(), &key);
            let start = DigestStartKey {
                home: home.clone(),
                region: key.region.clone(),
                trail: key.trail.clone(),
                home_region: key.home_region.clone(),
            };
            prop_assert_eq!(&start.to_string().parse::<DigestStartKey>().unwrap(), &start);
            let object = DigestKeyObjectKey { home: home.clone(), fingerprint: fingerprint.parse().unwrap() };
            prop_assert_eq!(&object.to_string().parse::<DigestKeyObjectKey>().unwrap(), &object);
            for name in [&fingerprint, &id] {
                let revocation = RevocationKey { home: home.clone(), key: name.parse().unwrap() };
                prop_assert_eq!(&revocation.to_string().parse::<RevocationKey>().unwrap(), &revocation);
            }
        }

        #[test]
        fn no_text_panics(text in "(AWSLogs/|[0-9]{12}/|CloudTrail-Digest/|us-east-1|/|.|_|Z|é){0,14}") {
            let _ = text.parse::<DigestKey>();
            let _ = text.parse::<RevocationKey>();
            let _ = text.parse::<DigestStartKey>();
        }
    }
}
