//! Pods that are meant to be audited, and are not: compared with what runs, since a webhook that was away, or a namespace
//! that was labelled later, leaves no other trace.

mod event;
mod hello;
mod look;
mod page;
mod pods;
mod report;
mod send;

pub use event::event;
pub use hello::{Asker, has_greeted};
pub use look::Look;
pub use page::html;
pub use pods::{Observed, Pods};
pub use report::{Board, Finding, Hello, Reason, Report, State, judge};
pub use send::{Expected, ReportTo, SendError, send};
