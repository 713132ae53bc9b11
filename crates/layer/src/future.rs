//! The response on its way.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    ResponseBody, admission::Admission, body::Frames, delivery::Receipt, exchange::Exchange, guard::Guard,
    outcome::End, refusal,
};

/// An answer that waits for its record is held back up to here; of a longer one only the end is.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// And up to as many frames.
const MAX_HELD_FRAMES: usize = 64;

pin_project! {
    /// Response future of [`AuditService`](crate::AuditService) and [`RuleService`](crate::RuleService). Dropped before it
    /// is ready, the former's records that the caller went away.
    pub struct ResponseFuture<S, Q, R>
    where
        S: Service<Q>,
        R: Body,
    {
        // Dropped first: what the handler adds in its destructors is part of the record.
        #[pin]
        state: State<S, Q, R>,
        guard: Guard,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Q, R>
    where
        S: Service<Q>,
        R: Body,
    {
        /// The handler may not begin yet.
        Admitting { admission: Admission, call: Option<(S, Q)> },
        Calling { #[pin] inner: S::Future },
        /// The answer is there, and read as far as it is ready.
        Holding { head: Option<Parts>, body: Option<Pin<Box<R>>>, frames: Frames<R>, bytes: usize },
        /// The answer waits for its record.
        Storing { receipt: Receipt, exchange: Arc<Exchange>, response: Option<Response<ResponseBody<R>>> },
    }
}

impl<S, Q, R> ResponseFuture<S, Q, R>
where
    S: Service<Q>,
    R: Body,
{
    pub(crate) fn calling(inner: S::Future, guard: Guard) -> Self {
        Self { state: State::Calling { inner }, guard }
    }

    pub(crate) fn admitting(admission: Admission, service: S, request: Q, guard: Guard) -> Self {
        Self { state: State::Admitting { admission, call: Some((service, request)) }, guard }
    }
}

impl<S, Q, R> Future for ResponseFuture<S, Q, R>
where
    S: Service<Q, Response = Response<R>>,
    R: Body<Data: From<Bytes>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Admitting { admission, call } => {
                    let admitted = ready!(Pin::new(&mut *admission).poll(cx));
                    match (admitted, call.take()) {
                        (Ok(()), Some((mut service, request))) => {
                            State::Calling { inner: this.guard.watch(|| service.call(request)) }
                        }
                        (Err(unavailable), _) => {
                            admission.exchange.refuse(unavailable);
                            this.guard.refuse(unavailable);
                            return Poll::Ready(Ok(refusal::response(&admission.exchange, unavailable)));
                        }
                        // It was polled after it had panicked.
                        (Ok(()), None) => return Poll::Pending,
                    }
                }
                StateProjection::Calling { inner } => match ready!(this.guard.watch(|| inner.poll(cx))) {
                    Ok(response) => {
                        this.guard.head(&response);
                        // From here on the body holds it.
                        match this.guard.durable() {
                            None => return Poll::Ready(Ok(answer(response, take(this.guard)))),
                            Some(exchange) => match this.guard.take_receipt() {
                                Some(receipt) => {
                                    let response = Some(answer(response, Guard::new(None)));
                                    State::Storing { receipt, exchange, response }
                                }
                                None => {
                                    let (head, body) = response.into_parts();
                                    let (head, body) = (Some(head), Some(Box::pin(body)));
                                    State::Holding { head, body, frames: Frames::<R>::new(), bytes: 0 }
                                }
                            },
                        }
                    }
                    Err(error) => {
                        this.guard.end(End::ServiceFailed);
                        return Poll::Ready(Err(error));
                    }
                },
                StateProjection::Holding { head, body, frames, bytes } => {
                    let exchange = this.guard.durable();
                    let (Some(head), Some(mut body)) = (head.take(), body.take()) else {
                        return Poll::Pending;
                    };
                    let is_over = hold(&mut body, frames, bytes, this.guard, cx);
                    let receipt = this.guard.take_receipt();
                    let body = ResponseBody::resumed(mem::take(frames), body, is_over, take(this.guard));
                    let response = Response::from_parts(head, body);
                    match (receipt, exchange) {
                        (Some(receipt), Some(exchange)) => {
                            State::Storing { receipt, exchange, response: Some(response) }
                        }
                        _ => return Poll::Ready(Ok(response)),
                    }
                }
                StateProjection::Storing { receipt, exchange, response } => {
                    let stored = ready!(Pin::new(receipt).poll(cx));
                    let response = match (stored, response.take()) {
                        (Ok(_), Some(response)) => response,
                        (Ok(_), None) => return Poll::Pending,
                        (Err(unavailable), _) => refusal::response(exchange, unavailable),
                    };
                    return Poll::Ready(Ok(response));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, Q, R> fmt::Debug for ResponseFuture<S, Q, R>
where
    S: Service<Q>,
    R: Body,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ResponseFuture").field("guard", &self.guard).finish_non_exhaustive()
    }
}

fn take(guard: &mut Guard) -> Guard {
    mem::replace(guard, Guard::new(None))
}

fn answer<R: Body>(response: Response<R>, guard: Guard) -> Response<ResponseBody<R>> {
    response.map(|body| ResponseBody::new(body, guard))
}

/// Reads a body as far as it is ready; `true` if nothing more will come of it.
fn hold<R: Body>(
    body: &mut Pin<Box<R>>,
    frames: &mut Frames<R>,
    bytes: &mut usize,
    guard: &mut Guard,
    cx: &mut Context<'_>,
) -> bool {
    while *bytes <= MAX_HELD_BYTES && frames.len() < MAX_HELD_FRAMES {
        match guard.watch(|| body.as_mut().poll_frame(cx)) {
            Poll::Pending => return false,
            Poll::Ready(None) => {
                guard.end(End::Answered);
                return true;
            }
            Poll::Ready(Some(Err(error))) => {
                guard.end(End::BodyFailed);
                frames.push_back(Err(error));
                return true;
            }
            Poll::Ready(Some(Ok(frame))) => {
                guard.frame(&frame);
                *bytes += frame.data_ref().map_or(0, Buf::remaining);
                frames.push_back(Ok(frame));
                if body.is_end_stream() || guard.has_ended() {
                    guard.end(End::Answered);
                    return true;
                }
            }
        }
    }
    false
}
