//! The one operation of AWS Organizations.

use serde::{Deserialize, Serialize};

/// Of `DescribeOrganization`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DescribeOrganizationInput {}

/// Of `DescribeOrganization`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeOrganizationOutput {
    /// The organization that the account is of.
    pub organization: Organization,
}

/// An organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Organization {
    /// `o-` and ten to 32 letters and digits.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// `ALL`.
    pub feature_set: String,
    /// The ARN of the account that manages it.
    pub master_account_arn: String,
    /// The account that manages it.
    pub master_account_id: String,
}
