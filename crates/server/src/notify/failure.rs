//! Why a message did not get through.

/// A message was not taken. Neither an address nor a secret is in it: a webhook's URL may be one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The endpoint answered something else than 2xx.
    #[error("the endpoint answered {0}")]
    Status(u16),
    /// It could not be asked, or did not answer in time.
    #[error("the endpoint cannot be reached: {0}")]
    Unreachable(String),
    /// NATS does not let us.
    #[error("not allowed: {0}")]
    Denied(String),
    /// There is no such topic in the configuration, or no stream for its subject.
    #[error("{0}")]
    Missing(String),
}

impl Failure {
    /// The code that SNS has for it, as `GetTrailStatus` shows it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Status(401 | 403) | Self::Denied(_) => "AuthorizationError",
            Self::Status(404 | 410) | Self::Missing(_) => "NotFound",
            Self::Status(429) => "Throttled",
            Self::Status(400..=499) => "InvalidParameter",
            Self::Status(_) | Self::Unreachable(_) => "InternalError",
        }
    }

    /// Whether the endpoint does not want messages: it will not get well by itself.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status(400..=407 | 409..=428 | 430..=499) | Self::Denied(_) | Self::Missing(_))
    }
}
