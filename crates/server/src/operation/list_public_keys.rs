//! `ListPublicKeys`: the keys that digests of the account's trails are signed with.

use sidetrail_api::shape::{ListPublicKeysInput, ListPublicKeysOutput};
use sidetrail_api::{Code, Error, Operation};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::digest;
use crate::refusal::Refusal;
use crate::trail::Visible;

pub(super) struct ListPublicKeys;

impl Implementation for ListPublicKeys {
    const OPERATION: Operation = Operation::ListPublicKeys;
    type Input = ListPublicKeysInput;
    type Output = ListPublicKeysOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: ListPublicKeysInput,
    ) -> Result<ListPublicKeysOutput, Refusal> {
        if input.next_token.is_some() {
            return Err(Error::new(Code::InvalidToken, "All keys are in one page: there is no token.").into());
        }
        let (start, end) = (input.start_time.map(|it| it.0), input.end_time.map(|it| it.0));
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(Error::new(Code::InvalidTimeRange, "Start time must be before end time.").into());
        }
        let visible = Visible::read(context, caller).await?;
        let mut keys = digest::published_keys(context, caller, &visible).await?;
        // Without times those of today, else those that were in force at any moment of the range.
        let (start, end) = match (start, end) {
            (None, None) => (caller.at, caller.at),
            (start, end) => (start.unwrap_or(jiff::Timestamp::MIN), end.unwrap_or(caller.at)),
        };
        keys.retain(|key| key.validity_start_time.0 <= end && key.validity_end_time.0 >= start);
        keys.sort_unstable_by(|one, other| {
            (one.validity_start_time, &one.fingerprint).cmp(&(other.validity_start_time, &other.fingerprint))
        });
        keys.dedup_by(|one, other| one.fingerprint == other.fingerprint);
        Ok(ListPublicKeysOutput { public_key_list: keys, next_token: None })
    }
}
