//! Copies of records for the server as they come, long before their log files are there. Best effort: while the server is
//! away or slow there are none, and what matters is what is shipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use sidetrail_spool::{Committer, Item, Reader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ledger::SharedLedger;
use crate::trail::Unpacker;

/// Frames that wait for the server; of more there are no copies.
const MAX_WAITING: usize = 8;
/// How often the thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the link sends, and whether anybody takes it.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(super) frames: mpsc::Receiver<Bytes>,
    pub(super) wanted: Arc<AtomicBool>,
}

/// What makes the copies.
#[derive(Debug)]
pub(crate) struct Copier {
    frames: mpsc::Sender<Bytes>,
    wanted: Arc<AtomicBool>,
    wake: SyncSender<()>,
    woken: Receiver<()>,
    end: CancellationToken,
}

impl Copier {
    pub(super) fn new(end: CancellationToken) -> (Self, Copies) {
        let (send, frames) = mpsc::channel(MAX_WAITING);
        let (wake, woken) = sync_channel(1);
        let wanted = Arc::new(AtomicBool::new(false));
        let copier = Self { frames: send, wanted: Arc::clone(&wanted), wake, woken, end };
        (copier, Copies { frames, wanted })
    }

    /// Says that there are new frames.
    pub(crate) fn waker(&self) -> impl Fn() + Send + use<> {
        let wake = self.wake.clone();
        // It is awake, or is about to be.
        move || {
            let _ = wake.try_send(());
        }
    }

    /// Starts the thread.
    pub(crate) fn start(self, committer: Committer<SharedLedger>) -> std::io::Result<()> {
        std::thread::Builder::new().name("live".to_owned()).spawn(move || self.run(&committer)).map(drop)
    }

    fn run(&self, committer: &Committer<SharedLedger>) {
        crate::trail::step_back();
        let mut reader = None;
        let mut unpacker = Unpacker::default();
        while !self.end.is_cancelled() {
            match self.woken.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.wanted.load(Ordering::Relaxed) {
                // From there on, when the server is back.
                reader = None;
                continue;
            }
            let at_end = || committer.reader(committer.durable());
            if !self.copy(reader.get_or_insert_with(at_end), &mut unpacker) {
                reader = None;
            }
        }
    }

    /// Copies all that there is; whether the reader is good for more.
    fn copy(&self, reader: &mut Reader, unpacker: &mut Unpacker) -> bool {
        loop {
            match reader.read() {
                Ok(Some(Item::Frame(frame))) => {
                    // There may be nothing in it; what is wrong with it, its trail says.
                    if let Ok(Some(records)) = unpacker.records(&frame)
                        && self.frames.try_send(Bytes::copy_from_slice(records)).is_err()
                    {
                        // The server is slow: it goes on with what comes after that.
                        return false;
                    }
                }
                Ok(Some(Item::Damage(_))) => {}
                Ok(None) => return true,
                // The segment was shipped and is gone.
                Err(_) => return false,
            }
        }
    }
}
