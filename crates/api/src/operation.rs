//! The operations, and how a request names one.

use std::fmt;

/// The prefix that botocore, the AWS CLI and the older SDKs send.
const LONG_PREFIX: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101";
/// The prefix of SDKs that are generated from Smithy models.
const SHORT_PREFIX: &str = "CloudTrail_20131101";
/// The one operation of AWS Organizations that `aws cloudtrail validate-logs` asks for.
const ORGANIZATIONS_PREFIX: &str = "AWSOrganizationsV20161128";

/// A service, by the name that requests are signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// `cloudtrail`.
    CloudTrail,
    /// `cloudtrail-data`: where others put their events.
    CloudTrailData,
    /// `organizations`.
    Organizations,
}

impl Service {
    /// The service part of a credential scope.
    #[must_use]
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::CloudTrailData => "cloudtrail-data",
            Self::Organizations => "organizations",
        }
    }
}

/// What an operation does to the state, or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It reads configuration.
    Read,
    /// It reads recorded events.
    ReadEvents,
    /// It changes trails: configuration, logging, selectors, tags.
    Trails,
    /// It changes anything else.
    Administer,
    /// It brings events.
    WriteEvents,
}

/// How often an account may ask for an operation in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many requests
    pub requests: u32,
    /// in so many seconds.
    pub seconds: u32,
}

impl Rate {
    const fn a_second(requests: u32) -> Self {
        Self { requests, seconds: 1 }
    }
}

macro_rules! operations {
    ($($name:ident $access:ident $requests:literal $(/ $seconds:literal)?,)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "they are AWS's names, and documented by AWS")]
        pub enum Operation {
            $($name,)*
        }

        impl Operation {
            /// All of them; those of CloudTrail itself come first, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as it is in `X-Amz-Target`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it does.
            #[must_use]
            pub fn access(self) -> Access {
                match self {
                    $(Self::$name => Access::$access,)*
                }
            }

            /// How often CloudTrail lets an account ask for it in a region.
            #[must_use]
            pub fn rate(self) -> Rate {
                match self {
                    $(Self::$name => {
                        let rate = Rate::a_second($requests);
                        $(let rate = Rate { seconds: $seconds, ..rate };)?
                        rate
                    })*
                }
            }
        }
    };
}

// The rates are those of "Quotas in AWS CloudTrail": reads 10 a second, everything else 1, but for those that it names.
operations! {
    AddTags Trails 1,
    CancelQuery Administer 3,
    CreateChannel Administer 1,
    CreateDashboard Administer 1,
    CreateEventDataStore Administer 1,
    CreateTrail Trails 1,
    DeleteChannel Administer 1,
    DeleteDashboard Administer 1,
    DeleteEventDataStore Administer 1,
    DeleteResourcePolicy Administer 1,
    DeleteTrail Trails 1,
    DeregisterOrganizationDelegatedAdmin Administer 10,
    DescribeQuery ReadEvents 10,
    DescribeTrails Read 10,
    DisableFederation Administer 1,
    EnableFederation Administer 1,
    GenerateQuery ReadEvents 4 / 60,
    GetChannel Read 10,
    GetDashboard Read 10,
    GetEventConfiguration Read 10,
    GetEventDataStore Read 10,
    GetEventSelectors Read 10,
    GetImport Read 10,
    GetInsightSelectors Read 10,
    GetQueryResults ReadEvents 10,
    GetResourcePolicy Read 10,
    GetTrail Read 10,
    GetTrailStatus Read 10,
    ListChannels Read 10,
    ListDashboards Read 10,
    ListEventDataStores Read 10,
    ListImportFailures Read 10,
    ListImports Read 10,
    ListInsightsData ReadEvents 2,
    ListInsightsMetricData ReadEvents 1,
    ListPublicKeys Read 10,
    ListQueries Read 10,
    ListTags Read 10,
    ListTrails Read 10,
    LookupEvents ReadEvents 2,
    PutEventConfiguration Trails 1,
    PutEventSelectors Trails 1,
    PutInsightSelectors Trails 1,
    PutResourcePolicy Administer 1,
    RegisterOrganizationDelegatedAdmin Administer 10,
    RemoveTags Trails 1,
    RestoreEventDataStore Administer 1,
    SearchSampleQueries Read 10,
    StartDashboardRefresh Administer 1,
    StartEventDataStoreIngestion Administer 1,
    StartImport Administer 1,
    StartLogging Trails 1,
    StartQuery ReadEvents 3,
    StopEventDataStoreIngestion Administer 1,
    StopImport Administer 1,
    StopLogging Trails 1,
    UpdateChannel Administer 1,
    UpdateDashboard Administer 1,
    UpdateEventDataStore Administer 1,
    UpdateTrail Trails 1,
    PutAuditEvents WriteEvents 100,
    DescribeOrganization Read 10,
}

impl Operation {
    /// The operation that an `X-Amz-Target` names.
    #[must_use]
    pub fn of_target(target: &str) -> Option<Self> {
        let (prefix, name) = target.rsplit_once('.')?;
        let service = match prefix {
            LONG_PREFIX | SHORT_PREFIX => Service::CloudTrail,
            ORGANIZATIONS_PREFIX => Service::Organizations,
            _ => return None,
        };
        Self::ALL.iter().copied().find(|operation| operation.service() == service && operation.name() == name)
    }

    /// The service that it belongs to.
    #[must_use]
    pub fn service(self) -> Service {
        match self {
            Self::PutAuditEvents => Service::CloudTrailData,
            Self::DescribeOrganization => Service::Organizations,
            _ => Service::CloudTrail,
        }
    }

    /// What a client puts into `X-Amz-Target`; [`Operation::PutAuditEvents`] is asked for by path instead.
    #[must_use]
    pub fn target(self) -> Option<String> {
        let prefix = match self.service() {
            Service::CloudTrail => LONG_PREFIX,
            Service::Organizations => ORGANIZATIONS_PREFIX,
            Service::CloudTrailData => return None,
        };
        Some(format!("{prefix}.{self}"))
    }

    /// Whether it leaves everything as it is: a record's `readOnly`.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self.access(), Access::Read | Access::ReadEvents)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixty_operations_of_cloudtrail() {
        let ours: Vec<_> = Operation::ALL
            .iter()
            .filter(|operation| operation.service() == Service::CloudTrail)
            .map(|operation| operation.name())
            .collect();
        assert_eq!(ours.len(), 60);
        assert!(ours.is_sorted());
    }

    #[test]
    fn both_prefixes_are_known() {
        for (target, expected) in [
            (
                "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.ListTrails",
                Some(Operation::ListTrails),
            ),
            ("CloudTrail_20131101.ListTrails", Some(Operation::ListTrails)),
            ("AWSOrganizationsV20161128.DescribeOrganization", Some(Operation::DescribeOrganization)),
            ("CloudTrail_20131101.DescribeOrganization", None),
            ("AWSOrganizationsV20161128.ListTrails", None),
            ("CloudTrail_20131101.PutAuditEvents", None),
            ("CloudTrail_20131101.listTrails", None),
            ("ListTrails", None),
            ("", None),
        ] {
            assert_eq!(Operation::of_target(target), expected, "{target}");
        }
        for operation in Operation::ALL {
            if let Some(target) = operation.target() {
                assert_eq!(Operation::of_target(&target), Some(*operation));
            }
        }
    }
}
