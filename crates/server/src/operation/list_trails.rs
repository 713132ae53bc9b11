//! `ListTrails`: all trails of an account, in all regions.

use sidetrail_api::shape::{ListTrailsInput, ListTrailsOutput, TrailInfo};
use sidetrail_api::token::Query;
use sidetrail_api::{Code, Error, Operation};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::trail::Visible;

/// Trails of a page.
const PAGE: usize = 100;

pub(super) struct ListTrails;

impl Implementation for ListTrails {
    const OPERATION: Operation = Operation::ListTrails;
    type Input = ListTrailsInput;
    type Output = ListTrailsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: ListTrailsInput,
    ) -> Result<ListTrailsOutput, Refusal> {
        let query = Query::of(["ListTrails", caller.account.as_str()]);
        // The ARN of the last one that was shown.
        let after = match &input.next_token {
            Some(token) => Some(
                query
                    .position(token)
                    .map_err(|error| Error::new(Code::InvalidNextToken, error.to_string()))?,
            ),
            None => None,
        };
        let visible = Visible::read(context, caller).await?;
        let mut trails: Vec<_> = visible
            .trails()
            .map(|trail| TrailInfo {
                trail_arn: trail.arn().to_string(),
                name: trail.stored.name.clone(),
                home_region: trail.stored.home_region.clone(),
            })
            .collect();
        trails.sort_unstable_by(|one, other| one.trail_arn.cmp(&other.trail_arn));
        if let Some(after) = after {
            trails.retain(|trail| trail.trail_arn.as_bytes() > after.as_slice());
        }
        let more = trails.len() > PAGE;
        trails.truncate(PAGE);
        let last = trails.last().filter(|_| more);
        let next_token = last.map(|trail| query.token(trail.trail_arn.as_bytes()));
        Ok(ListTrailsOutput { trails, next_token })
    }
}
