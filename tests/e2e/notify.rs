//! Notifications of log files and digests: at least once, whatever becomes of who is told and of who tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream;
use async_nats::jetstream::stream::Config as Stream;
use serde_json::{Value, json};
use sidetrail_api::Operation;
use sidetrail_archive::sign::generate_rsa_pem;
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::sender::Sender;
use sidetrail_tests::server::{Called, REGIONS, call};
use sidetrail_tests::webhook::{Mode, Received};
use sidetrail_tests::{Collector, Load, Nats, START, SeaweedFs, Server, Webhook, archive, tools, wait_for};

/// A lease of half a minute, and what a busy machine takes.
const TOLD: Duration = Duration::from_secs(120);
/// A period of digests of a minute, and what comes before and after it.
const PERIOD: Duration = Duration::from_secs(180);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const EVENTS: u64 = 1_500;

/// Checks a signature as Standard Webhooks says, with nothing of ours.
const CHECK: &str = r#"
import base64, hashlib, hmac, json, sys
secret, headers, body = json.loads(sys.argv[1])
key = base64.b64decode(secret.removeprefix("whsec_"))
signed = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.{body}'.encode()
mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
assert headers["webhook-signature"] == "v1," + mac, headers
"#;

struct Site {
    server: Server,
    collector: Collector,
    bucket: String,
}

impl Site {
    fn start(directory: &Path, store: &SeaweedFs, name: &str, topic: &str) -> Result<Self> {
        let (of_server, of_collector) = (directory.join("server"), directory.join("collector"));
        fs::create_dir(&of_server)?;
        fs::create_dir(&of_collector)?;
        let (state, bucket) = (store.bucket(&format!("{name}-state"))?, store.bucket(name)?);
        let key = directory.join("digest.pem");
        fs::write(&key, generate_rsa_pem(2048, None)?.as_bytes())?;
        let more = format!(
            "digest: {{ keys: [{}], cadence: 1m, settle: 1s }}\nhistory: {{ interval: 200ms }}\n\
             limits: {{ throttling: off }}\ntopics: {{ files: {{ {topic} }} }}\n",
            key.display()
        );
        let server = Server::start(&of_server, store, &state, &more)?;
        let mut collector = Collector::new(&of_collector, Settings::default())?.with_store(store, &bucket)?;
        let destination = collector.destination();
        collector.set_trails(format!(
            "[{{ name: orders, destination: '{destination}', rotate: {{ age: 200ms }} }}]"
        ));
        collector.start()?;
        Ok(Self { server, collector, bucket })
    }

    fn ask(&self, operation: Operation, input: &Value) -> Result<Value> {
        match call(self.server.api(), "admin", REGIONS[0], operation, input) {
            Called::Done(answer) => Ok(answer),
            other => bail!("{operation}: {other:?}"),
        }
    }

    /// The trail that the collector fills.
    fn trail(&self) -> Value {
        json!({
            "Name": "orders", "S3BucketName": self.bucket, "S3KeyPrefix": "audit", "SnsTopicName": "files",
            "EnableLogFileValidation": true,
        })
    }

    fn status(&self) -> Result<Value> {
        self.ask(Operation::GetTrailStatus, &json!({ "Name": "orders" }))
    }

    fn load(&self) -> Result<Load> {
        let pause = Duration::from_millis(15);
        Load::start([Sender::new(&self.collector.socket(), [7; 16], EVENTS, 3, pause)])
    }

    /// The keys of all log files, or of all digests.
    fn keys(&self, kind: &str) -> Result<BTreeSet<String>> {
        let kind = format!("/{kind}/");
        Ok(archive::objects(&self.collector, |key| key.contains(&kind))?.into_keys().collect())
    }
}

/// The keys that messages name, each with the messages' ids; and how many messages there were.
fn told<'a>(
    bodies: impl Iterator<Item = &'a str>,
    bucket: &str,
) -> Result<(BTreeMap<String, BTreeSet<String>>, usize)> {
    let (mut keys, mut count): (BTreeMap<String, BTreeSet<String>>, _) = (BTreeMap::new(), 0);
    for body in bodies {
        let envelope: Value = serde_json::from_str(body)?;
        let topic = format!("arn:aws:sns:{}:{ACCOUNT}:files", REGIONS[0]);
        ensure!(envelope["Type"] == "Notification" && envelope["TopicArn"] == topic.as_str(), "{body}");
        let message = envelope["Message"].as_str().context("no message")?;
        if message == "CloudTrail validation message." {
            continue;
        }
        let message: Value = serde_json::from_str(message)?;
        ensure!(message["s3Bucket"] == bucket, "{body}");
        let named = message["s3ObjectKey"].as_array().context("no keys")?;
        for key in named {
            let id = envelope["MessageId"].as_str().context("no id")?.to_owned();
            keys.entry(key.as_str().context("no key")?.to_owned()).or_default().insert(id);
            count += 1;
        }
    }
    Ok((keys, count))
}

fn accepted(received: &[Received]) -> impl Iterator<Item = &str> {
    received.iter().filter(|it| it.mode == Mode::Status(200)).map(|it| it.body.as_str())
}

#[test]
fn a_webhook_that_fails_is_slow_and_away_is_told_of_everything() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let directory = tempfile::tempdir()?;
    let mut hook = Webhook::start()?;
    let secret = directory.path().join("hook.secret");
    fs::write(&secret, format!("{SECRET}\n"))?;
    let topic = format!(
        "webhook: {{ url: 'http://{}/files?token=keep-me-out-of-the-log', secret: {{ file: {} }}, timeout: 1s }}",
        hook.address(),
        secret.display()
    );
    let mut site = Site::start(directory.path(), store, "notify", &topic)?;

    hook.set(Mode::Status(403));
    let refused = call(site.server.api(), "admin", REGIONS[0], Operation::CreateTrail, &site.trail());
    ensure!(
        matches!(&refused, Called::Refused(code) if code.contains("InsufficientSnsTopicPolicy")),
        "a topic that does not want the trail: {refused:?}"
    );
    hook.set(Mode::Status(200));
    let made = site.ask(Operation::CreateTrail, &site.trail())?;
    ensure!(made["SnsTopicARN"] == format!("arn:aws:sns:{}:{ACCOUNT}:files", REGIONS[0]), "{made}");
    ensure!(made["SnsTopicName"] == "files", "{made}");
    site.ask(Operation::StartLogging, &json!({ "Name": "orders" }))?;
    let first = hook.received().pop().context("no first message")?;
    ensure!(first.body.contains("CloudTrail validation message."), "{first:?}");
    let mut python = tools::python()?;
    python.args(["-c", CHECK, &json!([SECRET, first.headers, first.body]).to_string()]);
    tools::run(python)?.success()?;

    let load = site.load()?;
    wait_for("the first messages", TOLD, || Ok((accepted(&hook.received()).count() > 3).then_some(())))?;
    hook.set(Mode::Status(503));
    wait_for("the error in the status", TOLD, || {
        Ok((site.status()?["LatestNotificationError"] == "InternalError").then_some(()))
    })?;
    hook.set(Mode::Slow);
    let before = hook.received().len();
    wait_for("a slow answer", TOLD, || Ok((hook.received().len() > before).then_some(())))?;
    hook.stop();
    site.server.kill()?;
    load.finish()?;
    site.collector.stop()?;
    hook.set(Mode::Status(200));
    hook.resume()?;
    site.server.resume()?;

    let files = site.keys("CloudTrail")?;
    ensure!(files.len() > 5, "only {} log files", files.len());
    let all = wait_for("all log files", TOLD, || {
        let received = hook.received();
        let (keys, count) = told(accepted(&received), &site.bucket)?;
        Ok(files.iter().all(|key| keys.contains_key(key)).then_some((keys, count)))
    });
    let (keys, count) = all.with_context(|| fs::read_to_string(site.server.log()).unwrap_or_default())?;
    println!("{} log files, {count} messages that were taken", files.len());
    ensure!(count < 3 * files.len(), "{count} messages for {} log files", files.len());
    ensure!(
        keys.values().all(|ids| ids.len() == 1),
        "a message has other ids when it is sent again: {keys:?}"
    );
    let digest = wait_for("a digest", PERIOD, || {
        let (keys, _) = told(accepted(&hook.received()), &site.bucket)?;
        Ok(keys.into_keys().find(|key| key.contains("/CloudTrail-Digest/")))
    })?;
    ensure!(site.keys("CloudTrail-Digest")?.contains(&digest), "{digest} is not there");
    let (keys, _) = told(accepted(&hook.received()), &site.bucket)?;
    let known: BTreeSet<_> = files.into_iter().chain(site.keys("CloudTrail-Digest")?).collect();
    ensure!(keys.keys().all(|key| known.contains(key)), "messages name what is not there");
    let status = wait_for("the status to be well", START, || {
        let status = site.status()?;
        Ok(status["LatestNotificationError"].is_null().then_some(status))
    })?;
    ensure!(status["LatestNotificationTime"].is_number(), "{status}");
    ensure!(
        status["LatestNotificationAttemptSucceeded"].as_str().is_some_and(|it| !it.is_empty()),
        "{status}"
    );

    site.ask(Operation::UpdateTrail, &json!({ "Name": "orders", "SnsTopicName": "" }))?;
    let described = site.ask(Operation::DescribeTrails, &json!({}))?;
    ensure!(described["trailList"][0].get("SnsTopicARN").is_none(), "{described}");
    site.server.stop()?;
    let log = fs::read_to_string(site.server.log())?;
    ensure!(!log.contains("keep-me-out") && !log.contains(SECRET), "a secret is in the log");
    Ok(())
}

#[test]
fn a_stream_of_nats_has_each_message_once() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let directory = tempfile::tempdir()?;
    let mut nats = Nats::start(directory.path())?;
    let topic = format!("nats: {{ servers: ['{}'], subject: audit.files, timeout: 2s }}", nats.url());
    let mut site = Site::start(directory.path(), store, "notify-nats", &topic)?;
    let refused = call(site.server.api(), "admin", REGIONS[0], Operation::CreateTrail, &site.trail());
    ensure!(
        matches!(&refused, Called::Refused(code) if code.contains("InsufficientSnsTopicPolicy")),
        "a subject without a stream: {refused:?}"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(nats.url()).await?);
        let subjects = vec!["audit.>".to_owned()];
        let stream = Stream { name: "AUDIT".to_owned(), subjects, ..Stream::default() };
        context.create_stream(stream).await?;
        anyhow::Ok(())
    })?;
    site.ask(Operation::CreateTrail, &site.trail())?;
    let load = site.load()?;
    wait_for("a message", TOLD, || Ok(site.status()?["LatestNotificationTime"].is_number().then_some(())))?;
    nats.kill()?;
    wait_for("the error in the status", TOLD, || {
        Ok((site.status()?["LatestNotificationError"] == "InternalError").then_some(()))
    })?;
    nats.resume()?;
    load.finish()?;
    site.collector.stop()?;
    let files = site.keys("CloudTrail")?;
    let bodies = wait_for("all messages", TOLD, || {
        let bodies = runtime.block_on(messages(&nats.url()))?;
        let (keys, _) = told(bodies.iter().map(String::as_str), &site.bucket)?;
        Ok(files.iter().all(|key| keys.contains_key(key)).then_some(bodies))
    })?;
    let (keys, count) = told(bodies.iter().map(String::as_str), &site.bucket)?;
    ensure!(count == keys.len(), "{count} messages for {} objects: the stream has some twice", keys.len());
    site.server.stop()
}

/// All messages of the stream.
async fn messages(url: &str) -> Result<Vec<String>> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let mut stream = context.get_stream("AUDIT").await?;
    let last = stream.info().await?.state.last_sequence;
    let mut bodies = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await?;
        bodies.push(String::from_utf8(message.payload.to_vec())?);
    }
    Ok(bodies)
}

/// A topic must be one of the configuration, and one that the account may have.
#[test]
fn a_topic_that_is_not_there_is_refused() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let directory = tempfile::tempdir()?;
    let bucket = store.bucket("notify-refused")?;
    let config = "limits: { throttling: off }\ntopics: { theirs: { accounts: ['444455556666'], webhook: { url: 'http://127.0.0.1:9/' } } }\n";
    let server = Server::start(directory.path(), store, &bucket, config)?;
    for (topic, code) in [
        ("theirs", "InsufficientSnsTopicPolicyException"),
        ("nobodys", "InsufficientSnsTopicPolicyException"),
        ("no topic", "InvalidSnsTopicNameException"),
        ("arn:aws:sns:us-west-2:111122223333:theirs", "InvalidSnsTopicNameException"),
    ] {
        let input = json!({ "Name": "orders", "S3BucketName": bucket, "SnsTopicName": topic });
        let called = call(server.api(), "admin", REGIONS[0], Operation::CreateTrail, &input);
        ensure!(matches!(&called, Called::Refused(found) if found == code), "{topic}: {called:?}");
    }
    // One that does not answer may be well later: the trail is made.
    let input = json!({ "Name": "orders", "S3BucketName": bucket, "SnsTopicName": "theirs" });
    let made = call(server.api(), "member", REGIONS[0], Operation::CreateTrail, &input);
    ensure!(matches!(made, Called::Done(_)), "{made:?}");

    let broken = directory.path().join("broken.yaml");
    let text = fs::read_to_string(directory.path().join("server.yaml"))?;
    fs::write(&broken, text.replace("'http://127.0.0.1:9/'", "'http://hooks.example.com/'"))?;
    let mut command = Command::new(tools::binary("sidetrail-server")?);
    command.arg("--config").arg(&broken).arg("--validate");
    let ran = tools::run(command)?;
    ensure!(ran.status.code() == Some(64) && ran.stderr.contains("topics.theirs.webhook.url"), "{ran:?}");
    Ok(())
}
