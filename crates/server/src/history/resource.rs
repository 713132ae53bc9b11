//! The resources that `LookupEvents` names: what a record lists, or else what its parameters name.

use std::borrow::Cow;

use super::peek::{elements, members, text};

/// A resource, as `LookupEvents` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// `ResourceType`.
    pub kind: Option<Cow<'a, str>>,
    /// `ResourceName`: a name, an id or an ARN.
    pub name: Option<Cow<'a, str>>,
}

/// What a record's `resources` lists, each by its ARN and by the name in it.
pub(super) fn listed(resources: &str) -> Vec<Named<'_>> {
    let mut listed = Vec::new();
    for resource in elements(resources) {
        let (mut kind, mut arn, mut arn_prefix) = (None, None, None);
        members(resource.get(), |key, value| match key {
            "type" => kind = text(value),
            "ARN" | "arn" => arn = text(value),
            "ARNPrefix" => arn_prefix = text(value),
            _ => {}
        });
        let filled = |text: Option<Cow<'static, str>>| text.filter(|text| !text.is_empty());
        let (kind, arn) = (kind.filter(|kind| !kind.is_empty()), arn.or(arn_prefix));
        let arn = arn.filter(|arn| !arn.is_empty());
        let short = filled(arn.as_deref().and_then(name_in).map(|name| Cow::Owned(name.to_owned())));
        if kind.is_none() && arn.is_none() {
            continue;
        }
        listed.push(Named { kind: kind.clone(), name: arn });
        if short.is_some() {
            listed.push(Named { kind, name: short });
        }
    }
    listed
}

/// The name that an ARN ends with: what follows the kind of resource, where one is named.
fn name_in(arn: &str) -> Option<&str> {
    let resource = arn.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
    // S3's have no kind, and slashes are a part of the name of an object.
    if arn.split(':').nth(2) == Some("s3") {
        return Some(resource);
    }
    Some(resource.split_once(['/', ':']).map_or(resource, |(_, name)| name))
}

/// What services of AWS name in their parameters, where they list no resources: service, parameter, type.
const PARAMETERS: [(&str, &str, &str); 18] = [
    ("cloudtrail", "name", "AWS::CloudTrail::Trail"),
    ("cloudtrail", "trailName", "AWS::CloudTrail::Trail"),
    ("dynamodb", "tableName", "AWS::DynamoDB::Table"),
    ("ec2", "groupId", "AWS::EC2::SecurityGroup"),
    ("ec2", "instanceId", "AWS::EC2::Instance"),
    ("ec2", "volumeId", "AWS::EC2::Volume"),
    ("iam", "accessKeyId", "AWS::IAM::AccessKey"),
    ("iam", "groupName", "AWS::IAM::Group"),
    ("iam", "instanceProfileName", "AWS::IAM::InstanceProfile"),
    ("iam", "policyArn", "AWS::IAM::Policy"),
    ("iam", "roleName", "AWS::IAM::Role"),
    ("iam", "userName", "AWS::IAM::User"),
    ("kms", "keyId", "AWS::KMS::Key"),
    ("lambda", "functionName", "AWS::Lambda::Function"),
    ("rds", "dBInstanceIdentifier", "AWS::RDS::DBInstance"),
    ("s3", "bucketName", "AWS::S3::Bucket"),
    ("secretsmanager", "secretId", "AWS::SecretsManager::Secret"),
    ("sts", "roleArn", "AWS::IAM::Role"),
];

/// What the parameters of a service of AWS name, where that is known.
pub(super) fn implied<'a>(source: Option<&str>, parameters: &'a str) -> Vec<Named<'a>> {
    let Some(service) = source.and_then(|source| source.strip_suffix(".amazonaws.com")) else {
        return Vec::new();
    };
    let mut implied = Vec::new();
    members(parameters, |key, value| {
        for (_, _, kind) in PARAMETERS.iter().filter(|(of, name, _)| *of == service && *name == key) {
            if let Some(name) = text(value).filter(|name| !name.is_empty()) {
                implied.push(Named { kind: Some(Cow::Borrowed(kind)), name: Some(name) });
            }
        }
        if service == "ec2" && key == "instancesSet" {
            members(value, |key, items| {
                let items = if key == "items" { elements(items) } else { Vec::new() };
                for item in items {
                    members(item.get(), |key, value| {
                        if let Some(name) = text(value).filter(|_| key == "instanceId") {
                            implied.push(Named { kind: Some("AWS::EC2::Instance".into()), name: Some(name) });
                        }
                    });
                }
            });
        }
    });
    implied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(resources: &'a [Named<'_>]) -> Vec<(&'a str, &'a str)> {
        resources
            .iter()
            .map(|Named { kind, name }| (kind.as_deref().unwrap_or(""), name.as_deref().unwrap_or("")))
            .collect()
    }

    #[test]
    fn listed_resources_are_found_by_arn_and_by_name() {
        let text = r#"[{"type": "AWS::Orders::Order", "ARN": "arn:aws:orders:eu-central-1:123456789012:order/17"},
            {"ARN": "arn:aws:s3:::demo/a/b"}, {"type": "AWS::X::Y"}, {"accountId": "123456789012"}, 7]"#;
        assert_eq!(
            pairs(&listed(text)),
            [
                ("AWS::Orders::Order", "arn:aws:orders:eu-central-1:123456789012:order/17"),
                ("AWS::Orders::Order", "17"),
                ("", "arn:aws:s3:::demo/a/b"),
                ("", "demo/a/b"),
                ("AWS::X::Y", ""),
            ]
        );
        assert_eq!(listed("null"), []);
    }

    #[test]
    fn parameters_of_aws_imply_resources() {
        let ec2 = r#"{"instancesSet": {"items": [{"instanceId": "i-0a"}, {"instanceId": "i-0b"}]}}"#;
        let found = implied(Some("ec2.amazonaws.com"), ec2);
        assert_eq!(pairs(&found), [("AWS::EC2::Instance", "i-0a"), ("AWS::EC2::Instance", "i-0b")]);
        let iam = r#"{"roleName": "Deployer", "userName": 5}"#;
        assert_eq!(pairs(&implied(Some("iam.amazonaws.com"), iam)), [("AWS::IAM::Role", "Deployer")]);
        assert_eq!(implied(Some("orders.example.com"), iam), []);
    }
}
