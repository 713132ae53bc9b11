//! `DescribeOrganization` of AWS Organizations: `aws cloudtrail validate-logs` asks for it where a trail is an
//! organization's.

use sidetrail_api::shape::{DescribeOrganizationInput, DescribeOrganizationOutput, Organization};
use sidetrail_api::{Code, Error, Operation};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;

pub(super) struct DescribeOrganization;

impl Implementation for DescribeOrganization {
    const OPERATION: Operation = Operation::DescribeOrganization;
    type Input = DescribeOrganizationInput;
    type Output = DescribeOrganizationOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        _: DescribeOrganizationInput,
    ) -> Result<DescribeOrganizationOutput, Refusal> {
        let organization = context.config.organization.as_ref().filter(|it| it.has(caller.account.as_str()));
        let Some(organization) = organization else {
            let message = "Your account is not a member of an organization.";
            return Err(Error::new(Code::AWSOrganizationsNotInUse, message).into());
        };
        let (id, master) = (&organization.id, &organization.management_account);
        let organization = Organization {
            id: id.to_string(),
            arn: format!("arn:aws:organizations::{master}:organization/{id}"),
            feature_set: "ALL".to_owned(),
            master_account_arn: format!("arn:aws:organizations::{master}:account/{id}/{master}"),
            master_account_id: master.to_string(),
        };
        Ok(DescribeOrganizationOutput { organization })
    }
}
