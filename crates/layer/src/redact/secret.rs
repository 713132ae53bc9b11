//! Values that tell by themselves that they are secrets, whatever name they go under.

use crate::base64;

/// Prefixes of well-known tokens, and how many characters they have at least in all.
const TOKENS: [(&str, usize); 14] = [
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("ghu_", 36),
    ("github_pat_", 36),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk_live_", 20),
    ("rk_live_", 20),
    ("sk-", 32),
    ("npm_", 36),
    ("hvs.", 24),
    ("AIz", 35),
];

/// Bytes that each secret within a text has one of: the space behind a scheme, the third letter of a JWT, the colon
/// before a password in a URL, the first letter of a private key's heading, the end of a well-known token's prefix.
pub(super) const TRIGGERS: [u8; 9] = [b' ', b'\t', b'J', b':', b'P', b'_', b'-', b'.', b'z'];

const IS_TRIGGER: [bool; 256] = {
    let mut is_trigger = [false; 256];
    let mut index = 0;
    while index < TRIGGERS.len() {
        is_trigger[TRIGGERS[index] as usize] = true;
        index += 1;
    }
    is_trigger
};

/// Whether the full check is worth it where one of [`TRIGGERS`] is.
#[inline]
pub(super) fn may_be_one(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(0, |before| text[before]);
    let after = text.get(at + 1).copied();
    match text[at] {
        b' ' | b'\t' => matches!(before, b'r' | b'R' | b'c' | b'C'),
        b'J' => before == b'y' && text[..at].ends_with(b"ey"),
        b':' => after == Some(b'/'),
        b'P' => after == Some(b'R'),
        b'_' => matches!(before, b'p' | b'o' | b's' | b'u' | b't' | b'e' | b'm'),
        b'-' => matches!(before, b't' | b'b' | b'p' | b'k'),
        b'.' => before == b's',
        _ => before == b'I',
    }
}

/// Whether the text is, or holds, a bearer or basic credential, a JWT, a private key, a well-known token, an AWS
/// secret key, or a URL with a password in it.
pub(crate) fn looks_secret(text: &str) -> bool {
    // The shortest of them is a basic credential.
    const SHORTEST: usize = 10;
    if text.len() < SHORTEST {
        return false;
    }
    let bytes = text.as_bytes();
    let holds_secret = bytes.iter().enumerate().any(|(at, byte)| {
        IS_TRIGGER[usize::from(*byte)]
            && may_be_one(bytes, at)
            && match byte {
                b' ' | b'\t' => is_scheme(&text[..at], &text[at..]),
                b'J' => is_jwt(&text[at - 2..]),
                b':' => is_url_password(&text[at..]),
                b'P' => text[at..].starts_with("PRIVATE KEY-----"),
                _ => is_token(bytes, at),
            }
    });
    holds_secret || is_aws_secret(text)
}

/// `Bearer …` and `Basic …`, at the start or after something else.
fn is_scheme(before: &str, after: &str) -> bool {
    let ends_with = |word: &str| {
        let start = before.len().checked_sub(word.len());
        start.and_then(|start| before.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    let credential = || {
        let text = after.trim_start();
        text.split(|c: char| !is_token68(c)).next().unwrap_or(text)
    };
    ends_with("bearer") && is_opaque(credential()) || ends_with("basic") && holds_colon(credential())
}

/// Not a word of a sentence.
fn is_opaque(text: &str) -> bool {
    text.len() >= 20 || text.len() >= 6 && text.bytes().any(|byte| !byte.is_ascii_alphabetic())
}

fn is_token68(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}

/// Whether base64 text decodes to something with a colon in it: user and password.
fn holds_colon(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-/_".contains(byte);
    let digits = text.bytes().take_while(is_digit).count();
    // A credential that was cut is one, too: the last character may stand for nothing.
    let whole = digits - usize::from(digits % 4 == 1);
    base64::decode(&text.as_bytes()[..whole]).is_some_and(|bytes| bytes.contains(&b':'))
}

/// Three parts in base64url of which the first two are JSON objects: `eyJ` is how `{"` begins.
fn is_jwt(text: &str) -> bool {
    if !text.starts_with("eyJ") {
        return false;
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let mut parts = text[..end.unwrap_or(text.len())].split('.');
    let (header, claims) = (parts.next(), parts.next());
    // An encrypted token has five parts, the second of them opaque.
    let count = parts.count() + 2;
    header.is_some_and(|part| part.len() >= 8) && claims.is_some() && matches!(count, 3 | 5)
}

/// `://app:hunter2@db/orders`.
fn is_url_password(text: &str) -> bool {
    text.strip_prefix("://").is_some_and(|rest| {
        let authority = rest.split(|c: char| c == '/' || c.is_whitespace()).next().unwrap_or(rest);
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Whether a well-known prefix ends at `at`, begins a word, and has enough behind it.
fn is_token(text: &[u8], at: usize) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let tail = || text[at + 1..].iter().take_while(|byte| is_part(byte)).count();
    TOKENS.iter().any(|(prefix, length)| {
        let before = text[..=at].strip_suffix(prefix.as_bytes());
        before.is_some_and(|before| !before.last().is_some_and(u8::is_ascii_alphanumeric))
            && prefix.len() + tail() >= *length
    })
}

/// Forty characters of base64 with each kind of letter, and nothing else: not a hash in hex, not words.
pub(super) fn is_aws_secret(text: &str) -> bool {
    const LENGTH: usize = 40;
    if text.len() < LENGTH {
        return false;
    }
    let text = text.trim();
    let has = |test: fn(&u8) -> bool| text.bytes().any(|byte| test(&byte));
    text.len() == LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'+')
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::{TOKENS, TRIGGERS, looks_secret, may_be_one};

    #[test]
    fn prefixes_are_looked_for_where_they_end() {
        for (prefix, _) in TOKENS {
            let prefix = prefix.as_bytes();
            let end = prefix.len() - 1;
            assert!(TRIGGERS.contains(&prefix[end]) && may_be_one(prefix, end));
        }
    }

    #[test]
    fn secrets_are_seen() {
        for text in [
            "Bearer abc123def",
            "bearer   mF_9.B5f-4.1JqM",
            "Authorization: Bearer mF_9.B5f-4.1JqM",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic YTpi",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
            "https://example.com/#id=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln&x=1",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "refused: token=ghp_0123456789abcdefghijABCDEFGHIJ012345.",
            "github_pat_0123456789abcdefghijABCDEFGHIJ",
            "glpat-0123456789abcdefghij",
            "xoxb-0123456789-abcdefghij",
            "sk-proj-0123456789abcdefghijABCDEFGHIJ",
            "npm_0123456789abcdefghijABCDEFGHIJ012345",
            "hvs.0123456789abcdefghijABCDEFGHIJ",
            "AIza0123456789abcdefghijABCDEFGHIJ012345",
            "sk_live_0123456789abcdef",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "postgres://app:hunter2@db/orders",
        ] {
            assert!(looks_secret(text), "{text}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        for text in [
            "",
            "Bearer",
            "bearer of bad news",
            "the bearer arrived",
            "Basic subscription plan",
            "basic and simple things",
            "eyJ is how they begin. All of them. Really.",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "https://example.com:8080/a@b",
            "mailto://jo@example.com",
            "AKIAIOSFODNN7EXAMPLE",
            "2026-01-15T10:41:17Z",
            "sk-learn and other libraries",
            "task-0123456789abcdefghijABCDEFGHIJ012345",
        ] {
            assert!(!looks_secret(text), "{text}");
        }
    }
}
