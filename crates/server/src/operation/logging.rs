//! `StartLogging` and `StopLogging`. Asked twice, they do it once.

use sidetrail_api::Operation;
use sidetrail_api::shape::{Empty, NamedTrailInput};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::Update;
use crate::trail::{change, required};

pub(super) struct StartLogging;

impl Implementation for StartLogging {
    const OPERATION: Operation = Operation::StartLogging;
    type Input = NamedTrailInput;
    type Output = Empty;

    async fn call(context: &Context, caller: &Caller, input: NamedTrailInput) -> Result<Empty, Refusal> {
        turn(context, caller, &input, true).await
    }
}

pub(super) struct StopLogging;

impl Implementation for StopLogging {
    const OPERATION: Operation = Operation::StopLogging;
    type Input = NamedTrailInput;
    type Output = Empty;

    async fn call(context: &Context, caller: &Caller, input: NamedTrailInput) -> Result<Empty, Refusal> {
        turn(context, caller, &input, false).await
    }
}

async fn turn(
    context: &Context,
    caller: &Caller,
    input: &NamedTrailInput,
    on: bool,
) -> Result<Empty, Refusal> {
    let name = required(input.name.as_ref(), "name")?;
    let turned = change(context, caller, name, |trail| {
        let logging = &mut trail.logging;
        if logging.on == on {
            return Ok(Update::Same(Empty {}));
        }
        logging.on = on;
        *(if on { &mut logging.started } else { &mut logging.stopped }) = Some(caller.at);
        Ok(Update::Changed(Empty {}))
    });
    turned.await
}
