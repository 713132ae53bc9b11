//! The server: started, asked whether it is well, ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidetrail_archive::key::{Account, Region};
use sidetrail_wire::listen::TlsError;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::{Keys, read_bringers};
use crate::audit_events::Delivery;
use crate::buckets::Buckets;
use crate::config::{Config, ConfigError};
use crate::history::CacheError;
use crate::operation::Registry;
use crate::protocol::{self, Recorder, Throttle};
use crate::serve::serve;
use crate::state::{self, State};
use crate::unaudited::Unaudited;
use crate::{Context, control, digest, health, history_of_trails, notify};

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files that collectors are shown.
    #[error("control.tls cannot be used")]
    Tls(#[from] TlsError),
    /// The store is not one that the state can be in.
    #[error("the state cannot be kept: {0}")]
    Store(String),
    /// What is recorded has nowhere to go.
    #[error("configuration: record cannot be used: {0}")]
    Record(#[from] sidetrail::BuildError),
    /// Event history cannot be kept.
    #[error("history cannot be kept")]
    History(#[source] CacheError),
    /// The system gave no random numbers.
    #[error("no randomness: {0}")]
    Random(String),
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    context: Arc<Context>,
    api: SocketAddr,
    control: Option<SocketAddr>,
    health: Option<SocketAddr>,
    closing: CancellationToken,
    end: CancellationToken,
    serving: JoinHandle<()>,
    notifying: JoinHandle<()>,
}

impl Server {
    /// Starts a server. `env` looks up a variable, as `std::env::var(name).ok()` does.
    ///
    /// # Errors
    /// If the configuration, the store or an address cannot be used.
    pub async fn start<E>(config: Config, env: E) -> Result<Self, StartError>
    where
        E: Fn(&str) -> Option<String> + Send + Sync + 'static,
    {
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(problem.into());
        }
        let keys = Keys::read(&config, &env)?;
        let signers = config.digest.as_ref().map(|it| digest::read_keys(it, &env)).transpose()?;
        let joins = config.control.as_ref().map(|it| control::Joins::read(it, &env)).transpose()?;
        let shown = config.control.as_ref().map(control::Shown::read).transpose()?.flatten();
        let listener = bind(config.listen.api).await?;
        let control_listener = match &config.control {
            Some(control) => Some(bind(control.listen).await?),
            None => None,
        };
        let health_listener = match config.listen.health {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let (store, is_directory) = state::open(&config.bucket, &env)?;
        if !is_directory {
            state::probe(&store).await.map_err(|error| StartError::Store(crate::chain(&error)))?;
        }
        let bringers = read_bringers(&config, &env)?;
        let topics = notify::Topics::new(&config, &env)?;
        let recorder = config.record.as_ref().map(Recorder::new).transpose()?;
        let buckets = Buckets::new(&config, Box::new(env));
        let kept = history_of_trails::start(&config, &store, &buckets)?;
        let (closing, end) = (CancellationToken::new(), CancellationToken::new());
        let deliveries = deliveries(&config, &end)?;
        let context = Arc::new(Context {
            keys,
            registry: Registry::new(),
            throttle: Throttle::new(&config.limits),
            permits: tokio::sync::Semaphore::new(config.limits.requests),
            state: State::new(&store, is_directory, &config),
            buckets,
            recorder,
            kept,
            bringers,
            topics,
            deliveries,
            register: Arc::new(control::Register::new(Arc::clone(&store))),
            unaudited: Unaudited::new(Arc::clone(&store)),
            config,
        });
        let address = |listener: &TcpListener| listener.local_addr().ok();
        let api = address(&listener).unwrap_or(context.config.listen.api);
        let health = health_listener.as_ref().and_then(address);
        if let Some(listener) = health_listener {
            tokio::spawn(health::serve(listener, Arc::clone(&context), closing.clone(), end.clone()));
        }
        tokio::spawn(history_of_trails::follow_trails(Arc::clone(&context), end.clone()));
        if let (Some(config), Some(signers)) = (&context.config.digest, signers) {
            let host = digest::Host::new(Arc::clone(&context), config, signers)?;
            let (runtime, closing) = (Handle::current(), closing.clone());
            // What makes digests goes from file to file for as long as it takes, and is not to be sent between threads.
            std::thread::Builder::new()
                .name("digests".to_owned())
                .spawn(move || runtime.block_on(host.run(closing)))
                .map_err(StartError::Thread)?;
        }
        let host = notify::Host::new(Arc::clone(&context));
        let host = host.map_err(|error| StartError::Random(error.to_string()))?;
        let notifying = tokio::spawn(host.run(closing.clone()));
        let control = control_listener.as_ref().and_then(address);
        if let (Some(listener), Some(joins)) = (control_listener, joins) {
            tokio::spawn(control::serve(listener, Arc::clone(&context), joins, shown, closing.clone()));
        }
        let router = protocol::router(Arc::clone(&context));
        let serving = tokio::spawn(serve(listener, router, closing.clone()));
        Ok(Self { context, api, control, health, closing, end, serving, notifying })
    }

    /// Where the API is served.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Where collectors keep in touch.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Where probes are answered.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health
    }

    /// Takes no more requests, and waits for those that are under way; whether all of them came to their end.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        self.closing.cancel();
        let tasks = async { (self.serving.await, self.notifying.await) };
        let ended = tokio::time::timeout(deadline, tasks).await.is_ok();
        if let Some(recorder) = &self.context.recorder {
            recorder.shutdown(deadline).await;
        }
        self.end.cancel();
        let context = Arc::clone(&self.context);
        // Its threads wait for requests that run here.
        let _ = tokio::task::spawn_blocking(move || context.kept.history.end()).await;
        ended
    }
}

/// The ways to the collectors that take brought events.
fn deliveries(
    config: &Config,
    end: &CancellationToken,
) -> Result<HashMap<(Account, Region), Delivery>, StartError> {
    let mut deliveries = HashMap::new();
    for (index, taker) in config.audit_events.iter().enumerate() {
        let address = taker.address(&format!("audit_events[{index}]"))?;
        let mut source = [0; 16];
        getrandom::fill(&mut source).map_err(|error| StartError::Random(error.to_string()))?;
        let key = (taker.account.clone(), taker.region.clone());
        let place = format!("{}:{}", taker.account, taker.region);
        deliveries.insert(key, Delivery::start(address, source, place, end.clone()));
    }
    Ok(deliveries)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}
