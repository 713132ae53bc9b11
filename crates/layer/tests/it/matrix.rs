//! Every transport with every kind of body, every outcome and every class of delivery: one record each, and the right
//! one, as the collector got it.

mod bodies;
mod callers;
mod outcomes;
mod told;
mod transports;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::Either, stream};
use http_body_util::BodyExt;
use sidetrail::{AuditLayer, Builder, Delivery};

use self::{
    bodies::{SENT, Sent},
    callers::{CALLERS, Caller},
    outcomes::{Act, OUTCOMES, Outcome, Seen},
    transports::{Place, Running, Stage, TRANSPORTS, Transport},
};
use crate::sender::{SOON, eventually, socket};

const SERVICE: &str = "orders.example.com";

/// What is never to be in a record. It is in queries, headers, both bodies, errors and panics.
const SECRET: &str = "hunter2hunter2hunter2";

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Bytes of a body that are recorded.
const CAP: usize = 512;

/// What one case may take at most.
const LIMIT: Duration = Duration::from_secs(60);

/// Cases that run at the same time.
const AT_ONCE: usize = 8;

/// With fewer the matrix has lost a dimension.
const MIN_CASES: usize = 60;

const DELIVERIES: [Delivery; 3] = [Delivery::Buffered, Delivery::Durable, Delivery::Guarded];

#[derive(Clone, Copy)]
struct Case {
    transport: Transport,
    sent: &'static Sent,
    outcome: &'static Outcome,
    delivery: Delivery,
    caller: &'static Caller,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, sent, outcome, delivery, caller } = self;
        write!(formatter, "{transport:?}, {}, {}, {delivery:?}, {}", sent.label, outcome.label, caller.label)
    }
}

/// Whether a combination makes no sense.
type Rule = fn(&Case) -> bool;

/// Why combinations are left out.
const LEFT_OUT: [(&str, Rule); 3] = [
    ("a transport carries its own bodies", |case| case.transport.carrier() != case.sent.carrier),
    ("a protocol has outcomes of its own", |case| !case.outcome.is_of(case.transport.carrier())),
    ("reading makes nothing", |case| case.sent.read_only && case.outcome.status == 201),
];

/// All combinations that make sense, and how many each rule left out.
fn cases() -> (Vec<Case>, [usize; LEFT_OUT.len()]) {
    let (mut cases, mut left_out) = (Vec::new(), [0; LEFT_OUT.len()]);
    let mut callers = CALLERS.iter().cycle();
    for transport in TRANSPORTS {
        for sent in &SENT {
            for outcome in &OUTCOMES {
                for delivery in DELIVERIES {
                    let caller = callers.next().unwrap();
                    let case = Case { transport, sent, outcome, delivery, caller };
                    match LEFT_OUT.iter().position(|(_, rule)| rule(&case)) {
                        Some(rule) => left_out[rule] += 1,
                        None => cases.push(case),
                    }
                }
            }
        }
    }
    (cases, left_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_one_record_and_the_right_one() {
    let (cases, left_out) = cases();
    for ((rule, _), count) in LEFT_OUT.iter().zip(left_out) {
        assert!(count > 0, "no case for the rule: {rule}");
    }
    let outcomes: Vec<_> = stream::iter(cases)
        .map(async |case| match tokio::time::timeout(LIMIT, tokio::spawn(run(case))).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{case}: {}", reason(error))),
            Err(_) => Some(format!("{case}: did not come to its end")),
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let count = outcomes.len();
    let failures: Vec<_> = outcomes.into_iter().flatten().collect();
    println!("{count} cases");
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= MIN_CASES, "{count} cases");
}

/// What a case that failed says.
fn reason(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// One call, from its caller to the collector.
async fn run(case: Case) {
    let (_directory, socket) = socket();
    let stage = Stage::new(case);
    let collector = stage.collector.clone();
    let server = collector.listen(&socket);
    let layer = case.layer(|layer| layer.collector(format!("unix:{}", socket.display())));
    let running = Running::start(&stage, &layer).await;

    let seen = call(&stage, &running).await;
    assert_eq!(seen, case.outcome.seen(case.transport), "what the caller saw");
    if case.delivery == Delivery::Durable && case.outcome.is_answered() {
        assert_eq!(told::count(&collector).1, 1, "whoever has a durable answer has its record");
    }
    let events = if case.delivery == Delivery::Guarded { 2 } else { 1 };
    eventually(|| layer.stats().accepted >= events).await;
    running.stop().await;
    layer.shutdown(SOON).await.unwrap();
    let stats = layer.stats();
    assert_eq!((stats.accepted, stats.acked, stats.dropped, stats.queued), (events, events, 0, 0));
    collector.with(|log| assert_eq!(log.goodbye, Some(events)));
    told::check(&stage);
    server.abort();
}

impl Case {
    /// Its delivery and its rule are the whole layer's, the route's or the handler's.
    fn layer(&self, configure: impl FnOnce(Builder) -> Builder) -> AuditLayer {
        let builder =
            AuditLayer::builder(SERVICE).body_cap(CAP).deadline(SOON).identity_from(callers::User::identity);
        #[cfg(feature = "grpc-messages")]
        let builder = builder.grpc_descriptors(&crate::grpc::descriptors());
        let (method, template) = (self.sent.method(), self.sent.template);
        let builder = match self.transport.place() {
            Place::Layer => builder.delivery(self.delivery).route(method, template, self.sent.rule()),
            Place::Route => builder.route(method, template, self.sent.rule().delivery(self.delivery)),
            Place::Handler => builder,
        };
        configure(builder).build().unwrap()
    }
}

/// Makes the call, and stays as long as this caller stays.
async fn call(stage: &Stage, running: &Running) -> Seen {
    let Case { sent, outcome, caller, .. } = stage.case;
    let answer = running.send(sent.request(caller));
    if outcome.act == Act::LeavesBefore {
        let begun = Arc::clone(&stage.begun);
        let first = futures_util::future::select(answer, Box::pin(begun.notified()));
        match tokio::time::timeout(SOON, first).await.unwrap() {
            Either::Left(_) => unreachable!("an answer that never comes"),
            // With that the call is dropped.
            Either::Right(_) => return Seen::Nothing,
        }
    }
    let Ok(response) = tokio::time::timeout(SOON, answer).await.unwrap() else { return Seen::Broken };
    let (head, mut body) = response.into_parts();
    if outcome.act == Act::LeavesDuring {
        tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        return Seen::Nothing;
    }
    let Ok(body) = tokio::time::timeout(SOON, body.collect()).await.unwrap() else { return Seen::Broken };
    let trailers = body.trailers();
    let code = trailers.and_then(|trailers| trailers.get("grpc-status")).or(head.headers.get("grpc-status"));
    Seen::Answer(head.status.as_u16(), code.map(|code| code.to_str().unwrap().parse().unwrap()))
}
