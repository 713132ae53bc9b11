//! Whether a pod is meant to have a collector: by its own word, else by its namespace's.

use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::names::{DISABLED, ENABLED, INJECT, MIRROR};
use crate::options::{Annotations, Override};

/// What is meant for a pod, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It is to have a collector.
    Audited,
    /// It says that it is not to.
    OptedOut,
    /// Nobody asks for it.
    NotAsked,
    /// It cannot have one.
    Unfit(Unfit),
}

/// Why a pod cannot have a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The kubelet's mirror of a static pod, which no webhook may change.
    Mirror,
    /// The collector runs on Linux only.
    Windows,
}

/// What [`INJECT`] says, in a label or an annotation; `Err` with what it says if that means nothing.
fn said(label: Option<&String>) -> Result<Option<bool>, &str> {
    match label.map(String::as_str) {
        None => Ok(None),
        Some(ENABLED) => Ok(Some(true)),
        Some(DISABLED) => Ok(Some(false)),
        Some(other) => Err(other),
    }
}

/// Whether a namespace's labels ask for collectors.
#[must_use]
pub fn namespace_asks(labels: &Annotations) -> bool {
    said(labels.get(INJECT)) == Ok(Some(true))
}

impl Intent {
    /// What is meant for `pod` in a namespace that asks for collectors or not. What is said and means nothing is warned
    /// about.
    pub fn of(pod: &Pod, namespace_asks: bool, config: &Config, warnings: &mut Vec<String>) -> Self {
        let own = own_word(pod, warnings);
        let own = match own {
            // It may always ask for one.
            Some(false) if !config.pod_overrides.contains(&Override::Inject) => {
                warnings
                    .push(format!("{INJECT}={DISABLED} is not for pods to set here, and was passed over"));
                None
            }
            own => own,
        };
        match (own, namespace_asks) {
            (Some(false), true) => return Self::OptedOut,
            (None | Some(false), false) => return Self::NotAsked,
            (Some(true), _) | (None, true) => {}
        }
        if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
            return Self::Unfit(Unfit::Mirror);
        }
        if is_windows(pod) {
            warnings
                .push("Sidetrail's collector runs on Linux only: this Windows pod is not audited".to_owned());
            return Self::Unfit(Unfit::Windows);
        }
        Self::Audited
    }
}

/// The pod's own word: its label, which webhooks are chosen by, then its annotation.
fn own_word(pod: &Pod, warnings: &mut Vec<String>) -> Option<bool> {
    [&pod.metadata.labels, &pod.metadata.annotations].into_iter().flatten().find_map(|entries| {
        said(entries.get(INJECT)).unwrap_or_else(|other| {
            warnings.push(format!("{INJECT} is {other:?}, which is neither {ENABLED} nor {DISABLED}"));
            None
        })
    })
}

fn is_windows(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let os = |labels: &Annotations| labels.get("kubernetes.io/os").is_some_and(|os| os == "windows");
    spec.os.as_ref().is_some_and(|os| os.name == "windows") || spec.node_selector.as_ref().is_some_and(os)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::with;

    fn pod(json: &str) -> Pod {
        serde_json::from_str(json).unwrap()
    }

    fn intent(metadata: &str, namespace_asks: bool, more: &str) -> (Intent, usize) {
        let mut warnings = Vec::new();
        let pod = pod(&format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{metadata}}}"#));
        let intent = Intent::of(&pod, namespace_asks, &with(more), &mut warnings);
        (intent, warnings.len())
    }

    #[test]
    fn the_pod_beats_its_namespace() {
        let label = |value: &str| format!(r#"{{"labels":{{"sidetrail.dev/inject":"{value}"}}}}"#);
        let annotation = r#"{"annotations":{"sidetrail.dev/inject":"disabled"}}"#;
        assert_eq!(intent("{}", true, ""), (Intent::Audited, 0));
        assert_eq!(intent("{}", false, ""), (Intent::NotAsked, 0));
        assert_eq!(intent(&label("disabled"), true, ""), (Intent::OptedOut, 0));
        assert_eq!(intent(annotation, true, ""), (Intent::OptedOut, 0));
        assert_eq!(intent(&label("enabled"), false, ""), (Intent::Audited, 0));
        assert_eq!(intent(&label("disabled"), false, ""), (Intent::NotAsked, 0));
        assert_eq!(intent(&label("false"), true, ""), (Intent::Audited, 1));
        assert_eq!(intent(&label("disabled"), true, "pod_overrides: [trail]\n"), (Intent::Audited, 1));
    }

    #[test]
    fn windows_and_mirrors_are_unfit() {
        let windows = pod(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[],"os":{"name":"windows"}}}"#,
        );
        let mut warnings = Vec::new();
        assert_eq!(Intent::of(&windows, true, &with(""), &mut warnings), Intent::Unfit(Unfit::Windows));
        assert_eq!(warnings.len(), 1);
        let mirror = r#"{"annotations":{"kubernetes.io/config.mirror":"x"}}"#;
        assert_eq!(intent(mirror, true, ""), (Intent::Unfit(Unfit::Mirror), 0));
    }
}
