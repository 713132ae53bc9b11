//! A batch that another collector finished and could not store: what is accepted as one.
//!
//! The one that hands it over says nothing that is believed: which objects these are, and where they belong, is in what
//! is signed. The key that signed it comes along and proves only itself; whether it is one to trust is the verifier's
//! to judge, as for any manifest in the bucket. What is checked here is that nothing can be stored but whole evidence,
//! under the names of evidence, in the account and region that this collector ships for.

use bytes::Bytes;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Home, Id, Region, Trail};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_wire::gateway::v1::{PROTOCOL_VERSION, Parcel};

use crate::trail::MAX_STORED_LOG;

/// A public key object is a few hundred bytes.
const MAX_PUBLIC_KEY: usize = 8 << 10;
/// What the first message of a hand-over may have.
pub(super) const MAX_HEAD: usize = MAX_ENVELOPE + MAX_PUBLIC_KEY + (4 << 10);

/// Why a parcel is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("parcel.protocol_version is {0}, this gateway speaks {PROTOCOL_VERSION}")]
    Version(u32),
    #[error("parcel.{field} is {size} bytes, the limit is {limit}")]
    Size { field: &'static str, size: u64, limit: u64 },
    #[error("parcel.{field} is not one")]
    Evidence { field: &'static str, source: sidetrail_archive::manifest::OpenError },
    #[error("parcel.{field} states {theirs:?}, the gateway ships for {ours:?}")]
    Elsewhere { field: &'static str, theirs: String, ours: String },
    #[error("this gateway has no trail {0} that ships to a bucket")]
    Trail(Trail),
    #[error("the parcel is of the gateway's own chain")]
    Own,
}

/// What a trail of this collector says about where parcels go.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) own: Id,
    pub(super) home: Home,
    pub(super) region: Region,
    /// As in the configuration.
    pub(super) destination: String,
}

/// Where a parcel lies in its chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) collector: Id,
    pub(super) trail: Trail,
    pub(super) index: u64,
}

/// An object to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) bytes: Bytes,
}

/// The log file that a parcel is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) key: String,
    pub(super) sha256: Sha256,
    pub(super) size: u64,
}

/// A parcel that was checked but for its log file.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) place: Place,
    pub(super) public_key: Object,
    pub(super) manifest: Object,
    pub(super) log: Option<Log>,
    /// When the batch was decided on: locks count from then.
    pub(super) created_unix_s: i64,
}

/// Checks a parcel. `bounds` gives those of a trail, if there is one of that name which ships to a bucket.
pub(super) fn check(parcel: Parcel, bounds: impl FnOnce(&Trail) -> Option<Bounds>) -> Result<Checked, Unfit> {
    let Parcel { protocol_version, destination, public_key, manifest } = parcel;
    if protocol_version != PROTOCOL_VERSION {
        return Err(Unfit::Version(protocol_version));
    }
    size("public_key", public_key.len() as u64, MAX_PUBLIC_KEY as u64)?;
    size("manifest", manifest.len() as u64, MAX_ENVELOPE as u64)?;
    let key =
        PublishedKey::open(&public_key).map_err(|source| Unfit::Evidence { field: "public_key", source })?;
    let stated = Manifest::open(&manifest, std::slice::from_ref(&key.public_key))
        .map_err(|source| Unfit::Evidence { field: "manifest", source })?;

    let trail = &stated.chain.trail;
    let bounds = bounds(trail).ok_or_else(|| Unfit::Trail(trail.clone()))?;
    if stated.chain.collector == bounds.own {
        return Err(Unfit::Own);
    }
    same("destination", plain(&destination), plain(&bounds.destination))?;
    same("public_key", &key.object.home.to_string(), &bounds.home.to_string())?;
    same("manifest", &stated.manifest.0.home.to_string(), &bounds.home.to_string())?;
    same("manifest", stated.region.as_str(), bounds.region.as_str())?;
    let log = stated.log_file.map(|log| Log { key: log.key.to_string(), sha256: log.sha256, size: log.size });
    if let Some(log) = &log {
        size("log", log.size, MAX_STORED_LOG as u64)?;
    }
    Ok(Checked {
        place: Place {
            collector: stated.chain.collector,
            trail: stated.chain.trail,
            index: stated.chain.index,
        },
        public_key: Object { key: key.object.to_string(), bytes: public_key },
        manifest: Object { key: stated.manifest.to_string(), bytes: manifest },
        log,
        created_unix_s: stated.created_at.as_second(),
    })
}

/// A destination, the same with and without a slash at its end.
fn plain(destination: &str) -> &str {
    destination.trim_end_matches('/')
}

fn size(field: &'static str, size: u64, limit: u64) -> Result<(), Unfit> {
    if size > limit { Err(Unfit::Size { field, size, limit }) } else { Ok(()) }
}

fn same(field: &'static str, theirs: &str, ours: &str) -> Result<(), Unfit> {
    if theirs == ours {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(200).collect();
    Err(Unfit::Elsewhere { field, theirs: short(theirs), ours: short(ours) })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use jiff::Timestamp;
    use sidetrail_archive::key::Prefix;
    use sidetrail_archive::log::{LogFile, LogWriter};
    use sidetrail_archive::manifest::{Chain, Source};
    use sidetrail_archive::sign::Ed25519Signer;

    use super::*;

    pub(in super::super) const OTHER: Id = Id([7; 16]);
    static SIGNER: LazyLock<Ed25519Signer> = LazyLock::new(|| Ed25519Signer::generate().unwrap());

    pub(in super::super) fn bounds() -> Bounds {
        Bounds {
            own: Id([9; 16]),
            home: Home::new(Some(Prefix::new("audit").unwrap()), "111122223333".parse().unwrap()),
            region: "eu-west-1".parse().unwrap(),
            destination: "s3://evidence/audit".to_owned(),
        }
    }

    /// What the collector `OTHER` hands over for the trail `default`, and the log file.
    pub(in super::super) fn parcel(index: u64, change: impl FnOnce(&mut Bounds)) -> (Parcel, LogFile) {
        let mut bounds = bounds();
        bounds.own = OTHER;
        change(&mut bounds);
        let mut log = LogWriter::new().unwrap();
        log.push(format!(r#"{{"eventID":"{index}"}}"#).as_bytes()).unwrap();
        let log = log.finish().unwrap();
        let previous = (index > 0).then(|| Sha256::of(b"the one before"));
        let chain = Chain { collector: bounds.own, trail: "default".parse().unwrap(), index, previous };
        let source = Source {
            source: Id([1; 16]),
            service: "orders".to_owned(),
            instance: "a".to_owned(),
            collector: None,
            first: index + 1,
            last: index + 1,
            recorded: 1,
            filtered: 0,
            dropped: 0,
            intents: 0,
        };
        let at = Timestamp::from_second(1_768_473_677).unwrap();
        let (home, region) = (bounds.home, bounds.region);
        let manifest =
            Manifest::new(home.clone(), region, at, chain, Some(&log), Some((at, at)), vec![source]);
        let parcel = Parcel {
            protocol_version: PROTOCOL_VERSION,
            destination: bounds.destination,
            public_key: PublishedKey::seal(home, &*SIGNER).unwrap().1.into(),
            manifest: manifest.seal(&*SIGNER).unwrap().into(),
        };
        (parcel, log)
    }

    fn refusal(parcel: Parcel) -> String {
        check(parcel, |trail| (trail.as_str() == "default").then(bounds)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_signed_says_what_it_is() {
        let (parcel, log) = parcel(3, |bounds| bounds.destination += "/");
        let checked = check(parcel.clone(), |_| Some(bounds())).unwrap();
        assert_eq!(checked.place, Place { collector: OTHER, trail: "default".parse().unwrap(), index: 3 });
        assert!(checked.public_key.key.starts_with("audit/AWSLogs/111122223333/Sidetrail-Key/"));
        assert!(checked.manifest.key.starts_with("audit/AWSLogs/111122223333/Sidetrail-Manifest/eu-west-1/"));
        assert_eq!(checked.manifest.bytes, parcel.manifest);
        let stated = checked.log.unwrap();
        assert!(stated.key.starts_with("audit/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/15/"));
        assert_eq!((stated.sha256, stated.size), (log.sha256, log.bytes.len() as u64));
    }

    #[test]
    fn what_belongs_elsewhere_is_refused() {
        let with = |change: fn(&mut Bounds)| refusal(parcel(0, change).0);
        assert_eq!(with(|bounds| bounds.own = Id([9; 16])), "the parcel is of the gateway's own chain");
        let elsewhere = with(|bounds| bounds.destination = "s3://other/audit".to_owned());
        assert_eq!(
            elsewhere,
            "parcel.destination states \"s3://other/audit\", the gateway ships for \"s3://evidence/audit\""
        );
        let account = with(|bounds| bounds.home.account = "444455556666".parse().unwrap());
        assert!(account.starts_with("parcel.public_key states \"audit/AWSLogs/444455556666/\""), "{account}");
        let prefix = with(|bounds| bounds.home.prefix = None);
        assert!(prefix.starts_with("parcel.public_key states \"AWSLogs/"), "{prefix}");
        let region = with(|bounds| bounds.region = "eu-west-2".parse().unwrap());
        assert!(region.starts_with("parcel.manifest states \"eu-west-2\""), "{region}");
        let (parcel, _) = parcel(0, |_| {});
        let trail = check(parcel, |_| None).unwrap_err().to_string();
        assert_eq!(trail, "this gateway has no trail default that ships to a bucket");
    }

    #[test]
    fn what_is_not_signed_by_the_key_is_refused() {
        let (good, _) = parcel(0, |_| {});
        let other = Ed25519Signer::generate().unwrap();
        let key = PublishedKey::seal(bounds().home, &other).unwrap().1;
        let foreign = Parcel { public_key: key.into(), ..good.clone() };
        assert_eq!(refusal(foreign), "parcel.manifest is not one");
        let mut bytes = good.manifest.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert_eq!(refusal(Parcel { manifest: bytes.into(), ..good.clone() }), "parcel.manifest is not one");
        let key = Parcel { public_key: good.manifest.clone(), ..good.clone() };
        assert_eq!(refusal(key), "parcel.public_key is not one");
        let large = Parcel { public_key: vec![b' '; MAX_PUBLIC_KEY + 1].into(), ..good.clone() };
        assert_eq!(refusal(large), "parcel.public_key is 8193 bytes, the limit is 8192");
        assert!(refusal(Parcel { protocol_version: 2, ..good }).contains("protocol_version is 2"));
    }
}
