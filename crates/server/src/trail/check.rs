//! What must hold of a trail's settings, and what its bucket must let happen.

use bytes::Bytes;
use sidetrail_api::{Code, Error, quoted};
use sidetrail_archive::key::{Account, Home, OrgId, Prefix};
use sidetrail_archive::store::Failure;

use crate::Context;
use crate::access::Caller;
use crate::buckets::{folders, missing};
use crate::notify;
use crate::refusal::Refusal;
use crate::state::{StoredTrail, Topic, Trails};

/// Trails that are seen in a region.
const MAX_TRAILS: usize = 5;

/// What this server has no use for, and would only seem to do.
pub(crate) fn check_unused(log_group: Option<&str>, role: Option<&str>) -> Result<(), Error> {
    let given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    if given(log_group) != given(role) {
        return Err(Error::new(
            Code::InvalidParameterCombination,
            "You must specify both CloudWatchLogsLogGroupArn and CloudWatchLogsRoleArn.",
        ));
    }
    if given(log_group) {
        return Err(Error::unsupported("Sidetrail does not deliver to CloudWatch Logs."));
    }
    Ok(())
}

/// The topic that a trail names, if it names one; since then, unless it has had one.
pub(crate) fn topic(
    name: Option<&str>,
    before: Option<&Topic>,
    caller: &Caller,
) -> Result<Option<Topic>, Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let since = before.map_or(caller.at, |topic| topic.since);
    Ok(Some(Topic { arn: notify::arn(name, caller)?, name: name.to_owned(), since }))
}

/// That the topic takes messages of the trail.
pub(crate) async fn check_topic(
    context: &Context,
    caller: &Caller,
    trail: &StoredTrail,
) -> Result<(), Refusal> {
    let Some(topic) = &trail.topic else { return Ok(()) };
    let arn = super::own(caller, trail).arn().to_string();
    context.topics.check(caller, &topic.arn, &arn).await
}

/// A key of KMS, as its ARN.
pub(crate) fn key_arn(key: &str, caller: &Caller) -> Result<String, Error> {
    let (region, account) = (&caller.region, &caller.account);
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_/".contains(&it))
    };
    let resource = match key.strip_prefix("arn:aws:kms:") {
        Some(rest) => {
            let resource = rest.splitn(3, ':').nth(2).unwrap_or_default();
            let named = resource.strip_prefix("key/").or_else(|| resource.strip_prefix("alias/"));
            named.is_some_and(word).then(|| key.to_owned())
        }
        None if key.starts_with("alias/") => {
            word(key).then(|| format!("arn:aws:kms:{region}:{account}:{key}"))
        }
        None => word(key).then(|| format!("arn:aws:kms:{region}:{account}:key/{key}")),
    };
    let invalid = || Error::new(Code::InvalidKmsKeyId, format!("KMS key {} is not valid.", quoted(key)));
    resource.filter(|arn| arn.len() <= 350).ok_or_else(invalid)
}

/// What must hold of the settings of a trail among each other.
pub(crate) fn check_combination(trail: &StoredTrail) -> Result<(), Error> {
    if trail.multi_region && !trail.global_service_events {
        return Err(Error::new(
            Code::InvalidParameterCombination,
            "Multi-Region trail must include global service events.",
        ));
    }
    Ok(())
}

/// Whether the caller may have organization trails: the organization's id.
pub(crate) fn check_organization(context: &Context, caller: &Caller) -> Result<(), Error> {
    let account = caller.account.as_str();
    match context.config.organization.as_ref().filter(|it| it.has(account)) {
        None => Err(Error::new(
            Code::OrganizationsNotInUse,
            "The account is not a member of an organization of this server's configuration.",
        )),
        Some(organization) if organization.management_account.as_str() != account => Err(Error::new(
            Code::NotOrganizationMasterAccount,
            "Only the management account of the organization may have organization trails.",
        )),
        Some(_) => Ok(()),
    }
}

/// That there is room for a trail in every region where it would be seen. `others` are those of the organization.
pub(crate) fn check_number(
    context: &Context,
    caller: &Caller,
    trails: &Trails,
    others: &[StoredTrail],
    new: &StoredTrail,
) -> Result<(), Error> {
    let same = |trail: &&StoredTrail| trail.name != new.name || trail.home_region != new.home_region;
    for region in context.config.regions.iter().filter(|region| new.is_in(region.as_str())) {
        let own = trails.trails.iter().filter(same);
        let seen = own.chain(others).filter(|trail| trail.is_in(region.as_str())).count();
        if seen >= MAX_TRAILS {
            let account = &caller.account;
            return Err(Error::new(
                Code::MaximumNumberOfTrailsExceeded,
                format!("User: {account} already has {MAX_TRAILS} trails in {region}."),
            ));
        }
    }
    Ok(())
}

/// That the bucket is there, and that what a trail delivers can be stored in it. What is stored for that stays: it is
/// the same for every trail of the account.
pub(crate) async fn check_bucket(
    context: &Context,
    account: &Account,
    trail: &StoredTrail,
) -> Result<(), Refusal> {
    let store = context.buckets.get(&trail.bucket)?;
    let organization = context.config.organization.as_ref().filter(|_| trail.organization);
    let home = home(trail, account, organization.map(|it| it.id.clone()));
    // A store may make a bucket that is written to; one that is looked into it says.
    if let Err(error) = folders(&store, home.to_string().trim_end_matches('/')).await {
        return Err(refusal(&trail.bucket, Failure::of(&error), &error));
    }
    let key = format!("{home}Sidetrail-Probe/probe.json");
    match store.put_create(&key, Bytes::from_static(b"{}")).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(&trail.bucket, error.failure(), &error)),
    }
}

fn refusal(bucket: &str, failure: Failure, error: &(dyn std::error::Error + 'static)) -> Refusal {
    let told = match failure {
        Failure::MissingBucket | Failure::NotFound => missing(bucket),
        Failure::Permission | Failure::Credentials => Error::new(
            Code::InsufficientS3BucketPolicy,
            format!("Incorrect S3 bucket policy is detected for bucket: {}", quoted(bucket)),
        ),
        _ => return Refusal::unavailable(error),
    };
    Refusal { error: told, cause: Some(error.to_string()) }
}

/// Where what a trail delivers for an account lies: `…AWSLogs/…/`.
pub(crate) fn home(trail: &StoredTrail, account: &Account, organization: Option<OrgId>) -> Home {
    let prefix = trail.prefix.as_ref().and_then(|prefix| Prefix::new(prefix.as_str()).ok());
    Home { organization, ..Home::new(prefix, account.clone()) }
}
