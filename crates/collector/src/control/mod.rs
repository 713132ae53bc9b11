//! Keeping in touch with a server: telling it how the collector is, and filling the trails that it says.
//!
//! Nothing waits for it. `link` is the stream, opened again for as long as it takes; `assignment` is what the server said
//! last, on disk before it is in force, so that a start needs no server; `report` is what it is told, and `live` copies records for it.

mod assignment;
mod link;
mod live;
mod report;

use std::sync::{Arc, OnceLock};

use sidetrail_wire::control::v1::{Applied, Assignment};
use tokio::sync::watch;

pub use assignment::AssignmentError;
pub(crate) use assignment::{keep, kept, merged};
pub(crate) use link::Link;
pub(crate) use report::{Reporter, hello};

/// The collector's end of a link.
#[derive(Debug)]
pub(crate) struct Orders {
    come: watch::Receiver<Option<Assignment>>,
    applied: watch::Sender<Option<Applied>>,
    reporter: Arc<OnceLock<Reporter>>,
}

impl Orders {
    /// The newest that the server said, if that is not `revision`.
    pub(crate) fn other_than(&self, revision: &str) -> Option<Assignment> {
        self.come.borrow().as_ref().filter(|assignment| assignment.revision != revision).cloned()
    }

    /// Waits for the server to say something.
    pub(crate) async fn said(&mut self) -> Option<Assignment> {
        loop {
            self.come.changed().await.ok()?;
            let assignment = self.come.borrow_and_update().clone();
            if assignment.is_some() {
                return assignment;
            }
        }
    }

    /// Tells what became of an assignment: that it is in force, or the problem with it.
    pub(crate) fn tell(&self, revision: &str, problem: String) {
        let applied = Some(Applied { revision: revision.to_owned(), problem });
        self.applied.send_if_modified(|told| {
            let is_new = *told != applied;
            *told = applied;
            is_new
        });
    }

    /// From now on the server is told how the collector is.
    pub(crate) fn report(&self, reporter: Reporter) {
        // It is set once, when the collector has started.
        let _ = self.reporter.set(reporter);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Assignment>> {
        self.come.clone()
    }
}

/// Says when a server wants something else of the collector.
#[derive(Debug)]
pub struct Assignments(pub(crate) Option<watch::Receiver<Option<Assignment>>>);

impl Assignments {
    /// Waits for that; for ever where there is no server.
    pub async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Some(come) => come.changed().await.is_ok(),
            None => false,
        };
        // The link lives as long as the collector.
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}
