//! `cargo xtask bench injector`: the webhook on one core, beside a bare axum server that echoes the same bodies over the same
//! TLS, in the same run.
//!
//! Each server is a process of its own on the first core, with one thread; the load is on the others. First reviews come at
//! a fixed pace, and an answer's time counts from when its review was due; then as fast as answers come. The reviews are the
//! captured ones that create a pod.
//!
//! The last line is a JSON object: `p50_ms`, `p99_ms`, `max_ms` at the pace, `cpu_us` per review, `per_second` at most, each
//! with its `echo_…`; `p99_over_echo`, `cpu_over_echo`, `per_second_over_echo`; `failures`; `load`, the system's load average
//! at the start: what else runs is in the times, but hardly in CPU.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sidetrail_injector::certificates::Authority;
use sidetrail_injector::config::Config;
use sidetrail_injector::kube::Change;
use sidetrail_injector::metrics::Metrics;
use sidetrail_injector::namespaces::Namespaces;
use sidetrail_injector::serve::{Limits, Presented, Webhooks, acceptor, serve_tls, webhooks};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

const NAME: &str = "sidetrail-injector.sidetrail.svc";
const CONNECTIONS: usize = 8;
const PACE: u32 = 1000;
const PACED: Duration = Duration::from_secs(10);
const UNPACED: Duration = Duration::from_secs(5);
const CONFIG: &str = "
collector:
  image: registry.example/sidetrail/collector@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  config:
    account: '123456789012'
    region: eu-central-1
    trails: [{ name: default, destination: s3://audit/prod }]
";

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--serve").skip(1);
    match arguments.next() {
        Some(kind) => serve(&kind),
        None => measure(),
    }
}

/// The server's side: says where it is and what to believe, then serves until it is killed.
fn serve(kind: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let now = Timestamp::now();
        let authority = Authority::new(now, SignedDuration::from_hours(1)).unwrap();
        let issued = authority.issue(&[NAME.to_owned()], now, SignedDuration::from_hours(1)).unwrap();
        let presented = Arc::new(Presented::default());
        presented.show(issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap();
        let router = if kind == "echo" {
            let echo = |body: Bytes| async { ([("content-type", "application/json")], body) };
            Router::new().route("/mutate/namespace", post(echo))
        } else {
            webhooks(Arc::new(state()))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        println!("{}", json!({ "address": address, "authority": authority.0.certificate }));
        let tls = acceptor(presented).unwrap();
        serve_tls(listener, tls, router, Limits::default(), CancellationToken::new()).await;
    });
}

fn state() -> Webhooks {
    let config: Config = serde_norway::from_str(CONFIG).unwrap();
    let namespaces = Namespaces::new(None);
    for name in ["shop", "limited"] {
        let labels = json!({ "sidetrail.dev/inject": "enabled" });
        let object = json!({ "metadata": { "name": name, "labels": labels } });
        namespaces.apply(Change::Set(serde_json::from_value(object).unwrap()));
    }
    Webhooks {
        config,
        own_namespace: "sidetrail".to_owned(),
        native: AtomicBool::new(true),
        namespaces: Arc::new(namespaces),
        metrics: Arc::new(Metrics::new()),
    }
}

/// A server as a process, on a core of its own.
struct Server {
    child: Child,
    address: SocketAddr,
    authority: String,
}

impl Server {
    fn start(kind: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program).args(["--serve", kind]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = said["address"].as_str().unwrap().parse().unwrap();
        Self { child, address, authority: said["authority"].as_str().unwrap().to_owned() }
    }

    /// CPU seconds that it has used.
    fn cpu(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // User and system time, in hundredths of a second on every Linux.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Figures {
    p50: f64,
    p99: f64,
    max: f64,
    cpu_us: f64,
    per_second: f64,
    failures: usize,
}

fn measure() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = load.split(' ').next().unwrap().parse().unwrap();
    if load > 1.0 {
        eprintln!("WARNING: the load average is {load}. Something else runs here; times will be too long.");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bodies = bodies();
    println!(
        "{} reviews, {} bytes on average",
        bodies.len(),
        bodies.iter().map(Bytes::len).sum::<usize>() / bodies.len()
    );
    // In turns, so that what else runs meets both.
    let run = |kind| runtime.block_on(figures(kind, &bodies));
    let (first, echo, second) = (run("injector"), run("echo"), run("injector"));
    let failures = first.failures + echo.failures + second.failures;
    let own = if first.p99 < second.p99 { first } else { second };
    for (name, figures) in [("injector", &own), ("echo", &echo)] {
        println!("{name:9} {figures:?}");
    }
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        json!({
            "bench": "injector", "pace": PACE, "failures": failures, "load": load,
            "p50_ms": round(own.p50), "p99_ms": round(own.p99), "max_ms": round(own.max),
            "cpu_us": round(own.cpu_us), "per_second": round(own.per_second),
            "echo_p50_ms": round(echo.p50), "echo_p99_ms": round(echo.p99), "echo_max_ms": round(echo.max),
            "echo_cpu_us": round(echo.cpu_us), "echo_per_second": round(echo.per_second),
            "p99_over_echo": round(own.p99 / echo.p99), "cpu_over_echo": round(own.cpu_us / echo.cpu_us),
            "per_second_over_echo": round(own.per_second / echo.per_second),
        })
    );
}

/// The captured reviews that create a pod, as the API server sends them: on one line.
fn bodies() -> Vec<Bytes> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/admission-reviews");
    let mut bodies = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let review: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let request = &review["request"];
        if request["operation"] == "CREATE" && request["subResource"].is_null() {
            bodies.push(Bytes::from(review.to_string()));
        }
    }
    bodies
}

async fn figures(kind: &str, bodies: &[Bytes]) -> Figures {
    let server = Server::start(kind);
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(connect(&server).await);
    }
    // Warm: what is made once is made.
    let until = Instant::now() + Duration::from_millis(500);
    senders = every(senders, bodies, move |_| Some(Instant::now()).filter(|now| *now < until)).await.0;

    let start = Instant::now() + Duration::from_millis(50);
    let (before, total) = (server.cpu(), PACE * u32::try_from(PACED.as_secs()).unwrap());
    let (senders, mut times, failed) = every(senders, bodies, move |index| {
        (index < total as usize)
            .then(|| start + Duration::from_secs(1) / PACE * u32::try_from(index).unwrap())
    })
    .await;
    let cpu = server.cpu() - before;
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));

    let (began, until) = (Instant::now(), Instant::now() + UNPACED);
    let (_, unpaced, also) =
        every(senders, bodies, move |_| Some(Instant::now()).filter(|now| *now < until)).await;
    let per_second = unpaced.len() as f64 / began.elapsed().as_secs_f64();
    let cpu_us = cpu * 1e6 / times.len() as f64;
    Figures { p50, p99, max, cpu_us, per_second, failures: failed + also }
}

async fn connect(server: &Server) -> SendRequest<Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends on all connections, each request when it is due, until none is. Answers with what each took from then on.
async fn every(
    senders: Vec<SendRequest<Full<Bytes>>>,
    bodies: &[Bytes],
    due: impl Fn(usize) -> Option<Instant> + Clone + Send + 'static,
) -> (Vec<SendRequest<Full<Bytes>>>, Vec<Duration>, usize) {
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for mut sender in senders {
        let (next, due, bodies) = (Arc::clone(&next), due.clone(), bodies.to_vec());
        tasks.push(tokio::spawn(async move {
            let (mut times, mut failed) = (Vec::new(), 0);
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(due) = due(index) else { return (sender, times, failed) };
                tokio::time::sleep_until(due.into()).await;
                let request = Request::post("/mutate/namespace?timeout=5s")
                    .header("host", NAME)
                    .header("content-type", "application/json")
                    .body(Full::new(bodies[index % bodies.len()].clone()))
                    .unwrap();
                sender.ready().await.unwrap();
                let response = sender.send_request(request).await.unwrap();
                failed += usize::from(response.status() != 200);
                response.into_body().collect().await.unwrap();
                times.push(due.elapsed());
            }
        }));
    }
    let (mut senders, mut times, mut failures) = (Vec::new(), Vec::new(), 0);
    for task in tasks {
        let (sender, took, failed) = task.await.unwrap();
        senders.push(sender);
        times.extend(took);
        failures += failed;
    }
    (senders, times, failures)
}
