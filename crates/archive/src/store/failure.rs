//! What kind of failure an error of a store is: for those who have to do something about it.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It does not know the caller: keys are wrong, expired, or cannot be had.
    Credentials,
    /// It knows the caller, who may not do this.
    Permission,
    /// There is no such bucket.
    MissingBucket,
    /// There is no such object.
    NotFound,
    /// It asks for fewer requests.
    Throttled,
    /// Something else is under that name, or is being done to it.
    Conflict,
    /// No connection, or no answer in time.
    Unreachable,
    /// It says that the failure is its own.
    Server,
    /// It refuses the request as such, or the error is of another kind.
    Other,
}

impl Failure {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Credentials,
        Self::Permission,
        Self::MissingBucket,
        Self::NotFound,
        Self::Throttled,
        Self::Conflict,
        Self::Unreachable,
        Self::Server,
        Self::Other,
    ];

    /// One word, for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Permission => "permission",
            Self::MissingBucket => "missing_bucket",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::Server => "server",
            Self::Other => "other",
        }
    }

    /// The kind of an error of `object_store`.
    #[must_use]
    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let texts = || causes(error).map(ToString::to_string);
        let says = |words: &[&str]| texts().any(|text| words.iter().any(|word| text.contains(word)));
        // The codes that services put into the body of an answer say more than its status.
        if says(&["<Code>NoSuchBucket<"]) {
            return Self::MissingBucket;
        }
        if says(&CREDENTIALS) {
            return Self::Credentials;
        }
        match error {
            E::NotFound { .. } => return Self::NotFound,
            E::PermissionDenied { .. } => return Self::Permission,
            E::Unauthenticated { .. } => return Self::Credentials,
            E::AlreadyExists { .. } | E::Precondition { .. } => return Self::Conflict,
            _ => {}
        }
        if causes(error).filter_map(|cause| cause.downcast_ref::<HttpError>()).any(is_unreachable) {
            return Self::Unreachable;
        }
        if says(&["429 Too Many Requests", "<Code>SlowDown<", "<Code>Throttl", "503 Service Unavailable"]) {
            return Self::Throttled;
        }
        if says(&["409 Conflict", "412 Precondition Failed"]) {
            return Self::Conflict;
        }
        if says(&["status code: 5"]) {
            return Self::Server;
        }
        Self::Other
    }
}

/// Codes by which S3 says that it does not know who asks, and what providers of credentials say.
const CREDENTIALS: [&str; 9] = [
    "<Code>InvalidAccessKeyId<",
    "<Code>SignatureDoesNotMatch<",
    "<Code>ExpiredToken<",
    "<Code>InvalidToken<",
    "<Code>TokenRefreshRequired<",
    "<Code>RequestTimeTooSkewed<",
    "<Code>AuthorizationHeaderMalformed<",
    "instance credentials",
    "AssumeRole",
];

fn causes<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    })
}

fn is_unreachable(error: &HttpError) -> bool {
    matches!(
        error.kind(),
        HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &'static str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn what_services_say_is_understood() {
        for (text, expected) in [
            ("Server returned non-2xx status code: 429 Too Many Requests: ", Failure::Throttled),
            (
                "Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>",
                Failure::Throttled,
            ),
            ("Server returned non-2xx status code: 500 Internal Server Error: ", Failure::Server),
            (
                "Server returned non-2xx status code: 400 Bad Request: <Code>ExpiredToken</Code>",
                Failure::Credentials,
            ),
            (
                "Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>",
                Failure::MissingBucket,
            ),
            ("Server returned non-2xx status code: 400 Bad Request: ", Failure::Other),
        ] {
            assert_eq!(Failure::of(&generic(text)), expected, "{text}");
        }
        let denied = |text: &'static str| object_store::Error::PermissionDenied {
            path: "a".into(),
            source: text.into(),
        };
        assert_eq!(Failure::of(&denied("<Code>AccessDenied</Code>")), Failure::Permission);
        assert_eq!(Failure::of(&denied("<Code>SignatureDoesNotMatch</Code>")), Failure::Credentials);
        let unreachable = HttpError::new(HttpErrorKind::Connect, std::io::Error::other("refused"));
        let error = object_store::Error::Generic { store: "S3", source: Box::new(unreachable) };
        assert_eq!(Failure::of(&error), Failure::Unreachable);
    }
}
