//! Which log files there are: homes of accounts, their regions, and the manifests of a range of days.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ListResult, ObjectStore};
use sidetrail_archive::key::{Account, Home, ManifestKey, Minute, OrgId, Place, Region, Unique};
use sidetrail_archive::store::Store;

use super::key::Seconds;
use crate::days::Days;

/// Prefixes before `AWSLogs/` are looked for so deep.
const MAX_DEPTH: usize = 4;
/// Prefixes of one bucket that are looked at, and homes and regions that are found.
const MAX_PREFIXES: usize = 1024;

/// A region of an account, with where its evidence lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ground {
    pub(super) home: Home,
    pub(super) region: Region,
}

/// A manifest, as short as it can be said: there may be a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) minute: Minute,
    pub(super) unique: Unique,
}

impl Listed {
    pub(super) fn key(self, ground: &Ground) -> ManifestKey {
        let Ground { home, region } = ground.clone();
        ManifestKey(Place { home, region, minute: self.minute, unique: self.unique })
    }

    pub(super) fn delivered(self) -> Seconds {
        Seconds::of(self.minute.start())
    }
}

/// Finds where evidence lies in a bucket.
pub(super) async fn grounds(store: &Store) -> object_store::Result<Vec<Ground>> {
    let objects = &**store.object_store();
    let root = store.prefix().map(|prefix| prefix.as_str().to_owned()).unwrap_or_default();
    let mut found = Vec::new();
    let (mut open, mut seen) = (vec![(root, 0)], 0);
    while let Some((prefix, depth)) = open.pop() {
        for below in below(objects, &prefix).await? {
            seen += 1;
            if seen > MAX_PREFIXES {
                tracing::warn!(
                    store = store.name(),
                    "there are too many prefixes to look for AWSLogs in all of them"
                );
                return Ok(found);
            }
            match below.rsplit('/').next() {
                Some("AWSLogs") => logs(objects, &below, &mut found).await?,
                _ if depth + 1 < MAX_DEPTH => open.push((below, depth + 1)),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn logs(objects: &dyn ObjectStore, logs: &str, found: &mut Vec<Ground>) -> object_store::Result<()> {
    let prefix = logs.strip_suffix("AWSLogs").and_then(|prefix| prefix.strip_suffix('/'));
    let Ok(prefix) = prefix.map(sidetrail_archive::key::Prefix::new).transpose() else { return Ok(()) };
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut accounts = Vec::new();
    for below_logs in below(objects, logs).await? {
        match OrgId::new(name(&below_logs)) {
            Ok(organization) => {
                for account in below(objects, &below_logs).await? {
                    accounts.push((Some(organization.clone()), account));
                }
            }
            Err(_) => accounts.push((None, below_logs)),
        }
    }
    for (organization, path) in accounts.into_iter().take(MAX_PREFIXES) {
        let Ok(account) = Account::new(name(&path)) else { continue };
        let home = Home { prefix: prefix.clone(), organization, account };
        for region in below(objects, &format!("{path}/Sidetrail-Manifest")).await? {
            if let Ok(region) = Region::new(name(&region))
                && found.len() < MAX_PREFIXES
            {
                found.push(Ground { home: home.clone(), region });
            }
        }
    }
    Ok(())
}

/// The prefixes one level below another.
async fn below(objects: &dyn ObjectStore, prefix: &str) -> object_store::Result<Vec<String>> {
    let path = Path::parse(prefix)?;
    let ListResult { common_prefixes, .. } = objects.list_with_delimiter(Some(&path)).await?;
    Ok(common_prefixes.into_iter().map(|path| path.to_string()).collect())
}

/// Shows the manifests of a ground that were delivered in the minute of `from` or later, in no order.
pub(super) async fn manifests(
    store: &Store,
    ground: &Ground,
    from: Timestamp,
    now: Timestamp,
    each: &mut dyn FnMut(Listed),
) -> object_store::Result<()> {
    let Ground { home, region } = ground;
    let kind = format!("{home}Sidetrail-Manifest/{region}");
    let Days { first, prefixes } = Days::of(&kind, from, now);
    let from = Minute::of(from);
    let account = &home.account;
    let start = Path::parse(format!("{first}/{account}_Sidetrail-Manifest_{region}_{from}"))?;
    for prefix in prefixes {
        let prefix = Path::parse(&prefix)?;
        let mut listed = store.object_store().list_with_offset(Some(&prefix), &start);
        while let Some(object) = listed.try_next().await? {
            if let Ok(ManifestKey(place)) = object.location.as_ref().parse()
                && place.home == *home
                && place.region == *region
                && place.minute >= from
            {
                each(Listed { minute: place.minute, unique: place.unique });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn homes_regions_and_days_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        };
        let name = |home: &str, region: &str, day: &str, minute: &str| {
            let account = home.rsplit('/').next().unwrap();
            let file = format!("{account}_Sidetrail-Manifest_{region}_{minute}_0123456789abcdef.json");
            format!("{home}/Sidetrail-Manifest/{region}/{day}/{file}")
        };
        put(&name("AWSLogs/123456789012", "r-1", "2026/01/14", "20260114T2359Z"));
        put(&name("AWSLogs/123456789012", "r-1", "2026/01/15", "20260115T1030Z"));
        put(&name("AWSLogs/123456789012", "r-1", "2026/01/16", "20260116T0000Z"));
        put(&name("AWSLogs/123456789012", "r-2", "2025/01/01", "20250101T0000Z"));
        put(&name("team/a/AWSLogs/o-0123456789/210987654321", "r-1", "2026/01/15", "20260115T1031Z"));
        put("AWSLogs/123456789012/Sidetrail-Manifest/r-1/2026/01/15/junk.json");
        put("AWSLogs/other/x");
        let store = Store::open(directory.path().to_str().unwrap(), &|_| None).unwrap();
        let grounds = grounds(&store).await.unwrap();
        let shown: Vec<_> = grounds.iter().map(|Ground { home, region }| format!("{home}{region}")).collect();
        assert_eq!(
            shown,
            [
                "AWSLogs/123456789012/r-1",
                "AWSLogs/123456789012/r-2",
                "team/a/AWSLogs/o-0123456789/210987654321/r-1",
            ]
        );
        let now = "2026-01-15T11:00:00Z".parse().unwrap();
        for (from, count) in [
            ("2026-01-15T10:31:00Z", 1),
            ("2026-01-15T10:30:59Z", 2),
            ("2026-01-14T00:00:00Z", 3),
            ("2025-01-01T00:00:00Z", 3),
        ] {
            let mut keys = Vec::new();
            let from = from.parse().unwrap();
            let mut each = |listed: Listed| keys.push(listed.key(&grounds[0]).to_string());
            manifests(&store, &grounds[0], from, now, &mut each).await.unwrap();
            assert_eq!(keys.len(), count, "{from} {keys:?}");
        }
    }
}
