//! What the server itself has to remember: a document per account, in the bucket, changed by compare-and-swap.
//!
//! ```text
//! [prefix "/"] "Sidetrail-State/" account "/trails/" rank ".json"      ; rank = 20 digits: 2^64 - 1 - version
//! ```
//!
//! # Versions
//!
//! A document is never overwritten: each version is an object of its own, created only if there is none of that name. So
//! of two servers that read the same version and change it one loses, reads again and changes what is there then. Ranks
//! count down, so that a listing begins with the newest. A version names its change by a random id: who does not know
//! whether his own put was done reads it, and knows.
//!
//! Reading asks for the newest name each time, and for the document where that is new: what any server has acknowledged,
//! every other one sees.
//!
//! # Old versions
//!
//! The newest [`KEPT`] stay, and of the others those of the last [`KEPT_FOR`]: they say who changed what. A writer who was
//! held up for so long that the version after the one he read could have been removed does not believe his own success.
//!
//! # Stores
//!
//! A store that creates what is there already would lose changes. It is found out at the start, and refused.

mod account;
mod probe;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sidetrail_archive::key::Account;
use sidetrail_archive::store::{Store, StoreError};

pub(crate) use account::{Logging, StoredTrail, Topic, Trails};
pub(crate) use probe::probe;
pub(crate) use versions::{Update, UpdateError, Versions, random_id};

use crate::config::{Config, ConfigError};
use crate::notify::Progress;

/// Versions that are kept in any case.
pub(crate) const KEPT: usize = 64;
/// How long any version is kept.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("could not {action} {key} in {store}: {cause}")]
    Request { action: &'static str, key: String, store: String, cause: Box<object_store::Error> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{key} in {store} is no state of this server's: {source}")]
    Document { key: String, store: String, source: serde_json::Error },
    #[error("a state of {size} bytes is larger than the {max} that are allowed")]
    TooLarge { size: usize, max: usize },
    #[error("random numbers cannot be had: {0}")]
    Random(getrandom::Error),
}

/// The documents of all accounts that the server knows.
#[derive(Debug)]
pub(crate) struct State {
    store: Arc<Store>,
    is_directory: bool,
    accounts: BTreeMap<String, Versions<Trails>>,
}

impl State {
    /// The state of all accounts of a configuration.
    pub(crate) fn new(store: &Arc<Store>, is_directory: bool, config: &Config) -> Self {
        let organization = config.organization.iter();
        let organization = organization.flat_map(|it| it.accounts.iter().chain([&it.management_account]));
        let keys = config.access_keys.iter().map(|key| &key.account);
        let accounts = keys.chain(organization).map(|account: &Account| {
            let home = home(store, account.as_str(), "trails");
            (account.to_string(), Versions::new(Arc::clone(store), is_directory, home))
        });
        Self { store: Arc::clone(store), is_directory, accounts: accounts.collect() }
    }

    /// The trails of an account.
    pub(crate) fn trails(&self, account: &str) -> Option<&Versions<Trails>> {
        self.accounts.get(account)
    }

    /// How far the notifications of a trail are.
    pub(crate) fn notifications(&self, account: &str, region: &str, trail: &str) -> Versions<Progress> {
        let home = home(&self.store, account, &format!("notifications/{region}/{trail}"));
        Versions::new(Arc::clone(&self.store), self.is_directory, home)
    }

    /// Every account and its trails.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&str, &Versions<Trails>)> {
        self.accounts.iter().map(|(account, trails)| (account.as_str(), trails))
    }
}

fn home(store: &Store, account: &str, what: &str) -> String {
    let prefix = store.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
    format!("{prefix}Sidetrail-State/{account}/{what}")
}

/// Opens the store of the state.
pub(crate) fn open(
    location: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Arc<Store>, bool), ConfigError> {
    let is_directory = !location.contains("://") || location.starts_with("file://");
    match Store::open_or_create(location, env) {
        Ok(store) => Ok((Arc::new(store), is_directory)),
        Err(error) => crate::config::wrong("bucket", format!("cannot be opened: {}", crate::chain(&error))),
    }
}

#[cfg(test)]
mod tests;
