//! What handlers add to the record of the request that they serve.

mod body;
mod change;

use std::{borrow::Cow, fmt, sync::Arc};

use http::Extensions;
use serde::Serialize;
use sidetrail_record::{Json, Resource, limits};

use crate::{
    Identity, additions::Additions, admission::Admission, exchange::Exchange, redact::Redactor,
    rule::LayeredRule,
};

/// How many resources, parameters and response elements each one record takes from its handler.
const MAX_ENTRIES: usize = 64;

/// How many bytes of JSON in all.
const MAX_BYTES: usize = limits::MAX_PARAMETERS;

/// The record of the current request, open for additions until the response is complete.
///
/// It is in the request's extensions, and with the feature `axum` it is an extractor. Clones are handles to the same
/// record; a spawned task may hold one. What is added passes redaction like everything else; what is over the bounds,
/// or comes when the record is finished, is left out.
///
/// ```
/// use http::Request;
/// use sidetrail::{Audit, Identity};
///
/// fn handle(request: Request<()>) {
///     let audit = Audit::of(request.extensions());
///     audit.set_identity(Identity::user("17", "jo"));
///     audit.response_element("orderId", "o-1");
/// }
/// # handle(Request::new(()));
/// ```
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Exchange>>);

impl Audit {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self(Some(exchange))
    }

    /// The handle in a request's extensions. Where no layer put one, or the route is not recorded, it is a
    /// [detached](Self::detached) one.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// A handle without a record: whatever is added is forgotten. For tests of handlers.
    #[must_use]
    pub fn detached() -> Self {
        Self(None)
    }

    /// Says who calls. It wins over every other source of identity.
    pub fn set_identity(&self, identity: Identity) {
        self.add(|additions, _| additions.identity = Some(identity));
    }

    /// Names something that the call touches.
    pub fn add_resource(&self, resource: Resource) {
        self.add(|additions, _| {
            if additions.resources.len() < MAX_ENTRIES {
                additions.resources.push(resource);
            }
        });
    }

    /// Sets a member of `requestParameters`, in the place of what the request has under that name.
    pub fn parameter<T: Serialize + ?Sized>(&self, name: &str, value: &T) {
        let value = self.json(name, value);
        self.add(|additions, room| insert(&mut additions.parameters, name, value, room));
    }

    /// Sets a member of `responseElements`: the id of what was made, say.
    pub fn response_element<T: Serialize + ?Sized>(&self, name: &str, value: &T) {
        let value = self.json(name, value);
        self.add(|additions, room| insert(&mut additions.elements, name, value, room));
    }

    /// Says what went wrong, in words of the application's own: `InsufficientStock`. It counts where the call came to
    /// its end, whatever its status.
    pub fn error(&self, code: impl Into<String>, message: impl Into<String>) {
        let cut = |mut text: String| {
            limits::cut(&mut text, limits::MAX_TEXT);
            text
        };
        let Some(redactor) = self.redactor() else { return };
        let text = |text| cut(redactor.text(Cow::Owned(text)).into_owned());
        let error = (text(code.into()), text(message.into()));
        self.add(|additions, _| additions.error = Some(error));
    }

    /// A rule around the handler has its say. What the call has to wait for by it.
    pub(crate) fn apply(&self, rule: &LayeredRule) -> Option<Admission> {
        let exchange = self.0.as_ref()?;
        exchange.apply(rule);
        exchange.admission()
    }

    fn add(&self, add: impl FnOnce(&mut Additions, &mut usize)) {
        if let Some(exchange) = &self.0 {
            let mut state = exchange.lock();
            if !state.finished {
                let mut room = MAX_BYTES.saturating_sub(state.additions.bytes);
                let before = room;
                add(&mut state.additions, &mut room);
                state.additions.bytes += before - room;
            }
        }
    }

    /// The redacted JSON of a value. The application's `Serialize` runs here, outside any lock.
    fn json<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Option<Json> {
        let redactor = self.redactor()?;
        let value = serde_json::to_string(value).ok()?;
        let mut text = String::new();
        if redactor.denies(name) {
            redactor.hidden(&value, &mut text).ok()?;
        } else {
            redactor.json(&value, &mut text).ok()?;
        }
        Some(Json::from_trusted(text))
    }

    /// The rules of the request's route.
    fn redactor(&self) -> Option<Arc<Redactor>> {
        Some(Arc::clone(&self.0.as_ref()?.lock().action.redactor))
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Audit").field("attached", &self.0.is_some()).finish()
    }
}

/// Never fails: without the layer it is a [detached](Audit::detached) handle.
#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for Audit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.extensions))
    }
}

fn insert(members: &mut Vec<(String, Json)>, name: &str, value: Option<Json>, room: &mut usize) {
    let Some(value) = value else { return };
    members.retain(|(known, _)| known != name);
    let size = name.len() + value.size();
    if members.len() < MAX_ENTRIES && size <= *room {
        *room -= size;
        members.push((name.to_owned(), value));
    }
}
