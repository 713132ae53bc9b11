//! Who of several replicas looks after what must be done once: the holder of a Lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::{ApiError, Client};

/// How long a holder that does not renew is believed to be alive.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews, and the others look.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// A holder that could not renew for so long stops: before anybody else begins, also if this takes a while to notice.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Whether this replica is the one, for those who act.
#[derive(Clone, Debug, Default)]
pub struct Leader(Arc<AtomicBool>);

impl Leader {
    /// Whether it is.
    #[must_use]
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps a Lease, or waits for it.
#[derive(Debug)]
pub struct LeaseKeeper {
    client: Client,
    collection: String,
    name: String,
    identity: String,
    leader: Leader,
    /// Who renewed last and when that was seen here: clocks of other nodes are not asked.
    seen: Option<(String, Option<MicroTime>, Instant)>,
    renewed: Option<Instant>,
}

impl LeaseKeeper {
    /// For the Lease `name`, under the name `identity`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            client,
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leader: Leader::default(),
            seen: None,
            renewed: None,
        }
    }

    /// What others ask.
    #[must_use]
    pub fn leader(&self) -> Leader {
        self.leader.clone()
    }

    /// Keeps it, until the future is dropped.
    pub async fn run(mut self) {
        loop {
            self.step().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Looks once, and takes or renews the Lease if it can be had.
    pub async fn step(&mut self) {
        let began = Instant::now();
        match self.acquire().await {
            Ok(true) => self.renewed = Some(began),
            Ok(false) => self.renewed = None,
            Err(error) => tracing::warn!(lease = self.name, %error, "cannot renew the lease"),
        }
        let is = self.renewed.is_some_and(|renewed| renewed.elapsed() < GIVE_UP);
        if self.leader.0.swap(is, Ordering::Relaxed) != is {
            tracing::info!(lease = self.name, leader = is, "the lease changed hands");
        }
    }

    /// Gives it back, so that nobody has to wait for its end.
    pub async fn release(client: &Client, namespace: &str, name: &str, identity: &str) {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
        let Ok(mut lease) = client.get::<Lease>(&path).await else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(identity) {
            spec.holder_identity = Some(String::new());
            drop(client.replace(&path, &lease).await);
        }
    }

    async fn acquire(&mut self) -> Result<bool, ApiError> {
        let path = format!("{}/{}", self.collection, self.name);
        let found: Lease = match self.client.get(&path).await {
            Ok(lease) => lease,
            Err(error) if error.is(StatusCode::NOT_FOUND) => {
                let lease = self.held(None);
                return won(self.client.create(&self.collection, &lease).await);
            }
            Err(error) => return Err(error),
        };
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(who, when, _)| (who, when) != (&holder, &spec.renew_time)) {
            self.seen = Some((holder.clone(), spec.renew_time.clone(), Instant::now()));
        }
        let alive = self.seen.as_ref().is_some_and(|(_, _, at)| at.elapsed() < DURATION);
        if holder != self.identity && !holder.is_empty() && alive {
            return Ok(false);
        }
        let lease = self.held(Some(found));
        won(self.client.replace(&path, &lease).await)
    }

    fn held(&self, found: Option<Lease>) -> Lease {
        let mut lease = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        lease
    }
}

/// Another one was faster: that is an answer, and no failure.
fn won(result: Result<Lease, ApiError>) -> Result<bool, ApiError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is(StatusCode::CONFLICT) => Ok(false),
        Err(error) => Err(error),
    }
}
