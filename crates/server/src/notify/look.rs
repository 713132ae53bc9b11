//! What is new in a place: log files by their manifests, and digests.

use std::collections::BinaryHeap;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::key::{Account, DigestKey, Home, ManifestKey, OrgId, Prefix, Region};
use sidetrail_archive::store::Store;

use super::mark::{Band, Mark};
use crate::buckets::payload;
use crate::days::Days;

/// Objects that are held at a time; those that the store took first.
const MAX_FOUND: usize = 1024;
/// How long one page of a listing may take.
const REQUEST: Duration = Duration::from_secs(30);

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Log,
    Digest,
}

/// Where it is looked for: a region of an account, in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<Prefix>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) organization: Option<OrgId>,
    pub(super) account: Account,
    pub(super) region: Region,
}

/// An object that is there. Ordered by when the store took it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) stored: Timestamp,
    /// What of its name is its own.
    pub(super) name: String,
    /// The manifest's, or the digest's.
    pub(super) key: String,
}

impl Place {
    fn home(&self) -> Home {
        let organization = self.organization.clone();
        Home { organization, ..Home::new(self.prefix.clone(), self.account.clone()) }
    }

    /// The folder of all days, and what names begin with.
    fn folder(&self) -> (String, String) {
        let kind = match self.kind {
            Kind::Log => "Sidetrail-Manifest",
            Kind::Digest => "CloudTrail-Digest",
        };
        let (home, account, region) = (self.home(), &self.account, &self.region);
        (format!("{home}{kind}/{region}"), format!("{account}_{kind}_{region}_"))
    }

    /// What an object's key says: when it was decided on, and the rest of its name. `None` if it is something else.
    fn parse(&self, key: &str, trail: (&str, &str)) -> Option<(Timestamp, String)> {
        let (home, region) = (self.home(), &self.region);
        match self.kind {
            Kind::Log => {
                let ManifestKey(place) = key.parse().ok()?;
                let here = place.home == home && place.region == *region;
                here.then(|| (place.minute.start(), format!("{}_{}", place.minute, place.unique)))
            }
            Kind::Digest => {
                let digest: DigestKey = key.parse().ok()?;
                let here = digest.home == home && digest.region == *region;
                let own = (digest.trail.as_str(), digest.home_region.as_str()) == trail;
                (here && own).then(|| (digest.end.start(), digest.end.to_string()))
            }
        }
    }

    /// The objects of a band that are to be told, those that came first, and whether that is all. `trail` is its name and
    /// home region.
    pub(super) async fn look(
        &self,
        store: &Store,
        band: Band,
        mark: &Mark,
        trail: (&str, &str),
        now: Timestamp,
    ) -> object_store::Result<(Vec<Found>, bool)> {
        let (folder, file) = self.folder();
        let from = mark.listed_from(band);
        let Days { first, prefixes } = Days::of(&folder, from, now);
        let start = match self.kind {
            Kind::Log => {
                let minute = sidetrail_archive::key::Minute::of(from);
                format!("{first}/{file}{minute}")
            }
            // The trail's name precedes the time.
            Kind::Digest => first,
        };
        let start = Path::parse(&start)?;
        let (mut found, mut all) = (BinaryHeap::new(), true);
        for prefix in prefixes {
            let prefix = Path::parse(&prefix)?;
            let mut listed = store.object_store().list_with_offset(Some(&prefix), &start);
            while let Some(object) = in_time(listed.try_next()).await? {
                let key = object.location.to_string();
                let millis = object.last_modified.timestamp_millis();
                let stored = Timestamp::from_millisecond(millis).unwrap_or_default();
                let Some((named, name)) = self.parse(&key, trail) else { continue };
                if Band::of(named, stored) != band || !mark.wants(&name, stored) {
                    continue;
                }
                found.push(Found { stored, name, key });
                if found.len() > MAX_FOUND {
                    found.pop();
                    all = false;
                }
            }
        }
        Ok((found.into_sorted_vec(), all))
    }

    /// The key of what was delivered: the log file of a manifest, if it has one and is the trail's; or the digest's own.
    /// Signatures are not checked: who is told has something to look at, not to believe.
    pub(super) async fn delivered(
        &self,
        store: &Store,
        found: &Found,
        trail: &str,
    ) -> Result<Option<String>, sidetrail_archive::store::StoreError> {
        if self.kind == Kind::Digest {
            return Ok(Some(found.key.clone()));
        }
        let bytes = match store.get(&found.key, MAX_ENVELOPE).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() || error.is_too_large() => {
                tracing::warn!(%error, "nobody is notified of what this manifest is for");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(manifest) = payload::<Manifest>(&bytes).filter(|it| it.manifest.to_string() == found.key)
        else {
            tracing::warn!(key = found.key, "nobody is notified: this is not the manifest that belongs here");
            return Ok(None);
        };
        let has_file = manifest.chain.trail == trail && manifest.log_file.is_some();
        Ok(has_file.then(|| manifest.manifest.log().to_string()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    log_file: Option<serde::de::IgnoredAny>,
    manifest: ManifestKey,
    chain: Chain,
}

#[derive(Deserialize)]
struct Chain {
    trail: String,
}

async fn in_time<T>(request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    tokio::time::timeout(REQUEST, request).await.unwrap_or_else(|error| {
        Err(object_store::Error::Generic { store: "bucket", source: Box::new(error) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind) -> Place {
        Place {
            kind,
            bucket: "b".to_owned(),
            prefix: None,
            organization: None,
            account: Account::new("111122223333").unwrap(),
            region: Region::new("r-1").unwrap(),
        }
    }

    /// Puts an object, as if the store had taken it `late` seconds after the minute of its name.
    fn put(root: &std::path::Path, key: &str, text: &str, stored: Timestamp) {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(stored.into()).unwrap();
    }

    #[tokio::test]
    async fn what_came_late_is_found_and_nothing_twice() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_str().unwrap(), &|_| None).unwrap();
        let at = |text: &str| -> Timestamp { format!("2026-01-{text}:00Z").parse().unwrap() };
        let key = |day: &str, minute: &str, last: char| {
            let name =
                format!("111122223333_Sidetrail-Manifest_r-1_202601{day}T{minute}Z_0123456789abcde{last}");
            format!("AWSLogs/111122223333/Sidetrail-Manifest/r-1/2026/01/{day}/{name}.json")
        };
        for (day, minute, last, stored) in [
            ("15", "1030", 'a', "15T10:31"),
            ("15", "1031", 'b', "15T10:30"),
            ("15", "0900", 'c', "15T10:32"),
            ("10", "0900", 'd', "15T10:33"),
            ("15", "0800", 'e', "15T08:01"),
        ] {
            put(directory.path(), &key(day, minute, last), "{}", at(stored));
        }
        put(
            directory.path(),
            "AWSLogs/111122223333/Sidetrail-Manifest/r-1/2026/01/15/x.json",
            "",
            at("15T10:31"),
        );
        let place = place(Kind::Log);
        let names = async |band, mark: &Mark| {
            let looked = place.look(&store, band, mark, ("t", "r-1"), at("15T10:40")).await.unwrap();
            assert!(looked.1);
            looked.0.into_iter().map(|found| found.name.chars().last().unwrap()).collect::<String>()
        };
        let mut mark = Mark::new(at("15T10:00"));
        assert_eq!(names(Band::Near, &mark).await, "ba");
        assert_eq!(names(Band::Day, &mark).await, "c");
        assert_eq!(names(Band::Far, &mark).await, "d");
        mark.told("20260115T1030Z_0123456789abcdea".to_owned(), at("15T10:31"));
        assert_eq!(names(Band::Near, &mark).await, "b");
        mark.advance(at("15T10:40"));
        assert_eq!(names(Band::Near, &mark).await, "");
        assert_eq!(names(Band::Near, &Mark::new(at("15T07:00"))).await, "eba");
    }

    #[tokio::test]
    async fn digests_are_those_of_the_trail() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_str().unwrap(), &|_| None).unwrap();
        let stored: Timestamp = "2026-01-15T11:05:00Z".parse().unwrap();
        for name in ["orders_r-1", "orders_r-2", "others_r-1"] {
            let file = format!("111122223333_CloudTrail-Digest_r-1_{name}_20260115T110000Z.json.gz");
            let key = format!("AWSLogs/111122223333/CloudTrail-Digest/r-1/2026/01/15/{file}");
            put(directory.path(), &key, "", stored);
            put(directory.path(), &format!("{key}.metadata.json"), "", stored);
        }
        let (place, mark) = (place(Kind::Digest), Mark::new("2026-01-15T11:04:30Z".parse().unwrap()));
        let (found, all) = place.look(&store, Band::Near, &mark, ("orders", "r-1"), stored).await.unwrap();
        assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["20260115T110000Z"]);
        assert!(all && found[0].key.contains("_orders_r-1_"));
        let told = place.delivered(&store, &found[0], "orders").await.unwrap();
        assert_eq!(told.as_ref(), Some(&found[0].key));
    }
}
