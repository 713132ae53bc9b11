//! Exactly one record per request: whoever holds the guard last writes it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Buf;
use http::{Method, Response, StatusCode, header};
use http_body::{Body, Frame};

use crate::{
    Delivery,
    capture::Tee,
    delivery::{AuditUnavailable, Receipt},
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
    /// The answer waits for its record.
    durable: Option<Arc<Exchange>>,
    /// What it waits for, once the record is made.
    receipt: Option<Receipt>,
}

impl Guard {
    pub(crate) fn new(exchange: Option<Arc<Exchange>>) -> Self {
        Self {
            exchange,
            answer: Answer::default(),
            expected: None,
            entered: false,
            durable: None,
            receipt: None,
        }
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
        let action = exchange.action();
        let plan = exchange.policy.response_plan(&action);
        self.durable = (exchange.delivery_of(&action) == Delivery::Durable).then(|| Arc::clone(exchange));
        self.answer = Answer {
            status: Some(status),
            // Elsewhere it is somebody's own header.
            grpc: if action.grpc_service.is_some() { outcome::grpc_status(headers) } else { None },
            tee: if plan.cap == 0 { Tee::default() } else { Tee::new(headers, plan) },
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

    /// The call is not served.
    pub(crate) fn refuse(&mut self, unavailable: AuditUnavailable) {
        self.answer.status = Some(StatusCode::SERVICE_UNAVAILABLE);
        self.end(End::Refused(unavailable.reason()));
    }

    /// If the answer waits for its record: whose it is.
    pub(crate) fn durable(&self) -> Option<Arc<Exchange>> {
        self.durable.clone()
    }

    /// The record is still to be made, and the answer's end waits for it.
    pub(crate) fn owes_receipt(&self) -> bool {
        self.durable.is_some() && !self.has_ended()
    }

    /// The frame that was seen last is the last one, and has to wait: servers that have as many bytes as were announced
    /// do not ask for the end.
    pub(crate) fn holds_last_frame(&self) -> bool {
        self.owes_receipt() && self.expected == Some(self.answer.tee.seen)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.exchange.is_none()
    }

    pub(crate) fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }

    /// Writes the record, unless that has happened.
    pub(crate) fn end(&mut self, end: End) {
        if let Some(exchange) = self.exchange.take() {
            self.answer.tee.ended = end == End::Answered;
            let answer = std::mem::take(&mut self.answer);
            // This may be a destructor during a panic, and the sink may be the application's: a second panic would
            // abort the process.
            let receipt = std::panic::catch_unwind(AssertUnwindSafe(|| exchange.finish(end, answer)));
            self.receipt = receipt.ok().flatten();
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
