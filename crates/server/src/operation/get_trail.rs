//! `GetTrail`: one trail.

use sidetrail_api::Operation;
use sidetrail_api::shape::{GetTrailInput, GetTrailOutput};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::trail::{Visible, describe, required};

pub(super) struct GetTrail;

impl Implementation for GetTrail {
    const OPERATION: Operation = Operation::GetTrail;
    type Input = GetTrailInput;
    type Output = GetTrailOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: GetTrailInput,
    ) -> Result<GetTrailOutput, Refusal> {
        let name = required(input.name.as_ref(), "name")?;
        let visible = Visible::read(context, caller).await?;
        Ok(GetTrailOutput { trail: describe(&visible.find(name)?) })
    }
}
