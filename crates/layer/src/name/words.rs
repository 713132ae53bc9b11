//! Words in the segments of a path: where they end, and what kind of word they are.

use super::plural;

/// Last segments that say what is done even under GET.
const VERBS: [&str; 22] = [
    "activate",
    "autocomplete",
    "check",
    "compare",
    "count",
    "diff",
    "download",
    "export",
    "find",
    "logout",
    "lookup",
    "poll",
    "preview",
    "query",
    "resolve",
    "search",
    "stream",
    "suggest",
    "unsubscribe",
    "validate",
    "verify",
    "watch",
];

/// Things that a POST makes, though they look like something to do; sorted.
const NOUNS: [&str; 22] = [
    "account", "avatar", "basket", "cart", "email", "image", "key", "location", "logo", "member", "owner",
    "password", "photo", "picture", "role", "schema", "secret", "session", "state", "token", "user",
    "webhook",
];

/// Verbs that end as nouns do.
const VERBS_LIKE_NOUNS: [&str; 5] = ["augment", "decrement", "implement", "increment", "ship"];

/// Whether the segment is a verb, and not a page or a thing, even where it is only read.
pub(super) fn is_verb(segment: &str) -> bool {
    VERBS.contains(&&*segment.trim_start_matches('_').to_ascii_lowercase())
}

/// Whether a lowercase word names a thing rather than something to do.
pub(super) fn is_noun(word: &str) -> bool {
    plural::is_uncountable(word)
        || NOUNS.binary_search(&word).is_ok()
        || !VERBS_LIKE_NOUNS.contains(&word)
            && ["tion", "ment", "ship", "ity"].iter().any(|ending| word.ends_with(ending))
}

/// Whether the segment stands for the caller.
pub(super) fn is_caller(segment: &str) -> bool {
    matches!(segment, "me" | "self" | "current")
}

/// `v1`, `v2beta1`, `v1.2`, `2024-10-01`.
pub(super) fn is_version(segment: &str) -> bool {
    const STAGES: [&str; 5] = ["alpha", "beta", "preview", "rc", "p"];
    let is_number = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    let is_date =
        segment.len() == "2024-10-01".len() && segment.matches('-').count() == 2 && is_number(segment);
    is_date
        || segment.strip_prefix(['v', 'V']).is_some_and(|version| {
            let stage = STAGES.iter().find_map(|stage| version.split_once(stage));
            is_number(stage.map_or(version, |(number, _)| number))
                && stage.is_none_or(|(_, number)| number.is_empty() || is_number(number))
        })
}

/// The word that carries the plural, in lowercase: `items` of `order-items` and of `orderItems`.
pub(super) fn last_word(segment: &str) -> String {
    split_last_word(segment).1.to_ascii_lowercase()
}

/// The segment with its last word in the singular.
pub(super) fn singular(segment: &str) -> String {
    let (start, word) = split_last_word(segment);
    match plural::singular(&word.to_ascii_lowercase()) {
        Some(singular) if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
            format!("{start}{}", pascal(&singular))
        }
        Some(singular) => format!("{start}{singular}"),
        None => segment.to_owned(),
    }
}

/// `order-items`, `order_items` and `orderItems` are `OrderItems`.
pub(super) fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let mut chars = word.chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        if is_shouted(word) {
            out.push_str(&chars.as_str().to_ascii_lowercase());
        } else {
            out.push_str(chars.as_str());
        }
    }
    out
}

/// `("order-", "items")`, `("order", "Items")`.
fn split_last_word(segment: &str) -> (&str, &str) {
    let trimmed = segment.trim_end_matches(|c: char| !c.is_alphanumeric());
    let word =
        trimmed.rfind(|c: char| !c.is_alphanumeric()).map_or(0, |index| index + separator(trimmed, index));
    let capital = match &trimmed[word..] {
        shouted if is_shouted(shouted) => None,
        word => word.rfind(|c: char| c.is_ascii_uppercase()),
    };
    segment.split_at(word + capital.unwrap_or(0))
}

/// How long the character at `index` is.
fn separator(text: &str, index: usize) -> usize {
    text[index..].chars().next().map_or(0, char::len_utf8)
}

/// A word in capitals.
fn is_shouted(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(VERBS.is_sorted() && NOUNS.is_sorted());
    }

    #[test]
    fn versions_are_told_from_words() {
        for version in ["v1", "V2", "v1.2", "v2beta1", "v1alpha", "v3rc2", "v1p1", "2024-10-01"] {
            assert!(is_version(version), "{version}");
        }
        for word in ["v", "vat", "v8engines", "v1x", "2024", "17", "orders-2024", "v1beta-x"] {
            assert!(!is_version(word), "{word}");
        }
    }

    #[test]
    fn the_last_word_carries_the_plural() {
        for (segment, word, expected) in [
            ("orders", "orders", "order"),
            ("order-items", "items", "order-item"),
            ("orderItems", "items", "orderItem"),
            ("ORDERS", "orders", "Order"),
            ("order-items-", "items-", "order-items-"),
            ("userIDs", "ds", "userIDs"),
            ("日本s", "日本s", "日本"),
            ("", "", ""),
        ] {
            assert_eq!(
                (last_word(segment).as_str(), singular(segment).as_str()),
                (word, expected),
                "{segment}"
            );
        }
    }
}
