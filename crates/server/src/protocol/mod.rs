//! HTTP: from a request to an operation, and back.

mod answer;
mod otlp;
mod own;
mod receive;
mod recording;
mod throttle;

pub(crate) use receive::router;
pub(crate) use recording::Recorder;
pub(crate) use throttle::Throttle;
