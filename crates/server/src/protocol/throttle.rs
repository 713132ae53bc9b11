//! How often an account may ask for an operation in a region.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use sidetrail_api::{Code, Error, Operation};

use crate::access::Caller;
use crate::config::Limits;

/// Accounts and regions are those of the configuration, so the tables are bounded.
type Limiter = RateLimiter<
    (String, String),
    HashMapStateStore<(String, String)>,
    DefaultClock,
    NoOpMiddleware<<DefaultClock as Clock>::Instant>,
>;

/// A limit for each operation.
#[derive(Debug)]
pub(crate) struct Throttle(BTreeMap<Operation, Limiter>);

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limiter = |operation: &Operation| {
            let rate = limits.rate(*operation)?;
            let requests = NonZeroU32::new(rate.requests)?;
            let period = Duration::from_secs(rate.seconds.into()) / rate.requests;
            let quota = Quota::with_period(period)?.allow_burst(requests);
            Some((*operation, RateLimiter::hashmap(quota)))
        };
        Self(Operation::ALL.iter().filter_map(limiter).collect())
    }

    /// Whether one more may be done now.
    pub(crate) fn check(&self, caller: &Caller, operation: Operation) -> Result<(), Error> {
        let key = (caller.account.to_string(), caller.region.to_string());
        match self.0.get(&operation) {
            Some(limiter) if limiter.check_key(&key).is_err() => {
                Err(Error::new(Code::Throttling, "Rate exceeded"))
            }
            _ => Ok(()),
        }
    }
}
