//! Names of resources: `arn:PARTITION:cloudtrail:REGION:ACCOUNT:KIND/NAME`.

use std::fmt;
use std::str::FromStr;

/// The partition of what this server makes.
pub const PARTITION: &str = "aws";

/// What a resource of CloudTrail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A trail.
    Trail,
    /// An event data store.
    EventDataStore,
    /// A channel.
    Channel,
    /// A dashboard.
    Dashboard,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Trail, Self::EventDataStore, Self::Channel, Self::Dashboard];

    /// What precedes the slash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trail => "trail",
            Self::EventDataStore => "eventdatastore",
            Self::Channel => "channel",
            Self::Dashboard => "dashboard",
        }
    }
}

/// The text is not an ARN of CloudTrail's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN of the form arn:partition:cloudtrail:region:account:kind/name")]
pub struct InvalidArn;

/// An ARN of one of CloudTrail's resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn {
    /// What it is.
    pub kind: Kind,
    /// Its home region.
    pub region: String,
    /// The account that it belongs to.
    pub account: String,
    /// Its name or id.
    pub name: String,
}

impl Arn {
    /// The ARN of a trail.
    #[must_use]
    pub fn trail(region: &str, account: &str, name: &str) -> Self {
        Self {
            kind: Kind::Trail,
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Whether a text is meant as an ARN, rather than a name.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("arn:")
    }
}

impl FromStr for Arn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(InvalidArn);
        if (next()?, next()?, next()?) != ("arn", PARTITION, "cloudtrail") {
            return Err(InvalidArn);
        }
        let (region, account, resource) = (next()?, next()?, next()?);
        let (kind, name) = resource.split_once('/').ok_or(InvalidArn)?;
        let kind = Kind::ALL.into_iter().find(|it| it.name() == kind).ok_or(InvalidArn)?;
        let is_region = region.starts_with(|first: char| first.is_ascii_lowercase())
            && region.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|it| it.is_ascii_digit());
        let is_name = (1..=256).contains(&name.len())
            && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it));
        if !is_region || !is_account || !is_name {
            return Err(InvalidArn);
        }
        Ok(Self { kind, region: region.to_owned(), account: account.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, region, account, name } = self;
        write!(f, "arn:{PARTITION}:cloudtrail:{region}:{account}:{}/{name}", kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_print_as_they_were() {
        for text in [
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/abc",
            "arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/0123-4",
            "arn:aws:cloudtrail:r:111122223333:channel/a",
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "arn:",
            "arn:aws:cloudtrail:eu-west-1:111122223333",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trial/abc",
            "arn:aws:cloudtrail:eu-west-1:1111:trail/abc",
            "arn:aws:cloudtrail:Eu:111122223333:trail/abc",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/a/b",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/a:b",
            "arn:aws:s3:eu-west-1:111122223333:trail/abc",
            "arn:other:cloudtrail:eu-west-1:111122223333:trail/abc",
        ] {
            assert_eq!(text.parse::<Arn>(), Err(InvalidArn), "{text}");
        }
    }
}
