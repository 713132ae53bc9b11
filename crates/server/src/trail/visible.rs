//! What a caller sees of trails: the account's own, and those of the organization that it belongs to.

use std::sync::Arc;

use sidetrail_api::arn::{Arn, Kind};
use sidetrail_api::{Code, Error, name, quoted};

use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::{StoredTrail, Trails};

/// All that a caller may see.
#[derive(Debug)]
pub(crate) struct Visible {
    account: String,
    region: String,
    own: Arc<Trails>,
    /// The managing account and its trails, if the caller is another account of the organization.
    organization: Option<(String, Arc<Trails>)>,
}

/// A trail that a caller sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The account that has it.
    pub(crate) account: &'a str,
    /// Whether that is the caller's.
    pub(crate) own: bool,
    pub(crate) stored: &'a StoredTrail,
}

impl Seen<'_> {
    pub(crate) fn arn(&self) -> Arn {
        Arn::trail(&self.stored.home_region, self.account, &self.stored.name)
    }
}

impl Visible {
    /// As it is now.
    pub(crate) async fn read(context: &Context, caller: &Caller) -> Result<Self, Refusal> {
        let account = caller.account.as_str();
        let master = context.config.organization.as_ref().filter(|it| it.has(account));
        let master = master.map(|it| it.management_account.as_str()).filter(|master| *master != account);
        let organization = match master {
            Some(master) => Some((master.to_owned(), context.trails(master).await?)),
            None => None,
        };
        Ok(Self {
            account: account.to_owned(),
            region: caller.region.to_string(),
            own: context.trails(account).await?,
            organization,
        })
    }

    /// All of them, in all regions.
    pub(crate) fn trails(&self) -> impl Iterator<Item = Seen<'_>> {
        let own = self.own.trails.iter().map(|stored| Seen { account: &self.account, own: true, stored });
        let others = self.organization.iter().flat_map(|(account, trails)| {
            let trails = trails.trails.iter().filter(|stored| stored.organization);
            trails.map(|stored| Seen { account, own: false, stored })
        });
        own.chain(others)
    }

    /// The organization's trails, if the caller is not who has them.
    pub(crate) fn others(&self) -> Vec<StoredTrail> {
        self.trails().filter(|trail| !trail.own).map(|trail| trail.stored.clone()).collect()
    }

    /// The one of a name, which is of this region, or of an ARN, which says its region.
    pub(crate) fn find(&self, text: &str) -> Result<Seen<'_>, Error> {
        let (region, account, wanted) = self.parse(text)?;
        self.trails()
            .find(|trail| {
                let stored = trail.stored;
                let here = stored.home_region == region;
                stored.name == wanted && here && account.as_ref().is_none_or(|it| it == trail.account)
            })
            .ok_or_else(|| Error::trail_not_found(text, &self.account))
    }

    /// The same, to be changed: only its own account does that, and only in its home region. What is returned is its
    /// name.
    pub(crate) fn find_to_change(&self, text: &str) -> Result<String, Error> {
        let (region, account, wanted) = self.parse(text)?;
        let named = |trail: &Seen<'_>| {
            trail.stored.name == wanted && account.as_ref().is_none_or(|it| it == trail.account)
        };
        let by_arn = account.is_some();
        let found = self
            .trails()
            .filter(named)
            // By ARN the very one; by name the one of this region before those that only are seen here.
            .filter(
                |trail| if by_arn { trail.stored.home_region == region } else { trail.stored.is_in(&region) },
            )
            .max_by_key(|trail| (trail.stored.home_region == region, trail.own));
        let Some(trail) = found else { return Err(Error::trail_not_found(text, &self.account)) };
        if !trail.own {
            return Err(Error::new(
                Code::NotOrganizationMasterAccount,
                "Only the management account of the organization may change an organization trail.",
            ));
        }
        if trail.stored.home_region != self.region {
            return Err(Error::new(
                Code::InvalidHomeRegion,
                format!(
                    "Trail {} was created in {}. Perform this operation in its home region.",
                    trail.stored.name, trail.stored.home_region
                ),
            ));
        }
        Ok(trail.stored.name.clone())
    }

    /// Region, account if it is said, and name.
    fn parse(&self, text: &str) -> Result<(String, Option<String>, String), Error> {
        if !Arn::is_meant(text) {
            name::check_trail(text)?;
            return Ok((self.region.clone(), None, text.to_owned()));
        }
        let invalid = |message: String| Error::new(Code::CloudTrailARNInvalid, message);
        let arn: Arn = text.parse().map_err(|_| invalid(format!("Invalid Trail ARN: {}", quoted(text))))?;
        if arn.kind != Kind::Trail {
            return Err(invalid(format!("Invalid Trail ARN: {}", quoted(text))));
        }
        let of_organization = self.organization.as_ref().is_some_and(|(master, _)| *master == arn.account);
        if arn.account != self.account && !of_organization {
            return Err(invalid(format!(
                "AccountID in ARN is wrong, you can only access resources with AccountID {}.",
                self.account
            )));
        }
        name::check_trail(&arn.name)?;
        Ok((arn.region, Some(arn.account), arn.name))
    }
}
