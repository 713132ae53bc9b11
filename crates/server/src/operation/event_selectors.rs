//! `PutEventSelectors` and `GetEventSelectors`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sidetrail_api::shape::{GetEventSelectorsInput, GetEventSelectorsOutput, PutEventSelectorsOutput};
use sidetrail_api::{Code, Error, Operation, json, quoted};
use sidetrail_selectors::{InvalidSelectors, Scope, Selectors};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::Update;
use crate::trail::{Seen, Visible, change, own, required};

pub(super) struct PutEventSelectors;

/// What is no selector is told as such, and not as a body that cannot be read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Input {
    trail_name: Option<String>,
    event_selectors: Option<Value>,
    advanced_event_selectors: Option<Value>,
}

impl Implementation for PutEventSelectors {
    const OPERATION: Operation = Operation::PutEventSelectors;
    type Input = Input;
    type Output = PutEventSelectorsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: Input,
    ) -> Result<PutEventSelectorsOutput, Refusal> {
        let name = required(input.trail_name.as_ref(), "trailName")?;
        let basic = parse(input.event_selectors, "EventSelectors")?;
        let advanced = parse(input.advanced_event_selectors, "AdvancedEventSelectors")?;
        let selectors = Selectors::of(basic, advanced).map_err(|error| invalid(&error))?;
        selectors.validate(Scope::Trail).map_err(|error| invalid(&error))?;
        let put = change(context, caller, name, |trail| {
            let is_same = trail.selectors == selectors;
            trail.selectors.clone_from(&selectors);
            let output = output(&own(caller, trail), trail.selectors.clone());
            Ok(if is_same { Update::Same(output) } else { Update::Changed(output) })
        });
        put.await
    }
}

pub(super) struct GetEventSelectors;

impl Implementation for GetEventSelectors {
    const OPERATION: Operation = Operation::GetEventSelectors;
    type Input = GetEventSelectorsInput;
    type Output = GetEventSelectorsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: GetEventSelectorsInput,
    ) -> Result<GetEventSelectorsOutput, Refusal> {
        let name = required(input.trail_name.as_ref(), "trailName")?;
        let visible = Visible::read(context, caller).await?;
        let trail = visible.find(name)?;
        let mut selectors = trail.stored.selectors.clone();
        if let Selectors::Advanced(selectors) = &mut selectors {
            // CloudTrail shows fields sorted, in whatever order they were put.
            for selector in selectors {
                selector.field_selectors.sort_by(|one, other| one.field.cmp(&other.field));
            }
        }
        Ok(output(&trail, selectors))
    }
}

fn output(trail: &Seen<'_>, selectors: Selectors) -> PutEventSelectorsOutput {
    let (event_selectors, advanced_event_selectors) = match selectors {
        Selectors::Basic(selectors) => (Some(selectors), None),
        Selectors::Advanced(selectors) => (None, Some(selectors)),
    };
    PutEventSelectorsOutput { trail_arn: trail.arn().to_string(), event_selectors, advanced_event_selectors }
}

fn parse<T: DeserializeOwned>(value: Option<Value>, member: &str) -> Result<Option<T>, Error> {
    let parsed = value.map(json::part).transpose();
    parsed.map_err(|what| {
        let what = format!("{member}{}{what}", if what.starts_with('[') { "" } else { ": " });
        Error::new(Code::InvalidEventSelectors, quoted(&what))
    })
}

fn invalid(error: &InvalidSelectors) -> Error {
    Error::new(Code::InvalidEventSelectors, error.to_string())
}
