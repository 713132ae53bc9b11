//! `PutAuditEvents` of cloudtrail-data: events that others bring.

use std::collections::HashSet;

use sidetrail_api::shape::{PutAuditEventsInput, PutAuditEventsOutput, ResultEntry, ResultErrorEntry};
use sidetrail_api::{Code, Error, Operation};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::audit_events::{Channel, Undelivered, record};
use crate::refusal::Refusal;

/// Events of one call.
const MAX_EVENTS: usize = 100;
/// Bytes of their documents.
const MAX_BYTES: usize = 1 << 20;
/// Characters of `externalId`.
const EXTERNAL_ID: std::ops::RangeInclusive<usize> = 2..=1224;

pub(super) struct PutAuditEvents;

impl Implementation for PutAuditEvents {
    const OPERATION: Operation = Operation::PutAuditEvents;
    type Input = PutAuditEventsInput;
    type Output = PutAuditEventsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: PutAuditEventsInput,
    ) -> Result<PutAuditEventsOutput, Refusal> {
        let invalid = |message: String| Error::new(Code::Validation, message);
        let channel = Channel::of(input.channel_arn.as_deref(), caller)?;
        if input.external_id.as_ref().is_some_and(|id| !EXTERNAL_ID.contains(&id.chars().count())) {
            return Err(invalid("externalId must have 2 to 1224 characters".to_owned()).into());
        }
        let events = input.audit_events.unwrap_or_default();
        if !(1..=MAX_EVENTS).contains(&events.len()) {
            let count = events.len();
            return Err(
                invalid(format!("auditEvents has {count} entries, allowed are 1 to {MAX_EVENTS}")).into()
            );
        }
        if events.iter().map(|event| event.event_data.len()).sum::<usize>() > MAX_BYTES {
            return Err(invalid(format!("the events have more than {MAX_BYTES} bytes together")).into());
        }
        let mut ids = HashSet::new();
        if let Some(twice) = events.iter().find(|event| !ids.insert(event.id.as_str())) {
            let message = format!("The id {} is there twice.", sidetrail_api::quoted(&twice.id));
            return Err(Error::new(Code::DuplicatedAuditEventId, message).into());
        }
        let Some(delivery) = context.deliveries.get(&(caller.account.clone(), caller.region.clone())) else {
            let message = "There is no collector for events that are brought to this account and region.";
            return Err(Error::new(Code::NoSuchChannel, message).into());
        };
        let mut output = PutAuditEventsOutput::default();
        let (mut made, mut records) = (Vec::new(), Vec::new());
        for event in &events {
            match record(event, &channel, caller, caller.at) {
                Ok((event_id, text)) => {
                    made.push(ResultEntry { id: event.id.clone(), event_id });
                    records.push(text);
                }
                Err((code, message)) => output.failed.push(failed(&event.id, code, message)),
            }
        }
        for (entry, delivered) in made.into_iter().zip(delivery.deliver(records).await) {
            match delivered {
                Ok(()) => output.successful.push(entry),
                Err(Undelivered::Refused(reason)) => {
                    output.failed.push(failed(&entry.id, "InvalidData", reason));
                }
                Err(error @ Undelivered::Full) => {
                    output.failed.push(failed(&entry.id, "Throttling", error.to_string()));
                }
                // It may be recorded all the same; brought again it has the same eventID.
                Err(error @ Undelivered::Away) => {
                    output.failed.push(failed(&entry.id, "InternalFailure", error.to_string()));
                }
            }
        }
        Ok(output)
    }
}

fn failed(id: &str, code: &str, message: String) -> ResultErrorEntry {
    ResultErrorEntry { id: id.to_owned(), error_code: code.to_owned(), error_message: message }
}
