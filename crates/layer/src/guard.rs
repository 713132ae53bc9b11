//! Exactly one record per request: whoever holds the guard last writes it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Buf;
use http::{Method, Response, StatusCode, header};
use http_body::{Body, Frame};

use crate::{
    exchange::{Answer, Exchange},
    outcome::{self, End},
};

/// Goes from the call to the future to the response's body. It writes the record when one of them says how the request
/// ended, or else when it is dropped; then it is empty.
#[derive(Debug)]
pub(crate) struct Guard {
    exchange: Option<Arc<Exchange>>,
    answer: Answer,
    /// How long the body is to be, if that is known.
    expected: Option<u64>,
    /// Foreign code is running. If it does not come back it panicked.
    entered: bool,
}

impl Guard {
    pub(crate) fn new(exchange: Option<Arc<Exchange>>) -> Self {
        Self { exchange, answer: Answer::default(), expected: None, entered: false }
    }

    /// Runs the service's own code. A panic passes through and is remembered.
    pub(crate) fn watch<T>(&mut self, run: impl FnOnce() -> T) -> T {
        self.entered = true;
        let result = run();
        self.entered = false;
        result
    }

    /// The head of the response is there. Responses without a body end with it, and so do upgrades.
    pub(crate) fn head<B: Body>(&mut self, response: &Response<B>) {
        let Some(exchange) = &self.exchange else { return };
        let (status, headers) = (response.status(), response.headers());
        let content_length =
            || headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        self.answer = Answer {
            status: Some(status),
            grpc: outcome::grpc_status(headers),
            tee: exchange.response_tee(headers),
        };
        self.expected = response.body().size_hint().exact().or_else(content_length);
        let upgraded = status == StatusCode::SWITCHING_PROTOCOLS
            || exchange.method == Method::CONNECT && status.is_success();
        // Servers do not poll the bodies of these, whatever they hold.
        let bodiless = exchange.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if upgraded || bodiless || response.body().is_end_stream() {
            self.end(End::Answered);
        }
    }

    /// A frame of the response's body is on its way out.
    pub(crate) fn frame<D: Buf>(&mut self, frame: &Frame<D>) {
        if self.exchange.is_none() {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.answer.tee.push(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.answer.grpc = outcome::grpc_status(trailers).or(self.answer.grpc);
            self.end(End::Answered);
        }
    }

    /// Writes the record, unless that has happened.
    pub(crate) fn end(&mut self, end: End) {
        if let Some(exchange) = self.exchange.take() {
            self.answer.tee.ended = end == End::Answered;
            let answer = std::mem::take(&mut self.answer);
            // This may be a destructor during a panic, and the sink may be the application's: a second panic would
            // abort the process.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| exchange.finish(end, answer)));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Servers stop polling once they have as many bytes as they announced.
        let complete = self.answer.status.is_some() && self.expected == Some(self.answer.tee.seen);
        self.end(if self.entered || std::thread::panicking() {
            End::Panicked
        } else if complete {
            End::Answered
        } else {
            End::Cancelled
        });
    }
}
