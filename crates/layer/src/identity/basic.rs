//! The user name of HTTP Basic authentication; never the password.

use http::{header, request::Parts};
use sidetrail_record::UserIdentity;

use super::{Answer, Identity, asserted};
use crate::base64;

/// Names and passwords are shorter.
const MAX_CREDENTIAL: usize = 1024;

pub(crate) fn look(parts: &Parts) -> Answer {
    let credential = match asserted::only(&parts.headers, &header::AUTHORIZATION) {
        Ok(value) => value.and_then(|value| asserted::credential(value, "Basic")),
        Err(code) => return Answer::Refused(code),
    };
    match credential.map(user) {
        None => Answer::Nobody,
        Some(Err(code)) => Answer::Refused(code),
        Some(Ok(name)) => Identity::from(UserIdentity {
            kind: Some("IAMUser".to_owned()),
            principal_id: Some(name.clone()),
            user_name: Some(name),
            ..UserIdentity::default()
        })
        .into(),
    }
}

/// The name before the colon.
fn user(credential: &[u8]) -> Result<String, &'static str> {
    const MALFORMED: &str = "MalformedCredentials";
    if credential.len() > MAX_CREDENTIAL {
        return Err(MALFORMED);
    }
    let decoded = base64::decode(credential).ok_or(MALFORMED)?;
    let colon = memchr::memchr(b':', &decoded).ok_or(MALFORMED)?;
    // Services that take an API key here want it as the name, with no password.
    if decoded.len() == colon + 1 {
        return Err("MissingPassword");
    }
    asserted::name(&decoded[..colon])?.map(str::to_owned).ok_or("MissingName")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_is_what_stands_before_the_colon() {
        for (credential, expected) in [
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok("Aladdin")),
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ", Ok("Aladdin")),
            ("YTpiOmM=", Ok("a")),
            ("YTo=", Err("MissingPassword")),
            ("OmI=", Err("MissingName")),
            ("YWI=", Err("MalformedCredentials")),
            ("", Err("MalformedCredentials")),
            ("====", Err("MalformedCredentials")),
            ("YTpiYTpi=YTpi", Err("MalformedCredentials")),
            ("Y", Err("MalformedCredentials")),
            ("YTpi\u{e9}", Err("MalformedCredentials")),
            // A tab in the name.
            ("YQliOmM=", Err("MalformedName")),
            // ghp_0123456789abcdefghijABCDEFGHIJ012345:x-oauth-basic
            ("Z2hwXzAxMjM0NTY3ODlhYmNkZWZnaGlqQUJDREVGR0hJSjAxMjM0NTp4LW9hdXRoLWJhc2lj", Err("SecretAsName")),
        ] {
            assert_eq!(
                user(credential.as_bytes()).as_deref(),
                expected.as_ref().map(|name| *name),
                "{credential}"
            );
        }
        assert_eq!(user(&[b'Y'; MAX_CREDENTIAL + 1]), Err("MalformedCredentials"));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            _ = user(&bytes);
        }
    }
}
