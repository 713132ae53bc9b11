//! The controller: follows pods, asks collectors, reports. One replica does, the holder of the Lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;

use super::event::event;
use super::hello::Asker;
use super::pods::{Observed, Pods};
use super::report::{Board, Hello, Reason, Report, State, judge};
use super::send::{Expected, send};
use crate::config::Config;
use crate::intent::namespace_asks;
use crate::kube::{Client, Leader, watch};
use crate::metrics::{Metrics, Tally};
use crate::namespaces::Namespaces;

/// Collectors that are asked in one look. Who said hello once is not asked again, so all have their turn.
const MAX_ASKED: usize = 2000;
/// Events made in one look; the rest follows with the next ones.
const MAX_EVENTS: usize = 100;

/// Looks for unaudited pods.
#[derive(Debug)]
pub struct Look {
    /// The configuration.
    pub config: Config,
    /// The API.
    pub client: Client,
    /// Whether this replica is the one.
    pub leader: Leader,
    /// The pods.
    pub pods: Arc<Pods>,
    /// The namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Where reports go.
    pub board: Arc<Board>,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
    /// Who says so in Events.
    pub identity: String,
    /// What each collector said last.
    pub hellos: BTreeMap<String, Hello>,
    /// What an Event was made about.
    pub told: BTreeSet<(String, Reason)>,
    /// How collectors are asked.
    pub asker: Asker,
}

impl Look {
    /// Follows pods, until the future is dropped.
    pub async fn follow(pods: Arc<Pods>, client: Client, config: Config) {
        watch(client, "/api/v1/pods", |change: crate::kube::Change<Pod>| pods.apply(change, &config)).await;
    }

    /// Looks every now and then, until the future is dropped.
    pub async fn run(mut self) {
        let mut led = false;
        loop {
            let leads = self.leader.is();
            self.metrics.leads(leads);
            if leads {
                self.look(Timestamp::now()).await;
            } else if led {
                // Another replica reports from now on.
                self.board.post(Report::default());
                self.metrics.pods(&Tally::new());
            }
            led = leads;
            tokio::time::sleep(self.config.unaudited.every.unsigned_abs()).await;
        }
    }

    /// Looks once.
    pub async fn look(&mut self, now: Timestamp) {
        // Half of what there is would be a report of the other half's absence.
        let Some(pods) = self.pods.all().filter(|_| self.namespaces.is_complete()) else { return };
        let asks: Vec<_> = pods.iter().map(|pod| self.asks(&pod.namespace)).collect();
        self.ask(&pods, &asks, now).await;
        let mut report = Report { at: Some(now), ..Report::default() };
        let mut expected = Expected::default();
        let mut tally = Tally::new();
        let joins = self.config.collector.audience().is_some();
        let mut sorted: Vec<_> = pods.iter().zip(&asks).collect();
        sorted.sort_by(|(a, _), (b, _)| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for (pod, asks) in sorted {
            let hello = self.hellos.get(&pod.uid).copied().unwrap_or_default();
            let state = judge(pod, *asks, hello, now, self.config.unaudited.grace);
            report.add(pod, state);
            if joins {
                expected.add(pod, state, now, self.config.unaudited.grace);
            }
            let (state, reason) = match state {
                State::NotAsked | State::Starting => continue,
                State::Audited => ("audited", None),
                State::OptedOut => ("opted_out", None),
                State::Unaudited(reason) => ("unaudited", Some(reason.as_str())),
            };
            *tally.entry((pod.namespace.clone(), state, reason)).or_default() += 1;
        }
        self.metrics.pods(&tally);
        if self.config.unaudited.events {
            self.tell(&report, now).await;
        }
        if let Some(to) = &self.config.unaudited.report
            && let Err(error) = send(to, &report, &expected, now).await
        {
            tracing::warn!(server = to.server, %error, "cannot report unaudited pods");
        }
        self.board.post(report);
    }

    fn asks(&self, namespace: &str) -> bool {
        self.namespaces.known(namespace).is_some_and(|known| namespace_asks(&known.labels))
    }

    /// Asks the collectors that have not heard of an application yet.
    async fn ask(&mut self, pods: &[Observed], asks: &[bool], now: Timestamp) {
        let alive: BTreeSet<_> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        self.hellos.retain(|uid, _| alive.contains(uid.as_str()));
        self.told.retain(|(uid, _)| alive.contains(uid.as_str()));
        if !self.config.unaudited.scrape {
            return;
        }
        let grace = self.config.unaudited.grace;
        let open = pods.iter().zip(asks).filter(|(pod, asks)| {
            // Only where the answer could make a difference.
            let state = judge(pod, **asks, Hello::Never, now, grace);
            state == State::Unaudited(Reason::NoLayer) && self.hellos.get(&pod.uid) != Some(&Hello::Said)
        });
        let open = open.filter_map(|(pod, _)| Some((pod.uid.clone(), pod.address.clone()?)));
        let (uids, addresses): (Vec<_>, Vec<_>) = open.take(MAX_ASKED).unzip();
        let answers = self.asker.ask(addresses).await;
        self.hellos.extend(uids.into_iter().zip(answers));
    }

    async fn tell(&mut self, report: &Report, now: Timestamp) {
        let open =
            report.findings.iter().filter(|found| !self.told.contains(&(found.uid.clone(), found.reason)));
        let open: Vec<_> = open.take(MAX_EVENTS).cloned().collect();
        for finding in open {
            let (collection, event) = event(&finding, &self.identity, now);
            match self.client.create::<Event>(&collection, &event).await {
                Ok(_) => {}
                // It was made before this replica began.
                Err(error) if error.is(StatusCode::CONFLICT) => {}
                Err(error) => {
                    tracing::warn!(namespace = finding.namespace, pod = finding.pod, %error, "cannot make an Event");
                    return;
                }
            }
            self.told.insert((finding.uid, finding.reason));
        }
    }
}
