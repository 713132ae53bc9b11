//! Senders that go on whatever happens, on a thread of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sidetrail_tests::sender::Sender;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Sources that send at any time.
const LIVE: usize = 4;
const BATCH: u64 = 5;
const PAUSE: Duration = Duration::from_millis(10);
/// Records that a sender sends again after each connection.
const OVERLAP: u64 = 40;

/// All senders that ever were.
pub(super) struct Load {
    socket: PathBuf,
    runtime: Runtime,
    live: Vec<(Sender, JoinHandle<Result<()>>)>,
    gone: Vec<Sender>,
}

impl Load {
    pub(super) fn start(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("senders")
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut load = Self { socket: socket.to_owned(), runtime, live: Vec::new(), gone: Vec::new() };
        (0..LIVE).for_each(|_| load.enter());
        Ok(load)
    }

    pub(super) fn acked(&self) -> u64 {
        self.senders().map(Sender::acked).sum()
    }

    pub(super) fn senders(&self) -> impl Iterator<Item = &Sender> {
        self.gone.iter().chain(self.live.iter().map(|(sender, _)| sender))
    }

    /// The connection of one of them is cut; it comes back as the same source.
    pub(super) fn reconnect(&mut self, which: u64) -> Result<()> {
        let at = which as usize % self.live.len();
        let (sender, task) = self.live.swap_remove(at);
        self.end(&sender, task)?;
        self.run(sender);
        Ok(())
    }

    /// One of them is gone for good, and another source comes.
    pub(super) fn replace(&mut self, which: u64) -> Result<()> {
        let at = which as usize % self.live.len();
        let (sender, task) = self.live.swap_remove(at);
        self.end(&sender, task)?;
        self.gone.push(sender);
        self.enter();
        Ok(())
    }

    /// All of them are cut off.
    pub(super) fn stop(&mut self) -> Result<()> {
        while let Some((sender, task)) = self.live.pop() {
            self.end(&sender, task)?;
            self.gone.push(sender);
        }
        Ok(())
    }

    fn enter(&mut self) {
        let number = self.live.len() + self.gone.len() + 1;
        let mut source = [0xfa; 16];
        source[..8].copy_from_slice(&(number as u64).to_be_bytes());
        self.run(Sender::new(&self.socket, source, u64::MAX / 2, BATCH, PAUSE).resending(OVERLAP));
    }

    fn run(&mut self, sender: Sender) {
        let running = sender.clone();
        let task = self.runtime.spawn(async move { running.run().await });
        self.live.push((sender, task));
    }

    /// Whoever ended before was told what cannot be true.
    fn end(&self, sender: &Sender, task: JoinHandle<Result<()>>) -> Result<()> {
        task.abort();
        match self.runtime.block_on(task) {
            Err(error) if error.is_cancelled() => Ok(()),
            Ok(Err(error)) => Err(error).with_context(|| format!("sender {:?}", sender.source())),
            other => anyhow::bail!("sender {:?} ended: {other:?}", sender.source()),
        }
    }
}
