//! `CreateTrail`: a trail that does not record yet.

use sidetrail_api::shape::{CreateTrailInput, CreateTrailOutput};
use sidetrail_api::{Code, Error, Operation, name};
use sidetrail_selectors::Selectors;

use super::Implementation;
use super::tags::{check_number, merge};
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::{Logging, StoredTrail, Update};
use crate::trail::{Visible, change_all, check, created, own, required};

pub(super) struct CreateTrail;

impl Implementation for CreateTrail {
    const OPERATION: Operation = Operation::CreateTrail;
    type Input = CreateTrailInput;
    type Output = CreateTrailOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: CreateTrailInput,
    ) -> Result<CreateTrailOutput, Refusal> {
        let trail = new_trail(context, caller, input)?;
        check::check_bucket(context, &caller.account, &trail).await?;
        check::check_topic(context, caller, &trail).await?;
        let others = Visible::read(context, caller).await?.others();
        let made = change_all(context, caller, |trails| {
            let (name, account) = (&trail.name, &caller.account);
            // One that is everywhere has its name everywhere.
            let taken = trails
                .trails
                .iter()
                .any(|it| it.name == *name && (it.is_in(&trail.home_region) || trail.is_in(&it.home_region)));
            if taken {
                let message = format!("Trail {name} already exists for customer: {account}");
                return Err(Error::new(Code::TrailAlreadyExists, message));
            }
            check::check_number(context, caller, trails, &others, &trail)?;
            trails.trails.push(trail.clone());
            Ok(Update::Changed(created(&own(caller, &trail))))
        });
        made.await
    }
}

fn new_trail(context: &Context, caller: &Caller, input: CreateTrailInput) -> Result<StoredTrail, Error> {
    let name = required(input.name.as_ref(), "name")?;
    name::check_trail(name)?;
    let bucket = required(input.s3_bucket_name.as_ref(), "s3BucketName")?;
    name::check_bucket(bucket)?;
    let prefix = input.s3_key_prefix.filter(|prefix| !prefix.is_empty());
    prefix.as_deref().map_or(Ok(()), name::check_prefix)?;
    check::check_unused(
        input.cloud_watch_logs_log_group_arn.as_deref(),
        input.cloud_watch_logs_role_arn.as_deref(),
    )?;
    let topic = check::topic(input.sns_topic_name.as_deref(), None, caller)?;
    let key = input.kms_key_id.filter(|key| !key.is_empty());
    let kms_key = key.map(|key| check::key_arn(&key, caller)).transpose()?;
    let organization = input.is_organization_trail.unwrap_or(false);
    if organization {
        check::check_organization(context, caller)?;
    }
    let mut tags = Vec::new();
    merge(&mut tags, input.tags_list.unwrap_or_default())?;
    check_number(&tags)?;
    let trail = StoredTrail {
        name: name.to_owned(),
        home_region: caller.region.to_string(),
        bucket: bucket.to_owned(),
        prefix,
        global_service_events: input.include_global_service_events.unwrap_or(true),
        multi_region: input.is_multi_region_trail.unwrap_or(false),
        log_file_validation: input.enable_log_file_validation.unwrap_or(false),
        organization,
        recursive_logging: input.recursive_logging.unwrap_or(true),
        kms_key,
        topic,
        selectors: Selectors::of_a_new_trail(),
        insights: Vec::new(),
        tags,
        created: caller.at,
        logging: Logging::default(),
    };
    check::check_combination(&trail)?;
    Ok(trail)
}
