//! The history of this server: of its own bucket, of those it is told, and of those that trails store in.

use std::sync::Arc;
use std::time::Duration;

use sidetrail_archive::store::Store;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::buckets::Buckets;
use crate::config::Config;
use crate::history::{CacheError, History, Settings};
use crate::{Context, StartError};

/// How often to look which buckets trails store in.
const LOOK: Duration = Duration::from_secs(5);

/// The history, and the directory that goes with it if it is only for this run.
#[derive(Debug)]
pub(crate) struct Kept {
    // Ended before its directory goes.
    pub(crate) history: History,
    _temporary: Option<tempfile::TempDir>,
}

/// Opens the history of the server's own buckets.
pub(crate) fn start(config: &Config, own: &Arc<Store>, buckets: &Buckets) -> Result<Kept, StartError> {
    let wrong = |error: CacheError| StartError::History(error);
    let (cache, temporary) = match &config.history.cache {
        Some(cache) => (cache.clone(), None),
        None => {
            let temporary = tempfile::Builder::new().prefix("sidetrail-history-").tempdir();
            let path = std::env::temp_dir();
            let temporary = temporary.map_err(|source| wrong(CacheError::Directory { path, source }))?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let settings = Settings {
        window: Some(config.history.window.unsigned_abs()),
        interval: config.history.interval.unsigned_abs(),
        ..Settings::new(cache)
    };
    let named = config.buckets.keys().filter_map(|name| buckets.get(name).ok());
    let stores = [Arc::clone(own)].into_iter().chain(named).collect();
    let history = History::start(settings, stores, Handle::current()).map_err(wrong)?;
    Ok(Kept { history, _temporary: temporary })
}

/// Adds the buckets that trails store in, until the end.
pub(crate) async fn follow_trails(context: Arc<Context>, end: CancellationToken) {
    while end.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        for (account, versions) in context.state.accounts() {
            let trails = match versions.read().await {
                Ok(read) => read.state,
                Err(error) => {
                    tracing::warn!(account, error = %crate::chain(&error), "history cannot ask for the trails");
                    continue;
                }
            };
            for trail in &trails.trails {
                if let Ok(store) = context.buckets.get(&trail.bucket) {
                    context.kept.history.add(store);
                }
            }
        }
    }
}
