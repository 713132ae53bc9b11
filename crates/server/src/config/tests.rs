use sidetrail_api::{Access, Operation};

use super::*;

const MINIMAL: &str = "
regions: [eu-central-1]
listen: { api: '127.0.0.1:8420' }
bucket: s3://audit/prod
access_keys:
  - { id: SIDETRAILEXAMPLE, secret: { env: SECRET }, account: '111122223333', user: alice, role: admin }
";

fn problems(from: &str, to: &str) -> String {
    let text = MINIMAL.replace(from, to);
    assert_ne!(text, MINIMAL);
    match serde_norway::from_str::<Config>(&text) {
        Ok(config) => config.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_minimum_has_defaults() {
    let config: Config = serde_norway::from_str(MINIMAL).unwrap();
    assert_eq!(config.problems().len(), 0);
    assert_eq!(config.shutdown_timeout().as_secs(), 10);
    assert!(config.has_s3());
    assert_eq!(config.limits.rate(Operation::LookupEvents).unwrap().requests, 2);
    let longer = MINIMAL.replace("regions:", "history: { window: 20000d }\nregions:");
    let longer: Config = serde_norway::from_str(&longer).unwrap();
    assert_eq!(longer.history.window.as_hours(), 480_000);
}

#[test]
fn errors_name_the_key() {
    for (from, to, says) in [
        ("bucket:", "bukcet:", "bukcet"),
        ("[eu-central-1]", "[]", "regions has 0 entries"),
        ("[eu-central-1]", "[a, b, a]", "regions has a twice"),
        ("127.0.0.1:8420", "0.0.0.0:8420", "listen.api 0.0.0.0:8420 is not a loopback"),
        ("s3://audit/prod", "''", "bucket is empty"),
        ("SIDETRAILEXAMPLE", "short", "access_keys[0].id is no access key id"),
        ("user: alice", "user: 'a b'", "access_keys[0].user is no user"),
        ("role: admin", "role: root", "root"),
        ("{ env: SECRET }", "{ env: A, file: b }", "access_keys[0].secret must name either"),
        ("{ env: SECRET }", "{}", "access_keys[0].secret must name either"),
        ("'111122223333'", "'1'", "account"),
        ("regions:", "limits: { requests: 0 }\nregions:", "limits.requests is 0, allowed are 1 to 65536"),
        (
            "regions:",
            "limits: { rates: { Lookup: { requests: 1 } } }\nregions:",
            "limits.rates.Lookup is no op",
        ),
        ("regions:", "buckets: { A: /a }\nregions:", "buckets.A is no name of a bucket"),
        ("regions:", "history: { window: 30m }\nregions:", "history.window is 30m"),
        ("regions:", "digest: { keys: [] }\nregions:", "digest.keys has 0 entries"),
        ("regions:", "digest: { keys: [a], cadence: 7m }\nregions:", "digest.cadence is 7m"),
        (
            "regions:",
            "buckets: { abc: s3://a/b }\nregions:",
            "buckets.abc must be a directory or s3://bucket",
        ),
        ("regions:", "shutdown_timeout: 2h\nregions:", "shutdown_timeout is 2h"),
        ("regions:", "organization: { id: x, management_account: '111122223333' }\nregions:", "organization"),
    ] {
        let problems = problems(from, to);
        assert!(problems.contains(says), "{problems:?} does not say {says:?}");
    }
}

#[test]
fn roles_may_what_they_are_for() {
    use Access::{Administer, Read, ReadEvents, Trails, WriteEvents};
    for (role, may) in [
        (Role::Admin, &[Read, ReadEvents, Trails, Administer, WriteEvents][..]),
        (Role::TrailManager, &[Read, ReadEvents, Trails]),
        (Role::Auditor, &[Read, ReadEvents]),
        (Role::Writer, &[WriteEvents]),
    ] {
        for access in [Read, ReadEvents, Trails, Administer, WriteEvents] {
            assert_eq!(role.may(access), may.contains(&access), "{role:?} {access:?}");
        }
    }
}

#[test]
fn a_secret_is_read_where_it_is_and_not_told() {
    let source = SecretSource { file: None, env: Some("NAME".to_owned()) };
    assert!(source.read("at", &|_| Some("0123456789abcdef".to_owned())).unwrap().is("0123456789abcdef"));
    for text in ["short", "with space 0123456789"] {
        let error = source.read("access_keys[0].secret", &|_| Some(text.to_owned())).unwrap_err().to_string();
        assert!(error.contains("access_keys[0].secret in NAME") && !error.contains(text), "{error}");
    }
    assert!(source.read("at", &|_| None).unwrap_err().to_string().contains("NAME, which is not set"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    assert!(
        SecretSource { file: Some(path), env: None }.read("at", &|_| None).unwrap().is("0123456789abcdef")
    );
}

#[test]
fn who_may_join_is_checked() {
    let control = |members: &str| {
        let text = format!("{MINIMAL}control: {{ listen: '0.0.0.0:8422', {members} }}\n");
        match serde_norway::from_str::<Config>(&text) {
            Ok(config) => config.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(error) => error.to_string(),
        }
    };
    let pods = "kubernetes: { workloads: [{ namespace: 'team-*', account: '111122223333' }] }";
    let tls = "tls: { certificate: /c, key: /k }";
    assert_eq!(control(&format!("{tls}, {pods}")), "");
    assert_eq!(control(&format!("unencrypted_beyond_loopback: true, {pods}")), "");
    let by_certificate = "tls: { certificate: /c, key: /k, client_ca: /ca }, \
                          join_certificates: [{ peers: ['spiffe://example.org/ns/*'], account: '111122223333' }]";
    assert_eq!(control(by_certificate), "");
    let entry = |members: &str| {
        format!("{tls}, kubernetes: {{ workloads: [{{ {members}, account: '111122223333' }}] }}")
    };
    for (members, says) in [
        (
            pods.to_owned(),
            "control.listen 0.0.0.0:8422 is not a loopback address, and tokens would not be encrypted",
        ),
        (tls.to_owned(), "control needs join_tokens, join_certificates or kubernetes"),
        (
            by_certificate.replace(", client_ca: /ca", ""),
            "control.join_certificates and control.tls.client_ca",
        ),
        (by_certificate.replace("spiffe://example.org/ns/*", "spiffe://*"), "spiffe"),
        (format!("{tls}, kubernetes: {{ workloads: [] }}"), "control.kubernetes.workloads has 0 entries"),
        (entry("namespace: ''"), "control.kubernetes.workloads[0].namespace is neither"),
        (entry("namespace: 'a*b'"), "control.kubernetes.workloads[0].namespace is neither"),
        (
            entry("namespace: a, service_account: A"),
            "control.kubernetes.workloads[0].service_account is neither",
        ),
        (entry("namespace: a, region: x-1"), "control.kubernetes.workloads[0].region is none of regions"),
        (
            format!("{tls}, {}", pods.replace("workloads", "audience: 'a b', workloads")),
            "control.kubernetes.audience must be",
        ),
        (
            format!("{tls}, {}", pods.replace("workloads", "server: 'http://a', workloads")),
            "control.kubernetes.server \"http://a\" must begin with https://",
        ),
    ] {
        let problems = control(&members);
        assert!(problems.contains(says), "{members}: {problems}");
    }
}

#[test]
fn patterns_of_workloads_are_names_or_starts() {
    let workloads = |namespace: &str, service_account: &str| -> Workloads {
        let text = format!(
            "{{ namespace: '{namespace}', service_account: '{service_account}', account: '111122223333' }}"
        );
        serde_norway::from_str(&text).unwrap()
    };
    assert!(workloads("*", "*").are("prod", "orders"));
    assert!(workloads("team-*", "orders").are("team-a", "orders"));
    assert!(!workloads("team-*", "orders").are("team", "orders"));
    assert!(!workloads("prod", "*").are("production", "orders"));
    assert!(!workloads("prod", "orders").are("prod", "orders-2"));
}
