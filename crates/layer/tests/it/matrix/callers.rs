//! Who calls, and where the layer learns of it.

use http::Request;
use serde_json::{Value, json};
use sidetrail::{Audit, Identity, JwtClaims};

/// How a caller says who it is, to the middleware outside of the layer or to the handler.
pub(super) const HEADER: &str = "x-caller";

pub(super) struct Caller {
    pub(super) label: &'static str,
    pub(super) source: &'static str,
    pub(super) identity: fn() -> Value,
}

const CLAIMS: &str = "claims";
const USER: &str = "user";
const SERVICE: &str = "service";

pub(super) static CALLERS: [Caller; 4] = [
    Caller {
        label: CLAIMS,
        source: "jwt",
        identity: || {
            json!({ "type": "WebIdentityUser", "principalId": "https://id.example.com:u1", "userName": "ada",
                    "identityProvider": "https://id.example.com" })
        },
    },
    Caller {
        label: USER,
        source: "User",
        identity: || json!({ "type": "IAMUser", "principalId": "17", "userName": "jo" }),
    },
    Caller {
        label: SERVICE,
        source: "handler",
        identity: || {
            json!({ "type": "AWSService", "principalId": "billing.example.com",
                    "invokedBy": "billing.example.com" })
        },
    },
    Caller {
        label: "anonymous",
        source: "none",
        identity: || json!({ "type": "Unknown", "principalId": "anonymous" }),
    },
];

/// An application's own type.
#[derive(Clone)]
pub(super) struct User {
    id: &'static str,
    name: &'static str,
}

impl User {
    pub(super) fn identity(&self) -> Identity {
        Identity::user(self.id, self.name)
    }
}

/// What an authenticating middleware does.
pub(super) fn introduce<B>(mut request: Request<B>) -> Request<B> {
    let caller = request.headers()[HEADER].clone();
    let extensions = request.extensions_mut();
    if caller == CLAIMS {
        let claims = json!({ "iss": "https://id.example.com", "sub": "u1", "preferred_username": "ada" });
        extensions.insert(JwtClaims::new(&claims).unwrap());
    } else if caller == USER {
        extensions.insert(User { id: "17", name: "jo" });
    }
    request
}

impl Caller {
    /// What a handler does that knows who calls.
    pub(super) fn speak(&self, audit: &Audit) {
        if self.label == SERVICE {
            audit.set_identity(Identity::service("billing.example.com"));
        }
    }
}
