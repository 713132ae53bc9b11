//! Refuses selectors that would record what the collector itself does.
//!
//! The collector's requests are never recorded by the collector: nothing in it uses the layer. But a store that records
//! its own data events, and sends them here, has an event for every object that a trail puts and confirms. A trail that
//! takes these makes more objects of them, and so for ever. So a selector is refused if it takes `PutObject` or `HeadObject`
//! on a log file or manifest of any trail of the configuration.
//!
//! Not refused, as it ends by itself or never begins:
//!
//! - everything about other buckets and prefixes, and about buckets of trails as long as `resources.ARN` leaves out where
//!   their objects lie;
//! - other calls, by `eventName`: who reads the evidence is worth knowing, and the collector does not read it;
//! - events of a source that is not S3's, by `eventSource`;
//! - any condition on `userIdentity.arn`: who the collector is to its store is not known here, and leaving it out is
//!   the other way to break the circle;
//! - whole ARNs: an object is put once, and that is one event;
//! - local directories, which have no events;
//! - a trail without selectors: whoever takes everything has said so.

use sidetrail_selectors::{AdvancedEventSelector, DataResource, FieldSelector, Selectors};

use super::Config;

/// What the requests of a collector are called in data events: each object is put, and then confirmed.
const OWN_CALLS: [&str; 2] = ["PutObject", "HeadObject"];
const S3_SOURCE: &str = "s3.amazonaws.com";
const S3_OBJECT: &str = "AWS::S3::Object";
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
/// Sources that our own processes would have. There are no events of them.
const OWN_SOURCES: [&str; 2] = ["sidetrail-collector", "sidetrail-server"];

/// ARNs of one kind of our objects: how they begin and end.
struct Objects {
    trail: String,
    start: String,
    end: &'static str,
}

/// The selector that takes what the collector itself does, if any, and what that is.
pub(super) fn own_traffic(config: &Config, selectors: &Selectors) -> Option<(String, String)> {
    let objects: Vec<_> =
        config.trails.iter().flat_map(|trail| objects(config, &trail.name, &trail.destination)).collect();
    let (member, index, objects) = match selectors {
        Selectors::Basic(basic) => basic.iter().enumerate().find_map(|(index, selector)| {
            let mut resources = selector.data_resources.iter().filter(|it| it.kind == S3_OBJECT);
            let objects = resources.find_map(|it| objects.iter().find(|objects| takes_basic(it, objects)))?;
            Some(("event_selectors", index, objects))
        }),
        Selectors::Advanced(advanced) => {
            if let Some((index, source)) = names_own_source(advanced) {
                let problem =
                    format!("selects {source}: the collector and the server never record themselves");
                return Some((format!(".advanced_event_selectors[{index}]"), problem));
            }
            let taken = advanced.iter().enumerate().find_map(|(index, selector)| {
                Some((index, objects.iter().find(|objects| takes(selector, objects))?))
            });
            taken.map(|(index, objects)| ("advanced_event_selectors", index, objects))
        }
    }?;
    let problem = format!(
        "would record what trail {} itself stores at {}…, without end: leave these objects out by resources.ARN, or \
         the collector by userIdentity.arn",
        objects.trail, objects.start
    );
    Some((format!(".{member}[{index}]"), problem))
}

/// The objects that a trail keeps putting, as a bucket's events name them. A public key is put once.
fn objects(config: &Config, trail: &sidetrail_archive::key::Trail, destination: &str) -> Vec<Objects> {
    let Some(rest) = destination.strip_prefix("s3://") else { return Vec::new() };
    let rest = rest.trim_end_matches('/');
    let (account, region) = (config.account.as_str(), config.region.as_str());
    let kinds = [("CloudTrail", ".json.gz"), ("Sidetrail-Manifest", ".json")];
    let arns = PARTITIONS.iter().flat_map(|partition| kinds.map(|kind| (partition, kind)));
    arns.map(|(partition, (kind, end))| Objects {
        trail: trail.to_string(),
        start: format!("arn:{partition}:s3:::{rest}/AWSLogs/{account}/{kind}/{region}/"),
        end,
    })
    .collect()
}

/// Whether a prefix is one of objects, or of a part of them.
fn meets(prefix: &str, objects: &Objects) -> bool {
    objects.start.starts_with(prefix) || prefix.starts_with(&objects.start)
}

fn takes_basic(resource: &DataResource, objects: &Objects) -> bool {
    let everything = |value: &str| matches!(value.trim_end_matches(':').split(':').count(), 3);
    // A bucket without a slash selects none of its objects.
    let of_objects = |value: &&String| value.contains('/');
    resource.values.iter().any(|value| everything(value))
        || resource.values.iter().filter(of_objects).any(|value| meets(value, objects))
}

fn takes(selector: &AdvancedEventSelector, objects: &Objects) -> bool {
    let field = |name: &str| selector.field_selectors.iter().find(|condition| condition.field == name);
    let is = |name: &str, value: &str| field(name).is_some_and(|it| one_of(it.equals.as_ref(), value));
    is("eventCategory", "Data")
        && is("resources.type", S3_OBJECT)
        && field("eventName").is_none_or(|it| OWN_CALLS.iter().any(|call| holds(it, call)))
        && field("eventSource").is_none_or(|it| holds(it, S3_SOURCE))
        && field("userIdentity.arn").is_none()
        && field("resources.ARN").is_none_or(|it| takes_arns(it, objects))
}

/// Whether a condition on the ARN holds for some of the objects. Whole ARNs do not count: they are of one object each.
fn takes_arns(condition: &FieldSelector, objects: &Objects) -> bool {
    let [equals, starts, ends, _, not_starts, not_ends] =
        condition.operators().map(|(_, values)| values.unwrap_or_default());
    let wanted = equals.is_empty() && starts.is_empty() && ends.is_empty()
        || starts.iter().any(|prefix| meets(prefix, objects))
        || ends.iter().any(|suffix| objects.end.ends_with(suffix.as_str()) || suffix.ends_with(objects.end));
    let unwanted = not_starts.iter().any(|prefix| objects.start.starts_with(prefix.as_str()))
        || not_ends.iter().any(|suffix| objects.end.ends_with(suffix.as_str()));
    wanted && !unwanted
}

/// Whether a condition holds of a value.
fn holds(condition: &FieldSelector, value: &str) -> bool {
    let any = |values: &Option<Vec<String>>, holds: fn(&str, &str) -> bool| {
        values.iter().flatten().any(|text| holds(value, text))
    };
    let FieldSelector { equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with, .. } =
        condition;
    let wants = [equals, starts_with, ends_with].into_iter().any(Option::is_some);
    let starts = |value: &str, text: &str| value.starts_with(text);
    let ends = |value: &str, text: &str| value.ends_with(text);
    let is = |value: &str, text: &str| value == text;
    let wanted = any(equals, is) || any(starts_with, starts) || any(ends_with, ends);
    let unwanted = any(not_equals, is) || any(not_starts_with, starts) || any(not_ends_with, ends);
    (wanted || !wants) && !unwanted
}

fn one_of(values: Option<&Vec<String>>, value: &str) -> bool {
    values.into_iter().flatten().any(|it| it == value)
}

/// A selector that asks for a source of ours by name.
fn names_own_source(selectors: &[AdvancedEventSelector]) -> Option<(usize, &'static str)> {
    selectors.iter().enumerate().find_map(|(index, selector)| {
        let sources = selector.field_selectors.iter().filter(|it| it.field == "eventSource");
        let named = sources.flat_map(|it| it.equals.iter().chain(&it.starts_with).flatten());
        let own =
            named.filter_map(|named| OWN_SOURCES.into_iter().find(|own| named.starts_with(own))).next()?;
        Some((index, own))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::MINIMAL;
    use super::*;

    /// A trail into `s3://audit/logs` with these selectors, and one into another bucket without any.
    fn check(member: &str, selectors: &str) -> Result<(), String> {
        let trails = format!(
            "trails: [{{ name: default, destination: s3://audit/logs, selectors: {{ {member}: {selectors} }} }}, \
             {{ name: other, destination: s3://second }}, {{ name: local, destination: /var/audit }}]"
        );
        let from = "trails: [{ name: default, destination: s3://audit/logs }]";
        assert!(MINIMAL.contains(from));
        let config: Config = serde_norway::from_str(&MINIMAL.replace(from, &trails)).unwrap();
        config.check().map_err(|error| error.to_string())
    }

    fn basic(value: &str) -> Result<(), String> {
        check(
            "event_selectors",
            &format!("[{{ DataResources: [{{ Type: 'AWS::S3::Object', Values: ['{value}'] }}] }}]"),
        )
    }

    fn advanced(conditions: &str) -> Result<(), String> {
        let category = "{ Field: eventCategory, Equals: [Data] }, { Field: resources.type, Equals: ['AWS::S3::Object'] }";
        check("advanced_event_selectors", &format!("[{{ FieldSelectors: [{category}, {conditions}] }}]"))
    }

    #[test]
    fn basic_selectors() {
        for value in [
            "arn:aws:s3",
            "arn:aws:s3:::",
            "arn:aws:s3:::audit/",
            "arn:aws:s3:::audit/lo",
            "arn:aws:s3:::audit/logs/AWSLogs/",
            "arn:aws-cn:s3:::audit/logs/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/",
            "arn:aws:s3:::second/AWSLogs/111122223333/Sidetrail-Manifest/",
        ] {
            let error = basic(value).expect_err(value);
            assert!(
                error.contains("trails[0].selectors.event_selectors[0] would record what trail"),
                "{error}"
            );
        }
        for value in [
            "arn:aws:s3:::audit",
            "arn:aws:s3:::audit/uploads/",
            "arn:aws:s3:::audit/logs2",
            "arn:aws:s3:::orders/",
            "arn:aws:s3:::audit/logs/AWSLogs/999988887777/",
            "arn:aws:s3:::audit/logs/AWSLogs/111122223333/CloudTrail/eu-west-2/",
            "arn:aws:s3:::audit/logs/AWSLogs/111122223333/Sidetrail-Key/",
        ] {
            assert_eq!(basic(value), Ok(()), "{value}");
        }
        let of = |kind: &str, value: &str| {
            check(
                "event_selectors",
                &format!("[{{ DataResources: [{{ Type: '{kind}', Values: ['{value}'] }}] }}]"),
            )
        };
        assert_eq!(of("AWS::Lambda::Function", "arn:aws:lambda"), Ok(()));
        assert_eq!(of("AWS::Orders::Order", "arn:aws:s3"), Ok(()), "not what a bucket's events are about");
    }

    #[test]
    fn advanced_selectors() {
        let everything_but = "NotStartsWith: ['arn:aws:s3:::audit/logs/', 'arn:aws:s3:::second/', \
                              'arn:aws-cn:', 'arn:aws-us-gov:']";
        for conditions in [
            "{ Field: readOnly, Equals: ['false'] }",
            "{ Field: readOnly, Equals: ['true'] }",
            "{ Field: resources.ARN, StartsWith: ['arn:aws:s3:::audit/'] }",
            "{ Field: resources.ARN, StartsWith: ['arn:aws:s3:::second/AWSLogs/'] }",
            "{ Field: resources.ARN, EndsWith: ['.gz'] }",
            "{ Field: resources.ARN, EndsWith: ['0.json'] }",
            "{ Field: resources.ARN, NotStartsWith: ['arn:aws:s3:::audit/'] }",
            "{ Field: resources.ARN, NotEndsWith: ['.json.gz'] }",
            "{ Field: resources.ARN, NotEquals: ['arn:aws:s3:::audit/logs/x'] }",
            "{ Field: eventName, NotEquals: [PutObject] }",
            "{ Field: eventName, StartsWith: [Put, Get] }",
            "{ Field: eventSource, Equals: [s3.amazonaws.com] }",
            "{ Field: eventSource, NotEquals: [orders.example.com] }",
        ] {
            let error = advanced(conditions).expect_err(conditions);
            assert!(error.contains("advanced_event_selectors[0] would record what trail"), "{error}");
        }
        for conditions in [
            &format!("{{ Field: resources.ARN, {everything_but} }}"),
            "{ Field: resources.ARN, StartsWith: ['arn:aws:s3:::audit/uploads/'] }",
            "{ Field: resources.ARN, StartsWith: ['arn:aws:s3:::audit/'], NotStartsWith: ['arn:aws:s3:::audit/logs/AWSLogs/'] }",
            "{ Field: resources.ARN, Equals: ['arn:aws:s3:::audit/logs/AWSLogs/111122223333/CloudTrail/eu-west-1/x.json.gz'] }",
            "{ Field: resources.ARN, EndsWith: ['.csv'] }",
            "{ Field: resources.ARN, NotEndsWith: ['.json.gz', '.json'] }",
            "{ Field: resources.ARN, StartsWith: ['arn:aws:s3:::audit/'] }, { Field: eventName, Equals: [GetObject, DeleteObject] }",
            "{ Field: eventName, NotEquals: [PutObject, HeadObject] }",
            "{ Field: eventSource, EndsWith: [.example.com] }",
            "{ Field: userIdentity.arn, NotEquals: ['arn:aws:iam::111122223333:role/collector'] }",
        ] {
            assert_eq!(advanced(conditions), Ok(()), "{conditions}");
        }
        let management = "[{ FieldSelectors: [{ Field: eventCategory, Equals: [Management] }] }]";
        assert_eq!(check("advanced_event_selectors", management), Ok(()));
    }

    #[test]
    fn our_own_sources() {
        let of = |condition: &str| {
            check(
                "advanced_event_selectors",
                &format!(
                    "[{{ FieldSelectors: [{{ Field: eventCategory, Equals: [Management] }}, {{ Field: eventSource, {condition} }}] }}]"
                ),
            )
        };
        for condition in ["Equals: [a.example.com, sidetrail-collector]", "StartsWith: [sidetrail-server]"] {
            let error = of(condition).expect_err(condition);
            assert!(error.contains("never record themselves"), "{error}");
        }
        for condition in
            ["NotEquals: [sidetrail-collector]", "StartsWith: [sidetrail]", "Equals: [sidetrail.example.com]"]
        {
            assert_eq!(of(condition), Ok(()), "{condition}");
        }
    }
}
