//! The Sidetrail server: CloudTrail's API over a bucket.
//!
//! The AWS CLI, boto3 and the AWS SDKs reach it by its endpoint URL. There is no database: what it has to remember lies
//! in the bucket, and any number of servers may serve the same one.

mod access;
mod audit_events;
mod buckets;
pub mod config;
mod control;
mod days;
pub mod development;
mod digest;
mod hashed;
mod health;
pub mod history;
mod history_of_trails;
mod notify;
mod operation;
mod protocol;
mod refusal;
mod serve;
mod server;
mod state;
mod trail;
mod unaudited;

use std::collections::HashMap;
use std::sync::Arc;

use sidetrail_archive::key::{Account, Region};

pub use config::{Config, ConfigError};
pub use server::{Server, StartError};
pub use sidetrail_archive::causes::chain;

use crate::refusal::Refusal;

/// What operations work with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) keys: access::Keys,
    pub(crate) registry: operation::Registry,
    pub(crate) throttle: protocol::Throttle,
    pub(crate) permits: tokio::sync::Semaphore,
    pub(crate) state: state::State,
    pub(crate) buckets: buckets::Buckets,
    pub(crate) recorder: Option<protocol::Recorder>,
    pub(crate) kept: history_of_trails::Kept,
    pub(crate) register: Arc<control::Register>,
    pub(crate) bringers: Vec<access::Bringer>,
    pub(crate) topics: notify::Topics,
    pub(crate) unaudited: unaudited::Unaudited,
    pub(crate) deliveries: HashMap<(Account, Region), audit_events::Delivery>,
}

impl Context {
    /// The trails of an account, as they are now.
    pub(crate) async fn trails(&self, account: &str) -> Result<Arc<state::Trails>, Refusal> {
        match self.state.trails(account) {
            Some(versions) => Ok(versions.read().await?.state),
            None => Ok(Arc::default()),
        }
    }

    /// The trails of a caller's account, in their versions.
    pub(crate) fn versions(
        &self,
        account: &sidetrail_archive::key::Account,
    ) -> Result<&state::Versions<state::Trails>, Refusal> {
        // Every key's account has some.
        self.state.trails(account.as_str()).ok_or_else(|| {
            let message = format!("The account {account} is not served here.");
            sidetrail_api::Error::new(sidetrail_api::Code::AccessDenied, message).into()
        })
    }
}
