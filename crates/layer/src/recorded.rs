//! An extractor that records a body by its type.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::Audit;

/// axum's [`Json`], and what is recorded of the request's body is the value as it serialises, not the text that came:
/// fields that are [`Sensitive`](crate::Sensitive) are hidden whatever they are called.
///
/// A body that is no such value is not recorded at all, since nobody knows where in it a secret is.
///
/// ```
/// use axum::{Router, routing::post};
/// use serde::{Deserialize, Serialize};
/// use sidetrail::{Recorded, Sensitive};
///
/// #[derive(Deserialize, Serialize)]
/// struct Login {
///     user: String,
///     word: Sensitive<String>,
/// }
///
/// async fn login(Recorded(login): Recorded<Login>) -> String {
///     format!("welcome, {}", login.user)
/// }
///
/// let app: Router = Router::new().route("/login", post(login));
/// # drop(app);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded<T>(pub T);

impl<T, S> FromRequest<S> for Recorded<T>
where
    T: DeserializeOwned + Serialize,
    S: Send + Sync,
{
    type Rejection = JsonRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let audit = Audit::of(request.extensions());
        // Before any of it is read: what does not fit the type is not to be kept either.
        audit.withhold_request_body();
        let Json(value) = Json::<T>::from_request(request, state).await?;
        audit.request_body(&value);
        Ok(Self(value))
    }
}
