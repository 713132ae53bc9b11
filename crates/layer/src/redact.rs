//! What must not be recorded: values under telling names, and values that tell by themselves.
//!
//! Names are compared without regard to case and separators, so `api_key`, `apiKey` and `X-Api-Key` are one. They apply
//! at any depth of a JSON body, to query and path parameters, to forms and headers, and to what handlers add. Whatever
//! is hidden is replaced by a [mark](Mark), whole: an object under `credentials` disappears as an object.

mod json;
mod mark;
mod names;
mod secret;

use std::{borrow::Cow, collections::HashSet};

use sidetrail_record::limits;

pub(crate) use json::{Malformed, Members};
pub(crate) use mark::Mark;
use names::{MAX_NAME, folded};
pub(crate) use secret::looks_secret;

/// Names as they are compared.
type Names = HashSet<Box<[u8]>>;

/// The rules for one route, with the application's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor {
    denied: Names,
    allowed: Names,
    /// If set, of what a caller sends only the values under these names are shown.
    only: Option<Names>,
    mark: Mark,
}

impl Redactor {
    /// Denies one more name.
    pub(crate) fn deny(&mut self, name: &str) {
        let name = key(name);
        self.allowed.remove(&name);
        self.denied.insert(name);
    }

    /// Takes a name out of every rule that denies it.
    pub(crate) fn allow(&mut self, name: &str) {
        let name = key(name);
        self.denied.remove(&name);
        self.allowed.insert(name);
    }

    /// Hides what a caller sends under any other name.
    pub(crate) fn only<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.only.get_or_insert_default().extend(names.map(key));
    }

    /// What takes the place of hidden values from now on.
    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Whether values under this name are hidden.
    pub(crate) fn denies(&self, name: &str) -> bool {
        let mut buffer = [0; MAX_NAME];
        let name = folded(name, &mut buffer);
        if !self.allowed.is_empty() && self.allowed.contains(name) {
            return false;
        }
        names::is_denied(name) || !self.denied.is_empty() && self.denied.contains(name)
    }

    /// As [`denies`](Self::denies), for names that may be paths: `card[pin]` and `card.pin` are a `pin` too.
    fn denies_path(&self, name: &str) -> bool {
        self.denies(name)
            || name.contains(['.', '[']) && name.split(['.', '[', ']']).any(|part| self.denies(part))
    }

    /// Whether a parameter of this name is hidden: by the rules for all names, or as one that no list has.
    pub(crate) fn denies_parameter(&self, name: &str) -> bool {
        self.only.as_ref().is_some_and(|only| !only.contains(&key(name))) || self.denies_path(name)
    }

    /// The value of a parameter, unless it or its name tells that it is a secret.
    pub(crate) fn parameter<'a>(&self, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
        if self.denies_parameter(name) { self.mark.of(&value) } else { self.text(value) }
    }

    /// The value of anything else, unless it or its name tells that it is a secret.
    pub(crate) fn value<'a>(&self, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
        if self.denies(name) { self.mark.of(&value) } else { self.text(value) }
    }

    /// The text of a header, unless it is a secret by its looks.
    pub(crate) fn header<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        // Nearly all are ASCII, which this is faster to see.
        let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        let mut text = self.text(text);
        if text.len() > limits::MAX_TEXT {
            limits::cut(text.to_mut(), limits::MAX_TEXT);
        }
        text
    }

    /// The text, unless it is a secret by its looks.
    pub(crate) fn text<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if secret::looks_secret(&text) { self.mark.of(&text) } else { text }
    }
}

fn key(name: &str) -> Box<[u8]> {
    folded(name, &mut [0; MAX_NAME]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_last_word_on_a_name_counts() {
        let mut redactor = Redactor::default();
        redactor.allow("session_id");
        assert!(!redactor.denies("sessionId") && redactor.denies("password"));
        redactor.deny("sessionId");
        assert!(redactor.denies("session-id"));
        for path in ["card[pin]", "user.pin.first", "a[b][cvv]"] {
            assert!(
                redactor.denies_parameter(path) && !redactor.denies_parameter("a[pinned].note"),
                "{path}"
            );
        }
        redactor.only(["id", "password"].into_iter());
        assert!(!redactor.denies_parameter("id"));
        assert!(redactor.denies_parameter("note") && redactor.denies_parameter("password"));
        assert!(!redactor.denies("note"));
    }

    #[test]
    fn long_names_are_no_way_around() {
        let redactor = Redactor::default();
        assert!(redactor.denies(&format!("password{}", "é".repeat(100))));
        assert!(!redactor.denies(&"é".repeat(1000)));
    }
}
