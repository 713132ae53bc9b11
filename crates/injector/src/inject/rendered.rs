//! The collector's configuration as it is put into its container: JSON, which is YAML, in an environment variable.
//!
//! A ConfigMap would have to be in each namespace and could be changed by whoever is audited; a variable needs nothing and
//! is as fixed as the pod. The kubelet puts the pod's identity in: it writes `$(NAME)` for what it has to fill in, and `$$`
//! for a `$`. Texts are quoted, so that a namespace `123` stays a text.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Map, Value, json};

use super::Mode;
use crate::config::Config;
use crate::names::{SOCKET, SPOOL_DIRECTORY, TOKEN_DIRECTORY, TOKEN_FILE};
use crate::options::Options;

/// What the kubelet gives a pod where it says nothing, in seconds.
const DEFAULT_GRACE: i64 = 30;
/// Of that, what is left for the end of the process.
const MARGIN: i64 = 5;
/// How long the senders of a pod that is to end have to be gone.
const AFTER_SENDERS: &str = "10s";

/// The configuration of a pod's collector.
#[must_use]
pub fn render(config: &Config, options: &Options, spec: &PodSpec, mode: Mode, port: Option<u16>) -> String {
    let mut map = Map::new();
    for (key, value) in &config.collector.config {
        let value = match (key.as_str(), value) {
            ("trails", Value::Array(trails)) => chosen(trails, &options.trails),
            _ => value.clone(),
        };
        map.insert(escaped(key), escape(value));
    }
    if config.collector.audience().is_some()
        && let Some(Value::Object(control)) = map.get_mut("control")
    {
        control.entry("token_file").or_insert_with(|| format!("{TOKEN_DIRECTORY}/{TOKEN_FILE}").into());
    }
    let group = spec.security_context.as_ref().and_then(|context| context.fs_group);
    // Without a group that all of them have, the mode has to let everybody in: everybody who has the volume, which is
    // the pod's own.
    let mode_of_socket = if group.is_some() { "0660" } else { "0666" };
    let mut listen = json!({ "socket": SOCKET, "socket_mode": mode_of_socket });
    if let Some(port) = port {
        listen["health"] = format!("0.0.0.0:{port}").into();
    }
    let shutdown = (grace(spec) - MARGIN).clamp(1, 3600);
    map.insert("listen".to_owned(), listen);
    map.insert("spool".to_owned(), json!({ "budget": options.spool, "directory": SPOOL_DIRECTORY }));
    map.insert("shutdown_timeout".to_owned(), format!("{shutdown}s").into());
    map.insert(
        "workload".to_owned(),
        json!({
            "namespace": "$(SIDETRAIL_NAMESPACE)",
            "node": "$(SIDETRAIL_NODE)",
            "pod": "$(SIDETRAIL_INSTANCE)",
            "service_account": "$(SIDETRAIL_SERVICE_ACCOUNT)",
            "uid": "$(SIDETRAIL_POD_UID)",
        }),
    );
    if let Some(log) = &options.log {
        map.insert("log".to_owned(), escaped(log).into());
    }
    let ends = spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always");
    if mode == Mode::Classic && ends {
        map.insert("end_after_senders".to_owned(), AFTER_SENDERS.into());
    }
    Value::Object(map).to_string()
}

/// How long the pod's end may take, in seconds.
pub(super) fn grace(spec: &PodSpec) -> i64 {
    spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
}

fn chosen(trails: &[Value], names: &[String]) -> Value {
    let is_chosen = |trail: &&Value| {
        let name = trail.get("name").and_then(Value::as_str);
        name.is_some_and(|name| names.iter().any(|chosen| chosen == name))
    };
    trails.iter().filter(is_chosen).cloned().collect()
}

/// So that the kubelet leaves it as it is.
fn escape(value: Value) -> Value {
    match value {
        Value::String(text) => escaped(&text).into(),
        Value::Array(values) => values.into_iter().map(escape).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (escaped(&key), escape(value))).collect(),
        other => other,
    }
}

fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_server_shows_it_the_token_of_the_pod() {
        let rendered = |control: &str, more: &str| -> Value {
            let yaml = format!(
                "collector: {{ image: c, {more} config: {{ account: '123456789012', region: r, {control} trails: [{{ name: a }}] }} }}"
            );
            let config: Config = serde_norway::from_str(&yaml).unwrap();
            let options = Options::new(&config.collector);
            let text = render(&config, &options, &PodSpec::default(), Mode::Native, None);
            let rendered: Value = serde_json::from_str(&text).unwrap();
            rendered["control"].clone()
        };
        let server = "server: 'https://sidetrail-server.sidetrail.svc:8422'";
        let with_token = rendered(&format!("control: {{ {server}, tls: {{ ca: /ca }} }},"), "");
        assert_eq!(with_token["token_file"], "/var/run/secrets/sidetrail.dev/token");
        let own = rendered(&format!("control: {{ {server}, token_file: /own }},"), "");
        assert_eq!(own["token_file"], "/own");
        for control in ["join_token: /join", "tls: { ca: /ca, certificate: /c, key: /k }"] {
            let other = rendered(&format!("control: {{ {server}, {control} }},"), "");
            assert!(other.get("token_file").is_none(), "{other}");
        }
        let none = rendered(&format!("control: {{ {server} }},"), "token_audience: null,");
        assert!(none.get("token_file").is_none(), "{none}");
        assert!(rendered("", "").is_null());
    }

    #[test]
    fn what_the_kubelet_would_fill_in_is_escaped() {
        let yaml = "
collector:
  image: c
  config:
    account: '123456789012'
    region: r
    trails: [{ name: a, destination: 's3://$(HOME)/$x' }, { name: b, destination: s3://b }]
";
        let config: Config = serde_norway::from_str(yaml).unwrap();
        let mut options = Options::new(&config.collector);
        options.trails = vec!["a".to_owned()];
        let text = render(&config, &options, &PodSpec::default(), Mode::Native, Some(9464));
        let rendered: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rendered["trails"], json!([{ "name": "a", "destination": "s3://$$(HOME)/$$x" }]));
        assert_eq!(rendered["workload"]["namespace"], "$(SIDETRAIL_NAMESPACE)");
        assert_eq!(rendered["listen"]["health"], "0.0.0.0:9464");
        assert_eq!(rendered["shutdown_timeout"], "25s");
    }
}
