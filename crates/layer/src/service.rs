//! The service that the layer wraps around another one.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    Audit, RequestBody, ResponseBody, ResponseFuture, exchange::Exchange, guard::Guard, policy::Policy,
};

/// Made by [`AuditLayer`](crate::AuditLayer): records each request that goes through it.
///
/// Request and response pass through unchanged. Their bodies have a wrapper around them that looks at what comes by.
#[derive(Clone, Debug)]
pub struct AuditService<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S> AuditService<S> {
    pub(crate) fn new(inner: S, policy: Arc<Policy>) -> Self {
        Self { inner, policy }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for AuditService<S>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    ResBody: Body<Data: From<Bytes>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<RequestBody<ReqBody>>, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let exchange = Exchange::begin(&self.policy, &parts).map(Arc::new);
        if let Some(exchange) = &exchange {
            parts.extensions.insert(Audit::new(Arc::clone(exchange)));
        }
        let mut guard = Guard::new(exchange.clone());
        let waits = exchange.as_ref().and_then(Exchange::admission);
        let request = Request::from_parts(parts, RequestBody::new(body, exchange));
        // `self.inner` is the one that was polled ready, and is called before anything else can happen to it.
        match waits {
            None => ResponseFuture::calling(guard.watch(|| self.inner.call(request)), guard),
            Some(admission) => {
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                ResponseFuture::admitting(admission, ready, request, guard)
            }
        }
    }
}
