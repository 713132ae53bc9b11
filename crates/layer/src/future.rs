//! The response on its way.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{ResponseBody, guard::Guard, outcome::End};

pin_project! {
    /// Response future of [`AuditService`](crate::AuditService). Dropped before it is ready, it records that the caller
    /// went away.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // Dropped first: what the handler adds in its destructors is part of the record.
        #[pin]
        inner: F,
        guard: Guard,
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.guard.watch(|| this.inner.poll(cx)));
        // From here on the body holds it.
        let mut guard = std::mem::replace(this.guard, Guard::new(None));
        Poll::Ready(match result {
            Ok(response) => {
                guard.head(&response);
                Ok(response.map(|body| ResponseBody::new(body, guard)))
            }
            Err(error) => {
                guard.end(End::ServiceFailed);
                Err(error)
            }
        })
    }
}
