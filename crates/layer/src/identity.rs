//! Who called: the chain of places to look, and what is found there.

use std::{any::type_name, fmt, panic::AssertUnwindSafe, sync::Arc};

use http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value};
use sidetrail_record::{EventTime, SessionAttributes, SessionContext, SessionIssuer, UserIdentity};

/// Who made a call: CloudTrail's `userIdentity`, made by one of the functions here or from a full [`UserIdentity`].
///
/// Put into a request's extensions before the layer sees the request, it is the caller's identity. Inside, handlers and
/// middleware use [`Audit::set_identity`](crate::Audit::set_identity).
#[derive(Clone, Debug, PartialEq)]
pub struct Identity(Box<UserIdentity>);

impl Identity {
    /// A user of the application's own, `type: IAMUser`.
    pub fn user(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self::from(UserIdentity {
            kind: Some("IAMUser".to_owned()),
            principal_id: Some(id.into()),
            user_name: Some(name.into()),
            ..UserIdentity::default()
        })
    }

    /// Another service, `type: AWSService`, e.g. `billing.example.com`.
    pub fn service(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::from(UserIdentity {
            kind: Some("AWSService".to_owned()),
            principal_id: Some(name.clone()),
            invoked_by: Some(name),
            ..UserIdentity::default()
        })
    }

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

    /// Nobody said who they are: `type: Unknown`, principal `anonymous`.
    pub(crate) fn anonymous() -> Self {
        Self::from(UserIdentity {
            kind: Some("Unknown".to_owned()),
            principal_id: Some("anonymous".to_owned()),
            ..UserIdentity::default()
        })
    }
}

impl From<UserIdentity> for Identity {
    fn from(identity: UserIdentity) -> Self {
        Self(Box::new(identity))
    }
}

impl From<Identity> for UserIdentity {
    fn from(identity: Identity) -> Self {
        *identity.0
    }
}

/// Claims of a JSON Web Token **that somebody verified**: the layer believes them.
///
/// An authenticating middleware outside the layer inserts them into the request's extensions.
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
}

impl From<Map<String, Value>> for JwtClaims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn principal(issuer: Option<&str>, subject: &str) -> String {
    issuer.map_or_else(|| subject.to_owned(), |issuer| format!("{issuer}:{subject}"))
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

pub(crate) type Look = Box<dyn Fn(&Parts) -> Option<Identity> + Send + Sync>;

/// Where to look for the caller, in order. The first that answers wins, and the record says which it was.
pub(crate) struct Chain(Vec<Place>);

/// A place to look, under the name that records give it.
pub(crate) type Place = (Arc<str>, Look);

impl Chain {
    /// One more place, after those added before it.
    pub(crate) fn add(&mut self, place: Place) {
        // The last is for claims.
        let end = self.0.len().saturating_sub(1);
        self.0.insert(end, place);
    }

    /// Who is calling, and the name of the place that told.
    pub(crate) fn identify(&self, parts: &Parts) -> Option<(Identity, Arc<str>)> {
        self.0.iter().find_map(|(name, look)| {
            // An application's closure that panics has not found anybody.
            let found = std::panic::catch_unwind(AssertUnwindSafe(|| look(parts))).ok().flatten();
            found.map(|identity| (identity, Arc::clone(name)))
        })
    }
}

impl Default for Chain {
    /// The extension [`Identity`], then the extension [`JwtClaims`].
    fn default() -> Self {
        let extension: Look = Box::new(|parts| parts.extensions.get().cloned());
        let claims: Look = Box::new(|parts| parts.extensions.get().and_then(Identity::from_claims));
        Self(vec![("extension".into(), extension), ("jwt".into(), claims)])
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Looks for the extension `T` and lets the application say who it is.
pub(crate) fn from_extension<T, I>(map: impl Fn(&T) -> I + Send + Sync + 'static) -> Place
where
    T: Send + Sync + 'static,
    I: Into<Option<Identity>>,
{
    let path = type_name::<T>();
    let name = path.rsplit("::").next().unwrap_or(path);
    (name.into(), Box::new(move |parts| parts.extensions.get::<T>().and_then(|value| map(value).into())))
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
    fn the_first_that_answers_wins_and_a_panic_is_no_answer() {
        #[derive(Clone)]
        struct Key(&'static str);
        let panics = from_extension(|_: &Key| -> Option<Identity> { panic!("extractor") });
        let mut chain = Chain::default();
        chain.add(panics);
        chain.add(from_extension(|key: &Key| Identity::service(key.0)));
        let (mut parts, ()) = http::Request::new(()).into_parts();
        assert_eq!(chain.identify(&parts), None);
        parts.extensions.insert(JwtClaims::new(&json!({ "sub": "u1" })).unwrap());
        assert_eq!(&*chain.identify(&parts).unwrap().1, "jwt");
        parts.extensions.insert(Key("billing"));
        assert_eq!(chain.identify(&parts).unwrap(), (Identity::service("billing"), "Key".into()));
        parts.extensions.insert(Identity::user("1", "jo"));
        assert_eq!(&*chain.identify(&parts).unwrap().1, "extension");
    }
}
