//! Changing trails.

use sidetrail_api::Error;

use super::{Seen, Visible};
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::{StoredTrail, Trails, Update};

/// Changes the trail that is meant by a name or ARN: the caller's own, at home in his region.
pub(crate) async fn change<R>(
    context: &Context,
    caller: &Caller,
    text: &str,
    mut change: impl FnMut(&mut StoredTrail) -> Result<Update<R>, Error>,
) -> Result<R, Refusal> {
    let name = Visible::read(context, caller).await?.find_to_change(text)?;
    let (account, region) = (caller.account.as_str(), caller.region.as_str());
    change_all(context, caller, |trails| match trails.get_mut(region, &name) {
        Some(trail) => change(trail),
        // It is gone since it was found.
        None => Err(Error::trail_not_found(text, account)),
    })
    .await
}

/// Changes the caller's trails as a whole.
pub(crate) async fn change_all<R>(
    context: &Context,
    caller: &Caller,
    mut change: impl FnMut(&mut Trails) -> Result<Update<R>, Error>,
) -> Result<R, Refusal> {
    let versions = context.versions(&caller.account)?;
    let changed = versions.update(&caller.access_key, |trails| change(trails).map_err(Refusal::from)).await?;
    Ok(changed)
}

/// The trail as somebody sees it whose own it is.
pub(crate) fn own<'a>(caller: &'a Caller, stored: &'a StoredTrail) -> Seen<'a> {
    Seen { account: caller.account.as_str(), own: true, stored }
}
