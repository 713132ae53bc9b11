//! Advanced selectors: types and rules.

use serde::{Deserialize, Serialize};

use crate::Scope;
use crate::basic::{check_type, is_of_aws, source_can_be_excluded};
use crate::error::{InvalidSelectors, Problem, limit, quoted, value};
use crate::field::Field;

/// Values over all advanced selectors of a trail or store.
pub const MAX_CONDITIONS: usize = 500;
/// Advanced selectors of an event data store. A trail's are limited by [`MAX_CONDITIONS`].
pub const MAX_STORE_SELECTORS: usize = 5;
/// Characters of a selector's name.
pub const MAX_NAME: usize = 1000;
/// Characters of a value.
pub const MAX_VALUE: usize = 2048;

/// An advanced event selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AdvancedEventSelector {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All of these must hold.
    pub field_selectors: Vec<FieldSelector>,
}

/// What must hold of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldSelector {
    /// CloudTrail's name of the field, e.g. `resources.ARN`.
    pub field: String,
    /// It is one of these, or one of the next two holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Vec<String>>,
    /// It starts with one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<Vec<String>>,
    /// It ends with one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<Vec<String>>,
    /// It is none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Vec<String>>,
    /// It starts with none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_starts_with: Option<Vec<String>>,
    /// It ends with none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ends_with: Option<Vec<String>>,
}

impl FieldSelector {
    /// The operators in CloudTrail's order, by name.
    #[must_use]
    pub fn operators(&self) -> [(&'static str, Option<&[String]>); 6] {
        [
            ("Equals", self.equals.as_deref()),
            ("StartsWith", self.starts_with.as_deref()),
            ("EndsWith", self.ends_with.as_deref()),
            ("NotEquals", self.not_equals.as_deref()),
            ("NotStartsWith", self.not_starts_with.as_deref()),
            ("NotEndsWith", self.not_ends_with.as_deref()),
        ]
    }

    /// The operators that have values.
    fn used(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.operators().into_iter().filter_map(|(operator, values)| Some((operator, values?)))
    }

    /// The values, if they are all there is and for `Equals`.
    fn only_equals(&self) -> Option<&[String]> {
        self.equals.as_deref().filter(|_| self.used().count() == 1)
    }
}

/// What a selector can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Management,
    Data,
    NetworkActivity,
    /// Of event data stores only.
    Other(&'static str),
}

impl Category {
    fn of(name: &str, scope: Scope) -> Option<Self> {
        let others = ["Insight", "ConfigurationItem", "Evidence", "ActivityAuditLog"];
        match name {
            "Management" => Some(Self::Management),
            "Data" => Some(Self::Data),
            "NetworkActivity" => Some(Self::NetworkActivity),
            _ if scope == Scope::EventDataStore => {
                others.into_iter().find(|other| *other == name).map(Self::Other)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Management => "Management",
            Self::Data => "Data",
            Self::NetworkActivity => "NetworkActivity",
            Self::Other(name) => name,
        }
    }
}

/// Which operators and values a field can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Any operator, any value.
    Any,
    /// `Equals` with one value, for a field that must be there.
    One,
    /// `Equals` with these values.
    Equals(&'static [&'static str]),
    /// `Equals` or `NotEquals` with these values.
    EqualsOrNot(&'static [&'static str]),
    /// Which management events of which source: AWS's own by exclusion of two of them, others with any operator.
    ManagementSource,
}

/// The table of the user guide, row by row. `Err` where a field cannot be used, and whether it could in a store.
fn rule(category: Category, field: Field, scope: Scope) -> Result<Rule, bool> {
    use Field::{
        ErrorCode, EventCategory, EventName, EventSource, EventType, ReadOnly, ResourceArn, ResourceType,
        SessionCredentialFromConsole, UserIdentityArn, VpcEndpointId,
    };
    let store = scope == Scope::EventDataStore;
    match (category, field) {
        (_, EventCategory) => Ok(Rule::One),
        (Category::Management | Category::Data, ReadOnly) => Ok(Rule::Equals(&["true", "false"])),
        (Category::Management, EventSource) => Ok(if store { Rule::Any } else { Rule::ManagementSource }),
        (Category::Management, EventName | EventType | UserIdentityArn) if store => Ok(Rule::Any),
        (Category::Management, SessionCredentialFromConsole) if store => Ok(Rule::EqualsOrNot(&["true"])),
        (Category::Management, EventName | EventType | UserIdentityArn | SessionCredentialFromConsole) => {
            Err(true)
        }
        (Category::Data, ResourceType) => Ok(Rule::One),
        (Category::Data, EventName | EventSource | EventType | ResourceArn | UserIdentityArn) => {
            Ok(Rule::Any)
        }
        (Category::Data, SessionCredentialFromConsole) => Ok(Rule::EqualsOrNot(&["true"])),
        (Category::NetworkActivity, EventSource) => Ok(Rule::One),
        (Category::NetworkActivity, EventName | VpcEndpointId | UserIdentityArn) => Ok(Rule::Any),
        (Category::NetworkActivity, ErrorCode) => Ok(Rule::Equals(&["VpceAccessDenied"])),
        _ => Err(false),
    }
}

pub(crate) fn validate(selectors: &[AdvancedEventSelector], scope: Scope) -> Result<(), InvalidSelectors> {
    let all = "AdvancedEventSelectors";
    let most = if scope == Scope::EventDataStore { MAX_STORE_SELECTORS } else { MAX_CONDITIONS };
    limit(all, all, "entries", selectors.len(), 1, most)?;
    let values = selectors.iter().flat_map(|selector| &selector.field_selectors);
    let values = values.flat_map(FieldSelector::used).map(|(_, values)| values.len()).sum();
    limit(all, all, "values over all selectors", values, 1, MAX_CONDITIONS)?;
    for (index, selector) in selectors.iter().enumerate() {
        validate_selector(&format!("{all}[{index}]"), selector, scope)?;
    }
    Ok(())
}

fn validate_selector(
    at: &str,
    selector: &AdvancedEventSelector,
    scope: Scope,
) -> Result<(), InvalidSelectors> {
    let name = selector.name.as_deref().unwrap_or_default();
    limit(format!("{at}.Name"), "Name", "characters", name.chars().count(), 0, MAX_NAME)?;
    let conditions = &selector.field_selectors;
    limit(format!("{at}.FieldSelectors"), "FieldSelectors", "entries", conditions.len(), 1, MAX_CONDITIONS)?;

    let mut fields = Vec::with_capacity(conditions.len());
    for (index, condition) in conditions.iter().enumerate() {
        let at = format!("{at}.FieldSelectors[{index}]");
        let field = condition.field.parse::<Field>().map_err(|()| {
            value(format!("{at}.Field"), "FieldSelectors.Field", &condition.field, "there is no such field")
        })?;
        if fields.contains(&field) {
            return Err(InvalidSelectors::new(at, Problem::Twice { field: field.name() }));
        }
        validate_values(&at, field, condition)?;
        fields.push(field);
    }

    let category = category(at, &fields, conditions, scope)?;
    let required = match category {
        Category::Data => Some(Field::ResourceType),
        Category::NetworkActivity => Some(Field::EventSource),
        Category::Management | Category::Other(_) => None,
    };
    if let Some(field) = required.filter(|field| !fields.contains(field)) {
        let problem = Problem::Required { category: category.name(), field: field.name() };
        return Err(InvalidSelectors::new(at, problem));
    }
    for (index, (field, condition)) in fields.into_iter().zip(conditions).enumerate() {
        obey(&format!("{at}.FieldSelectors[{index}]"), category, field, condition, scope)?;
    }
    Ok(())
}

/// What holds of every field: there are values, none is empty or too long, and none contradicts another.
fn validate_values(at: &str, field: Field, condition: &FieldSelector) -> Result<(), InvalidSelectors> {
    limit(at, "FieldSelectors", "operators", condition.used().count(), 1, 6)?;
    for (operator, values) in condition.used() {
        limit(format!("{at}.{operator}"), operator, "values", values.len(), 1, MAX_CONDITIONS)?;
        for (index, text) in values.iter().enumerate() {
            let count = text.chars().count();
            limit(format!("{at}.{operator}[{index}]"), operator, "characters", count, 1, MAX_VALUE)?;
        }
    }
    let [equals, starts, ends, not_equals, not_starts, not_ends] = condition.operators();
    for ((operator, wanted), (_, unwanted)) in [(equals, not_equals), (starts, not_starts), (ends, not_ends)]
    {
        let unwanted = unwanted.unwrap_or_default();
        if let Some(value) = wanted.unwrap_or_default().iter().find(|value| unwanted.contains(value)) {
            let problem = Problem::Conflict { field: field.name(), operator, value: quoted(value) };
            return Err(InvalidSelectors::new(at, problem));
        }
    }
    Ok(())
}

fn category(
    at: &str,
    fields: &[Field],
    conditions: &[FieldSelector],
    scope: Scope,
) -> Result<Category, InvalidSelectors> {
    let missing = || {
        let problem = Problem::Required { category: "any", field: Field::EventCategory.name() };
        InvalidSelectors::new(at, problem)
    };
    let index = fields.iter().position(|field| *field == Field::EventCategory).ok_or_else(missing)?;
    let Some([name]) = conditions[index].only_equals() else { return Err(missing()) };
    Category::of(name, scope).ok_or_else(|| {
        let at = format!("{at}.FieldSelectors[{index}].Equals[0]");
        value(at, Field::EventCategory.name(), name, "there is no such category here")
    })
}

/// Checks a field's condition against the table.
fn obey(
    at: &str,
    category: Category,
    field: Field,
    condition: &FieldSelector,
    scope: Scope,
) -> Result<(), InvalidSelectors> {
    let (category_name, name) = (category.name(), field.name());
    let rule = rule(category, field, scope).map_err(|in_store| {
        let scope = if in_store { " in a trail" } else { "" };
        InvalidSelectors::new(at, Problem::Field { category: category_name, field: name, scope })
    })?;
    let refused = |operator| {
        InvalidSelectors::new(at, Problem::Operator { category: category_name, field: name, operator })
    };
    let listed = |operators: &[&str], allowed: &[&str]| {
        for (operator, values) in condition.used() {
            if !operators.contains(&operator) {
                return Err(refused(operator));
            }
            if let Some(index) = values.iter().position(|value| !allowed.contains(&value.as_str())) {
                let at = format!("{at}.{operator}[{index}]");
                return Err(value(at, name, &values[index], "the field has no such value"));
            }
        }
        Ok(())
    };
    match rule {
        Rule::Any => {}
        Rule::One => {
            let Some([one]) = condition.only_equals() else {
                return Err(InvalidSelectors::new(
                    at,
                    Problem::Required { category: category_name, field: name },
                ));
            };
            if field == Field::ResourceType {
                check_type(one).map_err(|reason| value(format!("{at}.Equals[0]"), name, one, reason))?;
            }
        }
        Rule::Equals(allowed) => listed(&["Equals"], allowed)?,
        Rule::EqualsOrNot(allowed) => listed(&["Equals", "NotEquals"], allowed)?,
        Rule::ManagementSource => {
            for (operator, values) in condition.used() {
                for (index, source) in values.iter().enumerate() {
                    let allowed = match operator {
                        "NotEquals" => source_can_be_excluded(source),
                        _ if is_of_aws(source) => {
                            Err("AWS's sources can only be excluded from management events, with NotEquals")
                        }
                        _ => Ok(()),
                    };
                    allowed
                        .map_err(|reason| value(format!("{at}.{operator}[{index}]"), name, source, reason))?;
                }
            }
        }
    }
    Ok(())
}
