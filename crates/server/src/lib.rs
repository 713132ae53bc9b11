//! The Sidetrail server: CloudTrail's API over a bucket.
//!
//! The AWS CLI, boto3 and the AWS SDKs reach it by its endpoint URL. There is no database: what it has to remember lies
//! in the bucket, and any number of servers may serve the same one.

mod access;
mod buckets;
pub mod config;
mod digest;
mod health;
mod operation;
mod protocol;
mod refusal;
mod server;
mod state;
mod trail;

use std::sync::Arc;

pub use config::{Config, ConfigError};
pub use server::{Server, StartError};

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
}

impl Context {
    /// The trails of an account, as they are now.
    pub(crate) async fn trails(&self, account: &str) -> Result<Arc<state::Trails>, Refusal> {
        match self.state.trails(account) {
            Some(versions) => Ok(versions.read().await?.state),
            None => Ok(Arc::default()),
        }
    }
}

/// An error and its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
