//! Claims of a JSON Web Token, and what of them becomes an identity.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use sidetrail_record::{EventTime, SessionAttributes, SessionContext, SessionIssuer, UserIdentity, limits};

use crate::Identity;

/// Claims of a JSON Web Token **that somebody verified**: the layer believes them.
///
/// An authenticating middleware outside the layer inserts them into the request's extensions. Where nobody verifies
/// tokens, `JwtVerifier` (feature `jwt`) does.
#[derive(Clone, Debug)]
pub struct JwtClaims(Arc<Map<String, Value>>);

impl JwtClaims {
    /// From the application's own type for claims. `None` if that does not serialise as a JSON object.
    pub fn new<T: Serialize + ?Sized>(claims: &T) -> Option<Self> {
        match serde_json::to_value(claims) {
            Ok(Value::Object(map)) => Some(Self::from(map)),
            _ => None,
        }
    }

    /// Whether they say whose they are.
    pub(super) fn has_subject(&self) -> bool {
        text(&self.0, "sub").is_some()
    }

    /// Who acted before the one who acts now, latest first: the inner `act` claims of RFC 8693, which are information
    /// only.
    pub(super) fn prior_actors(&self) -> Vec<String> {
        /// More links than that no chain of delegation has.
        const MAX_ACTORS: usize = 8;
        const MAX_NAME: usize = 256;
        fn actor(claims: &Map<String, Value>) -> Option<&Map<String, Value>> {
            claims.get("act")?.as_object()
        }
        let issuer = text(&self.0, "iss");
        std::iter::successors(actor(&self.0), |outer| actor(outer))
            .skip(1)
            .take(MAX_ACTORS)
            .filter_map(|actor| {
                let mut name = principal(text(actor, "iss").or(issuer), text(actor, "sub")?);
                limits::cut(&mut name, MAX_NAME);
                Some(name)
            })
            .collect()
    }
}

impl From<Map<String, Value>> for JwtClaims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }
}

impl Identity {
    /// The subject of verified JWT claims, `type: WebIdentityUser`.
    ///
    /// | claim | `userIdentity` |
    /// |---|---|
    /// | `iss`, `sub` | `principalId`: `<iss>:<sub>` |
    /// | `preferred_username`, else `email`, else `sub` | `userName` |
    /// | `iss` | `identityProvider` |
    /// | `jti` | `credentialId` |
    /// | `act` (RFC 8693: who acts for the subject) | `sessionContext.sessionIssuer` |
    /// | `iat`, `amr` | `sessionContext.attributes` |
    ///
    /// `None` without a subject.
    #[must_use]
    pub fn from_claims(claims: &JwtClaims) -> Option<Self> {
        let claims = &claims.0;
        let subject = text(claims, "sub")?;
        let issuer = text(claims, "iss");
        let name = text(claims, "preferred_username").or_else(|| text(claims, "email")).unwrap_or(subject);
        Some(Self::from(UserIdentity {
            kind: Some("WebIdentityUser".to_owned()),
            principal_id: Some(principal(issuer, subject)),
            user_name: Some(name.to_owned()),
            identity_provider: issuer.map(str::to_owned),
            credential_id: text(claims, "jti").map(str::to_owned),
            session_context: session_context(claims, issuer),
            ..UserIdentity::default()
        }))
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn principal(issuer: Option<&str>, subject: &str) -> String {
    issuer.map_or_else(|| subject.to_owned(), |issuer| [issuer, ":", subject].concat())
}

fn session_context(claims: &Map<String, Value>, issuer: Option<&str>) -> Option<SessionContext> {
    let actor = claims.get("act").and_then(Value::as_object).and_then(|actor| {
        let subject = text(actor, "sub")?;
        Some(SessionIssuer {
            kind: Some("WebIdentityUser".to_owned()),
            principal_id: Some(principal(text(actor, "iss").or(issuer), subject)),
            user_name: Some(subject.to_owned()),
            ..SessionIssuer::default()
        })
    });
    let issued = claims.get("iat").and_then(Value::as_i64).and_then(EventTime::from_unix_seconds);
    let attributes = issued.map(|time| SessionAttributes {
        creation_date: Some(time.to_string()),
        mfa_authenticated: Some(used_mfa(claims).to_string()),
        ..SessionAttributes::default()
    });
    (actor.is_some() || attributes.is_some()).then(|| SessionContext {
        session_issuer: actor,
        attributes,
        ..SessionContext::default()
    })
}

/// Whether the authentication methods (RFC 8176) hold one that only a second factor has.
fn used_mfa(claims: &Map<String, Value>) -> bool {
    let methods = claims.get("amr").and_then(Value::as_array);
    methods.is_some_and(|methods| {
        methods.iter().filter_map(Value::as_str).any(|method| matches!(method, "mfa" | "otp" | "hwk" | "sms"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(claims: &Value) -> Value {
        let identity = Identity::from_claims(&JwtClaims::new(claims).unwrap()).unwrap();
        serde_json::to_value(UserIdentity::from(identity)).unwrap()
    }

    #[test]
    fn claims_map_to_a_web_identity() {
        let minimal = identity(&json!({ "sub": "u1" }));
        assert_eq!(minimal, json!({ "type": "WebIdentityUser", "principalId": "u1", "userName": "u1" }));
        let full = identity(&json!({
            "iss": "https://id.example.com", "sub": "u1", "email": "jo@example.com", "jti": "t-9",
            "iat": 1_768_473_677, "amr": ["pwd", "otp"], "act": { "sub": "support" },
        }));
        assert_eq!(
            full,
            json!({
                "type": "WebIdentityUser",
                "principalId": "https://id.example.com:u1",
                "userName": "jo@example.com",
                "identityProvider": "https://id.example.com",
                "credentialId": "t-9",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "WebIdentityUser",
                        "principalId": "https://id.example.com:support",
                        "userName": "support",
                    },
                    "attributes": { "creationDate": "2026-01-15T10:41:17Z", "mfaAuthenticated": "true" },
                },
            })
        );
    }

    #[test]
    fn claims_without_subject_are_nobody() {
        for claims in [json!({}), json!({ "sub": 7 }), json!({ "sub": "" })] {
            assert_eq!(Identity::from_claims(&JwtClaims::new(&claims).unwrap()), None);
        }
        assert!(JwtClaims::new("text").is_none());
    }

    #[test]
    fn only_the_outermost_actor_acts() {
        let nested = json!({
            "iss": "https://id", "sub": "u1",
            "act": { "sub": "c", "act": { "sub": "b", "iss": "https://b", "act": { "sub": "a" } } },
        });
        assert_eq!(identity(&nested)["sessionContext"]["sessionIssuer"]["userName"], "c");
        let claims = |value: &Value| JwtClaims::new(value).unwrap();
        assert_eq!(claims(&nested).prior_actors(), ["https://b:b", "https://id:a"]);
        assert!(claims(&json!({ "sub": "u1", "act": { "sub": "c" } })).prior_actors().is_empty());
        assert!(claims(&json!({ "sub": "u1", "act": "c" })).prior_actors().is_empty());
        let deep = (0..100).fold(json!({ "sub": "z" }), |act, _| json!({ "sub": "y", "act": act }));
        assert_eq!(claims(&json!({ "sub": "u1", "act": deep })).prior_actors().len(), 8);
    }
}
