//! Selectors compiled: checked once, then asked for every event.

use crate::advanced::AdvancedEventSelector;
use crate::basic::{self, EventSelector, Form, ReadWriteType};
use crate::condition::Condition;
use crate::event::{Event, Resource, category};
use crate::field::Field;
use crate::texts::Texts;
use crate::{InvalidSelectors, Scope, Selectors};

/// Decides which events a trail or store takes. Allocates nothing per event.
#[derive(Clone, Debug)]
pub struct Matcher(Box<[Selector]>);

#[derive(Clone, Debug)]
enum Selector {
    Basic(Basic),
    Advanced(Advanced),
}

#[derive(Clone, Debug)]
struct Basic {
    read_write: ReadWriteType,
    /// The excluded sources, where management events are included.
    management: Option<Texts>,
    data: Box<[Data]>,
}

#[derive(Clone, Debug)]
struct Data {
    kind: Box<str>,
    /// `None` selects every resource of the type.
    arns: Option<Texts>,
}

#[derive(Clone, Debug)]
struct Advanced {
    /// The category first: it decides most events.
    fields: Box<[(Field, Condition)]>,
    kind: Option<Condition>,
    arn: Option<Condition>,
}

impl Matcher {
    /// Checks and compiles selectors.
    ///
    /// # Errors
    /// As [`Selectors::validate`].
    pub fn new(selectors: &Selectors, scope: Scope) -> Result<Self, InvalidSelectors> {
        selectors.validate(scope)?;
        Ok(Self(match selectors {
            Selectors::Basic(selectors) => {
                selectors.iter().map(|it| Selector::Basic(Basic::new(it))).collect()
            }
            Selectors::Advanced(selectors) => {
                selectors.iter().map(|it| Selector::Advanced(Advanced::new(it))).collect()
            }
        }))
    }

    /// Whether any selector takes the event.
    #[must_use]
    pub fn matches<E: Event + ?Sized>(&self, event: &E) -> bool {
        self.0.iter().any(|selector| match selector {
            Selector::Basic(basic) => basic.matches(event),
            Selector::Advanced(advanced) => advanced.matches(event),
        })
    }
}

impl Basic {
    fn new(selector: &EventSelector) -> Self {
        let excluded = Texts::new(&selector.exclude_management_event_sources, &[], &[]);
        let data = selector.data_resources.iter().map(|resource| {
            let forms = resource.values.iter().filter_map(|value| basic::form(&resource.kind, value).ok());
            let (mut all, mut exact, mut prefixes) = (false, Vec::new(), Vec::new());
            for (form, _) in forms {
                match form {
                    Form::All => all = true,
                    Form::Exact(arn) => exact.push(arn),
                    Form::Prefix(arn) => prefixes.push(arn),
                }
            }
            let arns = (!all).then(|| Texts::new(&exact, &prefixes, &[]));
            Data { kind: resource.kind.as_str().into(), arns }
        });
        Self {
            read_write: selector.read_write_type,
            management: selector.include_management_events.then_some(excluded),
            data: data.collect(),
        }
    }

    fn matches<E: Event + ?Sized>(&self, event: &E) -> bool {
        self.read_write.takes(event.read_only())
            && match category(event) {
                "Management" => self
                    .management
                    .as_ref()
                    .is_some_and(|excluded| !event.event_source().is_some_and(|source| excluded.any(source))),
                "Data" => resources(event).any(|resource| self.data.iter().any(|data| data.takes(resource))),
                _ => false,
            }
    }
}

impl Data {
    fn takes(&self, resource: Resource<'_>) -> bool {
        resource.kind == Some(&*self.kind)
            && self.arns.as_ref().is_none_or(|arns| resource.arn.is_some_and(|arn| arns.any(arn)))
    }
}

impl Advanced {
    fn new(selector: &AdvancedEventSelector) -> Self {
        let (mut fields, mut kind, mut arn) = (Vec::new(), None, None);
        for condition in &selector.field_selectors {
            let compiled = Condition::new(condition);
            match condition.field.parse() {
                Ok(Field::ResourceType) => kind = Some(compiled),
                Ok(Field::ResourceArn) => arn = Some(compiled),
                Ok(field) => fields.push((field, compiled)),
                // Validation has refused it.
                Err(()) => {}
            }
        }
        fields.sort_by_key(|(field, _)| *field);
        Self { fields: fields.into(), kind, arn }
    }

    fn matches<E: Event + ?Sized>(&self, event: &E) -> bool {
        self.fields.iter().all(|(field, condition)| condition.holds(field.of(event)))
            && ((self.kind.is_none() && self.arn.is_none())
                || resources(event).any(|resource| self.takes(resource)))
    }

    fn takes(&self, resource: Resource<'_>) -> bool {
        let holds = |condition: &Option<Condition>, value| {
            condition.as_ref().is_none_or(|condition| condition.holds(value))
        };
        holds(&self.kind, resource.kind) && holds(&self.arn, resource.arn)
    }
}

pub(crate) fn resources<E: Event + ?Sized>(event: &E) -> impl Iterator<Item = Resource<'_>> {
    (0..).map_while(|index| event.resource(index))
}
