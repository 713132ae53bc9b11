//! What a writer is told.

use jiff::{SignedDuration, Timestamp};

use super::super::period::Cadence;
use crate::key::{DigestKey, DigestStartKey, Home, Region, Second, Trail};
use crate::sign::PublicKey;
use crate::store::{Mode, Store};

/// How long after a period its digest is written by default: what was delivered in it has come then.
pub const DEFAULT_SETTLE: SignedDuration = SignedDuration::from_mins(5);

/// How long a key is valid by default once it is published. A key that nobody replaces must not end the evidence.
pub const DEFAULT_KEY_VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 3650);

/// What is written, where, and when.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The region whose log files are covered.
    pub region: Region,
    /// The trail.
    pub trail: Trail,
    /// The region in the trail's ARN.
    pub home_region: Region,
    /// What digests call the bucket. For S3 its name; a directory has none, and any is right that is always the same.
    pub bucket: String,
    /// How long periods are.
    pub cadence: Cadence,
    /// How long after a period its digest is written.
    pub settle: SignedDuration,
    /// How long a key is valid from when this writer publishes it.
    pub key_validity: SignedDuration,
    /// The keys of collectors that are to be believed; without, those that are published in the bucket.
    pub trusted_keys: Option<Vec<PublicKey>>,
    /// How digests are locked once they are stored.
    pub retention: Option<Retention>,
}

/// A lock for so long after the end of a digest's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: Mode,
    /// For how many days.
    pub days: u32,
    /// Whether it has a legal hold, too.
    pub legal_hold: bool,
}

impl Settings {
    /// What a directory is called in digests.
    pub const DIRECTORY: &'static str = "local";

    /// Digests of a trail in `store`, hourly, with the defaults for the rest.
    #[must_use]
    pub fn new(store: &Store, home: Home, region: Region, trail: Trail) -> Self {
        Self {
            home,
            home_region: region.clone(),
            region,
            trail,
            bucket: store.bucket_name().unwrap_or(Self::DIRECTORY).to_owned(),
            cadence: Cadence::HOURLY,
            settle: DEFAULT_SETTLE,
            key_validity: DEFAULT_KEY_VALIDITY,
            trusted_keys: None,
            retention: None,
        }
    }

    pub(super) fn start_key(&self) -> DigestStartKey {
        DigestStartKey {
            home: self.home.clone(),
            region: self.region.clone(),
            trail: self.trail.clone(),
            home_region: self.home_region.clone(),
        }
    }

    pub(super) fn key(&self, end: Timestamp) -> DigestKey {
        DigestKey {
            home: self.home.clone(),
            region: self.region.clone(),
            trail: self.trail.clone(),
            home_region: self.home_region.clone(),
            end: Second::of(end),
            backfill: false,
        }
    }
}
