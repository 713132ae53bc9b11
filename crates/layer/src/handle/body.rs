//! Bodies as handlers know them: by type.

use serde::Serialize;

use super::Audit;
use crate::additions::TypedBody;

impl Audit {
    /// Records this in the place of the request's body as it came. With fields that are [`Sensitive`](crate::Sensitive)
    /// the type says what is a secret, whatever it is called and whatever it looks like.
    ///
    /// It counts where bodies are recorded, from [`Level::Request`](crate::Level::Request) on. What was copied of the
    /// body is forgotten at once, even if the value does not serialise.
    pub fn request_body<T: Serialize + ?Sized>(&self, body: &T) {
        let Some(body) = self.typed(body) else { return self.withhold_request_body() };
        self.withhold_request_body();
        self.add(|additions, _| additions.request_body = Some(body));
    }

    /// Records this in the place of the response's body as it goes out, where that is recorded:
    /// [`Level::RequestResponse`](crate::Level::RequestResponse).
    pub fn response_body<T: Serialize + ?Sized>(&self, body: &T) {
        let body = self.typed(body);
        self.add(|additions, _| additions.response_body = body);
    }

    /// Forgets the request's body as it came, and what is still to come of it.
    pub(crate) fn withhold_request_body(&self) {
        if let Some(exchange) = &self.0 {
            exchange.lock().tee.withhold();
        }
    }

    /// The application's `Serialize` runs here, outside any lock.
    fn typed<T: Serialize + ?Sized>(&self, body: &T) -> Option<TypedBody> {
        let exchange = self.0.as_ref()?;
        let text = serde_json::to_string(body).ok()?;
        let is_small = text.len() <= exchange.policy.body_cap;
        Some(if is_small { TypedBody::Json(text) } else { TypedBody::TooLarge(text.len()) })
    }
}
