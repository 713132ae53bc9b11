//! A worker for each trail that has a topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sidetrail_archive::key::{Account, Prefix};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::look::{Kind, Place};
use super::worker::{Subject, Worker};
use crate::Context;
use crate::state::{StateError, StoredTrail, random_id};

/// How often it is looked which trails have topics.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Trails that are worked for.
const MAX_WORKERS: usize = 1024;

/// The workers of a server.
#[derive(Debug)]
pub(crate) struct Host {
    context: Arc<Context>,
    /// What this process is called.
    server: String,
    workers: BTreeMap<(String, String, String), Working>,
}

#[derive(Debug)]
struct Working {
    subject: Subject,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Host {
    pub(crate) fn new(context: Arc<Context>) -> Result<Self, StateError> {
        Ok(Self { context, server: random_id()?, workers: BTreeMap::new() })
    }

    /// Has messages sent until it is told to end.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        loop {
            if closing.run_until_cancelled(self.look()).await.is_none() {
                break;
            }
            if closing.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                break;
            }
        }
        let workers = std::mem::take(&mut self.workers).into_values();
        join_all(workers.map(Working::end)).await;
    }

    async fn look(&mut self) {
        let context = Arc::clone(&self.context);
        for (account, versions) in context.state.accounts() {
            let trails = match versions.read().await {
                Ok(read) => read.state,
                Err(error) => {
                    tracing::warn!(account, error = %crate::chain(&error), "not known who is to be notified");
                    continue;
                }
            };
            let wanted: BTreeMap<_, _> = trails
                .trails
                .iter()
                .filter_map(|stored| {
                    let key = (account.to_owned(), stored.home_region.clone(), stored.name.clone());
                    Some((key, subject(&context, account, stored)?))
                })
                .collect();
            self.follow(account, wanted).await;
        }
    }

    async fn follow(&mut self, account: &str, wanted: BTreeMap<(String, String, String), Subject>) {
        let own = self.workers.keys().filter(|key| key.0 == account);
        let over: Vec<_> = own.filter(|key| wanted.get(*key) != self.subject(key)).cloned().collect();
        for key in over {
            if let Some(working) = self.workers.remove(&key) {
                working.end().await;
            }
        }
        for (key, subject) in wanted {
            if self.workers.contains_key(&key) {
                continue;
            }
            if self.workers.len() >= MAX_WORKERS {
                tracing::error!(limit = MAX_WORKERS, "there are too many trails with topics");
                return;
            }
            let versions = self.context.state.notifications(&key.0, &key.1, &key.2);
            let (context, end) = (Arc::clone(&self.context), CancellationToken::new());
            let worker = Worker::new(context, subject.clone(), versions, self.server.clone());
            let task = tokio::spawn(worker.run(end.clone()));
            self.workers.insert(key, Working { subject, end, task });
        }
    }

    fn subject(&self, key: &(String, String, String)) -> Option<&Subject> {
        self.workers.get(key).map(|working| &working.subject)
    }
}

impl Working {
    async fn end(self) {
        self.end.cancel();
        // One that panicked has said so.
        let _ = self.task.await;
    }
}

/// What a trail's worker has to know; nothing if the trail has no topic.
fn subject(context: &Context, account: &str, stored: &StoredTrail) -> Option<Subject> {
    let topic = stored.topic.as_ref()?;
    let organization = context.config.organization.as_ref().filter(|_| stored.organization);
    let own = Account::new(account).ok()?;
    let members = organization.iter().flat_map(|it| it.accounts.iter());
    let prefix = stored.prefix.as_ref().and_then(|prefix| Prefix::new(prefix.as_str()).ok());
    let regions = || context.config.regions.iter().filter(|region| stored.is_in(region.as_str()));
    let mut places = Vec::new();
    for account in [&own].into_iter().chain(members) {
        for region in regions() {
            for kind in [Kind::Log, Kind::Digest] {
                places.push(Place {
                    kind,
                    bucket: stored.bucket.clone(),
                    prefix: prefix.clone(),
                    organization: organization.map(|it| it.id.clone()),
                    account: account.clone(),
                    region: region.clone(),
                });
            }
        }
    }
    Some(Subject {
        trail: stored.name.clone(),
        home_region: stored.home_region.clone(),
        arn: sidetrail_api::arn::Arn::trail(&stored.home_region, account, &stored.name).to_string(),
        topic: topic.arn.clone(),
        since: topic.since,
        places,
    })
}
