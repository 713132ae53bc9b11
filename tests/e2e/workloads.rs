//! Collectors in pods join a server with the tokens of their ServiceAccounts: who they are shown as, what they are told to
//! fill, and who does not get in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sidetrail_api::Operation;
use sidetrail_injector::intent::Intent;
use sidetrail_injector::unaudited::{Expected, Hello, Observed, Report, ReportTo, judge, send};
use sidetrail_tests::authority::Identity;
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::kubernetes::{ApiServer, Mood, Pod, put};
use sidetrail_tests::server::{Called, REGIONS, call, key_id, secret};
use sidetrail_tests::tools::{binary, run};
use sidetrail_tests::{
    Authority, Collector, Process, START, SeaweedFs, Server, free_address, http, wait_for,
};

/// How long what the server is told may take to be what a collector does.
const SECONDS: Duration = Duration::from_secs(10);
/// A token's life, that of the next one, and a look at what came of it.
const RENEWAL: Duration = Duration::from_secs(40);
const AUDIENCE: &str = "sidetrail";
const ORDERS: Pod = Pod {
    namespace: "prod",
    service_account: "orders",
    pod: Some(("orders-7", "0f1e2d3c-1111-2222-3333-444455556666")),
};
const REFUNDS: Pod = Pod {
    namespace: "prod",
    service_account: "refunds",
    pod: Some(("refunds-1", "0f1e2d3c-7777-8888-9999-000011112222")),
};

struct Cluster {
    directory: PathBuf,
    api: ApiServer,
    server: Server,
    /// Where collectors go.
    control: String,
    authority: Authority,
}

impl Cluster {
    /// A server that lets the pods of `prod` in, over TLS: those of `orders` for one trail.
    fn start(directory: &Path, store: &SeaweedFs, state: &str) -> Result<Self> {
        let authority = Authority::new(&directory.join("ca"))?;
        let api = ApiServer::start(directory, &authority)?;
        let of_server = directory.join("server");
        fs::create_dir(&of_server)?;
        let shown = authority.issue("server", &["127.0.0.1"])?;
        let control = free_address()?;
        let more = format!(
            "limits: {{ throttling: off }}\n\
             control:\n  listen: '{control}'\n  interval: 1s\n  \
             tls: {{ certificate: {}, key: {}, client_ca: {} }}\n  \
             join_certificates: [{{ peers: ['spiffe://example.org/vm/*'], account: '{ACCOUNT}' }}]\n  \
             kubernetes:\n    {}\n    \
             injector: {{ namespace: sidetrail, service_account: sidetrail-injector }}\n    workloads:\n    \
             - {{ namespace: prod, service_account: orders, account: '{ACCOUNT}', trails: [orders] }}\n    \
             - {{ namespace: prod, account: '{ACCOUNT}' }}\n",
            shown.certificate.display(),
            shown.key.display(),
            authority.ca().display(),
            api.members().replace(", ", "\n    "),
        );
        let server = Server::start(&of_server, store, state, &more)?;
        let control = format!("https://{control}");
        Ok(Self { directory: directory.to_owned(), api, server, control, authority })
    }

    /// A collector with this token, that says of itself that it is in the pod.
    fn collector(&self, name: &str, pod: &Pod, token: Option<&str>) -> Result<(Collector, PathBuf)> {
        let directory = self.directory.join(name);
        fs::create_dir(&directory)?;
        let file = directory.join("token");
        let mut members =
            format!("server: '{}', tls: {{ ca: {} }}", self.control, self.authority.ca().display());
        if let Some(token) = token {
            put(&file, token)?;
            members = format!("{members}, token_file: {}", file.display());
        }
        let (pod_name, uid) = pod.pod.context("a pod")?;
        let mut collector = Collector::new(&directory, Settings::default())?;
        collector.set_trails("[]");
        collector.set_more(format!(
            "control: {{ {members} }}\nworkload: {{ namespace: {}, service_account: {}, pod: {pod_name}, uid: {uid}, \
             node: node-1 }}\n",
            pod.namespace, pod.service_account
        ));
        Ok((collector, file))
    }

    fn known(&self) -> Result<Vec<Value>> {
        let mut command = Command::new(binary("sidetrail")?);
        command.args(["collectors", "--json"]).env("AWS_REGION", REGIONS[0]);
        command.env("AWS_ACCESS_KEY_ID", key_id("admin")).env("AWS_SECRET_ACCESS_KEY", secret("admin"));
        command.env("AWS_ENDPOINT_URL_CLOUDTRAIL", self.server.endpoint()).env_remove("AWS_ENDPOINT_URL");
        let ran = run(command)?;
        ensure!(ran.status.code().is_some_and(|code| code < 2), "{ran:?}");
        ran.stdout.lines().map(|line| serde_json::from_str(line).context("no collector")).collect()
    }

    /// The server's page has what the injector found, and beside that whose collectors are not in touch.
    fn shows_what_the_injector_reports(&self) -> Result<()> {
        let json = || -> Result<Value> {
            Ok(serde_json::from_str(&http::get(self.server.health(), "/unaudited.json")?.body)?)
        };
        ensure!(json()?["report"].is_null(), "{}", json()?);
        let now = Timestamp::now();
        let observed = |pod: &Pod, started: bool| -> Result<Observed> {
            let (name, uid) = pod.pod.context("a pod")?;
            Ok(Observed {
                namespace: pod.namespace.to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                owner: Some("ReplicaSet/<b>".to_owned()),
                created: now - SignedDuration::from_hours(1),
                is_live: true,
                intents: [Intent::NotAsked, Intent::Audited],
                has_collector: started,
                started,
                address: None,
            })
        };
        let bare = Pod { pod: Some(("bare-1", "2c0a4a53-0000-4000-8000-000000000001")), ..ORDERS };
        let mute = Pod { pod: Some(("mute-1", "2c0a4a53-0000-4000-8000-000000000002")), ..ORDERS };
        let grace = SignedDuration::from_mins(1);
        let (mut report, mut expected) = (Report::default(), Expected::default());
        for (pod, started) in [(&bare, false), (&mute, true), (&ORDERS, true), (&REFUNDS, true)] {
            let pod = observed(pod, started)?;
            let state = judge(&pod, true, Hello::Said, now, grace);
            report.add(&pod, state);
            expected.add(&pod, state, now, grace);
        }
        let token = self.directory.join("injector.token");
        let to = ReportTo { server: self.control.clone(), ca: self.authority.ca(), token: token.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tell = || runtime.block_on(send(&to, &report, &expected, now));
        // Whoever is not the injector reports nothing.
        put(&token, &self.api.give(&ORDERS, AUDIENCE, 3600)?)?;
        let refused = tell().err().context("an app may report")?.to_string();
        ensure!(refused.contains("403") && refused.contains("is not the injector's"), "{refused}");
        let injector = Pod {
            namespace: "sidetrail",
            service_account: "sidetrail-injector",
            pod: Some(("injector-1", "1")),
        };
        put(&token, &self.api.give(&injector, AUDIENCE, 3600)?)?;
        tell()?;
        let shown = wait_for("the report is shown", SECONDS, || {
            Ok(json().ok().filter(|shown| !shown["report"].is_null()))
        })?;
        ensure!(shown["report"]["from"] == "injector-1" && shown["report"]["old"] == false, "{shown}");
        ensure!(shown["unaudited"] == 1 && shown["audited"] == 3 && shown["notInTouch"] == 1, "{shown}");
        let findings = shown["findings"].as_array().context("no findings")?;
        let found: Vec<_> = findings.iter().map(|it| (it["pod"].as_str(), it["reason"].as_str())).collect();
        let both = [(Some("bare-1"), Some("not_injected")), (Some("mute-1"), Some("never_joined"))];
        ensure!(found == both, "{shown}");
        let page = http::get_page(self.server.health(), "/unaudited")?.body;
        for part in
            ["Without a collector", "<td>bare-1", "Collector never in touch", "<td>mute-1", "&lt;b&gt;"]
        {
            ensure!(page.contains(part), "no {part} in {page}");
        }
        let other = http::get_page(self.server.health(), "/unaudited?namespace=other")?.body;
        ensure!(!other.contains("bare-1") && other.contains("Every pod that is meant to be"), "{other}");
        Ok(())
    }

    fn connected(&self) -> Result<Vec<Value>> {
        Ok(self.known()?.into_iter().filter(|it| it["standing"] == "connected").collect())
    }

    fn ask(&self, operation: Operation, input: &Value) -> Result<Value> {
        match call(self.server.api(), "admin", REGIONS[0], operation, input) {
            Called::Done(answer) => Ok(answer),
            other => bail!("{operation}: {other:?}"),
        }
    }

    /// Starts one outside of the cluster, with a certificate.
    fn machine(&self, name: &str, identity: &Identity) -> Result<Process> {
        let directory = self.directory.join(format!("{name}-collector"));
        fs::create_dir(&directory)?;
        let Identity { certificate, key } = identity;
        let mut collector = Collector::new(&directory, Settings::default())?;
        collector.set_trails("[]");
        collector.set_more(format!(
            "control: {{ server: '{}', tls: {{ ca: {}, certificate: {}, key: {} }} }}\n",
            self.control,
            self.authority.ca().display(),
            certificate.display(),
            key.display()
        ));
        collector.spawn()
    }

    /// Starts one that is not let in for what its log then says.
    fn refused(&self, name: &str, pod: &Pod, token: Option<&str>, says: &str) -> Result<Process> {
        let (collector, _) = self.collector(name, pod, token)?;
        let process = collector.spawn()?;
        let told = wait_for("it is refused", START, || Ok(process.log()?.contains(says).then_some(())));
        told.with_context(|| format!("{name}: {}", process.log().unwrap_or_default()))?;
        if let Some(token) = token {
            ensure!(!process.log()?.contains(token), "{name}: a secret in the log");
        }
        Ok(process)
    }
}

#[test]
fn a_pod_joins_as_what_kubernetes_says_it_is() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let (state, bucket) = (store.bucket("pods-state")?, store.bucket("pods")?);
    let directory = tempfile::tempdir()?;
    let mut cluster = Cluster::start(directory.path(), store, &state)?;
    for name in ["orders", "refunds"] {
        cluster.ask(Operation::CreateTrail, &json!({ "Name": name, "S3BucketName": bucket }))?;
        cluster.ask(Operation::StartLogging, &json!({ "Name": name }))?;
    }
    let first = cluster.api.give(&ORDERS, AUDIENCE, 12)?;
    let (mut orders, file) = cluster.collector("orders", &ORDERS, Some(&first))?;
    orders.start()?;
    let of_orders = |known: Vec<Value>| known.into_iter().find(|it| it["workload"]["pod"] == "orders-7");
    let known = wait_for("the pod is known, and fills its trail", SECONDS, || {
        Ok(of_orders(cluster.known()?).filter(|it| it["state"]["upToDate"] == true))
    })?;
    let workload = json!({ "namespace": "prod", "serviceAccount": "orders", "pod": "orders-7",
        "uid": "0f1e2d3c-1111-2222-3333-444455556666", "node": "node-1" });
    ensure!(known["workload"] == workload, "{known}");
    let filled = wait_for("its one trail", SECONDS, || {
        let known = of_orders(cluster.known()?).context("it is gone")?;
        Ok(known["state"]["trails"].as_array().filter(|trails| !trails.is_empty()).cloned())
    })?;
    ensure!(filled.len() == 1 && filled[0]["name"] == "orders", "not its own trail alone: {filled:?}");

    // Another pod of the namespace fills all of them.
    let token = cluster.api.give(&REFUNDS, AUDIENCE, 3600)?;
    let (mut refunds, _) = cluster.collector("refunds", &REFUNDS, Some(&token))?;
    refunds.start()?;
    wait_for("the other pod fills both", SECONDS, || {
        let known = cluster.known()?.into_iter().find(|it| it["workload"]["pod"] == "refunds-1");
        Ok(known.filter(|it| it["state"]["trails"].as_array().is_some_and(|trails| trails.len() == 2)))
    })?;
    ensure!(cluster.api.asked(&token) == 1, "asked {} times about one token", cluster.api.asked(&token));

    cluster.shows_what_the_injector_reports()?;

    // The kubelet renews the token; before the old one is over the collector shows the new one.
    let second = cluster.api.give(&ORDERS, AUDIENCE, 3600)?;
    put(&file, &second)?;
    wait_for("the new token is shown", RENEWAL, || Ok((cluster.api.asked(&second) > 0).then_some(())))?;
    wait_for("it is in touch as before", SECONDS, || {
        Ok(of_orders(cluster.known()?).filter(|it| it["standing"] == "connected"))
    })?;
    ensure!(cluster.known()?.len() == 2, "{:?}", cluster.known()?);
    let log = orders.log()?;
    ensure!(!log.contains("no server;"), "a renewal is no outage: {log}");

    orders.stop()?;
    refunds.stop()?;
    let log = fs::read_to_string(cluster.server.log())?;
    for secret in [&first, &second, &token] {
        ensure!(!log.contains(secret.as_str()), "a secret in the server's log");
    }
    cluster.server.stop()
}

#[test]
fn a_server_lets_in_whom_kubernetes_vouches_for_and_nobody_else() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let state = store.bucket("strangers-state")?;
    let directory = tempfile::tempdir()?;
    let mut cluster = Cluster::start(directory.path(), store, &state)?;
    let dev = Pod { namespace: "dev", ..ORDERS };
    let no_pod = Pod { pod: None, ..ORDERS };
    let give = |pod: &Pod, audience: &str, seconds| cluster.api.give(pod, audience, seconds);
    let good = give(&ORDERS, AUDIENCE, 3600)?;
    let forged = format!("{}x", give(&ORDERS, AUDIENCE, 3600)?);
    let mut refused = Vec::new();
    for (name, claims, token, says) in [
        (
            "audience",
            &ORDERS,
            Some(give(&ORDERS, "https://kubernetes.default.svc", 3600)?),
            "is not for the audience sidetrail",
        ),
        ("expired", &ORDERS, Some(give(&ORDERS, AUDIENCE, -1)?), "the ServiceAccount token has expired"),
        ("forged", &ORDERS, Some(forged), "Kubernetes does not believe the ServiceAccount token"),
        ("unbound", &ORDERS, Some(give(&no_pod, AUDIENCE, 3600)?), "is not bound to a pod"),
        (
            "namespace",
            &dev,
            Some(give(&dev, AUDIENCE, 3600)?),
            "no entry of control.kubernetes.workloads is for",
        ),
        // A good token, of another pod than the manifests would say.
        ("claim", &REFUNDS, Some(good.clone()), "hello.workload.pod is \\\"refunds-1\\\""),
        ("nothing", &ORDERS, None, "a token is needed"),
        (
            "words",
            &ORDERS,
            Some("not-a-token-of-anybody".to_owned()),
            "the join token is not one of this server's",
        ),
    ] {
        refused.push(cluster.refused(name, claims, token.as_deref(), says)?);
    }
    drop(refused);

    // Without an answer nobody gets in, and with it everybody who may.
    for (name, mood, says) in [
        ("away", Mood::Away, "Kubernetes cannot be asked about the ServiceAccount token now"),
        ("forbidden", Mood::Forbidding, "Kubernetes cannot be asked about the ServiceAccount token now"),
    ] {
        cluster.api.set_mood(mood);
        let fresh = cluster.api.give(&ORDERS, AUDIENCE, 3600)?;
        let process = cluster.refused(name, &ORDERS, Some(&fresh), says)?;
        ensure!(cluster.connected()?.is_empty(), "{name}: {:?}", cluster.known()?);
        cluster.api.set_mood(Mood::Well);
        let one = || Ok(cluster.connected()?.pop());
        let known = wait_for("it is let in when there is an answer", RENEWAL, one)?;
        ensure!(known["workload"]["pod"] == "orders-7", "{known}");
        drop(process);
        let none = || Ok(cluster.connected()?.is_empty().then_some(()));
        wait_for("it is seen to be gone", SECONDS, none)?;
    }
    let log = fs::read_to_string(cluster.server.log())?;
    ensure!(log.contains("cannot create resource"), "the log has not why: {log}");
    ensure!(!log.contains(&good), "a secret in the server's log");

    // Whoever has no TLS does not get as far as that, and who has a certificate needs no token.
    let (with_tls, without) = (cluster.control.clone(), cluster.control.replace("https", "http"));
    cluster.control = without;
    drop(cluster.refused("plaintext", &ORDERS, Some(&good), "no server;")?);
    cluster.control = with_tls;
    let stranger = cluster.authority.issue("stranger", &["spiffe://example.org/ns/prod"])?;
    let process = cluster.machine("stranger", &stranger)?;
    wait_for("it is refused", START, || Ok(process.log()?.contains("no server;").then_some(())))?;
    ensure!(cluster.connected()?.is_empty(), "{:?}", cluster.known()?);
    drop(process);
    let machine = cluster.authority.issue("machine", &["spiffe://example.org/vm/1"])?;
    let process = cluster.machine("machine", &machine)?;
    let known = wait_for("the machine is let in", SECONDS, || Ok(cluster.connected()?.pop()))?;
    ensure!(known["workload"].is_null(), "{known}");
    drop(process);
    cluster.server.stop()
}
