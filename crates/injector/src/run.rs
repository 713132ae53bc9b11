//! All of it together: what runs beside what, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::certificates::{Keeper, follow_files, load_files};
use crate::config::{Certificates, Config, NativeSidecars};
use crate::kube::{Client, LeaseKeeper};
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;
use crate::serve::{Limits, Pages, Presented, TlsError, Webhooks, acceptor, pages, serve_tls, webhooks};
use crate::unaudited::{Board, Look, Pods};

/// Native sidecars are there, without being asked for, from this version on.
const NATIVE_SINCE: (u32, u32) = (1, 29);
/// How often an API server that does not tell its version is asked.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// It cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Who this process is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its pod, or what stands for it.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
}

/// An injector that runs.
#[derive(Debug)]
pub struct Injector {
    /// Where the webhooks are.
    pub address: std::net::SocketAddr,
    /// Where probes and metrics are.
    pub health: std::net::SocketAddr,
    tasks: JoinSet<()>,
    servers: JoinSet<()>,
    ending: CancellationToken,
    end: CancellationToken,
    release: Option<(Client, String, String)>,
    identity: Identity,
}

impl Injector {
    /// Starts everything.
    ///
    /// # Errors
    /// If an address is taken, or a certificate in files cannot be used.
    pub async fn start(config: Config, client: Client, identity: Identity) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new());
        let presented = Arc::new(Presented::default());
        let namespaces = Arc::new(Namespaces::new(Some(client.clone())));
        let (ending, end) = (CancellationToken::new(), CancellationToken::new());
        let (webhook_listener, health_listener) = (bind(config.listen).await?, bind(config.health).await?);
        let mut tasks = JoinSet::new();

        let lease = config.certificates.lease().to_owned();
        let keeper = LeaseKeeper::new(client.clone(), &identity.namespace, &lease, &identity.pod);
        let leader = keeper.leader();
        match &config.certificates {
            Certificates::Files(files) => {
                load_files(files, &presented)?;
                tasks.spawn(follow_files(files.clone(), Arc::clone(&presented)));
            }
            Certificates::SelfManaged(own) => {
                let (client, own) = (client.clone(), own.clone());
                let (presented, metrics) = (Arc::clone(&presented), Arc::clone(&metrics));
                tasks.spawn(
                    Keeper::new(client, own, &identity.namespace, leader.clone(), presented, metrics).run(),
                );
            }
        }
        tasks.spawn(keeper.run());
        tasks.spawn(Arc::clone(&namespaces).follow(client.clone()));
        let board = Arc::new(Board::default());
        if config.unaudited.enabled {
            let pods = Arc::new(Pods::default());
            tasks.spawn(Look::follow(Arc::clone(&pods), client.clone(), config.clone()));
            let look = Look {
                config: config.clone(),
                client: client.clone(),
                leader,
                pods,
                namespaces: Arc::clone(&namespaces),
                board: Arc::clone(&board),
                metrics: Arc::clone(&metrics),
                identity: identity.pod.clone(),
                hellos: std::collections::BTreeMap::new(),
                told: std::collections::BTreeSet::new(),
                asker: crate::unaudited::Asker::default(),
            };
            tasks.spawn(look.run());
        }

        let state = Arc::new(Webhooks {
            own_namespace: identity.namespace.clone(),
            native: AtomicBool::new(config.native_sidecars != NativeSidecars::Never),
            namespaces: Arc::clone(&namespaces),
            metrics: Arc::clone(&metrics),
            config,
        });
        let version_known = Arc::new(AtomicBool::new(state.config.native_sidecars != NativeSidecars::Auto));
        if state.config.native_sidecars == NativeSidecars::Auto {
            tasks.spawn(learn_version(client.clone(), Arc::clone(&state), Arc::clone(&version_known)));
        }
        let (address, health) = (local(&webhook_listener)?, local(&health_listener)?);
        let mut servers = JoinSet::new();
        let tls = acceptor(Arc::clone(&presented))?;
        servers.spawn(serve_tls(webhook_listener, tls, webhooks(state), Limits::default(), end.clone()));
        let ending_seen = ending.clone();
        let shown = Pages { metrics, presented, namespaces, board, version_known, ending: ending_seen };
        servers.spawn(serve_pages(health_listener, pages(shown), end.clone()));
        let release = Some((client, lease, identity.pod.clone()));
        Ok(Self { address, health, tasks, servers, ending, end, release, identity })
    }

    /// Lets the API server learn that this replica goes, finishes what is open, and ends.
    pub async fn shutdown(mut self, delay: Duration) {
        self.ending.cancel();
        tokio::time::sleep(delay).await;
        self.end.cancel();
        while self.servers.join_next().await.is_some() {}
        self.tasks.shutdown().await;
        if let Some((client, lease, pod)) = self.release.take() {
            let released = LeaseKeeper::release(&client, &self.identity.namespace, &lease, &pod);
            // Nobody has to wait for what may not answer.
            drop(tokio::time::timeout(Duration::from_secs(2), released).await);
        }
    }
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn local(listener: &TcpListener) -> Result<std::net::SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { address: ([0, 0, 0, 0], 0).into(), source })
}

async fn serve_pages(listener: TcpListener, router: axum::Router, end: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "probes and metrics are no longer served");
    }
}

/// Asks the API server for its version until it tells. Until then the injector is not ready.
async fn learn_version(client: Client, state: Arc<Webhooks>, known: Arc<AtomicBool>) {
    loop {
        match client.get::<Info>("/version").await {
            Ok(info) => {
                let native = has_native_sidecars(&info);
                state.native.store(native, Ordering::Relaxed);
                known.store(true, Ordering::Relaxed);
                tracing::info!(version = info.git_version, native, "the cluster's version");
                return;
            }
            Err(error) => tracing::warn!(%error, "cannot learn the cluster's version"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Providers write `29+`.
fn has_native_sidecars(info: &Info) -> bool {
    let number = |text: &str| {
        let digits = text.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse::<u32>().unwrap_or(u32::MAX)
    };
    (number(&info.major), number(&info.minor)) >= NATIVE_SINCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecars_are_native_from_1_29_on() {
        for (major, minor, native) in
            [("1", "28", false), ("1", "29", true), ("1", "36+", true), ("2", "0", true)]
        {
            let info = Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() };
            assert_eq!(has_native_sidecars(&info), native, "{major}.{minor}");
        }
    }
}
