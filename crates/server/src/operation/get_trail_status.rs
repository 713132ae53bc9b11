//! `GetTrailStatus`: whether a trail records, and what was delivered last.

use sidetrail_api::Operation;
use sidetrail_api::shape::{Epoch, GetTrailStatusInput, GetTrailStatusOutput};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::trail::{Visible, required, status};

pub(super) struct GetTrailStatus;

impl Implementation for GetTrailStatus {
    const OPERATION: Operation = Operation::GetTrailStatus;
    type Input = GetTrailStatusInput;
    type Output = GetTrailStatusOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: GetTrailStatusInput,
    ) -> Result<GetTrailStatusOutput, Refusal> {
        let name = required(input.name.as_ref(), "name")?;
        let visible = Visible::read(context, caller).await?;
        let trail = visible.find(name)?;
        let delivered = status::look(context, caller, &trail).await;
        let notified = status::notified(context, &trail).await?;
        let logging = trail.stored.logging;
        // The members that are no longer in use are texts, and empty where there is nothing to say.
        let text = |time: Option<jiff::Timestamp>| {
            time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
        };
        let log = delivered.log;
        Ok(GetTrailStatusOutput {
            is_logging: logging.on,
            latest_delivery_error: delivered.error.clone(),
            latest_delivery_time: log.map(Epoch),
            latest_notification_time: notified.as_ref().and_then(|it| it.delivered).map(Epoch),
            latest_notification_error: notified.as_ref().and_then(|it| it.error.clone()),
            start_logging_time: logging.started.map(Epoch),
            stop_logging_time: logging.stopped.map(Epoch),
            latest_digest_delivery_time: delivered.digest.map(Epoch),
            latest_digest_delivery_error: delivered.digest_error,
            latest_delivery_attempt_time: text(log),
            latest_notification_attempt_time: text(notified.as_ref().and_then(|it| it.attempted)),
            latest_notification_attempt_succeeded: text(notified.as_ref().and_then(|it| it.delivered)),
            latest_delivery_attempt_succeeded: if delivered.error.is_none() {
                text(log)
            } else {
                String::new()
            },
            time_logging_started: text(logging.started),
            time_logging_stopped: text(logging.stopped),
        })
    }
}
