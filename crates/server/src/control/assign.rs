//! Which trails the collectors of an account and region fill: those that record there.

use sidetrail_archive::hash::Sha256;
use sidetrail_wire::control::v1::{Assignment, Trail};

use crate::Context;
use crate::refusal::Refusal;
use crate::state::StoredTrail;

/// As it is now; of `only` these trails, where not all are meant.
pub(super) async fn assignment(
    context: &Context,
    account: &str,
    region: &str,
    only: Option<&[String]>,
) -> Result<Assignment, Refusal> {
    let own = context.trails(account).await?;
    let organization = context.config.organization.as_ref().filter(|it| it.has(account));
    let of_all = match organization {
        Some(organization) if organization.management_account.as_str() != account => {
            Some(context.trails(organization.management_account.as_str()).await?)
        }
        _ => None,
    };
    let of_all = of_all.iter().flat_map(|it| it.trails.iter()).filter(|trail| trail.organization);
    let id = organization.map(|it| it.id.to_string());
    let mut trails: Vec<Trail> = Vec::new();
    for stored in own.trails.iter().chain(of_all).filter(|it| it.logging.on && it.is_in(region)) {
        if only.is_some_and(|only| !only.contains(&stored.name)) {
            continue;
        }
        // Names of other regions' and of the organization's trails may be the same as the account's own: those come first.
        if trails.iter().any(|trail| trail.name == stored.name) {
            tracing::warn!(account, region, trail = stored.name, "a second trail of this name is not filled");
            continue;
        }
        trails.push(trail(context, stored, id.as_deref())?);
    }
    trails.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Assignment { revision: revision(&trails), trails })
}

fn trail(context: &Context, stored: &StoredTrail, organization: Option<&str>) -> Result<Trail, Refusal> {
    let bucket = context.buckets.location(&stored.bucket)?;
    let destination = match &stored.prefix {
        Some(prefix) => format!("{}/{prefix}", bucket.trim_end_matches('/')),
        None => bucket,
    };
    let selectors = serde_json::to_string(&stored.selectors).map_err(|error| Refusal::unavailable(&error))?;
    Ok(Trail {
        name: stored.name.clone(),
        destination,
        organization: organization.filter(|_| stored.organization).unwrap_or_default().to_owned(),
        selectors,
        kms_key: stored.kms_key.clone().unwrap_or_default(),
    })
}

/// The same on every server: collectors go from one to another.
fn revision(trails: &[Trail]) -> String {
    let told = trails.iter().map(|it| {
        let Trail { name, destination, organization, selectors, kms_key } = it;
        serde_json::json!([name, destination, organization, selectors, kms_key]).to_string()
    });
    let mut hash = Sha256::of(told.collect::<String>().as_bytes()).to_string();
    hash.truncate(32);
    hash
}
