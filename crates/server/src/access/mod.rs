//! Who asks, and whether he may.

mod bringers;
mod keys;

use jiff::Timestamp;
use sidetrail::Identity;
use sidetrail_api::{Code, Error, Operation};
use sidetrail_archive::key::{Account, Region};
use sidetrail_record::UserIdentity;

pub(crate) use bringers::{Bringer, read_bringers};
pub(crate) use keys::Keys;

use crate::config::Role;

/// Who asks: a key that signed what he asks for, and for where.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account: Account,
    pub(crate) region: Region,
    pub(crate) access_key: String,
    pub(crate) user: String,
    pub(crate) role: Role,
    pub(crate) at: Timestamp,
}

impl Caller {
    /// As messages and records call him.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account, self.user)
    }

    /// Whether he may ask for that.
    pub(crate) fn check(&self, operation: Operation) -> Result<(), Error> {
        if self.role.may(operation.access()) {
            return Ok(());
        }
        let (arn, service) = (self.arn(), operation.service().signing_name());
        Err(Error::new(
            Code::AccessDenied,
            format!("User: {arn} is not authorized to perform: {service}:{operation}"),
        ))
    }

    /// As records have him.
    pub(crate) fn identity(&self) -> Identity {
        Identity::from(UserIdentity {
            kind: Some("IAMUser".to_owned()),
            principal_id: Some(self.access_key.clone()),
            arn: Some(self.arn()),
            account_id: Some(self.account.to_string()),
            access_key_id: Some(self.access_key.clone()),
            user_name: Some(self.user.clone()),
            ..UserIdentity::default()
        })
    }
}

#[cfg(test)]
impl Caller {
    /// Somebody who may bring events.
    pub(crate) fn of_tests() -> Self {
        Self {
            account: "111122223333".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            access_key: "SIDETRAILTESTS".to_owned(),
            user: "writer".to_owned(),
            role: Role::Writer,
            at: Timestamp::UNIX_EPOCH,
        }
    }
}
