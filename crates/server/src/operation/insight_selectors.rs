//! `PutInsightSelectors` and `GetInsightSelectors`.

use sidetrail_api::shape::{
    GetInsightSelectorsInput, InsightSelector, InsightSelectorsOutput, PutInsightSelectorsInput,
};
use sidetrail_api::{Code, Error, Operation, quoted};
use sidetrail_record::Record;
use sidetrail_selectors::{Matcher, Scope, Selectors};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::Update;
use crate::trail::{Visible, change, own};

/// By calls per minute.
const CALL_RATE: &str = "ApiCallRateInsight";
/// By errors per minute.
const ERROR_RATE: &str = "ApiErrorRateInsight";

pub(super) struct PutInsightSelectors;

impl Implementation for PutInsightSelectors {
    const OPERATION: Operation = Operation::PutInsightSelectors;
    type Input = PutInsightSelectorsInput;
    type Output = InsightSelectorsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: PutInsightSelectorsInput,
    ) -> Result<InsightSelectorsOutput, Refusal> {
        let store = input.event_data_store.as_ref().or(input.insights_destination.as_ref());
        let name = trail(input.trail_name.as_ref(), store)?;
        let selectors = input
            .insight_selectors
            .ok_or_else(|| Error::constraint(None, "insightSelectors", "not be null"))?;
        check(&selectors)?;
        let put = change(context, caller, name, |trail| {
            selectors.iter().try_for_each(|selector| check_logged(selector, &trail.selectors))?;
            let is_same = trail.insights == selectors;
            trail.insights.clone_from(&selectors);
            let output = InsightSelectorsOutput {
                trail_arn: Some(own(caller, trail).arn().to_string()),
                insight_selectors: selectors.clone(),
            };
            Ok(if is_same { Update::Same(output) } else { Update::Changed(output) })
        });
        put.await
    }
}

pub(super) struct GetInsightSelectors;

impl Implementation for GetInsightSelectors {
    const OPERATION: Operation = Operation::GetInsightSelectors;
    type Input = GetInsightSelectorsInput;
    type Output = InsightSelectorsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: GetInsightSelectorsInput,
    ) -> Result<InsightSelectorsOutput, Refusal> {
        let name = trail(input.trail_name.as_ref(), input.event_data_store.as_ref())?;
        let visible = Visible::read(context, caller).await?;
        let trail = visible.find(name)?;
        if trail.stored.insights.is_empty() {
            let name = &trail.stored.name;
            return Err(Error::new(
                Code::InsightNotEnabled,
                format!(
                    "Trail {name} does not have Insights enabled. Edit the trail settings to enable Insights, and then \
                     try the operation again."
                ),
            )
            .into());
        }
        Ok(InsightSelectorsOutput {
            trail_arn: Some(trail.arn().to_string()),
            insight_selectors: trail.stored.insights.clone(),
        })
    }
}

/// The trail, where it is one that is meant, and nothing else is.
fn trail<'a>(trail: Option<&'a String>, store: Option<&String>) -> Result<&'a str, Error> {
    match (trail, store) {
        (Some(trail), None) => Ok(trail),
        (None, Some(_)) => Err(Error::unsupported("Sidetrail has no event data stores: give a TrailName.")),
        _ => Err(Error::new(
            Code::InvalidParameterCombination,
            "Give either TrailName, or EventDataStore and InsightsDestination.",
        )),
    }
}

fn check(selectors: &[InsightSelector]) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::new(Code::InvalidInsightSelectors, message));
    for (index, selector) in selectors.iter().enumerate() {
        let kind = selector.insight_type.as_deref().unwrap_or_default();
        if ![CALL_RATE, ERROR_RATE].contains(&kind) {
            return wrong(format!("InsightType {} is not {CALL_RATE} or {ERROR_RATE}.", quoted(kind)));
        }
        if selectors[..index].iter().any(|other| other.insight_type == selector.insight_type) {
            return wrong(format!("InsightType {kind} comes twice."));
        }
        for category in selector.event_categories.iter().flatten() {
            if !["Management", "Data"].contains(&category.as_str()) {
                return wrong(format!("EventCategory {} is not Management or Data.", quoted(category)));
            }
        }
    }
    Ok(())
}

/// A trail finds insights in what it records only.
fn check_logged(selector: &InsightSelector, selectors: &Selectors) -> Result<(), Error> {
    let invalid = |message: &str| Err(Error::new(Code::InvalidInsightSelectors, message));
    let Ok(matcher) = Matcher::new(selectors, Scope::Trail) else { return Ok(()) };
    let logs = |read_only: bool| {
        let record = Record {
            event_source: Some("example.com".to_owned()),
            event_name: Some("Example".to_owned()),
            event_category: Some("Management".to_owned()),
            management_event: Some(true),
            read_only: Some(read_only),
            ..Record::default()
        };
        matcher.matches(&record)
    };
    let management =
        selector.event_categories.as_ref().is_none_or(|it| it.iter().any(|it| it == "Management"));
    match selector.insight_type.as_deref() {
        Some(CALL_RATE) if management && !logs(false) => {
            invalid("ApiCallRateInsight needs a trail that logs write management events.")
        }
        Some(ERROR_RATE) if management && !logs(false) && !logs(true) => {
            invalid("ApiErrorRateInsight needs a trail that logs read or write management events.")
        }
        _ => Ok(()),
    }
}
