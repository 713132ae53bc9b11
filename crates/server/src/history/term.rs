//! Terms: a field of an event and what it holds, as the index sorts them.

use std::borrow::Cow;
use std::net::IpAddr;

use sidetrail_archive::hash::Sha256;

/// Bytes of a value that are indexed as they are. Of a longer one the hash stands for the rest, so that values are told
/// apart exactly, whatever their length.
pub const MAX_PLAIN: usize = 192;

/// What of the hash is kept.
const HASH: usize = 16;

/// What an event can be found by. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// `eventID`.
    EventId = 1,
    /// `eventName`.
    EventName = 2,
    /// `readOnly`: `true` or `false`.
    ReadOnly = 3,
    /// The name that `LookupEvents` has for the caller.
    Username = 4,
    /// Types of resources.
    ResourceType = 5,
    /// Names and ARNs of resources.
    ResourceName = 6,
    /// `eventSource`.
    EventSource = 7,
    /// `userIdentity.accessKeyId`.
    AccessKeyId = 8,
    /// `userIdentity.arn` and `userIdentity.principalId`.
    Principal = 9,
    /// `sourceIPAddress`, where it is an address: 16 bytes, so that networks are ranges.
    Address = 10,
    /// `sourceIPAddress`, where it is the name of a service.
    AddressName = 11,
    /// `errorCode`.
    ErrorCode = 12,
    /// Whether the event failed; the value is empty.
    Failed = 13,
    /// `eventCategory`.
    Category = 14,
    /// `requestID` and `sharedEventID`.
    RequestId = 15,
    /// A word of parameters or of response elements.
    Word = 16,
}

/// A field and a value, in the form that is indexed: the field's number, then the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term<'a> {
    field: Field,
    value: Cow<'a, [u8]>,
}

impl<'a> Term<'a> {
    /// That `field` is `text`.
    #[must_use]
    pub fn new(field: Field, text: &'a str) -> Self {
        let value = text.as_bytes();
        let value = if matches!(field, Field::EventId | Field::RequestId)
            && let Some(id) = uuid(value)
        {
            // Half as long; no text that is indexed begins with this byte.
            Cow::Owned([&[0xff][..], &id].concat())
        } else if value.len() > MAX_PLAIN {
            let hash = Sha256::of(value);
            Cow::Owned([&value[..MAX_PLAIN], &hash.as_bytes()[..HASH]].concat())
        } else {
            Cow::Borrowed(value)
        };
        Self { field, value }
    }

    /// That the address is this one. IPv4 addresses are those that IPv6 has for them.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self { field: Field::Address, value: Cow::Owned(bits.octets().to_vec()) }
    }

    /// The beginning of all terms of `field` with a value that begins with `prefix`, which is at most [`MAX_PLAIN`] long.
    #[must_use]
    pub fn prefix(field: Field, prefix: &'a str) -> Self {
        Self { field, value: Cow::Borrowed(prefix.as_bytes()) }
    }

    /// Whether it is one that next to no other event has.
    #[must_use]
    pub fn is_rare(&self) -> bool {
        matches!(self.field, Field::EventId | Field::RequestId)
    }

    /// As indexed.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.field as u8);
        bytes.extend_from_slice(&self.value);
    }

    /// As indexed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.value.len());
        self.write(&mut bytes);
        bytes
    }
}

/// The bytes of a UUID in its canonical form: any other text is another value.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut digits = text.iter().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at));
    let mut id = [0; 16];
    for byte in &mut id {
        let (high, low) = (digits.next()?.1, digits.next()?.1);
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_whatever_their_length() {
        let long =
            |end: &str| Term::new(Field::ResourceName, &format!("{}{end}", "x".repeat(500))).to_bytes();
        assert_eq!(long("a").len(), 1 + MAX_PLAIN + HASH);
        assert_ne!(long("a"), long("b"));
        assert!(long("a").starts_with(&Term::prefix(Field::ResourceName, &"x".repeat(MAX_PLAIN)).to_bytes()));
        assert_eq!(Term::new(Field::EventName, "GetOrder").to_bytes(), b"\x02GetOrder");
    }

    #[test]
    fn uuids_are_short_and_only_in_one_spelling() {
        let id = |text| Term::new(Field::EventId, text).to_bytes();
        assert_eq!(id("0b7c6a52-9f7e-4c0b-9d0e-2f6d0f1c9a11").len(), 18);
        assert_eq!(id("0B7c6a52-9f7e-4c0b-9d0e-2f6d0f1c9a11").len(), 37);
        assert_eq!(id("0b7c6a52-9f7e-4c0b-9d0e_2f6d0f1c9a11").len(), 37);
    }

    #[test]
    fn addresses_sort_by_network() {
        let term = |text: &str| Term::address(text.parse().unwrap());
        assert!(term("10.0.0.1") < term("10.0.1.0") && term("10.255.0.0") < term("11.0.0.0"));
        assert_eq!(term("10.0.0.1"), term("::ffff:10.0.0.1"));
    }
}
