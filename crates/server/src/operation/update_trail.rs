//! `UpdateTrail`: other settings for a trail.

use sidetrail_api::shape::{CreateTrailOutput, UpdateTrailInput};
use sidetrail_api::{Error, Operation, name};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::{StoredTrail, Update};
use crate::trail::{Visible, change_all, check, created, own, required};

pub(super) struct UpdateTrail;

impl Implementation for UpdateTrail {
    const OPERATION: Operation = Operation::UpdateTrail;
    type Input = UpdateTrailInput;
    type Output = CreateTrailOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: UpdateTrailInput,
    ) -> Result<CreateTrailOutput, Refusal> {
        let text = required(input.name.as_ref(), "name")?;
        check_input(&input)?;
        let visible = Visible::read(context, caller).await?;
        let name = visible.find_to_change(text)?;
        let others = visible.others();
        let (account, region) = (caller.account.as_str(), caller.region.as_str());
        // The bucket is asked before the change, which must not wait: of what is changed it is what it will be.
        let found = visible.find(text)?;
        let mut after = found.stored.clone();
        apply(context, caller, &mut after, &input)?;
        let moved = (&after.bucket, &after.prefix, after.organization)
            != (&found.stored.bucket, &found.stored.prefix, found.stored.organization);
        if moved {
            check::check_bucket(context, &caller.account, &after).await?;
        }
        if after.topic.as_ref().map(|topic| &topic.arn) != found.stored.topic.as_ref().map(|topic| &topic.arn)
        {
            check::check_topic(context, caller, &after).await?;
        }
        let updated = change_all(context, caller, |trails| {
            let before = trails.get(region, &name).ok_or_else(|| Error::trail_not_found(text, account))?;
            let mut after = before.clone();
            apply(context, caller, &mut after, &input)?;
            let output = created(&own(caller, &after));
            if after == *before {
                return Ok(Update::Same(output));
            }
            if after.multi_region && !before.multi_region {
                check::check_number(context, caller, trails, &others, &after)?;
            }
            if let Some(trail) = trails.get_mut(region, &name) {
                *trail = after;
            }
            Ok(Update::Changed(output))
        });
        updated.await
    }
}

fn check_input(input: &UpdateTrailInput) -> Result<(), Error> {
    input.s3_bucket_name.as_deref().map_or(Ok(()), name::check_bucket)?;
    let prefix = input.s3_key_prefix.as_deref().filter(|prefix| !prefix.is_empty());
    prefix.map_or(Ok(()), name::check_prefix)?;
    check::check_unused(
        input.cloud_watch_logs_log_group_arn.as_deref(),
        input.cloud_watch_logs_role_arn.as_deref(),
    )
}

/// What is absent stays, and an empty text removes.
fn apply(
    context: &Context,
    caller: &Caller,
    trail: &mut StoredTrail,
    input: &UpdateTrailInput,
) -> Result<(), Error> {
    if let Some(bucket) = &input.s3_bucket_name {
        trail.bucket.clone_from(bucket);
    }
    if let Some(prefix) = &input.s3_key_prefix {
        trail.prefix = Some(prefix.clone()).filter(|prefix| !prefix.is_empty());
    }
    if input.sns_topic_name.is_some() {
        trail.topic = check::topic(input.sns_topic_name.as_deref(), trail.topic.as_ref(), caller)?;
    }
    if let Some(key) = &input.kms_key_id {
        let key = Some(key).filter(|key| !key.is_empty());
        trail.kms_key = key.map(|key| check::key_arn(key, caller)).transpose()?;
    }
    let flags = [
        (&mut trail.global_service_events, input.include_global_service_events),
        (&mut trail.multi_region, input.is_multi_region_trail),
        (&mut trail.log_file_validation, input.enable_log_file_validation),
        (&mut trail.recursive_logging, input.recursive_logging),
        (&mut trail.organization, input.is_organization_trail),
    ];
    for (flag, value) in flags {
        *flag = value.unwrap_or(*flag);
    }
    if input.is_organization_trail == Some(true) {
        check::check_organization(context, caller)?;
    }
    check::check_combination(trail)
}
