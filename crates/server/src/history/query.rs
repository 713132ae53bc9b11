//! What is asked of history.

use std::net::IpAddr;

use ipnet::IpNet;

use super::event::{Class, Event};
use super::key::Seconds;
use super::segment::{Cursor, Damaged, Partition, Segment};
use super::term::{Field, MAX_PLAIN, Term};
use super::words;

/// Conditions of one query.
pub const MAX_CONDITIONS: usize = 32;
/// Values of one condition.
pub const MAX_VALUES: usize = 64;

/// Events of some part of history that meet every condition.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Accounts to look in; none means all.
    pub accounts: Vec<String>,
    /// Regions to look in; none means all.
    pub regions: Vec<String>,
    /// Parts to look in; none means all.
    pub classes: Vec<Class>,
    /// The first second, inclusive.
    pub from: Option<Seconds>,
    /// The last second, inclusive.
    pub to: Option<Seconds>,
    /// What must all hold.
    pub conditions: Vec<Condition>,
}

/// One thing that must hold of an event: it has a term that is one of these, or lies in one of these ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    terms: Vec<Vec<u8>>,
    /// From the first to the last, and what begins as the last does.
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A condition cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCondition {
    /// It lists no value, or too many.
    #[error("lists {0} values, of 1 to {MAX_VALUES}")]
    Values(usize),
    /// A prefix is longer than what is indexed in order.
    #[error("a prefix has {0} bytes, of at most {MAX_PLAIN}")]
    Prefix(usize),
    /// A text has no word in it.
    #[error("there is no word in the text")]
    NoWord,
}

impl Condition {
    /// That one of these holds.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Result<Self, InvalidCondition> {
        let (mut any, mut count) = (Self::default(), 0);
        for Self { terms, ranges } in conditions {
            any.terms.extend(terms);
            any.ranges.extend(ranges);
            count += 1;
        }
        if (1..=MAX_VALUES).contains(&count) { Ok(any) } else { Err(InvalidCondition::Values(count)) }
    }

    fn term(term: &Term<'_>) -> Self {
        Self { terms: vec![term.to_bytes()], ranges: Vec::new() }
    }

    /// That `field` is `value`.
    #[must_use]
    pub fn is(field: Field, value: &str) -> Self {
        Self::term(&Term::new(field, value))
    }

    /// That `field` begins with `prefix`.
    ///
    /// # Errors
    /// If it is too long.
    pub fn starts_with(field: Field, prefix: &str) -> Result<Self, InvalidCondition> {
        if prefix.len() > MAX_PLAIN {
            return Err(InvalidCondition::Prefix(prefix.len()));
        }
        let prefix = Term::prefix(field, prefix).to_bytes();
        Ok(Self { terms: Vec::new(), ranges: vec![(prefix.clone(), prefix)] })
    }

    /// That the caller's address is in a network.
    #[must_use]
    pub fn within(network: IpNet) -> Self {
        let bytes = |address: IpAddr| Term::address(address).to_bytes();
        Self { terms: Vec::new(), ranges: vec![(bytes(network.network()), bytes(network.broadcast()))] }
    }

    /// That the event failed.
    #[must_use]
    pub fn failed() -> Self {
        Self::is(Field::Failed, "")
    }

    /// That parameters and response elements hold each word of a text; `*` after the last one stands for any rest.
    ///
    /// # Errors
    /// If there is no word in it.
    pub fn words(text: &str) -> Result<Vec<Self>, InvalidCondition> {
        let trimmed = text.trim_end();
        let open = trimmed.ends_with('*');
        let mut found = Vec::new();
        words::of_text(trimmed, &mut |word| found.push(word.to_owned()));
        let last = if open { found.pop() } else { None };
        let mut conditions: Vec<_> = found.iter().map(|word| Self::is(Field::Word, word)).collect();
        if let Some(last) = last {
            conditions.push(Self::starts_with(Field::Word, &last)?);
        }
        if conditions.is_empty() { Err(InvalidCondition::NoWord) } else { Ok(conditions) }
    }

    fn holds(&self, term: &[u8]) -> bool {
        self.terms.iter().any(|any| any == term)
            || self
                .ranges
                .iter()
                .any(|(first, last)| term >= &first[..] && (term <= &last[..] || term.starts_with(last)))
    }

    fn cursor(&self, segment: &Segment) -> Result<Cursor, Damaged> {
        match (&self.terms[..], &self.ranges[..]) {
            ([term], []) => Cursor::term(segment, term),
            (terms, ranges) => Cursor::any(segment, terms, ranges),
        }
    }
}

impl Query {
    /// Whether it looks into a part of history.
    #[must_use]
    pub(crate) fn covers(&self, Partition { account, region, class }: &Partition) -> bool {
        (self.accounts.is_empty() || self.accounts.contains(account))
            && (self.regions.is_empty() || self.regions.contains(region))
            && (self.classes.is_empty() || self.classes.contains(class))
    }

    /// Whether a second lies in its range.
    #[must_use]
    pub fn spans(&self, at: Seconds) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }

    /// Whether an event meets every condition, as the index finds it.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        let mut met = vec![false; self.conditions.len()];
        event.terms(&mut |term| {
            let term = term.to_bytes();
            for (met, condition) in met.iter_mut().zip(&self.conditions) {
                *met |= condition.holds(&term);
            }
        });
        met.into_iter().all(|met| met)
    }

    /// The events of a segment that meet every condition.
    pub(super) fn cursor(&self, segment: &Segment) -> Result<Cursor, Damaged> {
        let mut cursors = Vec::with_capacity(self.conditions.len());
        for condition in &self.conditions {
            let cursor = condition.cursor(segment)?;
            if matches!(cursor, Cursor::None) {
                return Ok(cursor);
            }
            cursors.push(cursor);
        }
        Ok(Cursor::and(cursors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_of_events() {
        let record = r#"{"eventName":"GetOrder","sourceIPAddress":"10.1.2.3","errorCode":"NotFound",
            "requestParameters":{"id":"A-17","note":"left at the Door"}}"#;
        let event = Event::read(record);
        let check =
            |condition: Condition| Query { conditions: vec![condition], ..Query::default() }.matches(&event);
        assert!(check(Condition::is(Field::EventName, "GetOrder")));
        assert!(
            !check(Condition::is(Field::EventName, "getorder"))
                && !check(Condition::is(Field::Username, "GetOrder"))
        );
        assert!(check(
            Condition::any(["ListOrders", "GetOrder"].map(|name| Condition::is(Field::EventName, name)))
                .unwrap()
        ));
        assert!(check(Condition::starts_with(Field::EventName, "Get").unwrap()));
        assert!(check(Condition::starts_with(Field::EventName, "").unwrap()));
        assert!(!check(Condition::starts_with(Field::Username, "").unwrap()));
        assert!(check(Condition::failed()));
        for (network, within) in [
            ("10.1.0.0/16", true),
            ("10.1.2.3/32", true),
            ("0.0.0.0/0", true),
            ("10.2.0.0/15", false),
            ("::/96", false),
        ] {
            assert_eq!(check(Condition::within(network.parse().unwrap())), within, "{network}");
        }
        for (text, found) in [
            ("door a-17", true),
            ("LEFT do*", true),
            ("do", false),
            ("a-1*", true),
            ("door window", false),
            ("*", false),
        ] {
            let holds = Condition::words(text)
                .is_ok_and(|conditions| Query { conditions, ..Query::default() }.matches(&event));
            assert_eq!(holds, found, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        assert_eq!(Condition::any([]), Err(InvalidCondition::Values(0)));
        let prefix = "x".repeat(MAX_PLAIN + 1);
        assert_eq!(Condition::starts_with(Field::EventName, &prefix), Err(InvalidCondition::Prefix(193)));
        assert_eq!(Condition::words(" --- "), Err(InvalidCondition::NoWord));
    }
}
