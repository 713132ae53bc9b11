//! Names that tell that what goes under them is a secret.
//!
//! Names are compared as lowercase ASCII letters and digits; separators do not count.

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
pub(super) const MAX_NAME: usize = 128;

/// The name as it is compared: lowercase letters and digits, and whatever is not ASCII.
pub(super) fn folded<'a>(name: &str, buffer: &'a mut [u8; MAX_NAME]) -> &'a [u8] {
    let mut length = 0;
    for byte in name.bytes() {
        // A separator's place is taken by what comes next.
        let Some(slot) = buffer.get_mut(length) else { break };
        let folded = FOLDED[usize::from(byte)];
        *slot = folded;
        length += usize::from(folded != 0);
    }
    &buffer[..length]
}

/// Whether a folded name tells of a secret by the rules that hold everywhere.
pub(super) fn is_denied(name: &[u8]) -> bool {
    // Shorter ones tell nothing.
    name.len() >= SHORTEST
        && (is_denied_whole(name) || has_denied_ending(name) || has_denied_part(name))
        && HARMLESS.binary_search_by(|harmless| harmless.as_bytes().cmp(name)).is_err()
}

/// For each byte what it is compared as; 0 for separators.
const FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
            folded[byte as usize] = byte.to_ascii_lowercase();
        }
        if byte == u8::MAX {
            break folded;
        }
        byte += 1;
    }
};

/// Of [`NAMES`], [`ENDINGS`] and [`PARTS`].
const SHORTEST: usize = 3;

fn is_denied_whole(name: &[u8]) -> bool {
    let lengths = name.first().and_then(|first| NAME_LENGTHS.get(usize::from(*first)));
    let may_be_one = lengths.is_some_and(|lengths| name.len() < 32 && lengths >> name.len() & 1 == 1);
    may_be_one && NAMES.binary_search_by(|denied| denied.as_bytes().cmp(name)).is_ok()
}

fn has_denied_ending(name: &[u8]) -> bool {
    matches!(name, [.., b'd' | b'e' | b'n' | b's'])
        && ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

fn has_denied_part(name: &[u8]) -> bool {
    // One pass over the bytes for all parts: few of them begin one.
    const SHORTEST_PART: usize = 6;
    let last = (name.len() + 1).saturating_sub(SHORTEST_PART);
    (0..last).any(|at| {
        matches!(name[at], b'a' | b'c' | b'p' | b's')
            && may_begin_part(name[at], name[at + 1])
            && PARTS.iter().any(|part| name[at..].starts_with(part.as_bytes()))
    })
}

fn may_begin_part(first: u8, second: u8) -> bool {
    matches!(
        (first, second),
        (b'a', b'c' | b'p' | b'u') | (b'c', b'r') | (b'p', b'a' | b'r') | (b's', b'e' | b'i')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_agree() {
        assert!(NAMES.is_sorted() && HARMLESS.is_sorted());
        assert!(
            PARTS
                .iter()
                .all(|part| part.len() >= 6 && may_begin_part(part.as_bytes()[0], part.as_bytes()[1]))
        );
        assert!(NAMES.iter().all(|name| name.len() < 32 && is_denied_whole(name.as_bytes())));
        assert!(ENDINGS.iter().all(|ending| has_denied_ending(ending.as_bytes())));
        let all = PARTS.iter().chain(&ENDINGS).chain(&NAMES);
        assert!(all.into_iter().all(|name| name.len() >= SHORTEST));
    }
}
