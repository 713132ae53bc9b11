//! What must not be recorded: values under telling names, and values that tell by themselves.
//!
//! Names are compared without regard to case and separators, so `api_key`, `apiKey` and `X-Api-Key` are one. They apply
//! at any depth of a JSON body, to query and path parameters, and to what handlers add. Whatever is hidden is replaced
//! by [`HIDDEN`], whole: an object under `credentials` disappears as an object.

mod json;
mod secret;

use std::{borrow::Cow, collections::HashSet};

pub(crate) use json::{Malformed, Members};
use sidetrail_record::redact::HIDDEN;

/// A name holding one of these is denied. [`may_begin_part`] knows how they begin.
const PARTS: [&str; 10] = [
    "accesskey",
    "apikey",
    "authorization",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signingkey",
];

/// A name ending in one of these is denied.
const ENDINGS: [&str; 4] = ["cookie", "cookies", "pwd", "token"];

/// Names denied as a whole; sorted.
const NAMES: [&str; 33] = [
    "auth",
    "cardnumber",
    "cardsecuritycode",
    "codeverifier",
    "creditcard",
    "creditcardnumber",
    "cvc",
    "cvc2",
    "cvv",
    "cvv2",
    "encryptionkey",
    "jwt",
    "mfacode",
    "otp",
    "otpcode",
    "pan",
    "pass",
    "passcode",
    "pin",
    "pincode",
    "recoverycode",
    "samlresponse",
    "session",
    "sessionid",
    "sessionkey",
    "sid",
    "sig",
    "socialsecuritynumber",
    "ssn",
    "tokens",
    "totp",
    "totpcode",
    "xamzsignature",
];

/// Names that the rules above would deny though they are no secrets; sorted. Cursors of paged lists end in `token`.
const HARMLESS: [&str; 6] =
    ["accesskeyid", "continuationtoken", "nextpagetoken", "nexttoken", "pagetoken", "passwordless"];

/// For each byte that names in [`NAMES`] begin with, a bit for each length that they have: most names need no search.
const NAME_LENGTHS: [u32; 128] = {
    let mut lengths = [0; 128];
    let mut index = 0;
    while index < NAMES.len() {
        let name = NAMES[index].as_bytes();
        lengths[name[0] as usize] |= 1 << name.len();
        index += 1;
    }
    lengths
};

/// Names are compared up to here.
const MAX_NAME: usize = 128;

/// The rules, with the application's own additions.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    more: HashSet<String>,
}

impl Redactor {
    /// Denies one more name.
    pub(crate) fn deny(&mut self, name: &str) {
        self.more.insert(normalised(name, &mut [0; MAX_NAME]).to_owned());
    }

    /// Whether values under this name are hidden.
    pub(crate) fn denies(&self, name: &str) -> bool {
        let mut buffer = [0; MAX_NAME];
        let name = normalised(name, &mut buffer);
        let denied = is_denied_whole(name) || has_denied_ending(name) || has_denied_part(name);
        denied && HARMLESS.binary_search(&name).is_err() || !self.more.is_empty() && self.more.contains(name)
    }

    /// The value, unless it or its name tells that it is a secret.
    pub(crate) fn value<'a>(&self, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
        if self.denies(name) { Cow::Borrowed(HIDDEN) } else { text(value) }
    }
}

/// The text, unless it is a secret by its looks.
pub(crate) fn text(text: Cow<'_, str>) -> Cow<'_, str> {
    if secret::looks_secret(&text) { Cow::Borrowed(HIDDEN) } else { text }
}

fn is_denied_whole(name: &str) -> bool {
    let lengths = name.bytes().next().and_then(|first| NAME_LENGTHS.get(usize::from(first)));
    let may_be_one = lengths.is_some_and(|lengths| name.len() < 32 && lengths >> name.len() & 1 == 1);
    may_be_one && NAMES.binary_search(&name).is_ok()
}

fn has_denied_ending(name: &str) -> bool {
    matches!(name.as_bytes(), [.., b'd' | b'e' | b'n' | b's'])
        && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn has_denied_part(name: &str) -> bool {
    // One pass over the bytes for all parts: few of them begin one.
    const SHORTEST: usize = 6;
    name.as_bytes().windows(SHORTEST).enumerate().any(|(at, window)| {
        may_begin_part(window) && PARTS.iter().any(|part| name.as_bytes()[at..].starts_with(part.as_bytes()))
    })
}

fn may_begin_part(text: &[u8]) -> bool {
    matches!(
        text,
        [b'a', b'c' | b'p' | b'u', ..] | [b'c', b'r', ..] | [b'p', b'a' | b'r', ..] | [b's', b'e' | b'i', ..]
    )
}

/// Lowercase ASCII letters and digits; everything else that is ASCII is a separator.
fn normalised<'a>(name: &str, buffer: &'a mut [u8; MAX_NAME]) -> &'a str {
    let mut length = 0;
    for byte in name.bytes() {
        // A separator's place is taken by what comes next.
        let Some(slot) = buffer.get_mut(length) else { break };
        *slot = byte.to_ascii_lowercase();
        length += usize::from(byte.is_ascii_alphanumeric() || !byte.is_ascii());
    }
    match std::str::from_utf8(&buffer[..length]) {
        Ok(text) => text,
        // The end of the buffer fell into a character.
        Err(error) => std::str::from_utf8(&buffer[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_agree() {
        assert!(NAMES.is_sorted() && HARMLESS.is_sorted());
        assert!(PARTS.iter().all(|part| part.len() >= 6 && may_begin_part(part.as_bytes())));
        assert!(NAMES.iter().all(|name| name.len() < 32 && is_denied_whole(name)));
        assert!(ENDINGS.iter().all(|ending| has_denied_ending(ending)));
    }

    #[test]
    fn names_are_compared_without_case_and_separators() {
        let redactor = Redactor::default();
        for name in [
            "password",
            "Password",
            "new_password",
            "passwordConfirmation",
            "passwd",
            "user-pwd",
            "client_secret",
            "secretAccessKey",
            "access_token",
            "accessToken",
            "refresh-token",
            "id_token",
            "X-Api-Key",
            "apiKey",
            "api.key",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "aws_credentials",
            "private_key",
            "session",
            "SSN",
            "card_number",
            "cardNumber",
            "CVV",
            "pin",
            "otp",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "p a s s w o r d",
            "_token",
            "xsrf-token",
        ] {
            assert!(redactor.denies(name), "{name}");
        }
        for name in [
            "",
            "name",
            "id",
            "shipping",
            "passenger",
            "nextToken",
            "page_token",
            "accessKeyId",
            "tokenType",
            "max_tokens",
            "author",
            "pinned",
            "company",
            "country",
            "code",
            "discountCode",
            "key",
            "expand",
            "é",
        ] {
            assert!(!redactor.denies(name), "{name}");
        }
    }

    #[test]
    fn an_application_denies_names_of_its_own() {
        let mut redactor = Redactor::default();
        redactor.deny("Tax-Number");
        assert!(redactor.denies("taxNumber") && !redactor.denies("taxNumbers"));
    }

    #[test]
    fn long_names_are_no_way_around() {
        let redactor = Redactor::default();
        assert!(redactor.denies(&format!("password{}", "é".repeat(100))));
        assert!(!redactor.denies(&"é".repeat(1000)));
    }
}
