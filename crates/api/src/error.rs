//! What can go wrong, in CloudTrail's names and words.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($name:ident,)*) => {
        /// The name of an exception, without the `Exception` that nearly each ends in on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "they are AWS's names, and documented by AWS")]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as it is on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    // CloudTrail itself has one of this name that ends in `Exception`.
                    Self::NoSuchChannel => return "ChannelNotFound",
                    code if BARE.contains(&code) => return code.bare(),
                    _ => {}
                }
                match self {
                    $(Self::$name => concat!(stringify!($name), "Exception"),)*
                }
            }

            fn bare(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    // Those of CloudTrail's model.
    AccessDenied, AccountHasOngoingImport, AccountNotFound, AccountNotRegistered, AccountRegistered,
    CannotDelegateManagementAccount, ChannelARNInvalid, ChannelAlreadyExists, ChannelExistsForEDS,
    ChannelMaxLimitExceeded, ChannelNotFound, CloudTrailARNInvalid, CloudTrailAccessNotEnabled,
    CloudTrailInvalidClientTokenId, CloudWatchLogsDeliveryUnavailable, ConcurrentModification, Conflict,
    DelegatedAdminAccountLimitExceeded, EventDataStoreARNInvalid, EventDataStoreAlreadyExists,
    EventDataStoreFederationEnabled, EventDataStoreHasOngoingImport, EventDataStoreMaxLimitExceeded,
    EventDataStoreNotFound, EventDataStoreTerminationProtected, GenerateResponse, ImportNotFound,
    InactiveEventDataStore, InactiveQuery, InsightNotEnabled, InsufficientDependencyServiceAccessPermission,
    InsufficientEncryptionPolicy, InsufficientIAMAccessPermission, InsufficientS3BucketPolicy,
    InsufficientSnsTopicPolicy, InvalidCloudWatchLogsLogGroupArn, InvalidCloudWatchLogsRoleArn, InvalidDateRange,
    InvalidEventCategory, InvalidEventDataStoreCategory, InvalidEventDataStoreStatus, InvalidEventSelectors,
    InvalidHomeRegion, InvalidImportSource, InvalidInsightSelectors, InvalidKmsKeyId, InvalidLookupAttributes,
    InvalidMaxResults, InvalidNextToken, InvalidParameterCombination, InvalidParameter, InvalidQueryStatement,
    InvalidQueryStatus, InvalidS3BucketName, InvalidS3Prefix, InvalidSnsTopicName, InvalidSource, InvalidTagParameter,
    InvalidTimeRange, InvalidToken, InvalidTrailName, Kms, KmsKeyDisabled, KmsKeyNotFound, MaxConcurrentQueries,
    MaximumNumberOfTrailsExceeded, NoManagementAccountSLRExists, NotOrganizationManagementAccount,
    NotOrganizationMasterAccount, OperationNotPermitted, OrganizationNotInAllFeaturesMode, OrganizationsNotInUse,
    QueryIdNotFound, ResourceARNNotValid, ResourceNotFound, ResourcePolicyNotFound, ResourcePolicyNotValid,
    ResourceTypeNotSupported, S3BucketDoesNotExist, ServiceQuotaExceeded, TagsLimitExceeded, Throttling,
    TrailAlreadyExists, TrailNotFound, TrailNotProvided, UnsupportedOperation,
    // Those of AWS's common errors, which no model lists.
    ExpiredToken, IncompleteSignature, InternalFailure, InvalidSignature, MissingAuthenticationToken,
    RequestEntityTooLarge, Serialization, ServiceUnavailable, UnknownOperation, UnrecognizedClient, Validation,
    // Those of AWS Organizations and of cloudtrail-data.
    AWSOrganizationsNotInUse, ChannelInsufficientPermission, ChannelUnsupportedSchema, DuplicatedAuditEventId,
    InvalidChannelARN, NoSuchChannel,
}

/// Those of cloudtrail-data, which do not end in `Exception`.
const BARE: [Code; 4] = [
    Code::ChannelInsufficientPermission,
    Code::ChannelUnsupportedSchema,
    Code::DuplicatedAuditEventId,
    Code::InvalidChannelARN,
];

impl Code {
    /// The status of an answer with it. SDKs try again what has 500 or 503.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InternalFailure => 500,
            Self::ServiceUnavailable => 503,
            Self::RequestEntityTooLarge => 413,
            _ => 400,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// Which exception.
    pub code: Code,
    /// What the client is told.
    pub message: String,
}

impl Error {
    /// An exception with a text.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "__type")]
            kind: &'a str,
            message: &'a str,
        }
        // Two texts always have a JSON form.
        serde_json::to_string(&Body { kind: self.code.name(), message: &self.message }).unwrap_or_default()
    }

    /// No trail of that name or ARN.
    #[must_use]
    pub fn trail_not_found(name: &str, account: &str) -> Self {
        let name = quoted(name);
        Self::new(Code::TrailNotFound, format!("Unknown trail: {name} for the user: {account}"))
    }

    /// A request that an operation's model does not allow: AWS's one form of it.
    #[must_use]
    pub fn constraint(value: Option<&str>, member: &str, constraint: &str) -> Self {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{}'", quoted(value)));
        Self::new(
            Code::Validation,
            format!(
                "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: \
                 Member must {constraint}"
            ),
        )
    }

    /// An operation that this server does not do.
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(Code::UnsupportedOperation, what.to_string())
    }
}

/// Characters of a value that messages quote.
const MAX_QUOTED: usize = 256;

/// A value of a client's as messages quote it: bounded, and without what would break a line of a log.
#[must_use]
pub fn quoted(value: &str) -> String {
    let mut quoted: String =
        value.chars().take(MAX_QUOTED).map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect();
    if value.chars().nth(MAX_QUOTED).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_sdks_read() {
        let error = Error::trail_not_found("a\"b", "111122223333");
        assert_eq!(
            error.body(),
            r#"{"__type":"TrailNotFoundException","message":"Unknown trail: a\"b for the user: 111122223333"}"#
        );
        assert_eq!(error.code.status(), 400);
    }

    #[test]
    fn a_long_value_is_cut() {
        let error = Error::constraint(Some(&"x\n".repeat(500)), "name", "be short");
        assert!(error.message.len() < 1000);
        assert!(!error.message.contains('\n'));
    }
}
