//! What is answered to a review: which of the three questions it is, what is meant for the pod, what becomes of it.

use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::config::Config;
use crate::inject::{find_collector, inject, is_ours};
use crate::intent::{Intent, Unfit, namespace_asks};
use crate::names::{CONTAINER, DISABLED, ENV_COLLECTOR, INJECT, SOCKET, SOCKET_VOLUME};
use crate::options::{Annotations, Options, Override};
use crate::review::{API_VERSION, Answer, KIND, Review};

/// Bytes of a review: the largest object that the API server takes, twice, and what is around it.
pub const MAX_REVIEW: usize = 8 << 20;

/// What is asked. Each is a path of its own, so that the API server's word on the namespace is known: it chose the path
/// by the namespace's labels, of which it knows more than any cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Give a pod a collector whose namespace asks for that.
    MutateByNamespace,
    /// Give a pod a collector that asks for it itself.
    MutateByPod,
    /// Refuse a pod that should have a collector and has none.
    Validate,
}

impl Question {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::MutateByNamespace, Self::MutateByPod, Self::Validate];

    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::MutateByNamespace => "/mutate/namespace",
            Self::MutateByPod => "/mutate/pod",
            Self::Validate => "/validate",
        }
    }
}

/// What came of a review, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pod was given something.
    Injected,
    /// It has all, or all that is asked of it.
    Unchanged,
    /// It is not meant to have a collector, or cannot.
    Skipped,
    /// It may not be made like this.
    Denied,
}

impl Outcome {
    /// As a label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
        }
    }
}

/// A review that cannot be answered. The API server goes by the webhook's `failurePolicy` then.
#[derive(Debug)]
pub enum InvalidReview {
    /// Not JSON, or not of the form.
    Form(serde_json::Error),
    /// Of another version or kind.
    Version {
        /// Its version.
        version: String,
        /// Its kind.
        kind: String,
    },
    /// It asks nothing.
    NoRequest,
    /// The pod in it is none.
    Pod(serde_json::Error),
    /// The answer cannot be written.
    Answer(serde_json::Error),
}

impl fmt::Display for InvalidReview {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => write!(formatter, "the body is no AdmissionReview: {error}"),
            Self::Version { version, kind } => {
                write!(formatter, "the body is a {kind} of {version}, not an {KIND} of {API_VERSION}")
            }
            Self::NoRequest => formatter.write_str("the review has no request"),
            Self::Pod(error) => write!(formatter, "request.object is no Pod: {error}"),
            Self::Answer(error) => write!(formatter, "the answer cannot be written: {error}"),
        }
    }
}

impl std::error::Error for InvalidReview {}

/// What is known of a pod's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: Annotations,
    /// Its annotations.
    pub annotations: Annotations,
}

/// What answers depend on besides the review.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The injector's own namespace, which is left alone: it must be able to start without itself.
    pub own_namespace: &'a str,
    /// Whether the cluster has native sidecars.
    pub native: bool,
    /// The namespace of the review; `None` if nothing could be learnt of it.
    pub namespace: Option<&'a Namespace>,
}

/// The namespace that a review is about, so that it can be looked up before the answer.
///
/// # Errors
/// If it is no review.
pub fn parse(body: &[u8]) -> Result<Review<'_>, InvalidReview> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(InvalidReview::Form)?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(InvalidReview::Version { version: review.api_version, kind: review.kind });
    }
    Ok(review)
}

/// Answers a review: the body to send back, and what came of it.
///
/// # Errors
/// If it cannot be answered.
pub fn answer(
    question: Question,
    review: &Review<'_>,
    context: Context<'_>,
) -> Result<(Vec<u8>, Outcome), InvalidReview> {
    let request = review.request.as_ref().ok_or(InvalidReview::NoRequest)?;
    let uid = request.uid.as_str();
    let write = |answer: &Answer<'_>| serde_json::to_vec(answer).map_err(InvalidReview::Answer);
    let object = match request.object {
        Some(object) if request.creates_pod() && request.namespace != context.own_namespace => object,
        _ => return Ok((write(&Answer::allowed(uid, &[]))?, Outcome::Skipped)),
    };
    let pod: Pod = serde_json::from_str(object.get()).map_err(InvalidReview::Pod)?;
    let Context { config, native, namespace, .. } = context;
    let unknown = Namespace::default();
    let mut warnings = Vec::new();
    if namespace.is_none() {
        warnings.push("the namespace's annotations are not known right now and were passed over".to_owned());
    }
    let namespace = namespace.unwrap_or(&unknown);
    let asks = question == Question::MutateByNamespace || namespace_asks(&namespace.labels);
    match Intent::of(&pod, asks, config, &mut warnings) {
        Intent::Audited => {}
        Intent::Unfit(Unfit::Windows) if question == Question::Validate => {
            let message = format!(
                "sidetrail: this namespace is audited, and Windows pods cannot be; label the pod {INJECT}={DISABLED} \
                 to run it all the same"
            );
            return Ok((write(&Answer::denied(uid, &message, &[]))?, Outcome::Denied));
        }
        _ => return Ok((write(&Answer::allowed(uid, &warnings))?, Outcome::Skipped)),
    }
    if question == Question::Validate {
        return match unaudited(&pod, config, &namespace.annotations) {
            None => Ok((write(&Answer::allowed(uid, &[]))?, Outcome::Unchanged)),
            Some(problem) => {
                let message = denial(std::slice::from_ref(&problem), config);
                Ok((write(&Answer::denied(uid, &message, &[]))?, Outcome::Denied))
            }
        };
    }
    match inject(&pod, config, &namespace.annotations, native) {
        Ok(injection) => {
            warnings.extend(injection.warnings);
            let answer = Answer::patched(uid, &injection.patch, &warnings).map_err(InvalidReview::Answer)?;
            let outcome = if injection.patch.is_empty() { Outcome::Unchanged } else { Outcome::Injected };
            Ok((write(&answer)?, outcome))
        }
        Err(refusal) => {
            warnings.extend(refusal.warnings);
            Ok((write(&Answer::denied(uid, &denial(&refusal.problems, config), &warnings))?, Outcome::Denied))
        }
    }
}

fn denial(problems: &[String], config: &Config) -> String {
    let mut message = format!("sidetrail: this pod is to be audited and cannot be: {}", problems.join("; "));
    if config.pod_overrides.contains(&Override::Inject) {
        message.push_str(&format!(". To run it without audit, label it {INJECT}={DISABLED}"));
    }
    message
}

/// Why a pod, as it is to be stored, would not be audited.
#[must_use]
pub fn unaudited(pod: &Pod, config: &Config, namespace: &Annotations) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let Some((collector, _)) = find_collector(spec) else {
        return Some(format!("it has no container {CONTAINER}; was the mutating webhook called?"));
    };
    if !is_ours(collector) {
        return Some(format!("container {CONTAINER} is not the injector's"));
    }
    let none = Annotations::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let expected = Options::read(config, namespace, annotations).options.image;
    let image = collector.image.as_deref().unwrap_or_default();
    if repository(image) != repository(&expected) {
        return Some(format!(
            "container {CONTAINER} has the image {image}, not one of {}",
            repository(&expected)
        ));
    }
    let cut_off = spec.containers.iter().find(|container| container.name != CONTAINER && !reaches(container));
    cut_off.map(|container| format!("container {} does not reach the collector", container.name))
}

/// Whether a container is told of a collector, and has the socket if it is the pod's own.
fn reaches(container: &Container) -> bool {
    let variable = container.env.iter().flatten().find(|variable| variable.name == ENV_COLLECTOR);
    let Some(address) = variable.and_then(|variable| variable.value.as_deref()) else { return false };
    address != format!("unix:{SOCKET}")
        || container.volume_mounts.iter().flatten().any(|mount| mount.name == SOCKET_VOLUME)
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // Of a registry's port there is more to come.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_what_is_before_tag_and_digest() {
        for (image, expected) in [
            ("a/b", "a/b"),
            ("a/b:1", "a/b"),
            ("r:5000/a/b", "r:5000/a/b"),
            ("r:5000/a/b:1@sha256:00", "r:5000/a/b"),
        ] {
            assert_eq!(repository(image), expected);
        }
    }
}
