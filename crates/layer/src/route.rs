//! Which route a request took, and the parameters in its path.

mod guess;
mod template;

use std::{borrow::Cow, sync::Arc};

use http::request::Parts;
use percent_encoding::percent_decode_str;

pub(crate) use self::template::{fits, names, specificity};
use crate::rule::Rules;

/// Path parameters that are recorded; more than any sensible route has.
const MAX_PARAMETERS: usize = 32;

/// A path parameter's name and decoded value; no value where it is not to be recorded.
pub(crate) type Parameter<'a> = (&'a str, Option<Cow<'a, str>>);

/// The route that matched, for routers that Sidetrail does not know: insert it into the request's extensions before
/// the layer sees the request. With the feature `axum`, axum's `MatchedPath` is understood without this.
///
/// The form is axum's: `/orders/{id}`, and `{*rest}` for what may hold slashes.
#[derive(Clone, Debug)]
pub struct RouteTemplate(Arc<str>);

impl RouteTemplate {
    /// From the template's text.
    pub fn new(template: impl Into<Arc<str>>) -> Self {
        Self(template.into())
    }
}

/// The route of one request.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// As the router says, or a rule that fits the path.
    Known(Arc<str>),
    /// As axum says.
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
    /// Nobody said. Only a record that is written down needs a guess.
    Unknown,
}

impl Route {
    /// The route of a request for `path`, the one that the client sent.
    pub(crate) fn of(parts: &Parts, path: &str, rules: &Rules) -> Self {
        if let Some(RouteTemplate(template)) = parts.extensions.get() {
            return Self::Known(Arc::clone(template));
        }
        #[cfg(feature = "axum")]
        if let Some(matched) = parts.extensions.get::<axum::extract::MatchedPath>() {
            return Self::Matched(matched.clone());
        }
        rules.matching(path).map_or(Self::Unknown, |template| Self::Known(Arc::clone(template)))
    }

    /// The template, if it is known.
    pub(crate) fn known(&self) -> Option<&str> {
        match self {
            Self::Known(template) => Some(template),
            #[cfg(feature = "axum")]
            Self::Matched(matched) => Some(matched.as_str()),
            Self::Unknown => None,
        }
    }

    /// The template, or else a guess: the path, with a parameter in the place of each segment that looks like an id.
    pub(crate) fn template(&self, path: &str) -> Cow<'_, str> {
        self.known().map_or_else(|| Cow::Owned(guess::template(path)), Cow::Borrowed)
    }

    /// Names and decoded values of the path's parameters, by the route's [`template`](Self::template).
    ///
    /// Where the route is a guess so is what its parameters mean, and a path may be all that protects a link. Then only
    /// plain numbers and UUIDs have a value.
    pub(crate) fn parameters<'a>(&self, template: &'a str, path: &'a str) -> Vec<Parameter<'a>> {
        let mut parameters = Vec::new();
        template::each_parameter(template, path, |name, value| {
            if parameters.len() < MAX_PARAMETERS {
                let plain = self.known().is_some() || guess::is_plain(value);
                parameters.push((name, plain.then(|| percent_decode_str(value).decode_utf8_lossy())));
            }
        });
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(route: &Route, path: &str) -> String {
        let template = route.template(path);
        let parameters = route.parameters(&template, path);
        let text = |(name, value): &Parameter<'_>| format!("{name}={}", value.as_deref().unwrap_or("?"));
        parameters.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parameters_are_read_by_the_template() {
        for (template, path, expected) in [
            ("/orders/{id}", "/orders/17", "id=17"),
            ("/orders/{id}/lines/{line}", "/orders/a%20b/lines/%C3%BC", "id=a b line=ü"),
            ("/files/{*path}", "/files/a/b/c.txt", "path=a/b/c.txt"),
            ("/files/{name}.json", "/files/x.json", "name=x"),
            ("/orders/:id", "/orders/17", "id=17"),
            ("/orders", "/orders", ""),
            ("/orders/{id}", "/orders", "id="),
            ("/", "/", ""),
        ] {
            assert_eq!(parameters(&Route::Known(template.into()), path), expected, "{template}");
        }
    }

    #[test]
    fn a_path_without_route_is_a_guess() {
        for (path, template, expected) in [
            ("/orders/17", "/orders/{orderId}", "orderId=17"),
            ("/customers/5/orders/9", "/customers/{customerId}/orders/{orderId}", "customerId=5 orderId=9"),
            ("/reset/hG7kQz0pLmVt2xYb", "/reset/{resetId}", "resetId=?"),
            (
                "/u/0192f3a4-1111-4222-8333-444455556666",
                "/u/{uId}",
                "uId=0192f3a4-1111-4222-8333-444455556666",
            ),
            ("/users/jo@example.com", "/users/{userId}", "userId=?"),
            ("/api/v1/order-items", "/api/v1/order-items", ""),
            ("/42", "/{id}", "id=42"),
            ("/", "/", ""),
            ("*", "/{id}", "id=?"),
        ] {
            assert_eq!(Route::Unknown.template(path), template);
            assert_eq!(parameters(&Route::Unknown, path), expected, "{path}");
        }
    }
}
