//! Basic selectors: types and rules.

use serde::{Deserialize, Deserializer, Serialize};

use crate::advanced::MAX_VALUE;
use crate::error::{InvalidSelectors, Problem, limit, value};

/// Basic selectors of one trail.
pub const MAX_BASIC_SELECTORS: usize = 5;
/// `DataResources.Values` over all basic selectors of a trail, without those that select everything of a type.
pub const MAX_DATA_RESOURCES: usize = 250;

/// AWS's own sources that can be excluded from management events.
const EXCLUDABLE: [&str; 2] = ["kms.amazonaws.com", "rdsdata.amazonaws.com"];

/// A basic event selector. Absent members have CloudTrail's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventSelector {
    /// Which events: all by default.
    #[serde(default)]
    pub read_write_type: ReadWriteType,
    /// Whether management events are selected: they are by default.
    #[serde(default = "yes")]
    pub include_management_events: bool,
    /// Which data events are selected: none by default.
    #[serde(default, deserialize_with = "list")]
    pub data_resources: Vec<DataResource>,
    /// Event sources whose management events are not selected.
    #[serde(default, deserialize_with = "list")]
    pub exclude_management_event_sources: Vec<String>,
}

impl Default for EventSelector {
    fn default() -> Self {
        Self {
            read_write_type: ReadWriteType::All,
            include_management_events: true,
            data_resources: Vec::new(),
            exclude_management_event_sources: Vec::new(),
        }
    }
}

/// Whether reads or writes are selected, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ReadWriteType {
    /// Both.
    #[default]
    All,
    /// Events with `readOnly: true`.
    ReadOnly,
    /// All others.
    WriteOnly,
}

impl ReadWriteType {
    pub(crate) fn takes(self, read_only: Option<bool>) -> bool {
        match self {
            Self::All => true,
            Self::ReadOnly => read_only == Some(true),
            Self::WriteOnly => read_only != Some(true),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::ReadOnly => "ReadOnly",
            Self::WriteOnly => "WriteOnly",
        }
    }
}

/// Data events on resources of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DataResource {
    /// `AWS::S3::Object`, `AWS::Lambda::Function`, `AWS::DynamoDB::Table`, or a type of your own of that form.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Which of them, by ARN.
    pub values: Vec<String>,
}

/// What a value of a data resource selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Every resource of the type, whatever its ARN.
    All,
    /// Every resource whose ARN begins so.
    Prefix(String),
    /// The resource with this ARN.
    Exact(String),
}

impl Form {
    pub(crate) fn takes(&self, arn: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => arn.is_some_and(|arn| arn.starts_with(prefix)),
            Self::Exact(exact) => arn == Some(exact),
        }
    }
}

/// What `value` selects of `kind`, and whether it counts towards [`MAX_DATA_RESOURCES`]; or why it is not valid.
pub(crate) fn form(kind: &str, value: &str) -> Result<(Form, bool), &'static str> {
    let (partition, rest) =
        value.strip_prefix("arn:").and_then(|rest| rest.split_once(':')).ok_or("it is not an ARN")?;
    let (service, resource) = rest.split_once(':').unwrap_or((rest, ""));
    if partition.is_empty() || service.is_empty() {
        return Err("it is not an ARN");
    }
    let three_parts = !rest.contains(':');
    let is_of = |expected: &str| service == expected && (partition == "aws" || partition.starts_with("aws-"));
    match kind {
        "AWS::S3::Object" if is_of("s3") => {
            let Some(path) = resource.strip_prefix("::") else {
                return if three_parts {
                    Ok((Form::All, false))
                } else {
                    Err("it is not the ARN of a bucket or object")
                };
            };
            match path.split_once('/') {
                None if path.is_empty() => Ok((Form::All, false)),
                // The bucket itself is none of its objects.
                None if !path.contains('*') => Ok((Form::Exact(value.to_owned()), true)),
                Some((bucket, _)) if !bucket.is_empty() && !bucket.contains('*') => {
                    Ok((Form::Prefix(value.to_owned()), true))
                }
                _ => Err("there are no wildcards: arn:aws:s3 selects every object"),
            }
        }
        "AWS::Lambda::Function" if is_of("lambda") => whole(value, three_parts, resource),
        "AWS::DynamoDB::Table" if is_of("dynamodb") => whole(value, three_parts, resource),
        "AWS::S3::Object" | "AWS::Lambda::Function" | "AWS::DynamoDB::Table" => {
            Err("it is not an ARN of the type's service")
        }
        _ if value.contains('*') => {
            Err("there are no wildcards: an ARN of three parts selects everything of a service")
        }
        _ if three_parts => Ok((Form::Prefix(format!("{value}:")), false)),
        _ => Ok((Form::Prefix(value.to_owned()), true)),
    }
}

fn whole(value: &str, three_parts: bool, resource: &str) -> Result<(Form, bool), &'static str> {
    if three_parts {
        return Ok((Form::All, false));
    }
    // Region, account, and what it is.
    let mut parts = resource.splitn(3, ':');
    let complete = (0..3).all(|_| parts.next().is_some_and(|part| !part.is_empty()));
    if !complete || value.contains('*') {
        return Err("it is not a whole ARN");
    }
    Ok((Form::Exact(value.to_owned()), true))
}

pub(crate) fn validate(selectors: &[EventSelector]) -> Result<(), InvalidSelectors> {
    limit("EventSelectors", "EventSelectors", "entries", selectors.len(), 1, MAX_BASIC_SELECTORS)?;
    let mut counted = 0;
    for (index, selector) in selectors.iter().enumerate() {
        let at = format!("EventSelectors[{index}]");
        if !selector.exclude_management_event_sources.is_empty() && !selector.include_management_events {
            return Err(InvalidSelectors::new(at, Problem::ExcludesFromNothing));
        }
        if !selector.include_management_events && selector.data_resources.is_empty() {
            return Err(InvalidSelectors::new(at, Problem::SelectsNothing));
        }
        for (index, source) in selector.exclude_management_event_sources.iter().enumerate() {
            let field = "ExcludeManagementEventSources";
            source_can_be_excluded(source)
                .map_err(|reason| value(format!("{at}.{field}[{index}]"), field, source, reason))?;
        }
        for (index, resource) in selector.data_resources.iter().enumerate() {
            counted += data_resource(&format!("{at}.DataResources[{index}]"), resource)?;
        }
    }
    limit(
        "EventSelectors",
        "DataResources.Values",
        "entries over all selectors",
        counted,
        0,
        MAX_DATA_RESOURCES,
    )
}

/// Checks a data resource; how many of its values count.
fn data_resource(at: &str, resource: &DataResource) -> Result<usize, InvalidSelectors> {
    check_type(&resource.kind)
        .map_err(|reason| value(format!("{at}.Type"), "DataResources.Type", &resource.kind, reason))?;
    let at = format!("{at}.Values");
    if resource.values.is_empty() {
        return limit(at, "DataResources.Values", "entries", 0, 1, MAX_DATA_RESOURCES).map(|()| 0);
    }
    let mut counted = 0;
    for (index, arn) in resource.values.iter().enumerate() {
        let at = format!("{at}[{index}]");
        limit(&at, "DataResources.Values", "characters", arn.chars().count(), 1, MAX_VALUE)?;
        let (_, counts) =
            form(&resource.kind, arn).map_err(|reason| value(at, "DataResources.Values", arn, reason))?;
        counted += usize::from(counts);
    }
    Ok(counted)
}

/// Whether a type has the form `A::B::C`.
pub(crate) fn check_type(kind: &str) -> Result<(), &'static str> {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if kind.split("::").count() == 3 && kind.split("::").all(part) {
        return Ok(());
    }
    Err("a type has the form AWS::Service::Kind")
}

/// Whether an event source is one of AWS.
pub(crate) fn is_of_aws(source: &str) -> bool {
    source == "amazonaws.com" || source.ends_with(".amazonaws.com")
}

/// Whether the management events of an event source can be excluded.
pub(crate) fn source_can_be_excluded(source: &str) -> Result<(), &'static str> {
    if source.is_empty() || source.chars().count() > MAX_VALUE {
        return Err("an event source has 1 to 2048 characters");
    }
    if is_of_aws(source) && !EXCLUDABLE.contains(&source) {
        return Err("of AWS's sources only kms.amazonaws.com and rdsdata.amazonaws.com can be excluded");
    }
    Ok(())
}

fn yes() -> bool {
    true
}

/// A list, or null for an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
