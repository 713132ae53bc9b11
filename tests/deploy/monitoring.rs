//! Alerts and dashboard: PromQL that parses, on metrics that our binaries really have.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::Sender;
use sidetrail_tests::{Authority, Collector, Load, START, free_address, wait_for};

use crate::{documents, read, script};

/// The injector's names: those that it registers, since it needs an API server to run.
const INJECTOR: &str = "sidetrail_injector_";

fn alerts() -> Result<Vec<Value>> {
    let rules = documents(&read("helm/sidetrail/files/alerts.yaml")?)?.remove(0);
    let groups = rules["groups"].as_array().context("no groups")?;
    Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
}

fn panels() -> Result<Vec<Value>> {
    let dashboard: Value = serde_json::from_str(&read("helm/sidetrail/files/dashboard.json")?)?;
    Ok(dashboard["panels"].as_array().context("no panels")?.clone())
}

/// Every expression there is.
fn expressions() -> Result<Vec<String>> {
    let of_alerts = alerts()?.into_iter().map(|rule| rule["expr"].clone());
    let targets = panels()?.into_iter().filter_map(|panel| panel["targets"].as_array().cloned()).flatten();
    let all = of_alerts.chain(targets.map(|target| target["expr"].clone()));
    all.map(|text| Ok(text.as_str().context("an expression is a text")?.to_owned())).collect()
}

#[test]
fn every_alert_says_what_it_means_and_how_bad_it_is() -> Result<()> {
    let alerts = alerts()?;
    ensure!(alerts.len() >= 15, "only {} alerts", alerts.len());
    let mut names = BTreeSet::new();
    for alert in &alerts {
        ensure!(names.insert(alert["alert"].as_str().context("no name")?), "{alert} is there twice");
        ensure!(
            ["warning", "critical"].iter().any(|severity| alert["labels"]["severity"] == *severity),
            "{alert}"
        );
        for text in ["summary", "description"] {
            ensure!(alert["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{alert}");
        }
    }
    Ok(())
}

#[test]
fn the_panels_of_the_dashboard_do_not_overlap() -> Result<()> {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels()? {
        ensure!(ids.insert(panel["id"].as_u64().context("no id")?), "{panel} has the id of another");
        let at = |name: &str| panel["gridPos"][name].as_u64().context("no place");
        for (x, y) in (0..at("w")?).flat_map(|x| (0..at("h").unwrap_or(0)).map(move |y| (x, y))) {
            ensure!(taken.insert((at("x")? + x, at("y")? + y)), "{} lies on another", panel["title"]);
            ensure!(at("x")? + x < 24, "{} is too wide", panel["title"]);
        }
    }
    Ok(())
}

/// Names of metrics in dashboards and rules go stale unseen: an alert on a metric that is not there never fires.
#[test]
fn every_metric_that_is_named_exists() -> Result<()> {
    let input = serde_json::to_string(&expressions()?)?;
    let named: BTreeSet<String> = serde_json::from_str(&script("promql.py", &[], &input)?)?;
    let exposed = exposed()?;
    let registered = registered_by_the_injector()?;
    let missing: Vec<_> = named
        .iter()
        .filter(|name| {
            let base = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            !match name.strip_prefix(INJECTOR) {
                Some(own) => registered.iter().any(|it| own.starts_with(it)),
                None => exposed.contains(*name) || base.is_some_and(|base| exposed.contains(base)),
            }
        })
        .collect();
    ensure!(missing.is_empty(), "nothing exposes {missing:?}; there are {exposed:?}");
    ensure!(named.len() > 25, "only {named:?}");
    println!("{} metrics are named, of {} that there are", named.len(), exposed.len());
    Ok(())
}

/// The families of a gateway and of a collector that forwards to it and fails to ship.
fn exposed() -> Result<BTreeSet<String>> {
    let root = tempfile::tempdir()?;
    let directory = |name: &str| -> Result<_> {
        let directory = root.path().join(name);
        std::fs::create_dir(&directory)?;
        Ok(directory)
    };
    let authority = Authority::new(&directory("ca")?)?;
    let server = authority.issue("gateway", &["127.0.0.1"])?;
    let mut gateway = Collector::new(&directory("gateway")?, Settings::default())?.as_gateway();
    gateway.set_listen(format!(
        "tcp: '{}', tls: {{ certificate: {}, key: {}, client_ca: {}, allowed_peers: ['*'] }}",
        free_address()?,
        server.certificate.display(),
        server.key.display(),
        authority.ca().display()
    ));
    gateway.start()?;
    let mut sidecar = Collector::new(&directory("sidecar")?, Settings::default())?.with_gateway(&gateway);
    let bucket = root.path().join("bucket");
    sidecar.set_trails(format!(
        "[{{ name: default, destination: gateway }}, {{ name: local, destination: '{}', rotate: {{ age: 200ms }} }}, \
         {{ name: away, destination: 's3://nowhere', rotate: {{ age: 200ms }} }}]",
        bucket.display()
    ));
    for (name, value) in [
        ("AWS_ENDPOINT_URL_S3", format!("http://{}", free_address()?)),
        ("AWS_ACCESS_KEY_ID", "nobody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "nothing".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
    ] {
        sidecar.set_variable(name, &value);
    }
    sidecar.start()?;
    Load::start([Sender::new(&sidecar.socket(), [1; 16], 500, 20, Duration::ZERO)])?.finish()?;
    let families = || -> Result<BTreeSet<String>> {
        let text = sidecar.probe("/metrics")?.body + &gateway.probe("/metrics")?.body;
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        Ok(names.map(str::to_owned).collect())
    };
    for family in ["trail_failures", "trail_log_files", "trail_forward_lag_seconds"] {
        let family = format!("sidetrail_{family}");
        wait_for(&family, START, || Ok(families()?.contains(&family).then_some(())))?;
    }
    wait_for("forwarded events", START, || {
        Ok((gateway.metrics()?.get("sidetrail_forwarded_events_total") >= Some(&500.0)).then_some(()))
    })?;
    families()
}

/// The names in the injector's registry, as its source has them: what has no value yet is not printed.
fn registered_by_the_injector() -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/injector/src/metrics.rs");
    let text = std::fs::read_to_string(&path)?;
    Ok(text.split('"').skip(1).step_by(2).filter(|text| text.len() > 3).map(str::to_owned).collect())
}
