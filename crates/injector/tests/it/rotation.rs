//! Authorities and certificates come and go under load, and no call fails: on two replicas of which one only reads, for a
//! caller that hears of a changed `caBundle` late.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use sidetrail_injector::certificates::Keeper;
use sidetrail_injector::config::{SelfManaged, Validity};
use sidetrail_injector::kube::LeaseKeeper;
use sidetrail_injector::metrics::Metrics;
use sidetrail_injector::namespaces::Namespaces;
use sidetrail_injector::serve::{Limits, Presented, Webhooks, acceptor, serve_tls, webhooks};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, MUTATING, webhook_configuration};
use crate::caller::{Clock, bundle, call};
use crate::pods::{OWN, captured, config};

/// Of the clock that certificates go by.
const STEP: i64 = 30;
const STEPS: i64 = 360;

struct Replica {
    keeper: Keeper,
    address: std::net::SocketAddr,
}

async fn replica(
    api: &Api,
    name: &str,
    leads: bool,
    metrics: &Arc<Metrics>,
    end: &CancellationToken,
) -> Replica {
    let own = SelfManaged {
        validity: Validity {
            authority: SignedDuration::from_hours(1),
            serving: SignedDuration::from_mins(15),
            overlap: SignedDuration::from_secs(150),
        },
        ..SelfManaged::default()
    };
    let mut lease = LeaseKeeper::new(api.client(), OWN, "sidetrail-injector", name);
    if leads {
        lease.step().await;
        // Held for the whole test, which is shorter than a Lease.
        assert!(lease.leader().is());
    }
    let presented = Arc::new(Presented::default());
    let state = Webhooks {
        config: config(""),
        own_namespace: OWN.to_owned(),
        native: AtomicBool::new(true),
        namespaces: Arc::new(Namespaces::new(None)),
        metrics: Arc::clone(metrics),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = acceptor(Arc::clone(&presented)).unwrap();
    tokio::spawn(serve_tls(listener, tls, webhooks(Arc::new(state)), Limits::default(), end.clone()));
    let keeper = Keeper::new(api.client(), own, OWN, lease.leader(), presented, Arc::clone(metrics));
    Replica { keeper, address }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_certificates_change() {
    let api = Api::start().await;
    api.put(MUTATING, webhook_configuration(&[("a", "/mutate/namespace"), ("b", "/mutate/pod")]));
    let start = Timestamp::now();
    let clock = Clock(Arc::new(AtomicI64::new(start.as_second())));
    let (metrics, end) = (Arc::new(Metrics::new()), CancellationToken::new());
    let mut leader = replica(&api, "one", true, &metrics, &end).await;
    let mut follower = replica(&api, "two", false, &metrics, &end).await;
    assert!(
        !follower.keeper.look(start).await,
        "there is no certificate yet, and it is not this one's to make"
    );
    assert!(leader.keeper.look(start).await);
    assert!(follower.keeper.look(start).await);

    // The load ends before the servers do: who is still in their queue then is turned away.
    let stop = CancellationToken::new();
    // What the caller believes: the bundle as it was a step ago.
    let heard = Arc::new(Mutex::new(bundle(&api.get(MUTATING).unwrap()).unwrap()));
    let (calls, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let load: Vec<_> = [leader.address, follower.address, leader.address, follower.address]
        .into_iter()
        .map(|address| {
            let (heard, clock, calls, failures) =
                (heard.clone(), clock.clone(), calls.clone(), failures.clone());
            let (review, end) = (captured("create-pod-from-deployment").to_string(), stop.clone());
            tokio::spawn(async move {
                while !end.is_cancelled() {
                    let believed = heard.lock().unwrap().clone();
                    match call(address, &believed, &clock, "/mutate/namespace", review.clone()).await {
                        Ok(answer) if answer["response"]["patchType"] == "JSONPatch" => {}
                        Ok(answer) => failures.lock().unwrap().push(answer.to_string()),
                        Err(error) => failures.lock().unwrap().push(error.to_string()),
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut bundles = std::collections::BTreeSet::new();
    for step in 1..=STEPS {
        let now = start + SignedDuration::from_secs(step * STEP);
        clock.0.store(now.as_second(), Ordering::SeqCst);
        let before = bundle(&api.get(MUTATING).unwrap()).unwrap();
        assert!(leader.keeper.look(now).await);
        // The other one looks every other step only.
        if step % 2 == 0 {
            assert!(follower.keeper.look(now).await);
        }
        bundles.insert(before.clone());
        *heard.lock().unwrap() = before;
        // Some calls at each step, however slow the machine.
        let until = calls.load(Ordering::Relaxed) + 4;
        while calls.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    for task in load {
        task.await.unwrap();
    }
    end.cancel();
    let failures = failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {}: {:?}",
        failures.len(),
        calls.load(Ordering::Relaxed),
        &failures[..1]
    );
    let text = metrics.encode().unwrap();
    let count = |what: &str| {
        let line =
            format!(r#"sidetrail_injector_certificate_rotations_total{{what="{what}",outcome="success"}} "#);
        let found = text
            .lines()
            .find_map(|found| found.strip_prefix(&line))
            .map(|count| count.parse::<u32>().unwrap());
        found.unwrap_or_default()
    };
    // Three hours: an authority is followed after forty minutes, and the overlaps.
    assert!(count("authority_taken_over") >= 3, "{text}");
    assert!(count("authority_forgotten") >= 3, "{text}");
    assert!(count("certificate_issued") >= 6, "{text}");
    assert!(bundles.len() >= 7);
    println!("{} calls, {} authorities", calls.load(Ordering::Relaxed), count("authority_taken_over"));
}

/// The other direction: without the overlap the same load does fail, so the test above can.
#[tokio::test]
async fn a_caller_that_believes_another_authority_is_failed() {
    let api = Api::start().await;
    api.put(MUTATING, webhook_configuration(&[("a", "/mutate/namespace")]));
    let (metrics, end) = (Arc::new(Metrics::new()), CancellationToken::new());
    let mut leader = replica(&api, "one", true, &metrics, &end).await;
    let now = Timestamp::now();
    assert!(leader.keeper.look(now).await);
    let clock = Clock(Arc::new(AtomicI64::new(now.as_second())));
    let old = bundle(&api.get(MUTATING).unwrap()).unwrap();
    let secret = "/api/v1/namespaces/sidetrail/secrets/sidetrail-injector-certificates";
    api.delete(secret);
    assert!(leader.keeper.look(now).await);
    let review = captured("create-plain-pod").to_string();
    let error = call(leader.address, &old, &clock, "/mutate/namespace", review.clone()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let new = bundle(&api.get(MUTATING).unwrap()).unwrap();
    call(leader.address, &new, &clock, "/mutate/namespace", review).await.unwrap();
    end.cancel();
}

#[tokio::test]
async fn a_bundle_that_is_reset_is_put_back() {
    let api = Api::start().await;
    let (metrics, end) = (Arc::new(Metrics::new()), CancellationToken::new());
    let mut leader = replica(&api, "one", true, &metrics, &end).await;
    let now = Timestamp::now();
    assert!(leader.keeper.look(now).await, "there may be no webhook configuration yet");
    api.put(MUTATING, webhook_configuration(&[("a", "/mutate/namespace"), ("b", "/mutate/pod")]));
    assert!(leader.keeper.look(now).await);
    let set = api.get(MUTATING).unwrap();
    assert_eq!(
        set["webhooks"][0]["clientConfig"]["caBundle"],
        set["webhooks"][1]["clientConfig"]["caBundle"]
    );
    let mut reset = set.clone();
    reset["webhooks"][1]["clientConfig"]["caBundle"] = "".into();
    api.put(MUTATING, reset);
    assert!(leader.keeper.look(now).await);
    assert_eq!(api.get(MUTATING).unwrap()["webhooks"], set["webhooks"]);
    let patches = api.calls(&format!("PATCH {MUTATING}"));
    assert!(leader.keeper.look(now).await);
    assert_eq!(api.calls(&format!("PATCH {MUTATING}")), patches, "nothing to do, nothing done");
    end.cancel();
}
