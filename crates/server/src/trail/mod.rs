//! Trails: which of them somebody sees, by which name, and what is shown of them.

mod change;
pub(crate) mod check;
pub(crate) mod status;
mod visible;

use sidetrail_api::{Error, shape};

pub(crate) use change::{change, change_all, own};
pub(crate) use visible::{Seen, Visible};

/// A member that an operation cannot do without.
pub(crate) fn required<'a>(value: Option<&'a String>, member: &str) -> Result<&'a str, Error> {
    value.map(String::as_str).ok_or_else(|| Error::constraint(None, member, "not be null"))
}

/// A trail as the API shows it.
pub(crate) fn describe(trail: &Seen<'_>) -> shape::Trail {
    let stored = trail.stored;
    shape::Trail {
        name: stored.name.clone(),
        s3_bucket_name: stored.bucket.clone(),
        s3_key_prefix: stored.prefix.clone(),
        sns_topic_name: stored.topic.as_ref().map(|topic| topic.name.clone()),
        sns_topic_arn: stored.topic.as_ref().map(|topic| topic.arn.clone()),
        include_global_service_events: stored.global_service_events,
        is_multi_region_trail: stored.multi_region,
        home_region: stored.home_region.clone(),
        trail_arn: trail.arn().to_string(),
        log_file_validation_enabled: stored.log_file_validation,
        cloud_watch_logs_log_group_arn: None,
        cloud_watch_logs_role_arn: None,
        kms_key_id: stored.kms_key.clone(),
        has_custom_event_selectors: stored.selectors.are_custom(),
        has_insight_selectors: !stored.insights.is_empty(),
        is_organization_trail: stored.organization,
        recursive_logging: stored.recursive_logging,
    }
}

/// A trail as `CreateTrail` and `UpdateTrail` show it: without its home region.
pub(crate) fn created(trail: &Seen<'_>) -> shape::CreateTrailOutput {
    let shown = describe(trail);
    shape::CreateTrailOutput {
        name: shown.name,
        s3_bucket_name: shown.s3_bucket_name,
        s3_key_prefix: shown.s3_key_prefix,
        sns_topic_name: shown.sns_topic_name,
        sns_topic_arn: shown.sns_topic_arn,
        include_global_service_events: shown.include_global_service_events,
        is_multi_region_trail: shown.is_multi_region_trail,
        trail_arn: shown.trail_arn,
        log_file_validation_enabled: shown.log_file_validation_enabled,
        cloud_watch_logs_log_group_arn: None,
        cloud_watch_logs_role_arn: None,
        kms_key_id: shown.kms_key_id,
        is_organization_trail: shown.is_organization_trail,
        recursive_logging: shown.recursive_logging,
    }
}
