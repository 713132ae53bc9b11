//! The smallest parts of a JSON text: strings and numbers.

use std::borrow::Cow;

use super::Malformed;
use crate::redact::secret;

/// A string as it stands in a text.
pub(super) struct Text<'a> {
    /// With its quotes.
    pub(super) raw: &'a str,
    pub(super) escapes: bool,
    /// There is something in it that a secret may begin with.
    pub(super) suspicious: bool,
}

impl<'a> Text<'a> {
    pub(super) fn text(&self) -> Result<Cow<'a, str>, Malformed> {
        if self.escapes { unescape(self.raw) } else { Ok(Cow::Borrowed(&self.raw[1..self.raw.len() - 1])) }
    }

    pub(super) fn looks_secret(&self) -> Result<bool, Malformed> {
        let text = self.text()?;
        Ok(if self.escapes || self.suspicious {
            secret::looks_secret(&text)
        } else {
            secret::is_aws_secret(&text)
        })
    }
}

/// What a byte of a string means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Nothing,
    End,
    Escape,
    Control,
    /// A secret may be around it.
    Trigger,
}

pub(super) const MEANING: [Meaning; 256] = {
    let mut meaning = [Meaning::Nothing; 256];
    let mut byte = 0;
    while byte < b' ' as usize {
        meaning[byte] = Meaning::Control;
        byte += 1;
    }
    meaning[b'"' as usize] = Meaning::End;
    meaning[b'\\' as usize] = Meaning::Escape;
    let mut index = 0;
    while index < secret::TRIGGERS.len() {
        // A tab is a trigger, but not in a string without escapes.
        if secret::TRIGGERS[index] != b'\t' {
            meaning[secret::TRIGGERS[index] as usize] = Meaning::Trigger;
        }
        index += 1;
    }
    meaning
};

/// JSON's grammar: `-1.5e+3`.
pub(super) fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let after = match magnitude {
        [b'0', rest @ ..] => Some(rest),
        _ => digits(magnitude),
    };
    let after = after.and_then(|rest| match rest {
        [b'.', fraction @ ..] => digits(fraction),
        _ => Some(rest),
    });
    let after = after.and_then(|rest| match rest {
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => digits(exponent),
        _ => Some(rest),
    });
    after.is_some_and(<[u8]>::is_empty)
}

/// What a JSON string with its quotes says.
pub(super) fn unescape(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    let inner = raw.get(1..raw.len() - 1).ok_or(Malformed)?;
    if inner.contains('\\') {
        serde_json::from_str(raw).map(Cow::Owned).map_err(|_| Malformed)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}
