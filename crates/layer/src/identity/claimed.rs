//! Whom a token names that nobody verified here: a hint for those who read the record, and no identity.

use std::borrow::Cow;

use http::{header, request::Parts};
use serde::Deserialize;

use super::asserted;
use crate::{
    base64,
    capture::{Fields, push_string},
};

/// Claims of larger tokens are not kept, base64.
const MAX_CLAIMS: usize = 4 * 1024;

/// The claims of a JSON Web Token as it has them. What signs them is left behind: this is good for nothing but reading.
#[derive(Debug)]
pub(super) struct Claimed(Box<[u8]>);

#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
}

impl Claimed {
    /// What the bearer token of a request says, if it may be a JSON Web Token.
    pub(super) fn of(parts: &Parts) -> Option<Self> {
        let value = asserted::only(&parts.headers, &header::AUTHORIZATION).ok()??;
        let token = asserted::credential(value, "Bearer")?;
        let first = memchr::memchr(b'.', token)? + 1;
        let length = memchr::memchr(b'.', &token[first..])?;
        (length <= MAX_CLAIMS).then(|| Self(token[first..first + length].into()))
    }

    /// Adds `claimedIdentity`. A token that names nobody, or in a way that no name is, adds nothing.
    pub(super) fn describe(&self, fields: &mut Fields) {
        let Some(claims) = base64::decode(&self.0) else { return };
        let Ok(Names { iss, sub }) = serde_json::from_slice(&claims) else { return };
        let Ok(Some(subject)) = asserted::name(sub.as_bytes()) else { return };
        let issuer = iss.as_deref().and_then(|issuer| asserted::name(issuer.as_bytes()).ok().flatten());
        fields.member("claimedIdentity", |out| {
            out.push('{');
            if let Some(issuer) = issuer {
                out.push_str(r#""issuer":"#);
                push_string(out, issuer);
                out.push(',');
            }
            out.push_str(r#""subject":"#);
            push_string(out, subject);
            out.push('}');
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described(authorization: &str) -> Value {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        let mut fields = Fields::default();
        if let Some(claimed) = Claimed::of(&parts) {
            claimed.describe(&mut fields);
        }
        fields.finish().map_or(Value::Null, |json| serde_json::from_str(json.as_str()).unwrap())
    }

    #[test]
    fn a_token_says_whom_it_names_and_nothing_more() {
        // {"sub":"u1","iss":"https://id.example.com","role":"admin"}
        let claims = "eyJzdWIiOiJ1MSIsImlzcyI6Imh0dHBzOi8vaWQuZXhhbXBsZS5jb20iLCJyb2xlIjoiYWRtaW4ifQ";
        let named = json!({"claimedIdentity": {"issuer": "https://id.example.com", "subject": "u1"}});
        assert_eq!(described(&format!("Bearer h.{claims}.s")), named);
        assert_eq!(described(&format!("bearer .{claims}.")), named);
        for other in [
            format!("Basic h.{claims}.s"),
            format!("Bearer h.{claims}"),
            format!("Bearer h.{}{claims}.s", "A".repeat(MAX_CLAIMS)),
            "Bearer opaque".to_owned(),
            "Bearer a.b.c".to_owned(),
            // {"sub":7}
            "Bearer h.eyJzdWIiOjd9.s".to_owned(),
            // {"iss":"i"}
            "Bearer h.eyJpc3MiOiJpIn0.s".to_owned(),
            // {"sub":"a","sub":"b"}
            "Bearer h.eyJzdWIiOiJhIiwic3ViIjoiYiJ9.s".to_owned(),
            // {"sub":"a\nb"}
            "Bearer h.eyJzdWIiOiJhXG5iIn0.s".to_owned(),
        ] {
            assert_eq!(described(&other), Value::Null, "{other}");
        }
    }
}
