//! `DescribeTrails`: the trails of a region, and those of others that are seen there.

use sidetrail_api::arn::Arn;
use sidetrail_api::shape::{DescribeTrailsInput, DescribeTrailsOutput};
use sidetrail_api::{Code, Error, Operation, name, quoted};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::trail::{Visible, describe};

/// Names or ARNs in one request.
const MAX_NAMES: usize = 100;

pub(super) struct DescribeTrails;

impl Implementation for DescribeTrails {
    const OPERATION: Operation = Operation::DescribeTrails;
    type Input = DescribeTrailsInput;
    type Output = DescribeTrailsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: DescribeTrailsInput,
    ) -> Result<DescribeTrailsOutput, Refusal> {
        let names = input.trail_name_list.unwrap_or_default();
        if names.len() > MAX_NAMES {
            return Err(Error::constraint(
                None,
                "trailNameList",
                &format!("have length less than or equal to {MAX_NAMES}"),
            )
            .into());
        }
        for name in &names {
            check(name)?;
        }
        let visible = Visible::read(context, caller).await?;
        let shadows = input.include_shadow_trails.unwrap_or(true);
        let region = caller.region.as_str();
        let listed = visible.trails().filter(|trail| {
            let here = trail.stored.home_region == region && trail.own;
            if names.is_empty() {
                return if shadows { trail.stored.is_in(region) } else { here };
            }
            // A name is one of this region; an ARN says where it is.
            names.iter().any(|name| {
                if Arn::is_meant(name) {
                    *name == trail.arn().to_string() && (shadows || trail.own)
                } else {
                    *name == trail.stored.name && trail.stored.home_region == region && (shadows || here)
                }
            })
        });
        Ok(DescribeTrailsOutput { trail_list: listed.map(|trail| describe(&trail)).collect() })
    }
}

fn check(text: &str) -> Result<(), Error> {
    if !Arn::is_meant(text) {
        return name::check_trail(text);
    }
    text.parse::<Arn>()
        .map(drop)
        .map_err(|_| Error::new(Code::CloudTrailARNInvalid, format!("Invalid Trail ARN: {}", quoted(text))))
}
