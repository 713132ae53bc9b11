//! Which route a request took, and the parameters in its path.

use std::{borrow::Cow, sync::Arc};

use http::request::Parts;
use percent_encoding::percent_decode_str;

/// Path parameters that are recorded; more than any sensible route has.
const MAX_PARAMETERS: usize = 32;

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
    /// As the router says.
    Known(Arc<str>),
    /// Nobody said: the path, with a parameter in the place of each segment that looks like an id.
    Guessed(Arc<str>),
}

impl Route {
    pub(crate) fn of(parts: &Parts) -> Self {
        if let Some(RouteTemplate(template)) = parts.extensions.get() {
            return Self::Known(Arc::clone(template));
        }
        #[cfg(feature = "axum")]
        if let Some(path) = parts.extensions.get::<axum::extract::MatchedPath>() {
            return Self::Known(path.as_str().into());
        }
        Self::Guessed(guess(parts.uri.path()).into())
    }

    pub(crate) fn template(&self) -> &str {
        match self {
            Self::Known(template) | Self::Guessed(template) => template,
        }
    }

    /// Names and decoded values of the path's parameters.
    ///
    /// Where the route is a guess so is what its parameters mean, and a path may be all that protects a link. Then only
    /// plain numbers and UUIDs have a value.
    pub(crate) fn parameters<'a>(&'a self, path: &'a str) -> Vec<(&'a str, Option<Cow<'a, str>>)> {
        let mut parameters = Vec::new();
        let mut rest = path.trim_start_matches('/');
        for part in self.template().trim_start_matches('/').split('/') {
            if let Some((prefix, name, suffix)) = parameter(part) {
                let wildcard = name.strip_prefix('*');
                let segment = if wildcard.is_some() { rest } else { rest.split('/').next().unwrap_or(rest) };
                let value = segment.strip_prefix(prefix).and_then(|value| value.strip_suffix(suffix));
                if let Some(value) = value
                    && parameters.len() < MAX_PARAMETERS
                {
                    let plain = matches!(self, Self::Known(_)) || is_number(value) || is_uuid(value);
                    let value = plain.then(|| percent_decode_str(value).decode_utf8_lossy());
                    parameters.push((wildcard.unwrap_or(name), value));
                }
            }
            rest = rest.split_once('/').map_or("", |(_, rest)| rest);
        }
        parameters
    }
}

/// `{id}.json` is `("", "id", ".json")`; `:id` is `("", "id", "")`.
fn parameter(segment: &str) -> Option<(&str, &str, &str)> {
    if let Some(name) = segment.strip_prefix(':') {
        return Some(("", name, ""));
    }
    let (prefix, rest) = segment.split_once('{')?;
    let (name, suffix) = rest.split_once('}')?;
    Some((prefix, name, suffix))
}

/// `/orders/17` is `/orders/{orderId}`.
fn guess(path: &str) -> String {
    let mut template = String::with_capacity(path.len() + 8);
    let mut owner = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        template.push('/');
        if is_word(segment) {
            template.push_str(segment);
            owner = segment;
        } else {
            template.push('{');
            template.push_str(&crate::name::id_of(owner));
            template.push('}');
        }
    }
    if template.is_empty() {
        template.push('/');
    }
    template
}

/// A segment that somebody wrote into a route, as far as one can tell: few digits, no odd characters, not long, and not
/// the mixed case of generated ids. `:` is for actions such as `orders:batchGet`.
fn is_word(segment: &str) -> bool {
    const MAX_WORD: usize = 32;
    let count = |test: fn(&u8) -> bool| segment.bytes().filter(test).count();
    let (digits, upper, lower) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let others = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    let long_hex = segment.len() >= 16 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    others && segment.len() <= MAX_WORD && digits <= 2 && upper <= 3 && lower > 0 && !long_hex
}

fn is_number(value: &str) -> bool {
    value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(route: &Route, path: &str) -> String {
        let parameters = route.parameters(path);
        let text = |(name, value): &(&str, Option<Cow<'_, str>>)| {
            format!("{name}={}", value.as_deref().unwrap_or("?"))
        };
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
            let route = Route::Guessed(guess(path).into());
            assert_eq!(route.template(), template);
            assert_eq!(parameters(&route, path), expected, "{path}");
        }
    }
}
