//! What was delivered last, as the bucket has it.
//!
//! Log files: the newest manifest of the trail's that names one. Digests: the newest of the trail's. Errors: what the
//! bucket says now when it is asked. Signatures are not checked, which is `sidetrail verify`'s.

use jiff::Timestamp;
use serde::Deserialize;
use sidetrail_archive::key::Home;
use sidetrail_archive::store::{Failure, Store};

use super::Seen;
use crate::Context;
use crate::access::Caller;
use crate::buckets::{self, folders, keys, payload};
use crate::notify::Progress;
use crate::state::StateError;

/// Days that are looked at, the newest first.
const MAX_DAYS: usize = 62;
/// Keys of a day.
const MAX_KEYS: usize = 100_000;
/// Manifests that are read: several trails may have a bucket in common.
const MAX_MANIFESTS: usize = 64;
/// Bytes of a manifest.
const MAX_MANIFEST: usize = 4 << 20;

/// What was delivered last.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) log: Option<Timestamp>,
    pub(crate) digest: Option<Timestamp>,
    pub(crate) error: Option<String>,
    pub(crate) digest_error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    log_file: Option<serde::de::IgnoredAny>,
    chain: Chain,
    created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Chain {
    trail: String,
}

/// Where what a trail delivers for an account lies: `…AWSLogs/…/`.
pub(crate) fn home(context: &Context, caller: &Caller, trail: &Seen<'_>) -> Home {
    let organization = context.config.organization.as_ref().filter(|_| trail.stored.organization);
    super::check::home(trail.stored, &caller.account, organization.map(|it| it.id.clone()))
}

/// Looks into the trail's bucket, for the caller's account and region.
pub(crate) async fn look(context: &Context, caller: &Caller, trail: &Seen<'_>) -> Delivered {
    let Ok(store) = context.buckets.get(&trail.stored.bucket) else { return failed("NoSuchBucket") };
    let home = home(context, caller, trail);
    let (region, stored) = (caller.region.as_str(), trail.stored);
    let log = newest_log(&store, &format!("{home}Sidetrail-Manifest/{region}"), &stored.name).await;
    let named = format!("_{region}_{}_{}_", stored.name, stored.home_region);
    let digest = newest_digest(&store, &format!("{home}CloudTrail-Digest/{region}"), &named).await;
    match (log, digest) {
        (Ok(log), Ok(digest)) => Delivered { log, digest, ..Delivered::default() },
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(bucket = stored.bucket, %error, "cannot look into the bucket of a trail");
            failed(buckets::code(Failure::of(&error)))
        }
    }
}

/// How the trail's notifications are, if it has a topic.
pub(crate) async fn notified(context: &Context, trail: &Seen<'_>) -> Result<Option<Progress>, StateError> {
    let stored = trail.stored;
    let Some(topic) = &stored.topic else { return Ok(None) };
    let versions = context.state.notifications(trail.account, &stored.home_region, &stored.name);
    let progress = versions.read().await?.state;
    Ok(progress.is_of(topic.since).then(|| Progress::clone(&progress)))
}

fn failed(code: &str) -> Delivered {
    let code = Some(code.to_owned());
    Delivered { error: code.clone(), digest_error: code, ..Delivered::default() }
}

async fn newest_log(store: &Store, prefix: &str, trail: &str) -> object_store::Result<Option<Timestamp>> {
    let mut read = 0;
    for day in days(store, prefix).await? {
        // Names begin with the minute of delivery.
        for (key, _) in keys(store, &day, MAX_KEYS).await?.iter().rev() {
            if read == MAX_MANIFESTS {
                return Ok(None);
            }
            read += 1;
            let Ok(bytes) = store.get(key, MAX_MANIFEST).await else { continue };
            let manifest = payload::<Manifest>(&bytes);
            if let Some(manifest) = manifest.filter(|it| it.chain.trail == trail && it.log_file.is_some()) {
                return Ok(Some(manifest.created_at));
            }
        }
    }
    Ok(None)
}

async fn newest_digest(store: &Store, prefix: &str, named: &str) -> object_store::Result<Option<Timestamp>> {
    for day in days(store, prefix).await? {
        let keys = keys(store, &day, MAX_KEYS).await?;
        let newest = keys.iter().rev().find(|(key, _)| key.contains(named) && key.ends_with(".json.gz"));
        if let Some((_, stored)) = newest {
            return Ok(Some(*stored));
        }
    }
    Ok(None)
}

/// The folders of days below `prefix/YYYY/MM/`, newest first.
async fn days(store: &Store, prefix: &str) -> object_store::Result<Vec<String>> {
    let mut days = Vec::new();
    for year in folders(store, prefix).await?.iter().rev() {
        let year = format!("{prefix}/{year}");
        for month in folders(store, &year).await?.iter().rev() {
            let month = format!("{year}/{month}");
            for day in folders(store, &month).await?.iter().rev() {
                days.push(format!("{month}/{day}"));
                if days.len() == MAX_DAYS {
                    return Ok(days);
                }
            }
        }
    }
    Ok(days)
}
