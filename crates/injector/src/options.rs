//! What is asked of the collector of a pod: by the configuration, the namespace's annotations, and the pod's.
//!
//! A wrong annotation of the pod is refused: who applies it reads the answer. A wrong one of the namespace is warned about
//! and passed over: a slip there must not stop all of its pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::filter::Targets;

use crate::config::{CollectorConfig, Config, Resources};
use crate::names::{DOMAIN, INJECT, INJECTED, STATUS};
use crate::quantity::Quantity;

/// Annotations of an object.
pub type Annotations = BTreeMap<String, String>;

/// What an annotation `sidetrail.dev/NAME` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// Whether there is a collector at all; a label, too.
    Inject,
    /// Trails of the collector's configuration that it has, separated by commas. By default all.
    Trail,
    /// `buffered`, `durable` or `guarded`: delivery of routes that name none.
    Delivery,
    /// The collector's image.
    Image,
    /// When it is pulled.
    ImagePullPolicy,
    /// CPU that is kept for it.
    CpuRequest,
    /// CPU beyond which it is slowed down.
    CpuLimit,
    /// Memory that is kept for it.
    MemoryRequest,
    /// Memory beyond which it is killed.
    MemoryLimit,
    /// What events may take up on the node's disk.
    SpoolSize,
    /// `true` for an init container that stays, `false` for a container among the others.
    Native,
    /// Port of probes and metrics.
    MetricsPort,
    /// What the collector logs.
    Log,
}

impl Override {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Inject,
        Self::Trail,
        Self::Delivery,
        Self::Image,
        Self::ImagePullPolicy,
        Self::CpuRequest,
        Self::CpuLimit,
        Self::MemoryRequest,
        Self::MemoryLimit,
        Self::SpoolSize,
        Self::Native,
        Self::MetricsPort,
        Self::Log,
    ];

    /// The name after [`DOMAIN`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Trail => "trail",
            Self::Delivery => "delivery",
            Self::Image => "image",
            Self::ImagePullPolicy => "image-pull-policy",
            Self::CpuRequest => "cpu-request",
            Self::CpuLimit => "cpu-limit",
            Self::MemoryRequest => "memory-request",
            Self::MemoryLimit => "memory-limit",
            Self::SpoolSize => "spool-size",
            Self::Native => "native",
            Self::MetricsPort => "metrics-port",
            Self::Log => "log",
        }
    }
}

/// How sure calls are to be recorded where the application's code does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The answer does not wait.
    Buffered,
    /// The answer waits for the disk.
    Durable,
    /// The handler waits for the disk.
    Guarded,
}

impl Delivery {
    /// As the layer reads it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Durable => "durable",
            Self::Guarded => "guarded",
        }
    }
}

/// What is asked of the collector of a pod.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of its trails, in the order of the configuration.
    pub trails: Vec<String>,
    /// Delivery of routes that name none.
    pub delivery: Option<Delivery>,
    /// Its image.
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: String,
    /// What it asks for, and what it may have.
    pub resources: Resources,
    /// Bytes of its spool.
    pub spool: u64,
    /// Whether it is an init container that stays, where that is said.
    pub native: Option<bool>,
    /// Port of probes and metrics, where that is said.
    pub metrics_port: Option<u16>,
    /// What it logs.
    pub log: Option<String>,
}

/// What came of reading annotations.
#[derive(Clone, Debug)]
pub struct Read {
    /// What is asked for.
    pub options: Options,
    /// What is wrong and passed over.
    pub warnings: Vec<String>,
    /// What is wrong and must not be.
    pub refusals: Vec<String>,
}

impl Options {
    /// What the configuration asks for.
    #[must_use]
    pub fn new(config: &CollectorConfig) -> Self {
        Self {
            trails: config.trails().map(str::to_owned).collect(),
            delivery: None,
            image: config.image.clone(),
            image_pull_policy: config.image_pull_policy.clone(),
            resources: config.resources.clone(),
            // A configuration with another one is refused at the start.
            spool: crate::config::spool_size(&config.spool_size).unwrap_or(crate::config::MIN_SPOOL),
            native: None,
            metrics_port: None,
            log: None,
        }
    }

    /// What the configuration, a namespace and a pod ask for; the later one's word counts.
    #[must_use]
    pub fn read(config: &Config, namespace: &Annotations, pod: &Annotations) -> Read {
        let mut options = Self::new(&config.collector);
        let (mut warnings, mut refusals) = (Vec::new(), Vec::new());
        for (annotations, of_pod) in [(namespace, false), (pod, true)] {
            let mut given = Vec::new();
            for name in Override::ALL.into_iter().filter(|name| *name != Override::Inject) {
                let annotation = format!("{DOMAIN}{}", name.name());
                let Some(value) = annotations.get(&annotation) else { continue };
                if of_pod && !config.pod_overrides.contains(&name) {
                    warnings.push(format!(
                        "annotation {annotation} is not for pods to set here, and was passed over"
                    ));
                    continue;
                }
                match options.set(name, value.trim(), &config.collector) {
                    Ok(()) => given.push(name),
                    Err(problem) if of_pod => refusals.push(format!("annotation {annotation}: {problem}")),
                    Err(problem) => warnings
                        .push(format!("annotation {annotation} of the namespace was passed over: {problem}")),
                }
            }
            if let Err(problem) = options.reconcile(&given) {
                if of_pod { refusals.push(problem) } else { warnings.push(problem) }
            }
        }
        warnings.extend(pod.keys().filter(|key| !is_known(key)).map(|key| {
            format!(
                "annotation {key} is not known; did you mean one of {}?",
                Override::ALL.map(Override::name).join(", ")
            )
        }));
        Read { options, warnings, refusals }
    }

    fn set(&mut self, name: Override, value: &str, config: &CollectorConfig) -> Result<(), String> {
        let quantity = || match value.parse::<Quantity>() {
            Ok(_) => Ok(Some(value.to_owned())),
            Err(error) => Err(format!("{value:?} {error}")),
        };
        match name {
            Override::Inject => {}
            Override::Trail => self.trails = trails(value, config)?,
            Override::Delivery => self.delivery = Some(delivery(value)?),
            Override::Image => {
                crate::config::image(value)?;
                value.clone_into(&mut self.image);
            }
            Override::ImagePullPolicy => {
                crate::config::pull_policy(value)?;
                value.clone_into(&mut self.image_pull_policy);
            }
            Override::CpuRequest => self.resources.cpu_request = quantity()?,
            Override::CpuLimit => self.resources.cpu_limit = quantity()?,
            Override::MemoryRequest => self.resources.memory_request = quantity()?,
            Override::MemoryLimit => self.resources.memory_limit = quantity()?,
            Override::SpoolSize => self.spool = crate::config::spool_size(value)?,
            Override::Native => {
                let native = value.parse().map_err(|_| format!("{value:?} is neither true nor false"))?;
                self.native = Some(native);
            }
            Override::MetricsPort => match value.parse() {
                Ok(port @ 1024..) => self.metrics_port = Some(port),
                // The collector is not root.
                _ => return Err(format!("{value:?} is no port from 1024 to 65535")),
            },
            Override::Log => {
                value
                    .parse::<Targets>()
                    .map_err(|error| format!("{value:?} is no filter of logs: {error}"))?;
                self.log = Some(value.to_owned());
            }
        }
        Ok(())
    }

    /// A limit below the request makes the pod invalid. What was not `given` follows what was.
    fn reconcile(&mut self, given: &[Override]) -> Result<(), String> {
        let Resources { cpu_request, cpu_limit, memory_request, memory_limit } = &mut self.resources;
        for (request, limit, asked, capped) in [
            (cpu_request, cpu_limit, Override::CpuRequest, Override::CpuLimit),
            (memory_request, memory_limit, Override::MemoryRequest, Override::MemoryLimit),
        ] {
            let parse = |text: &Option<String>| text.as_ref()?.parse::<Quantity>().ok();
            let (Some(least), Some(most)) = (parse(request), parse(limit)) else { continue };
            if least <= most {
                continue;
            }
            match (given.contains(&asked), given.contains(&capped)) {
                (true, true) => {
                    return Err(format!(
                        "annotations {DOMAIN}{} and {DOMAIN}{}: the limit is less than the request",
                        asked.name(),
                        capped.name()
                    ));
                }
                (true, false) => limit.clone_from(request),
                (false, _) => request.clone_from(limit),
            }
        }
        Ok(())
    }
}

fn is_known(key: &str) -> bool {
    key.strip_prefix(DOMAIN).is_none_or(|name| {
        [INJECT, INJECTED, STATUS].contains(&key) || Override::ALL.iter().any(|known| known.name() == name)
    })
}

fn trails(value: &str, config: &CollectorConfig) -> Result<Vec<String>, String> {
    let asked: Vec<_> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let known: Vec<_> = config.trails().collect();
    if let Some(other) = asked.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no trail {other:?}, only {}", known.join(", ")));
    }
    if asked.is_empty() {
        return Err("names no trail".to_owned());
    }
    Ok(known.into_iter().filter(|name| asked.contains(name)).map(str::to_owned).collect())
}

fn delivery(value: &str) -> Result<Delivery, String> {
    [Delivery::Buffered, Delivery::Durable, Delivery::Guarded]
        .into_iter()
        .find(|delivery| delivery.as_str() == value)
        .ok_or_else(|| format!("{value:?} is none of buffered, durable and guarded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::with;

    fn annotations(entries: &[(&str, &str)]) -> Annotations {
        entries.iter().map(|(key, value)| (format!("{DOMAIN}{key}"), (*value).to_owned())).collect()
    }

    #[test]
    fn the_pod_has_the_last_word() {
        let namespace = annotations(&[("spool-size", "2Gi"), ("delivery", "durable"), ("image", "a/b:1")]);
        let pod = annotations(&[("delivery", "guarded"), ("image", "mine"), ("trail", " refunds ,default")]);
        let read = Options::read(&with(""), &namespace, &pod);
        assert_eq!(read.refusals, Vec::<String>::new());
        assert_eq!(read.options.spool, 2 << 30);
        assert_eq!(read.options.delivery, Some(Delivery::Guarded));
        assert_eq!(read.options.trails, ["default", "refunds"]);
        assert_eq!(read.options.image, "a/b:1");
        assert_eq!(read.warnings.len(), 1, "{:?}", read.warnings);
        assert!(read.warnings[0].contains("sidetrail.dev/image is not for pods"));
    }

    #[test]
    fn a_slip_is_refused_in_a_pod_and_passed_over_in_a_namespace() {
        for (key, value, expected) in [
            ("trail", "payments", "no trail \"payments\", only default, refunds"),
            ("trail", ",", "names no trail"),
            ("delivery", "sure", "buffered, durable and guarded"),
            ("spool-size", "1Ki", "at least 64Mi"),
            ("cpu-limit", "much", "quantity"),
            ("native", "maybe", "neither true nor false"),
            ("metrics-port", "80", "1024"),
            ("image-pull-policy", "never", "IfNotPresent"),
            ("log", "sidetrail=loud", "no filter"),
        ] {
            let slip = annotations(&[(key, value)]);
            let in_pod = Options::read(&with(""), &Annotations::new(), &slip);
            assert!(in_pod.refusals.join("").contains(expected), "{key}: {:?}", in_pod.refusals);
            let in_namespace = Options::read(&with(""), &slip, &Annotations::new());
            assert_eq!(in_namespace.refusals, Vec::<String>::new());
            assert!(in_namespace.warnings.join("").contains(expected), "{key}: {:?}", in_namespace.warnings);
        }
        let misspelt = Options::read(&with(""), &Annotations::new(), &annotations(&[("spool-sise", "1Gi")]));
        assert!(misspelt.warnings[0].contains("sidetrail.dev/spool-sise is not known"));
    }

    #[test]
    fn request_and_limit_follow_what_was_said() {
        let memory = |entries: &[(&str, &str)]| {
            let read = Options::read(&with(""), &Annotations::new(), &annotations(entries));
            let resources = read.options.resources;
            (resources.memory_request.unwrap(), resources.memory_limit.unwrap(), read.refusals.len())
        };
        let expected =
            |request: &str, limit: &str, refusals| (request.to_owned(), limit.to_owned(), refusals);
        assert_eq!(memory(&[("memory-request", "1Gi")]), expected("1Gi", "1Gi", 0));
        assert_eq!(memory(&[("memory-limit", "16Mi")]), expected("16Mi", "16Mi", 0));
        assert_eq!(memory(&[("memory-request", "64Mi")]), expected("64Mi", "128Mi", 0));
        assert_eq!(memory(&[("memory-request", "2Gi"), ("memory-limit", "1Gi")]).2, 1);
    }
}
