//! What stands in the place of a hidden value.

use std::{borrow::Cow, fmt, fmt::Write as _};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use sidetrail_record::redact::HIDDEN;

/// How many bytes of the code are written, as twice as many hex digits.
const CODE: usize = 8;

/// [`HIDDEN`]; with a key, and the value's HMAC behind it: `HIDDEN_DUE_TO_SECURITY_REASONS:hmac-sha256:9f86d081884c7d65`.
///
/// The code is over the value alone, not its name: a token that comes as a header here and in a body there is to be
/// seen as one.
#[derive(Clone, Default)]
pub(crate) struct Mark(Option<Hmac<Sha256>>);

impl Mark {
    pub(crate) fn keyed(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).ok())
    }

    /// Whether values make a difference.
    pub(crate) fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// What stands for this value. A value that is the mark already stays as it is.
    pub(crate) fn of(&self, value: &str) -> Cow<'static, str> {
        let Some(mac) = self.0.as_ref().filter(|_| value != HIDDEN) else { return Cow::Borrowed(HIDDEN) };
        let mut mac = mac.clone();
        mac.update(bare(value).as_bytes());
        let mut text = format!("{HIDDEN}:hmac-sha256:");
        for byte in &mac.finalize().into_bytes()[..CODE] {
            // Writing to a string does not fail.
            _ = write!(text, "{byte:02x}");
        }
        Cow::Owned(text)
    }
}

/// Never the key.
impl fmt::Debug for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mark").field("keyed", &self.is_keyed()).finish()
    }
}

/// A credential is the same with its scheme and without it.
fn bare(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic") =>
        {
            rest.trim_start()
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_marks_under_one_key() {
        let (one, other) = (Mark::keyed(b"one"), Mark::keyed(b"other"));
        assert_eq!(Mark::default().of("secret"), HIDDEN);
        let mark = one.of("secret");
        assert_eq!(mark.len(), HIDDEN.len() + ":hmac-sha256:".len() + 2 * CODE);
        assert_eq!(mark, one.of("Bearer  secret"));
        assert_ne!(mark, one.of("secrets"));
        assert_ne!(mark, other.of("secret"));
        assert_eq!(one.of(HIDDEN), HIDDEN);
        assert_eq!(format!("{one:?}"), "Mark { keyed: true }");
    }
}
