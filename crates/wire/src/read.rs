//! Events read where they lie: of what they say nothing is copied, and only what is asked for is looked at.
//!
//! What senders write is read here. Whatever else protobuf allows (a message in two parts, members of later versions, a
//! number written longer than it is), and whatever it does not allow, is left to the generated code, which has the last word.

use std::borrow::Cow;

use prost::{DecodeError, Message};
use sidetrail_record::{EventTime, RecordRef, ResourceRef, UserIdentityRef};

use crate::convert::{NANOS_PER_SECOND, checked, format_uuid, parsed};
use crate::ingest::unread;
use crate::ingest::v1::{Batch, Call, Dropped, Event, event::Payload};

/// An [`Event`] of which the payload is not read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRef<'a> {
    /// [`Event::sequence`].
    pub sequence: u64,
    /// [`Event::completes`].
    pub completes: u64,
    /// `None` where it is of no kind that this version knows.
    pub payload: Option<PayloadRef<'a>>,
}

/// What an event holds.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadRef<'a> {
    /// An encoded [`Call`].
    Call(Cow<'a, [u8]>),
    /// The JSON text of a record.
    Record(Cow<'a, [u8]>),
    /// Events that the sender had to give up.
    Dropped(Dropped),
    /// An encoded [`Call`] that is about to begin.
    Intent(Cow<'a, [u8]>),
}

impl<'a> EventRef<'a> {
    /// Reads an encoded [`Event`].
    ///
    /// # Errors
    /// If it is none. Calls are not looked at.
    pub fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match plain_event(bytes) {
            Some(event) => Ok(event),
            None => Event::decode(bytes).map(EventRef::from),
        }
    }
}

impl From<Event> for EventRef<'static> {
    fn from(Event { sequence, completes, payload }: Event) -> Self {
        let payload = payload.map(|payload| match payload {
            Payload::Call(call) => PayloadRef::Call(call.encode_to_vec().into()),
            Payload::Record(text) => PayloadRef::Record(text.to_vec().into()),
            Payload::Dropped(dropped) => PayloadRef::Dropped(dropped),
            Payload::Intent(call) => PayloadRef::Intent(call.encode_to_vec().into()),
        });
        Self { sequence, completes, payload }
    }
}

impl From<Batch> for unread::Batch {
    fn from(batch: Batch) -> Self {
        Self { events: batch.events.iter().map(|event| event.encode_to_vec().into()).collect() }
    }
}

impl Call {
    /// The record of an encoded call without a copy of what it says, byte for byte as `Record::try_from` makes it of the
    /// call.
    ///
    /// `None` where it has members that `Call` has no field for, where it is written in some other way than senders write
    /// it, and where it is no call or no record: all of these are for [`Call::decode`] and `Record::try_from`.
    #[must_use]
    pub fn read_record(bytes: &[u8]) -> Option<RecordRef<'_>> {
        let mut record = RecordRef::default();
        let mut resources = Vec::new();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes([])) => record.event_id = None,
                (1, Value::Bytes(id)) => record.event_id = Some(format_uuid(id.try_into().ok()?).into()),
                (2, Value::Fixed(nanos)) => {
                    let seconds = nanos.cast_signed().div_euclid(NANOS_PER_SECOND);
                    record.event_time = Some(EventTime::from_unix_seconds(seconds)?);
                }
                (3, text) => record.event_source = text.present()?,
                (4, text) => record.event_name = text.present()?,
                (5, text) => record.event_type = text.present()?,
                (6, text) => record.event_category = text.present()?,
                (7, Value::Varint(flag)) => record.read_only = Some(flag != 0),
                (8, Value::Varint(flag)) => record.management_event = Some(flag != 0),
                (9, Value::Bytes(identity)) if record.user_identity.is_none() => {
                    record.user_identity = Some(user_identity(identity)?);
                }
                (10, text) => record.source_ip_address = text.present()?,
                (11, text) => record.user_agent = Some(text.text()?),
                (12, text) => record.error_code = Some(text.text()?),
                (13, text) => record.error_message = Some(text.text()?),
                (14, text) => record.request_id = Some(text.text()?),
                (15, Value::Bytes(json)) => record.request_parameters = Some(checked(json)?),
                (16, Value::Bytes(json)) => record.response_elements = Some(checked(json)?),
                (17, Value::Bytes(json)) => record.additional_event_data = Some(checked(json)?),
                (18, Value::Bytes(one)) => resources.push(resource(one)?),
                (19, text) => record.shared_event_id = Some(text.text()?),
                (20, text) => record.vpc_endpoint_id = Some(text.text()?),
                (21, Value::Bytes(json)) => record.tls_details = Some(parsed(json)?),
                _ => return None,
            }
        }
        record.resources = Some(resources).filter(|resources| !resources.is_empty());
        Some(record)
    }
}

fn user_identity(bytes: &[u8]) -> Option<UserIdentityRef<'_>> {
    let mut identity = UserIdentityRef::default();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, text) => identity.kind = Some(text.text()?),
            (2, text) => identity.principal_id = Some(text.text()?),
            (3, text) => identity.arn = Some(text.text()?),
            (4, text) => identity.account_id = Some(text.text()?),
            (5, text) => identity.access_key_id = Some(text.text()?),
            (6, text) => identity.user_name = Some(text.text()?),
            (7, text) => identity.invoked_by = Some(text.text()?),
            (8, text) => identity.identity_provider = Some(text.text()?),
            (9, Value::Bytes(json)) => identity.session_context = Some(parsed(json)?),
            _ => return None,
        }
    }
    Some(identity)
}

fn resource(bytes: &[u8]) -> Option<ResourceRef<'_>> {
    let mut resource = ResourceRef::default();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, text) => resource.arn = Some(text.text()?),
            (2, text) => resource.account_id = Some(text.text()?),
            (3, text) => resource.kind = Some(text.text()?),
            _ => return None,
        }
    }
    Some(resource)
}

fn plain_event(bytes: &[u8]) -> Option<EventRef<'_>> {
    let mut event = EventRef { sequence: 0, completes: 0, payload: None };
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let payload = match field {
            (1, Value::Varint(sequence)) => {
                event.sequence = sequence;
                continue;
            }
            (6, Value::Varint(completes)) => {
                event.completes = completes;
                continue;
            }
            (2, Value::Bytes(call)) => PayloadRef::Call(call.into()),
            (3, Value::Bytes(text)) => PayloadRef::Record(text.into()),
            (4, Value::Bytes(dropped)) => PayloadRef::Dropped(Dropped::decode(dropped).ok()?),
            (5, Value::Bytes(call)) => PayloadRef::Intent(call.into()),
            _ => return None,
        };
        // Parts of one would be put together.
        if event.payload.replace(payload).is_some() {
            return None;
        }
    }
    Some(event)
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

/// The value of a field, as it is on the wire.
#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field with its number. `Some(None)` at the end, `None` where it is nothing that is read here.
    #[expect(clippy::option_option, reason = "there may be no more, and it may be for somebody else")]
    #[inline]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (value, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                Value::Fixed(u64::from_le_bytes(*value))
            }
            2 => {
                let size = usize::try_from(self.varint()?).ok()?;
                let (value, rest) = self.0.split_at_checked(size)?;
                self.0 = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        Some(Some((key >> 3, value)))
    }

    /// A number of at most nine bytes: only such as are greater than any that is counted here have ten.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, byte) in self.0.iter().enumerate().take(9) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Value<'a> {
    #[inline]
    fn text(self) -> Option<Cow<'a, str>> {
        let Self::Bytes(bytes) = self else { return None };
        std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
    }

    /// The same where an empty text is none.
    #[expect(clippy::option_option, reason = "a text may be absent, and it may be wrong")]
    #[inline]
    fn present(self) -> Option<Option<Cow<'a, str>>> {
        self.text().map(|text| Some(text).filter(|text| !text.is_empty()))
    }
}
