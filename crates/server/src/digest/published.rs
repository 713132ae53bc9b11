//! The keys that digests are signed with, as trails' buckets publish them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sidetrail_api::shape::{Epoch, PublicKey};
use sidetrail_archive::digest::PublishedDigestKey;
use sidetrail_archive::key::DigestKeyObjectKey;
use sidetrail_archive::store::Failure;

use crate::Context;
use crate::access::Caller;
use crate::buckets::keys;
use crate::refusal::Refusal;
use crate::trail::{Visible, status};

/// Keys of one trail's bucket.
const MAX_KEYS: usize = 1000;
/// Bytes of a published key.
const MAX_KEY: usize = 64 << 10;

/// The published keys of all trails that are seen in the caller's region. What is not signed by the key that it carries,
/// or lies at another's place, is left out, and logged.
pub(crate) async fn published_keys(
    context: &Context,
    caller: &Caller,
    visible: &Visible,
) -> Result<Vec<PublicKey>, Refusal> {
    let mut places = BTreeSet::new();
    let mut found = Vec::new();
    for trail in visible.trails().filter(|trail| trail.stored.is_in(caller.region.as_str())) {
        let prefix = DigestKeyObjectKey::prefix(&status::home(context, caller, &trail));
        if !places.insert((trail.stored.bucket.clone(), prefix.clone())) {
            continue;
        }
        let Ok(store) = context.buckets.get(&trail.stored.bucket) else { continue };
        let keys = match keys(&store, prefix.trim_end_matches('/'), MAX_KEYS).await {
            Ok(keys) => keys,
            // One trail's bucket that is gone does not take the keys of the others away.
            Err(error) if Failure::of(&error) == Failure::MissingBucket => continue,
            Err(error) => return Err(Refusal::unavailable(&error)),
        };
        for (key, _) in keys {
            let bytes = store.get(&key, MAX_KEY).await.map_err(|error| Refusal::unavailable(&error))?;
            match PublishedDigestKey::open(&bytes) {
                Ok((published, _)) if published.object.to_string() == key => found.push(show(&published)),
                Ok(_) => tracing::warn!(key, bucket = store.name(), "a digest key lies at another's place"),
                Err(error) => tracing::warn!(key, bucket = store.name(), %error, "a digest key is none"),
            }
        }
    }
    Ok(found)
}

fn show(published: &PublishedDigestKey) -> PublicKey {
    PublicKey {
        value: BASE64_STANDARD.encode(published.public_key.as_pkcs1()),
        validity_start_time: Epoch(published.validity_start),
        validity_end_time: Epoch(published.validity_end),
        fingerprint: published.public_key.fingerprint().to_string(),
    }
}
