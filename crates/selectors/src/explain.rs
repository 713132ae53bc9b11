//! Why an event is taken, or not.
//!
//! Works from the selectors as they were given and not from their compiled form, so that each checks the other in tests.

use serde::Serialize;

use crate::Selectors;
use crate::advanced::{AdvancedEventSelector, FieldSelector};
use crate::basic::{self, DataResource, EventSelector};
use crate::event::{Event, Resource, category};
use crate::field::Field;
use crate::matcher::resources;

/// What the selectors make of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether any selector takes it.
    pub taken: bool,
    /// Each selector, in order.
    pub selectors: Vec<SelectorExplanation>,
}

/// What one selector makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelectorExplanation {
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether all of its conditions hold.
    pub matched: bool,
    /// Each condition, in order.
    pub conditions: Vec<ConditionExplanation>,
}

/// What one condition makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionExplanation {
    /// The field or member that it is about.
    pub field: String,
    /// Whether it holds.
    pub matched: bool,
    /// What the event has there; of resources each one's. Empty where it has nothing.
    pub found: Vec<String>,
    /// Why it holds or not.
    pub reason: String,
}

impl Selectors {
    /// Says of every selector and condition why it holds of an event, or not.
    #[must_use]
    pub fn explain<E: Event + ?Sized>(&self, event: &E) -> Explanation {
        let selectors: Vec<_> = match self {
            Self::Basic(selectors) => selectors.iter().map(|it| basic_selector(it, event)).collect(),
            Self::Advanced(selectors) => selectors.iter().map(|it| advanced_selector(it, event)).collect(),
        };
        Explanation { taken: selectors.iter().any(|selector| selector.matched), selectors }
    }
}

fn condition(
    field: &str,
    matched: bool,
    found: impl IntoIterator<Item = impl Into<String>>,
    reason: String,
) -> ConditionExplanation {
    let found = found.into_iter().map(Into::into).collect();
    ConditionExplanation { field: field.to_owned(), matched, found, reason }
}

fn selector(name: Option<String>, conditions: Vec<ConditionExplanation>) -> SelectorExplanation {
    SelectorExplanation { name, matched: conditions.iter().all(|condition| condition.matched), conditions }
}

fn basic_selector<E: Event + ?Sized>(it: &EventSelector, event: &E) -> SelectorExplanation {
    let mut conditions = vec![read_write(it, event)];
    match category(event) {
        "Management" => {
            let included = it.include_management_events;
            let reason = format!("management events are {}included", if included { "" } else { "not " });
            conditions.push(condition("IncludeManagementEvents", included, ["Management"], reason));
            if !it.exclude_management_event_sources.is_empty() {
                let source = event.event_source();
                let excluded = source.is_some_and(|source| {
                    it.exclude_management_event_sources.iter().any(|excluded| excluded == source)
                });
                let reason = format!("the source is {}excluded", if excluded { "" } else { "not " });
                conditions.push(condition("ExcludeManagementEventSources", !excluded, source, reason));
            }
        }
        "Data" => conditions.push(data_resources(&it.data_resources, event)),
        other => {
            let reason = "basic selectors take management and data events only".to_owned();
            conditions.push(condition("eventCategory", false, [other], reason));
        }
    }
    selector(None, conditions)
}

fn read_write<E: Event + ?Sized>(it: &EventSelector, event: &E) -> ConditionExplanation {
    let matched = it.read_write_type.takes(event.read_only());
    let kind = if event.read_only() == Some(true) { "a read" } else { "a write" };
    let reason =
        format!("{} {} {kind}", it.read_write_type.name(), if matched { "takes" } else { "does not take" });
    condition("ReadWriteType", matched, Field::ReadOnly.of(event), reason)
}

fn data_resources<E: Event + ?Sized>(selected: &[DataResource], event: &E) -> ConditionExplanation {
    let found = resources(event).map(|resource| describe(resource, true, true));
    let fits = |resource: Resource<'_>| {
        selected.iter().filter(move |it| resource.kind == Some(it.kind.as_str())).find_map(move |it| {
            let takes = |value: &&String| {
                basic::form(&it.kind, value).is_ok_and(|(form, _)| form.takes(resource.arn))
            };
            Some((it, it.values.iter().find(takes)?))
        })
    };
    let fit = resources(event).find_map(fits);
    let reason = match fit {
        Some((it, value)) => format!("{} of type {} selects it", value, it.kind),
        None if selected.is_empty() => "the selector takes no data events".to_owned(),
        None => "no value of its type selects any of the event's resources".to_owned(),
    };
    condition("DataResources", fit.is_some(), found, reason)
}

fn advanced_selector<E: Event + ?Sized>(it: &AdvancedEventSelector, event: &E) -> SelectorExplanation {
    let field = |condition: &FieldSelector| condition.field.parse::<Field>();
    let of_resource = |condition: &&FieldSelector| field(condition).is_ok_and(Field::is_of_resource);
    let about: Vec<_> = it.field_selectors.iter().filter(of_resource).collect();
    // The one that fits best stands for all: conditions on resources must hold of the same one.
    let fits = |resource: &Resource<'_>| {
        about.iter().filter(|condition| judge(condition, of(*resource, condition)).0).count()
    };
    let best = resources(event).reduce(|best, next| if fits(&next) > fits(&best) { next } else { best });
    let best = best.unwrap_or_default();
    let conditions = it.field_selectors.iter().map(|it| match field(it) {
        Ok(field) if field.is_of_resource() => {
            let (matched, reason) = judge(it, of(best, it));
            let kind = field == Field::ResourceType;
            let found = resources(event).map(|resource| describe(resource, kind, !kind));
            condition(&it.field, matched, found, reason)
        }
        Ok(field) => {
            let value = field.of(event);
            let (matched, reason) = judge(it, value);
            condition(&it.field, matched, value, reason)
        }
        Err(()) => condition(&it.field, false, None::<String>, "there is no such field".to_owned()),
    });
    selector(it.name.clone().filter(|name| !name.is_empty()), conditions.collect())
}

/// The value of a resource that a condition is about.
fn of<'a>(resource: Resource<'a>, condition: &FieldSelector) -> Option<&'a str> {
    if condition.field == Field::ResourceType.name() { resource.kind } else { resource.arn }
}

/// Whether a condition holds of a value, and why.
fn judge(condition: &FieldSelector, value: Option<&str>) -> (bool, String) {
    let [equals, starts, ends, not_equals, not_starts, not_ends] =
        condition.operators().map(|(operator, values)| (operator, values.unwrap_or_default()));
    let wants = !(equals.1.is_empty() && starts.1.is_empty() && ends.1.is_empty());
    let Some(value) = value else {
        let reason = if wants {
            "the event has none, and it must have one of the values"
        } else {
            "the event has none"
        };
        return (!wants, reason.to_owned());
    };
    let hit = |[equals, starts, ends]: [(&'static str, &[String]); 3]| {
        let find = |(operator, values): (&'static str, &[String]), holds: &dyn Fn(&str) -> bool| {
            values.iter().find(|wanted| holds(wanted)).map(|wanted| format!("{operator} {wanted:?}"))
        };
        find(equals, &|wanted| value == wanted)
            .or_else(|| find(starts, &|wanted| value.starts_with(wanted)))
            .or_else(|| find(ends, &|wanted| value.ends_with(wanted)))
    };
    if let Some(unwanted) = hit([not_equals, not_starts, not_ends]) {
        return (false, format!("{unwanted} excludes it"));
    }
    match hit([equals, starts, ends]) {
        Some(wanted) => (true, format!("{wanted} holds")),
        None if wants => (false, "none of the values holds".to_owned()),
        None => (true, "nothing excludes it".to_owned()),
    }
}

/// A resource in words.
fn describe(resource: Resource<'_>, kind: bool, arn: bool) -> String {
    let parts = [kind.then_some(resource.kind), arn.then_some(resource.arn)];
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| part.unwrap_or("(none)")).collect();
    parts.join(" ")
}
