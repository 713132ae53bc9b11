//! The two bodies, looked at while somebody else reads them.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{delivery::Receipt, exchange::Exchange, guard::Guard, outcome::End};

/// What a body's error is turned into, as hyper and axum do.
type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// A request's body. Nothing is read that the service does not read.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
        exchange: Option<Arc<Exchange>>,
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(inner: B, exchange: Option<Arc<Exchange>>) -> Self {
        Self { inner, exchange }
    }
}

impl<B: Default> Default for RequestBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(exchange) = this.exchange {
            let tee = &mut exchange.lock().tee;
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                tee.push(data);
            }
            tee.ended |= frame.is_none() || this.inner.is_end_stream();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// A response's body. The record is made when it ends, fails or is dropped.
    pub struct ResponseBody<B: Body> {
        // Dropped first, as in the future.
        #[pin]
        inner: Inner<B>,
        guard: Guard,
        hold: Option<Box<Hold<B>>>,
    }
}

pin_project! {
    #[project = InnerProjection]
    enum Inner<B> {
        /// Where it was.
        Inline { #[pin] body: B },
        /// Polled before the head of the response went out.
        Boxed { body: Pin<Box<B>> },
        /// An answer of the layer's own.
        Own { data: Option<Bytes> },
    }
}

/// What an answer that waits for its record has in hand.
struct Hold<B: Body> {
    /// Read already, to go out first.
    frames: Frames<B>,
    /// The body has come to its end, or failed: it must not be polled again. What it hints at stays what it is.
    is_over: bool,
    /// The last frame goes out when this says so.
    receipt: Option<Receipt>,
    last: Option<Frame<B::Data>>,
}

/// What polling a body gives.
type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

pub(crate) type Frames<B> = VecDeque<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(body: B, guard: Guard) -> Self {
        Self { inner: Inner::Inline { body }, guard, hold: None }
    }

    /// A body of which these frames were read; `is_over` if they are all.
    pub(crate) fn resumed(frames: Frames<B>, body: Pin<Box<B>>, is_over: bool, guard: Guard) -> Self {
        let hold = Some(Box::new(Hold { frames, is_over, receipt: None, last: None }));
        Self { inner: Inner::Boxed { body }, guard, hold }
    }

    /// An answer of the layer's own, which is nobody's record.
    pub(crate) fn own(data: Bytes) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self { inner: Inner::Own { data }, guard: Guard::new(None), hold: None }
    }
}

impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Guard::new(None))
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ResponseBody").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data: From<Bytes>, Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if let Some(hold) = this.hold {
            if let Some(frame) = hold.frames.pop_front() {
                return Poll::Ready(Some(frame.map_err(Into::into)));
            }
            if hold.receipt.is_some() {
                return hold.poll_end(cx);
            }
            if hold.is_over {
                return Poll::Ready(None);
            }
        }
        let frame = ready!(this.guard.watch(|| this.inner.as_mut().poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                this.guard.frame(frame);
                // Then servers do not ask again.
                if this.inner.is_end_stream() || this.guard.holds_last_frame() {
                    this.guard.end(End::Answered);
                }
            }
            Some(Err(_)) => this.guard.end(End::BodyFailed),
            None => this.guard.end(End::Answered),
        }
        if let Some(receipt) = this.guard.take_receipt() {
            // Trailers may follow what was announced.
            let is_over = frame.is_none();
            let last = frame.and_then(Result::ok);
            let hold = this.hold.insert(Box::new(Hold {
                frames: Frames::<B>::new(),
                is_over,
                receipt: Some(receipt),
                last,
            }));
            return hold.poll_end(cx);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        let held = self.hold.as_ref().is_some_and(|hold| !hold.frames.is_empty() || hold.receipt.is_some());
        !held && self.inner.is_end_stream() && !self.guard.owes_receipt()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.size_hint();
        let Some(hold) = &self.hold else { return rest };
        let read = hold.frames.iter().flatten().chain(&hold.last);
        let size: u64 = read.filter_map(Frame::data_ref).map(|data| data.remaining() as u64).sum();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(size)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(size));
        hint
    }
}

impl<B: Body> Hold<B> {
    /// The last frame, or the end, once the record is stored.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Some(receipt) = &mut self.receipt {
            let result = ready!(Pin::new(receipt).poll(cx));
            self.receipt = None;
            if let Err(unavailable) = result {
                self.last = None;
                return Poll::Ready(Some(Err(unavailable.into())));
            }
        }
        Poll::Ready(self.last.take().map(Ok))
    }
}

impl<B> Inner<B>
where
    B: Body<Data: From<Bytes>>,
{
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        match self.project() {
            InnerProjection::Inline { body } => body.poll_frame(cx),
            InnerProjection::Boxed { body } => body.as_mut().poll_frame(cx),
            InnerProjection::Own { data } => {
                Poll::Ready(data.take().map(|data| Ok(Frame::data(B::Data::from(data)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inline { body } => body.is_end_stream(),
            Self::Boxed { body } => body.is_end_stream(),
            Self::Own { data } => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inline { body } => body.size_hint(),
            Self::Boxed { body } => body.size_hint(),
            Self::Own { data } => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}
