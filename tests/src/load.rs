//! Several senders at once, while a test does things to what they send to.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::START;
use crate::sender::Sender;

/// Senders on a thread with a runtime of their own.
#[derive(Debug)]
pub struct Load {
    senders: Vec<Sender>,
    runtime: Runtime,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts to send.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(senders: impl IntoIterator<Item = Sender>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let senders: Vec<_> = senders.into_iter().collect();
        let tasks =
            senders.iter().cloned().map(|sender| runtime.spawn(async move { sender.run().await })).collect();
        Ok(Self { senders, runtime, tasks })
    }

    /// Up to where everything is acked, by sender.
    #[must_use]
    pub fn acked(&self) -> Vec<u64> {
        self.senders.iter().map(Sender::acked).collect()
    }

    /// Stops sending. What was acked by then.
    #[must_use]
    pub fn stop(self) -> Vec<u64> {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        self.senders.iter().map(Sender::acked).collect()
    }

    /// Waits until everything is acked.
    ///
    /// # Errors
    ///
    /// When a sender is told what cannot be true, or is not through in time.
    pub fn finish(self) -> Result<Vec<u64>> {
        for task in self.tasks {
            self.runtime.block_on(async { tokio::time::timeout(START * 2, task).await })???;
        }
        Ok(self.senders.iter().map(Sender::acked).collect())
    }
}
