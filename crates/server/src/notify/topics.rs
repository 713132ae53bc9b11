//! The topics of the configuration: by names and ARNs, and what is behind them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sidetrail_api::{Code, Error, name, quoted};

use super::failure::Failure;
use super::message::Message;
use super::nats::Nats;
use super::webhook::Webhook;
use crate::access::Caller;
use crate::config::{Config, ConfigError, TopicConfig, wrong};
use crate::refusal::Refusal;

/// The topics.
#[derive(Debug)]
pub(crate) struct Topics(BTreeMap<String, Topic>);

#[derive(Debug)]
struct Topic {
    accounts: Vec<String>,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Endpoint {
    Webhook(Webhook),
    Nats(Box<Nats>),
}

impl Topics {
    /// Those of a configuration, with their secrets.
    pub(crate) fn new(config: &Config, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let topic = |(name, config): (&String, &TopicConfig)| {
            let at = format!("topics.{name}");
            let endpoint = match (&config.webhook, &config.nats) {
                (Some(webhook), None) => {
                    Endpoint::Webhook(Webhook::new(webhook, &format!("{at}.webhook"), env)?)
                }
                (None, Some(nats)) => Endpoint::Nats(Box::new(Nats::new(nats, &format!("{at}.nats"), env)?)),
                _ => return wrong(at, "must have either a webhook or nats"),
            };
            let accounts = config.accounts.iter().map(ToString::to_string).collect();
            Ok((name.clone(), Topic { accounts, endpoint }))
        };
        Ok(Self(config.topics.iter().map(topic).collect::<Result<_, _>>()?))
    }

    /// Sends a message to the topic of its ARN, once.
    pub(crate) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let name = message.topic.rsplit(':').next().unwrap_or_default();
        let Some(topic) = self.0.get(name) else {
            return Err(Failure::Missing(format!("there is no topic {name} in the configuration")));
        };
        match &topic.endpoint {
            Endpoint::Webhook(webhook) => webhook.send(message, Timestamp::now()).await,
            Endpoint::Nats(nats) => nats.send(message).await,
        }
    }

    /// That a caller's trail may have a topic, and that it takes messages: CloudTrail's first one says so. One that does
    /// not answer now gets what is delivered later, and it is no reason not to have the trail.
    pub(crate) async fn check(&self, caller: &Caller, arn: &str, trail: &str) -> Result<(), Refusal> {
        let refused = || {
            let message = "SNS Topic does not exist or the topic policy is incorrect!";
            Error::new(Code::InsufficientSnsTopicPolicy, message)
        };
        let name = arn.rsplit(':').next().unwrap_or_default();
        let topic = self.0.get(name).ok_or_else(refused)?;
        if !topic.accounts.is_empty() && !topic.accounts.iter().any(|it| it == caller.account.as_str()) {
            return Err(refused().into());
        }
        match self.send(&Message::validation(arn, trail, caller.at)).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is_refusal() => {
                Err(Refusal { error: refused(), cause: Some(failure.to_string()) })
            }
            Err(failure) => {
                tracing::warn!(topic = arn, error = %failure, "a topic does not take messages yet");
                Ok(())
            }
        }
    }
}

/// The ARN of a topic that a trail names.
pub(crate) fn arn(topic: &str, caller: &Caller) -> Result<String, Error> {
    let invalid = |problem: &str| Err(Error::new(Code::InvalidSnsTopicName, problem.to_owned()));
    if topic.chars().count() > name::MAX_TOPIC {
        return invalid("SNS topic name is longer than 256 characters.");
    }
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    if word(topic) {
        return Ok(format!("arn:aws:sns:{}:{}:{topic}", caller.region, caller.account));
    }
    let mut parts = topic.split(':');
    let fixed = [parts.next(), parts.next(), parts.next()] == [Some("arn"), Some("aws"), Some("sns")];
    let (region, account, name) = (parts.next(), parts.next(), parts.next());
    let digits = |text: &str| text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit());
    let whole = fixed && account.is_some_and(digits) && name.is_some_and(word) && parts.next().is_none();
    if !whole {
        return invalid(&format!("SNS topic {} is neither a name nor an ARN of a topic.", quoted(topic)));
    }
    if region != Some(caller.region.as_str()) {
        return invalid(&format!("SNS topic {} must be in the trail's home region.", quoted(topic)));
    }
    Ok(topic.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_name_or_an_arn() {
        let caller = Caller::of_tests();
        let own = "arn:aws:sns:eu-central-1:111122223333:files";
        assert_eq!(arn("files", &caller).unwrap(), own);
        assert_eq!(arn(own, &caller).unwrap(), own);
        let other = "arn:aws:sns:eu-central-1:444455556666:files";
        assert_eq!(arn(other, &caller).unwrap(), other);
        for topic in [
            "a b",
            "arn:aws:sns:us-east-1:111122223333:files",
            "arn:aws:sqs:eu-central-1:111122223333:files",
            "arn:aws:sns:eu-central-1:1:files",
            "arn:aws:sns:eu-central-1:111122223333:files:more",
            &"x".repeat(257),
        ] {
            assert_eq!(arn(topic, &caller).unwrap_err().code, Code::InvalidSnsTopicName, "{topic}");
        }
    }
}
