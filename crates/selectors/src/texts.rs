//! Sets of texts that are looked up by equality, as a prefix or as a suffix, in logarithmic time.

use std::cmp::Ordering;

/// Values of the three operators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    exact: Box<[Box<str>]>,
    /// None is a prefix of another, so that at most one can be the prefix of a text: its predecessor.
    prefixes: Box<[Box<str>]>,
    /// The same from behind.
    suffixes: Box<[Box<str>]>,
}

impl Texts {
    pub(crate) fn new(exact: &[String], prefixes: &[String], suffixes: &[String]) -> Self {
        Self {
            exact: sorted(exact, str::cmp, str::eq),
            prefixes: sorted(prefixes, str::cmp, |text, prefix| text.starts_with(prefix)),
            suffixes: sorted(suffixes, from_behind, |text, suffix| text.ends_with(suffix)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.suffixes.is_empty()
    }

    /// Whether any of the values holds of `text`.
    pub(crate) fn any(&self, text: &str) -> bool {
        self.exact.binary_search_by(|value| (**value).cmp(text)).is_ok()
            || predecessor(&self.prefixes, text, str::cmp).is_some_and(|prefix| text.starts_with(prefix))
            || predecessor(&self.suffixes, text, from_behind).is_some_and(|suffix| text.ends_with(suffix))
    }
}

/// Sorts, and drops every value that `implied` says follows from the one before it.
fn sorted(
    values: &[String],
    order: fn(&str, &str) -> Ordering,
    implied: fn(&str, &str) -> bool,
) -> Box<[Box<str>]> {
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.sort_unstable_by(|one, other| order(one, other));
    values.dedup_by(|value, kept| implied(value, kept));
    values.into_iter().map(Box::from).collect()
}

/// The last value that is not after `text`.
fn predecessor<'a>(values: &'a [Box<str>], text: &str, order: fn(&str, &str) -> Ordering) -> Option<&'a str> {
    let after = values.partition_point(|value| order(value, text) != Ordering::Greater);
    Some(values.get(after.checked_sub(1)?)?)
}

fn from_behind(one: &str, other: &str) -> Ordering {
    one.bytes().rev().cmp(other.bytes().rev())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Texts;

    fn values() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[abé]{1,4}", 0..12)
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(exact in values(), prefixes in values(), suffixes in values(), text in "[abé]{0,6}") {
            let texts = Texts::new(&exact, &prefixes, &suffixes);
            let scan = exact.contains(&text)
                || prefixes.iter().any(|value| text.starts_with(value.as_str()))
                || suffixes.iter().any(|value| text.ends_with(value.as_str()));
            prop_assert_eq!(texts.any(&text), scan);
        }
    }
}
