//! The keys that digests are signed with, as trails' buckets publish them.

use jiff::Timestamp;
use serde::Deserialize;
use sidetrail_api::shape::{Epoch, PublicKey};

use crate::Context;
use crate::access::Caller;
use crate::buckets::{keys, payload};
use crate::refusal::Refusal;
use crate::trail::{Visible, status};

/// Keys of one trail's bucket.
const MAX_KEYS: usize = 1000;
/// Bytes of a published key.
const MAX_KEY: usize = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Published {
    object: String,
    public_key: String,
    validity_start_time: Timestamp,
    validity_end_time: Timestamp,
}

/// The published keys of all trails that are seen in the caller's region.
pub(crate) async fn published_keys(
    context: &Context,
    caller: &Caller,
    visible: &Visible,
) -> Result<Vec<PublicKey>, Refusal> {
    let mut places = Vec::new();
    let mut found = Vec::new();
    for trail in visible.trails().filter(|trail| trail.stored.is_in(caller.region.as_str())) {
        let home = status::home(context, caller, &trail).to_string();
        let place = (trail.stored.bucket.clone(), home.clone());
        if places.contains(&place) {
            continue;
        }
        places.push(place);
        let Ok(store) = context.buckets.of(&trail) else { continue };
        let base = store.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
        let prefix = format!("{base}{home}Sidetrail-Digest-Key");
        let keys = keys(&store, &prefix, MAX_KEYS).await.map_err(|error| Refusal::unavailable(&error))?;
        for (key, _) in keys {
            let bytes = store.get(&key, MAX_KEY).await.map_err(|error| Refusal::unavailable(&error))?;
            let fingerprint = key.rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
            match (payload::<Published>(&bytes), fingerprint) {
                (Some(published), Some(fingerprint)) if published.object == key => found.push(PublicKey {
                    value: published.public_key,
                    validity_start_time: Epoch(published.validity_start_time),
                    validity_end_time: Epoch(published.validity_end_time),
                    fingerprint: fingerprint.to_owned(),
                }),
                _ => tracing::warn!(key, bucket = store.name(), "a published digest key is none"),
            }
        }
    }
    Ok(found)
}
