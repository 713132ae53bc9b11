//! `DeleteTrail`: what it delivered stays.

use sidetrail_api::shape::{Empty, NamedTrailInput};
use sidetrail_api::{Error, Operation};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::Update;
use crate::trail::{Visible, change_all, required};

pub(super) struct DeleteTrail;

impl Implementation for DeleteTrail {
    const OPERATION: Operation = Operation::DeleteTrail;
    type Input = NamedTrailInput;
    type Output = Empty;

    async fn call(context: &Context, caller: &Caller, input: NamedTrailInput) -> Result<Empty, Refusal> {
        let text = required(input.name.as_ref(), "name")?;
        let name = Visible::read(context, caller).await?.find_to_change(text)?;
        let (account, region) = (caller.account.as_str(), caller.region.as_str());
        let deleted = change_all(context, caller, |trails| {
            let before = trails.trails.len();
            trails.trails.retain(|trail| trail.name != name || trail.home_region != region);
            if trails.trails.len() == before {
                return Err(Error::trail_not_found(text, account));
            }
            Ok(Update::Changed(Empty {}))
        });
        deleted.await
    }
}
